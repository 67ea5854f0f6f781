"""Rows of unequal length that decode together: continuous batching over a left-padded key-value cache."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Tokens = tuple[int, ...]


class Batch:
    """The key-value cache of the rows in hand.

    ``_mask`` (rows, width) says which columns of a row are real; a row's tokens lie at its right end, so rows of
    different ages share the newest column. Positions count real columns only, so padding changes no answer.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._cache: Any = None
        self._mask: torch.Tensor | None = None

    def add(self, prompts: Sequence[Tokens]) -> "torch.Tensor":
        """Prefill new rows, behind the present ones; returns their next-token logits (new rows, vocabulary).

        Equal prompts are computed once.
        """
        import torch
        from transformers import DynamicCache

        unique = list(dict.fromkeys(prompts))
        width = max(map(len, unique))
        padding = [width - len(prompt) for prompt in unique]
        ids = [[0] * missing + list(prompt) for missing, prompt in zip(padding, unique, strict=True)]
        mask = [[0] * missing + [1] * (width - missing) for missing in padding]
        device = self._model.device
        real, rows = torch.tensor(mask, device=device), [unique.index(prompt) for prompt in prompts]
        cache = DynamicCache()
        logits = self._forward(torch.tensor(ids, device=device), real, cache)
        for layer in cache.layers:
            layer.keys, layer.values = layer.keys[rows], layer.values[rows]
        self._join(cache, real[rows])
        return logits[rows]

    def step(self, tokens: Sequence[int]) -> "torch.Tensor":
        """Append one token to every row; returns the next-token logits (rows, vocabulary)."""
        import torch

        assert self._mask is not None
        self._mask = torch.nn.functional.pad(self._mask, (0, 1), value=1)
        return self._forward(torch.tensor(tokens, device=self._model.device)[:, None], self._mask, self._cache)

    def keep(self, rows: Sequence[int]) -> None:
        """Drop every row but ``rows``, and the columns that none of them needs."""
        if not rows or self._mask is None:
            self._cache = self._mask = None
            return
        mask = self._mask[list(rows)]
        first = int(mask.argmax(dim=1).min())
        self._mask = mask[:, first:]
        for layer in self._cache.layers:
            layer.keys, layer.values = (each[list(rows), :, first:] for each in (layer.keys, layer.values))

    def _forward(self, ids: "torch.Tensor", mask: "torch.Tensor", cache: Any) -> "torch.Tensor":
        import torch

        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        with torch.inference_mode():
            output = self._model(
                input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, logits_to_keep=1
            )
        logits: torch.Tensor = output.logits[:, -1].float()
        return logits

    def _join(self, cache: Any, mask: "torch.Tensor") -> None:
        import torch

        if self._mask is None:
            self._cache, self._mask = cache, mask
            return
        width = max(self._mask.shape[1], mask.shape[1])
        for ours, new in zip(self._cache.layers, cache.layers, strict=True):
            ours.keys = torch.cat([_widen(ours.keys, width, 2), _widen(new.keys, width, 2)])
            ours.values = torch.cat([_widen(ours.values, width, 2), _widen(new.values, width, 2)])
        self._mask = torch.cat([_widen(self._mask, width, 1), _widen(mask, width, 1)])


def _widen(tensor: "torch.Tensor", width: int, dimension: int) -> "torch.Tensor":
    """Pad with zeros on the left of ``dimension`` up to ``width``."""
    import torch

    missing = width - tensor.shape[dimension]
    padding = [0, 0] * (tensor.dim() - dimension - 1) + [missing, 0]
    return torch.nn.functional.pad(tensor, padding) if missing else tensor
