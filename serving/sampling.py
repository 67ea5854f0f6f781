"""Choosing the next token of every row, each row with its own settings and its own random numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Sampling:
    """``temperature`` 0 is greedy; ``top_p`` keeps the smallest set of tokens with that much probability."""

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()


def choose(logits: "torch.Tensor", settings: Sequence[Sampling], uniforms: Sequence[float]) -> list[int]:
    """The next token of each row of ``logits`` (rows, vocabulary).

    Nucleus sampling (Holtzman et al. 2019, arXiv:1904.09751) by inversion: one uniform number in [0, 1) per row picks
    the token, so a row's choice depends on no other row.
    """
    import torch

    greedy = logits.argmax(dim=-1)
    if all(setting.temperature == 0 for setting in settings):
        return list(greedy.tolist())
    column = [[setting.temperature or 1.0, setting.top_p, uniform] for setting, uniform in zip(settings, uniforms, strict=True)]
    temperature, top_p, uniform = torch.tensor(column, device=logits.device, dtype=torch.float32).T[:, :, None]
    probabilities, order = torch.softmax(logits / temperature, dim=-1).sort(dim=-1, descending=True, stable=True)
    cumulative = probabilities.cumsum(dim=-1)
    nucleus = probabilities * (cumulative - probabilities < top_p)
    target = uniform * nucleus.sum(dim=-1, keepdim=True)
    index = (nucleus.cumsum(dim=-1) <= target).sum(dim=-1, keepdim=True)
    last = (nucleus > 0).sum(dim=-1, keepdim=True) - 1
    sampled = order.gather(-1, torch.minimum(index, last))[:, 0]
    is_greedy = torch.tensor([setting.temperature == 0 for setting in settings], device=logits.device)
    return list(torch.where(is_greedy, greedy, sampled).tolist())
