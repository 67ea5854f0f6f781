"""One token at a time for many rows: a key-value cache that grows in place, and the choice of the next token.

Importing this file loads nothing heavy; calling it needs torch and transformers.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from components.common.errors import BadInput

if TYPE_CHECKING:
    import torch

#: Most nuclei lie within so many of the likeliest tokens; only where one does not, the whole vocabulary is sorted.
SHORTLIST = 64


class Decoder:
    """The rows of one batch: left-padded prompts, prefilled once per distinct prompt, then one token per row and step.

    ``_mask`` (rows, width) says which columns are real. Positions count real columns only: padding changes no answer.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._cache: Any = None
        self._mask: Any = None

    def start(self, prompts: Sequence[Sequence[int]], limit: int) -> "torch.Tensor":
        """Read the prompts; returns the logits of each row's first new token (rows, vocabulary)."""
        import torch
        from transformers import DynamicCache

        unique = {tuple(prompt): None for prompt in prompts}
        places = {prompt: place for place, prompt in enumerate(unique)}
        rows = torch.tensor([places[tuple(prompt)] for prompt in prompts], device=self._model.device)
        width = max(map(len, unique))
        ids = [[0] * (width - len(prompt)) + list(prompt) for prompt in unique]
        mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in unique]
        self._mask = torch.tensor(mask, device=self._model.device)
        self._cache = DynamicCache()
        logits = self._forward(torch.tensor(ids, device=self._model.device))
        if len(unique) < len(prompts):
            self._select(rows)
            logits = logits[rows]
        return logits

    def step(self, tokens: Sequence[int]) -> "torch.Tensor":
        """Append one token to every row; returns the logits of the next (rows, vocabulary)."""
        import torch

        self._mask = torch.nn.functional.pad(self._mask, (0, 1), value=1)
        return self._forward(torch.tensor(tokens, device=self._model.device)[:, None])

    def keep(self, rows: Sequence[int]) -> None:
        """Drop every row but these, and the columns that are padding in all of them."""
        import torch

        self._select(torch.tensor(rows, device=self._model.device))
        first = int(self._mask.argmax(dim=1).min())
        if first:
            self._mask = self._mask[:, first:]
            for layer in self._cache.layers:
                layer.keys, layer.values = layer.keys[:, :, first:], layer.values[:, :, first:]

    def _select(self, rows: "torch.Tensor") -> None:
        self._mask = self._mask[rows]
        for layer in self._cache.layers:
            layer.keys, layer.values = layer.keys[rows], layer.values[rows]

    def _forward(self, ids: "torch.Tensor") -> "torch.Tensor":
        import torch

        positions = (self._mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        with torch.inference_mode():
            output = self._model(
                input_ids=ids,
                attention_mask=self._mask,
                position_ids=positions,
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=1,
            )
        logits: torch.Tensor = output.logits[:, -1].float()
        return logits


def choose(logits: "torch.Tensor", temperature: float, top_p: float, uniforms: Sequence[float] | None) -> list[int]:
    """The next token of each row of ``logits`` (rows, vocabulary): the likeliest if ``uniforms`` is None.

    Otherwise by inversion: one number in [0, 1) per row picks from the cumulative distribution, in the order of the
    vocabulary, over the nucleus of ``top_p`` (Holtzman et al., https://arxiv.org/abs/1904.09751). Raises BadInput
    when a row has no finite maximum.
    """
    import torch

    with torch.inference_mode():
        highest, likeliest = logits.max(dim=-1, keepdim=True)
        if not bool(highest.isfinite().all()):
            raise BadInput("The model's logits are not finite; its weights are damaged or its dtype is too narrow.")
        if uniforms is None:
            return list(likeliest[:, 0].tolist())
        # Subtracting first keeps the quotient from overflowing at tiny temperatures.
        probabilities = torch.softmax((logits - highest) / temperature, dim=-1)
        if top_p < 1:
            probabilities = probabilities * (probabilities >= _threshold(probabilities, top_p))
        cumulative = probabilities.cumsum(dim=-1, dtype=torch.float64)
        target = torch.tensor(uniforms, dtype=torch.float64, device=logits.device)[:, None] * cumulative[:, -1:]
        return list(torch.searchsorted(cumulative, target, right=True)[:, 0].tolist())


def _threshold(probabilities: "torch.Tensor", top_p: float) -> "torch.Tensor":
    """The smallest probability in the nucleus of each row (rows, 1); tokens tied with it belong to the nucleus."""
    highest = probabilities.topk(min(SHORTLIST, probabilities.shape[-1]), dim=-1).values
    thresholds = _cut(highest, top_p)
    wide = highest.sum(dim=-1) < top_p
    if bool(wide.any()):
        thresholds[wide] = _cut(probabilities[wide].sort(dim=-1, descending=True).values, top_p)
    return thresholds


def _cut(descending: "torch.Tensor", top_p: float) -> "torch.Tensor":
    before = descending.cumsum(dim=-1) - descending
    last = (before < top_p).sum(dim=-1, keepdim=True) - 1
    return descending.gather(-1, last)


def end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end an answer: those of the generation configuration and the tokenizer's own."""
    configured = model.generation_config.eos_token_id
    several = configured if isinstance(configured, list) else [configured]
    return frozenset(token for token in (*several, tokenizer.eos_token_id) if token is not None)
