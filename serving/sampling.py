"""Choosing the next token of every row, each row with its own settings and its own random numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.common import decoding

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Sampling:
    """``temperature`` 0 is greedy; ``top_p`` keeps the smallest set of tokens with that much probability.

    With ``logprobs`` every new token is told with so many alternatives, and with ``echo`` the prompt's are too.
    """

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    echo: bool = False

    @property
    def reads_prompt(self) -> bool:
        """Whether the log-probabilities of the prompt are asked for."""
        return self.echo and self.logprobs is not None


def choose(logits: "torch.Tensor", settings: Sequence[Sampling], uniforms: Sequence[float]) -> list[int]:
    """The next token of each row of ``logits`` (rows, vocabulary); a row's choice depends on no other row.

    Rows with equal settings are chosen together.
    """
    groups: dict[tuple[float, float], list[int]] = {}
    for row, setting in enumerate(settings):
        groups.setdefault((setting.temperature, setting.top_p if setting.temperature else 1.0), []).append(row)
    tokens = [0] * len(settings)
    for (temperature, top_p), rows in groups.items():
        numbers = [uniforms[row] for row in rows] if temperature else None
        for row, token in zip(rows, decoding.choose(logits[rows], temperature, top_p, numbers), strict=True):
            tokens[row] = token
    return tokens
