"""What supervised and preference training share before a model is loaded: settings, data and the order of the steps."""

import json
import math
import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from components.common.errors import BadInput
from components.common.models import conversation, encode_conversations


class TrainingConfig(BaseModel):
    """The settings of one training run; exactly one of ``steps`` and ``epochs`` says how long it is.

    ``dtype`` is the precision of the arithmetic: weights and optimizer are float32 in memory, the result is saved in
    the dtype of the input model. ``save_steps`` = 0 writes no checkpoints. ``languages`` = None uses all rows.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    learning_rate: float = Field(ge=0, allow_inf_nan=False)
    steps: int | None = Field(default=None, ge=1)
    epochs: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup_steps: int = Field(default=0, ge=0)
    weight_decay: float = Field(default=0.0, ge=0)
    max_gradient_norm: float = Field(default=1.0, gt=0)
    global_batch_size: int = Field(default=64, ge=1)
    device_batch_size: int = Field(default=64, ge=1)
    max_length: int = Field(default=1024, ge=2)
    languages: list[str] | None = None
    seed: int = Field(default=0, ge=0, lt=1 << 32)
    dtype: Literal["float32", "bfloat16"] = "float32"
    gradient_checkpointing: bool = False
    save_steps: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _one_length(self) -> "TrainingConfig":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give exactly one of steps and epochs")
        return self


@dataclass
class Encoded:
    """``rows`` are what the trainer takes; ``lengths`` count their tokens; ``dropped`` counts the rest by reason."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)

    def add(self, row: dict[str, Any], length: int) -> None:
        """Keep a row of ``length`` tokens."""
        self.rows.append(row)
        self.lengths.append(length)

    def counts(self) -> dict[str, int]:
        """The number of dropped rows by reason, as metrics."""
        return {f"dropped_{reason}": count for reason, count in sorted(self.dropped.items())}


@dataclass(frozen=True)
class Plan:
    """How long a run is and how its global batch is cut: ``batch`` = device batch x ``accumulation`` x processes."""

    steps: int
    batch: int
    accumulation: int


def plan_steps(config: TrainingConfig, rows: int) -> Plan:
    """The number of optimizer steps and accumulated micro-batches; raises BadInput when the batch does not divide."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    together = config.device_batch_size * world
    if config.global_batch_size % together:
        raise BadInput(
            f"global_batch_size {config.global_batch_size} is not a multiple of device_batch_size "
            f"{config.device_batch_size} x {world} processes; choose a device_batch_size that divides it."
        )
    steps = config.steps or max(1, math.ceil(rows * (config.epochs or 0) / config.global_batch_size))
    return Plan(steps, config.global_batch_size, config.global_batch_size // together)


def training_order(lengths: Sequence[int], plan: Plan, seed: int) -> list[int]:
    """Which row is trained when: ``plan.steps * plan.batch`` indices, every global batch full.

    Whole passes over the rows, each shuffled by seed and pass. Within a global batch the longest come first, so that
    the micro-batches of one step are of like length on every process; the sum over the batch does not change by it.
    """
    total = plan.steps * plan.batch
    order: list[int] = []
    for epoch in range(math.ceil(total / len(lengths))):
        indices = list(range(len(lengths)))
        random.Random(f"{seed}/{epoch}").shuffle(indices)
        order += indices
    batches = (order[start : start + plan.batch] for start in range(0, total, plan.batch))
    return [index for batch in batches for index in sorted(batch, key=lambda index: -lengths[index])]


def encode_turns(tokenizer: Any, prompts: list[str], completions: list[str]) -> list[tuple[list[int], list[int]]]:
    """Token ids of each prompt, as generation sees it, and of the completion with its end of turn.

    Raises BadInput when the chat template does not continue the prompt that generation starts from: the model would be
    taught in a context that it never meets.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise BadInput(f"{tokenizer.name_or_path} has no chat template; add chat_template.jinja to the model folder.")
    if not prompts:
        return []
    starts = encode_conversations(tokenizer, [conversation(prompt) for prompt in prompts], add_generation_prompt=True)
    pairs = zip(prompts, completions, strict=True)
    wholes = encode_conversations(tokenizer, [conversation(*pair) for pair in pairs], add_generation_prompt=False)
    for start, whole in zip(starts, wholes, strict=True):
        if whole[: len(start)] != start:
            raise BadInput(
                f"The chat template of {tokenizer.name_or_path} renders a prompt differently with an answer; "
                "use a template whose answer follows the generation prompt."
            )
    return [(start, whole[len(start) :]) for start, whole in zip(starts, wholes, strict=True)]


def readable_length(model: Path, max_length: int) -> int:
    """``max_length`` tokens, or as many as the model of a checked folder can read where those are fewer."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    context = config.get("text_config", config).get("max_position_embeddings")
    return min(max_length, context) if isinstance(context, int) else max_length


def in_languages(rows: list[dict[str, Any]], languages: list[str] | None) -> list[dict[str, Any]]:
    """The rows of these languages, in their order; None stands for all."""
    return rows if languages is None else [row for row in rows if row["language"] in set(languages)]


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean of at least one value."""
    return sum(values) / len(values)


def tail(values: Sequence[float]) -> list[float]:
    """The last fifth of a curve, at least one value: what a run has come to, with less of one batch's chance."""
    return list(values[-max(1, len(values) // 5) :])
