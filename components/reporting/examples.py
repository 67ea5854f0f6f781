"""Answers side by side: the same question to the base, the first trained step and the last."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.common.canonical import digest
from components.common.languages import LANGUAGES
from components.common.records import Row
from components.reporting.figures import Step
from components.reporting.sources import read_columns
from components.reporting.tables import language_name
from components.reporting.words import ladder

LONGEST = 600  # characters of an answer that are shown
OPEN = 6  # languages whose example is shown without unfolding


@dataclass(frozen=True)
class Example:
    """One question with its reference and the answers by (label, text, note)."""

    language: str
    name: str
    prompt: str
    reference: str
    answers: Sequence[tuple[str, str, str]]


def read_examples(steps: Sequence[Step], headline: str, languages: Sequence[str]) -> list[Example]:
    """One question per language, chosen by a hash of its id: base, first trained step and last, beside the reference.

    Languages of different scripts come first, so that the first few show the range.
    """
    rungs = ladder(steps)
    shown = [*rungs[:2], *rungs[2:][-1:]]
    answers = [_by_id(step.folder / "answers.parquet", headline) for step in shown]
    outcomes = [_outcomes(step, headline) for step in shown]
    if not answers or not answers[0]:
        return []
    common = set.intersection(*(set(rows) for rows in answers))
    chosen: dict[str, str] = {}
    for key in sorted(common, key=digest):
        chosen.setdefault(answers[0][key]["language"], key)
    examples = []
    for code in _varied([code for code in languages if code in chosen] or sorted(chosen)):
        key = chosen[code]
        texts = [
            (step.label, _cut(rows[key]["answer"]), outcome.get(key, ""))
            for step, rows, outcome in zip(shown, answers, outcomes, strict=True)
        ]
        row = answers[0][key]
        examples.append(Example(code, language_name(code), _cut(row["prompt"]), _cut(row["reference"] or ""), texts))
    return examples


def _by_id(path: Path, benchmark: str) -> dict[str, Row]:
    if not path.is_file():
        return {}
    rows = read_columns(path, ("id", "language", "benchmark", "prompt", "reference", "answer"))
    return {row["id"]: row for row in rows if row["benchmark"] == benchmark}


def _outcomes(step: Step, headline: str) -> dict[str, str]:
    """What the judge said of each answer against the baseline's."""
    figure, path = step.win_rate(headline), step.folder / "judgements.parquet"
    if figure is None or not path.is_file():
        return {}
    words = {1.0: "judged better", 0.0: "judged worse"}
    rows = read_columns(path, ("id", "benchmark", "opponent", "outcome"))
    wanted = [row for row in rows if (row["benchmark"], row["opponent"]) == (headline, figure.opponent)]
    return {row["id"]: words.get(row["outcome"], "judged level") for row in wanted}


def _varied(codes: Sequence[str]) -> list[str]:
    first = {"Latn": "en"} if "en" in codes else {}
    for code in codes:
        first.setdefault(LANGUAGES[code].script if code in LANGUAGES else code, code)
    return [*first.values(), *(code for code in codes if code not in first.values())]


def _cut(text: str) -> str:
    left = len(text) - LONGEST
    return text if left <= 0 else f"{text[:LONGEST]} … ({left:,} more characters)"
