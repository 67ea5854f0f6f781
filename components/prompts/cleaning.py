"""Which prompts are fit to be answered: of a wanted language, in its script, new, and not on the exam."""

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from components.common.errors import BadInput
from components.common.language_check import wrong_script
from components.common.languages import LANGUAGES
from components.common.records import Row

#: So little of its own script is enough for a prompt: it may quote another language at length.
OWN_SCRIPT = 0.05


@dataclass(frozen=True)
class Dropped:
    """``where`` is a prompt's id, or the file and line of a row that could not be read (``unreadable``)."""

    SCHEMA: ClassVar[pa.Schema] = pa.schema([("where", pa.string()), ("reason", pa.string())])

    where: str
    reason: str
    unreadable: bool = False

    def row(self) -> Row:
        """As a row of dropped.parquet."""
        return {"where": self.where, "reason": self.reason}


def clean(
    rows: Iterable[Row], languages: Sequence[str], contaminated: Callable[[str], bool], dropped: list[Dropped]
) -> list[Row]:
    """The fit prompts in order of their ids; the others are added to ``dropped`` with the reason.

    Raises BadInput when a language is not one of the platform's, or one id stands for two texts or languages.
    """
    texts: dict[str, tuple[str, str]] = {}
    seen: set[tuple[str, str]] = set()
    fit = []
    for row in sorted(rows, key=lambda row: (row["id"], row["language"], row["prompt"])):
        _check(row, texts)
        same = (row["language"], normalise(row["prompt"]))
        reason = _reason(row, languages, same in seen, contaminated)
        if reason:
            dropped.append(Dropped(row["id"], reason))
        else:
            seen.add(same)
            fit.append(row)
    return fit


def normalise(text: str) -> str:
    """A prompt as it counts for equality: NFKC, case-folded, single spaces, no full stop or question mark at the end.

    Signs inside stay: "2 + 2" is not "2 - 2".
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).rstrip(" .!?…。؟।")


def _check(row: Row, texts: dict[str, tuple[str, str]]) -> None:
    if row["language"] not in LANGUAGES:
        raise BadInput(f"The prompt {row['id']!r} is in {row['language']!r}, which is none of {', '.join(LANGUAGES)}.")
    text = (row["language"], row["prompt"])
    if texts.setdefault(row["id"], text) != text:
        raise BadInput(f"The id {row['id']!r} stands for two texts or languages; give every prompt its own.")


def _reason(row: Row, languages: Sequence[str], known: bool, contaminated: Callable[[str], bool]) -> str:
    if row["language"] not in languages:
        return "language not in the recipe"
    if known:
        return "duplicate"
    if wrong_script(row["prompt"], row["language"], OWN_SCRIPT):
        return "wrong script"
    return "in the evaluation" if contaminated(row["prompt"]) else ""
