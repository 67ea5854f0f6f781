"""Comparing scored completions: what is valid, who is best, and ties that fall the same way in every order of rows."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pyarrow as pa

from components.common.errors import BadInput
from components.common.hashing import stable_fraction
from components.common.records import SCORED, Row, read_records

#: What a stage that chooses among completions could not use, and why.
DROPPED = pa.schema([("id", pa.string()), ("language", pa.string()), ("reason", pa.string())])


@dataclass(frozen=True)
class Prompt:
    """One prompt with all its scored completions, in an order that depends on the seed and nothing else."""

    id: str
    language: str
    text: str
    completions: Sequence[Row]

    @property
    def valid(self) -> list[Row]:
        """The completions that may be compared, in the same order."""
        return [row for row in self.completions if is_valid(row)]

    def fields(self) -> Row:
        """The columns of PROMPT."""
        return {"id": self.id, "language": self.language, "prompt": self.text}

    def drop(self, reason: str) -> Row:
        """A row of DROPPED."""
        return {"id": self.id, "language": self.language, "reason": reason}


def is_valid(row: Row) -> bool:
    """Whether this completion may be compared: it has a finite reward, was not rejected, and says something."""
    reward = row["reward"]
    finite = reward is not None and math.isfinite(reward)
    return finite and not row["rejected_because"] and bool((row["completion"] or "").strip())


def read_scored(folders: Iterable[Path]) -> list[Row]:
    """The rows of scored.parquet in all ``folders``."""
    return [row for folder in folders for row in read_records(folder / "scored.parquet", SCORED)]


def by_prompt(rows: Iterable[Row], seed: int) -> list[Prompt]:
    """One Prompt per id, in the order of the ids; its completions in hash order, so max and min break ties by hash.

    Raises BadInput when an id has two texts or languages, or a completion of one model and sample comes twice.
    """
    ordered = sorted(rows, key=lambda row: (row["id"], _tie(row, seed), row["model"], row["sample"]))
    return [_prompt(id_, list(group)) for id_, group in groupby(ordered, key=lambda row: str(row["id"]))]


def _prompt(id_: str, rows: list[Row]) -> Prompt:
    first = rows[0]
    for row in rows:
        if (row["prompt"], row["language"]) != (first["prompt"], first["language"]):
            raise BadInput(f"The prompt id {id_!r} stands for two texts or languages; give every prompt its own id.")
    if len({(row["model"], row["sample"]) for row in rows}) < len(rows):
        raise BadInput(f"The prompt {id_!r} has two completions of one model and sample; give each scored input once.")
    return Prompt(id_, first["language"], first["prompt"], rows)


def _tie(row: Row, seed: int) -> float:
    return stable_fraction("tie", seed, row["id"], row["model"], row["sample"])
