"""Scored completions for the stages that choose among them, and hypothesis strategies that make many of them."""

import math
from pathlib import Path

from hypothesis import strategies as st

from components.common.records import SCORED, write_records


def scored(id_: str, model: str = "a", sample: int = 0, reward: float | None = 0.0, **fields) -> dict:
    row = {
        "id": id_, "language": "de", "prompt": f"text of {id_}", "model": model, "sample": sample,
        "completion": f"{id_} {model} {sample}", "finish_reason": "stop", "tokens": 3, "reward": reward,
        "rejected_because": "" if reward is not None else "empty",
    }  # fmt: skip
    return row | fields


def save_scored(folder: Path, rows: list[dict]) -> Path:
    folder.mkdir(parents=True)
    write_records(folder / "scored.parquet", rows, SCORED)
    return folder


REWARDS = st.one_of(
    st.none(), st.sampled_from([0.0, 1.0, -1.0, math.nan, math.inf, -math.inf]), st.floats(-5, 5, width=32)
)


@st.composite
def tables(draw, prompts: int = 5, models: str = "abc", samples: int = 2) -> list[dict]:
    """Rows with unique (prompt, model, sample), in any order, with every kind of reward."""
    keys = st.tuples(st.integers(0, prompts - 1), st.sampled_from(models), st.integers(0, samples - 1))
    chosen = draw(st.lists(keys, min_size=1, max_size=prompts * len(models) * samples, unique=True))
    languages = ["de", "fr", "ja"]
    return [
        scored(
            f"p{number}",
            model,
            sample,
            draw(REWARDS),
            language=languages[number % 3],
            completion=draw(st.sampled_from(["x", "y", f"{model}{sample}", " "])),
            rejected_because=draw(st.sampled_from(["", "", "", "language"])),
        )
        for number, model, sample in chosen
    ]
