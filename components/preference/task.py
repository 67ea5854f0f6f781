"""Preference pairs: best against worst of a prompt, and in-language against translated, as the reward decides."""

from collections import Counter
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from components.common.artifacts import Scalar
from components.common.errors import BadInput
from components.common.inputs import Inputs
from components.common.records import PAIR, Row, write_records
from components.common.rewards import DROPPED, by_prompt, read_scored
from components.preference.pairing import best_against_worst, contrast, subset


class Config(BaseModel):
    """``source`` names pairs from the input ``scored``: "best-worst" of a teacher pool, "online" of one policy.

    A pair's rewards differ by at least ``margin`` and always by more than nothing. ``maximum_pairs`` keeps
    that many, drawn by a stable hash; None keeps all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Literal["best-worst", "online"] = "best-worst"
    margin: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    maximum_pairs: int | None = Field(default=None, ge=1)
    seed: int = 0


def run(config: Config, inputs: Inputs, output: Path) -> dict[str, Scalar]:
    """Write pairs.parquet and dropped.parquet from ``scored`` folders, and from ``contrast``: in-language, translated.

    Metrics: pairs, dropped, mean_margin, pairs_<source>, pairs_<language>, and in_language_chosen, the share of
    contrast pairs in which the in-language side won. No pair at all is a result, not an error: training then passes
    through. Raises BadInput without any input, or with other than two contrast folders.
    """
    scored, sides = inputs.get("scored", []), inputs.get("contrast", [])
    if not scored and not sides:
        raise BadInput("There is nothing to make pairs of; give the input 'scored', or two inputs 'contrast', or both.")
    if len(sides) not in (0, 2):
        raise BadInput(f"'contrast' is the in-language and the translated folder, in this order, and got {len(sides)}.")
    offline = best_against_worst(by_prompt(read_scored(scored), config.seed), config.source, config.margin)
    native, translated = (by_prompt(read_scored(side), config.seed) for side in (sides[:1], sides[1:]))
    against = contrast(native, translated, config.margin)
    pairs = subset(offline.pairs + against.pairs, config.maximum_pairs, config.seed)
    dropped = offline.dropped + against.dropped
    write_records(output / "pairs.parquet", pairs, PAIR)
    write_records(output / "dropped.parquet", dropped, DROPPED)
    return {"pairs": len(pairs), "dropped": len(dropped), **_counts(pairs), **_contrast(pairs, against.native)}


def _counts(pairs: list[Row]) -> dict[str, Scalar]:
    if not pairs:
        return {}
    found = Counter(row[name] for row in pairs for name in ("source", "language"))
    margins = [row["chosen_reward"] - row["rejected_reward"] for row in pairs]
    return {"mean_margin": sum(margins) / len(margins)} | {f"pairs_{name}": found[name] for name in sorted(found)}


def _contrast(pairs: list[Row], native: set[str]) -> dict[str, Scalar]:
    won = [row["id"] in native for row in pairs if row["source"] == "contrast"]
    return {"in_language_chosen": sum(won) / len(won)} if won else {}
