"""Another model's evaluation, whose answers this one is compared with."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.common.errors import BadInput
from components.common.records import Row, read_records
from components.evaluation.results import ANSWER


@dataclass(frozen=True)
class Opponent:
    """The name of the evaluated step, its answers by benchmark and question id, and whether it had regressed itself."""

    name: str
    answers: Mapping[str, Mapping[str, Row]]
    regressed: bool = False

    def to(self, benchmark: str, questions: Sequence[Row]) -> list[Row]:
        """Its answers to ``questions``, in their order; raises BadInput unless it was asked the very same prompts."""
        mine = self.answers.get(benchmark, {})
        for row in questions:
            if row["id"] not in mine or mine[row["id"]]["prompt"] != row["prompt"]:
                raise BadInput(
                    f"The evaluation of {self.name!r} has no answer to question {row['id']!r} of {benchmark!r} with "
                    "this prompt; evaluate it again on the same questions."
                )
        return [mine[row["id"]] for row in questions]


def read_opponent(folder: Path) -> Opponent:
    """Read an evaluation folder; raises BadInput when it is not one."""
    try:
        results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        name, regressed = results["name"], bool(results["regressed"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{folder} is not an evaluation: its results.json cannot be read ({error}).") from error
    answers: dict[str, dict[str, Row]] = {}
    for row in read_records(folder / "answers.parquet", ANSWER):
        answers.setdefault(row["benchmark"], {})[row["id"]] = row
    return Opponent(str(name), answers, regressed)
