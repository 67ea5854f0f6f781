"""Data arbitrage (Odumakinde et al. 2024, arXiv 2408.14960): choose one teacher's completion for every prompt."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from components.arbitrage.routing import Routed, by_chance, by_language, by_reward, by_teacher
from components.arbitrage.shares import SHARE, shares
from components.common.artifacts import Scalar
from components.common.errors import BadInput
from components.common.inputs import Inputs
from components.common.records import EXAMPLE, Row, write_records
from components.common.rewards import DROPPED, Prompt, by_prompt, read_scored


class Config(BaseModel):
    """``routing``: reward (the highest reward wins), fixed (``experts``: language -> teacher), random, or single.

    ``teacher`` is the one of single; None takes the teacher with the best mean reward. An example whose reward is below
    ``minimum_reward`` is dropped.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    routing: Literal["reward", "fixed", "random", "single"] = "reward"
    teacher: str | None = None
    experts: dict[str, str] = {}
    minimum_reward: float | None = Field(default=None, allow_inf_nan=False)
    seed: int = 0

    @model_validator(mode="after")
    def _complete(self) -> "Config":
        if (self.routing == "fixed") != bool(self.experts):
            raise ValueError("experts (language: teacher) belong to routing=fixed, which needs them")
        if self.teacher is not None and self.routing != "single":
            raise ValueError("teacher belongs to routing=single")
        return self


def run(config: Config, inputs: Inputs, output: Path) -> dict[str, Scalar]:
    """Write examples.parquet, shares.parquet and dropped.parquet from all ``scored`` folders.

    Metrics: prompts, examples, dropped, teachers, mean_reward, mean_margin (over prompts with a second completion).
    Raises BadInput without scored rows, for an unknown teacher or language, and when no prompt is left.
    """
    prompts = by_prompt(read_scored(inputs.get("scored", [])), config.seed)
    if not prompts:
        raise BadInput("There is no scored completion to choose from; give at least one input 'scored' that has rows.")
    routed = _at_least(route(config, prompts), config.minimum_reward)
    if not routed.examples:
        raise BadInput(
            f"None of {len(prompts)} prompts is left ({routed.dropped[0]['reason']}); look at scored.parquet."
        )
    write_records(output / "examples.parquet", routed.examples, EXAMPLE)
    write_records(output / "shares.parquet", shares(routed.examples), SHARE)
    write_records(output / "dropped.parquet", routed.dropped, DROPPED)
    return _metrics(routed)


def route(config: Config, prompts: list[Prompt]) -> Routed:
    """Apply the configured routing."""
    match config.routing:
        case "reward":
            return by_reward(prompts)
        case "fixed":
            return by_language(prompts, config.experts)
        case "random":
            return by_chance(prompts, config.seed)
        case "single":
            return by_teacher(prompts, config.teacher, config.seed)


def _at_least(routed: Routed, minimum: float | None) -> Routed:
    if minimum is None:
        return routed
    low = [row for row in routed.examples if row["reward"] < minimum]
    dropped = [
        {**{name: row[name] for name in ("id", "language")}, "reason": f"reward below {minimum:g}"} for row in low
    ]
    return Routed(
        [row for row in routed.examples if row["reward"] >= minimum],
        sorted(routed.dropped + dropped, key=lambda row: str(row["id"])),
    )


def _metrics(routed: Routed) -> dict[str, Scalar]:
    examples: list[Row] = routed.examples
    margins = [row["margin"] for row in examples if row["margin"] is not None]
    return {
        "prompts": len(examples) + len(routed.dropped),
        "examples": len(examples),
        "dropped": len(routed.dropped),
        "teachers": len({row["model"] for row in examples}),
        "mean_reward": sum(row["reward"] for row in examples) / len(examples),
        "mean_margin": sum(margins) / len(margins) if margins else 0.0,
    }
