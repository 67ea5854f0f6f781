"""Continuous batching: rows of unequal length and age that decode together, and come and go at any step."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from components.common.decoding import Decoder

if TYPE_CHECKING:
    import torch

Tokens = tuple[int, ...]


class Batch(Decoder):
    """A decoder whose rows may join later: the narrower cache is padded on its left to the width of the other.

    A row's tokens lie at its right end, so all rows share the newest column.
    """

    def add(self, prompts: Sequence[Tokens]) -> "torch.Tensor":
        """Prefill new rows, behind the present ones; returns their next-token logits (new rows, vocabulary)."""
        import torch

        new = Batch(self._model)
        logits = new.start(prompts, 0)
        if self._mask is None:
            self._cache, self._mask = new._cache, new._mask
            return logits
        width = max(self._mask.shape[1], new._mask.shape[1])
        for ours, theirs in zip(self._cache.layers, new._cache.layers, strict=True):
            ours.keys = torch.cat([_widen(ours.keys, width, 2), _widen(theirs.keys, width, 2)])
            ours.values = torch.cat([_widen(ours.values, width, 2), _widen(theirs.values, width, 2)])
        self._mask = torch.cat([_widen(self._mask, width, 1), _widen(new._mask, width, 1)])
        return logits

    def keep(self, rows: Sequence[int]) -> None:
        """Drop every row but these, if need be all."""
        if rows:
            super().keep(rows)
        else:
            self._cache = self._mask = None


def _widen(tensor: "torch.Tensor", width: int, dimension: int) -> "torch.Tensor":
    """Pad with zeros on the left of ``dimension`` up to ``width``."""
    import torch

    missing = width - tensor.shape[dimension]
    padding = [0, 0] * (tensor.dim() - dimension - 1) + [missing, 0]
    return torch.nn.functional.pad(tensor, padding) if missing else tensor
