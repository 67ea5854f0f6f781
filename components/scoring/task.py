"""Score completions with a reward model, and say of each one that may not be compared why."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from components.common.artifacts import Scalar
from components.common.errors import BadInput
from components.common.inputs import Inputs, one
from components.common.models import load_reward_model
from components.common.records import COMPLETION, SCORED, Row, read_records, write_records
from components.scoring.rewards import Verdict, score
from components.scoring.rules import RULES, RuleName, rejection


class Config(BaseModel):
    """``rules`` are the grounds on which a completion is rejected before any reward is looked at.

    ``batch_size`` changes speed and memory, not the scores; conversations longer than ``max_length`` tokens are rejected.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_size: int = Field(default=32, ge=1)
    max_length: int = Field(default=4096, ge=2)
    rules: tuple[RuleName, ...] = tuple(RULES)


def run(config: Config, inputs: Inputs, output: Path) -> dict[str, Scalar]:
    """Write scored.parquet: all ``completions`` folders in order, each row with its reward or the reason for none.

    Metrics: scored, rejected, rejected_<reason>, mean_reward. Without any completion (the loop of rounds has stopped) the
    table is empty. Raises BadInput when two inputs hold a completion of the same prompt, model and sample.
    """
    folders = inputs.get("completions", [])
    rows = [row for folder in folders for row in read_records(folder / "completions.parquet", COMPLETION)]
    _check_distinct(rows)
    reasons = [rejection(row, config.rules) for row in rows]
    kept = [row for row, reason in zip(rows, reasons, strict=True) if not reason]
    verdicts = iter(_score(config, inputs, kept))
    scored = [
        row | ({"reward": None, "rejected_because": reason} if reason else next(verdicts).fields())
        for row, reason in zip(rows, reasons, strict=True)
    ]
    write_records(output / "scored.parquet", scored, SCORED)
    return _metrics(scored)


def _check_distinct(rows: list[Row]) -> None:
    seen: set[tuple[str, str, int]] = set()
    for row in rows:
        key = (row["id"], row["model"], row["sample"])
        if key in seen:
            raise BadInput(
                f"The prompt {key[0]!r} has two completions of {key[1]} with number {key[2]}; give each input once."
            )
        seen.add(key)


def _score(config: Config, inputs: Inputs, rows: list[Row]) -> list[Verdict]:
    if not rows:
        return []
    model, tokenizer = load_reward_model(one(inputs, "reward"))
    pairs = [(row["prompt"], row["completion"] or "") for row in rows]
    return score(model, tokenizer, pairs, config.batch_size, config.max_length)


def _metrics(scored: list[Row]) -> dict[str, Scalar]:
    rewards = [row["reward"] for row in scored if row["reward"] is not None]
    reasons = sorted({row["rejected_because"] for row in scored} - {""})
    counts: dict[str, Scalar] = {
        f"rejected_{reason.replace(' ', '_')}": sum(row["rejected_because"] == reason for row in scored)
        for reason in reasons
    }
    mean = {"mean_reward": sum(rewards) / len(rewards)} if rewards else {}
    return {"scored": len(scored), "rejected": len(scored) - len(rewards), **mean, **counts}
