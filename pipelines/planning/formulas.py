"""Tokens to FLOPs and bytes. A forward pass costs 2 N FLOPs a token and training 6 N (Kaplan et al. 2020, arXiv 2001.08361).

Attention over the sequence is left out, which at 8B and 4,096 tokens is less than a tenth. Recomputing activations adds
a forward pass (Korthikanti et al. 2022, arXiv 2205.05198). Sampling reads all weights and its caches for every token of
the batch (Pope et al. 2022, arXiv 2211.05102).
"""

import math
from dataclasses import dataclass

from components.common.training import TrainingConfig
from pipelines.planning.shapes import Shape

FORWARD, BACKWARD = 2, 4
#: Weights, gradients and both moments of AdamW, all float32.
TRAINING_BYTES = 16
#: Weights and both moments in float32; two are kept and a third is written before the oldest goes.
CHECKPOINT_BYTES, CHECKPOINTS = 12, 3


def forward_flops(shape: Shape, tokens: float) -> float:
    """FLOPs of reading ``tokens``."""
    return FORWARD * shape.computed * tokens


def training_flops(shape: Shape, tokens: float, recomputed: bool) -> float:
    """FLOPs of a forward and a backward pass over ``tokens``, the activations kept or ``recomputed``."""
    return (FORWARD + BACKWARD + (FORWARD if recomputed else 0)) * shape.computed * tokens


def trained_rows(config: TrainingConfig, rows: float) -> int:
    """Rows that the run goes through, repeats counted: whole global batches, as components/common/training.py plans them."""
    if rows < 1:
        return 0
    steps = config.steps or max(1, math.ceil(rows * (config.epochs or 0) / config.global_batch_size))
    return steps * config.global_batch_size


@dataclass(frozen=True)
class Decoding:
    """``rows`` completions of ``mean`` tokens after prompts of ``prompt`` tokens, ``batch`` at a time.

    A batch goes on until its longest row, ``longest`` tokens, has ended.
    """

    rows: float
    prompt: float
    mean: float
    longest: float
    batch: int

    @property
    def tokens(self) -> float:
        """Tokens written."""
        return self.rows * self.mean

    def flops(self, shape: Shape) -> float:
        """FLOPs of writing them one by one."""
        return forward_flops(shape, self.tokens)

    def cache(self, shape: Shape) -> float:
        """Bytes of a batch's caches when its rows have their mean length."""
        return min(self.batch, self.rows) * (self.prompt + self.mean) * shape.kv_bytes

    def bytes(self, shape: Shape, width: int) -> float:
        """Bytes read of the card's memory: the weights once per step and batch, each row's cache once per token."""
        steps = math.ceil(self.rows / self.batch) * self.longest
        return steps * shape.parameters * width + self.tokens * (self.prompt + self.mean / 2) * shape.kv_bytes


def mean_and_longest(mean: float, over: float, limit: int) -> tuple[float, float]:
    """A completion's mean and a batch's longest length under the recipe's limit on new tokens."""
    return min(mean, limit), min(mean * over, limit)
