"""Global-MMLU (arXiv 2412.03304): knowledge, in 23 of its 42 languages. Five examples of the same subject first."""

from components.benchmarks.dataset import LETTERS, Dataset, Fetch, column, lettered
from components.common.languages import LANGUAGES
from components.common.records import Row

SHOTS = 5


def _build(code: str, fetch: Fetch) -> list[Row]:
    shots: dict[str, list[str]] = {}
    for row in fetch(code, "dev"):
        shots.setdefault(column(row, "subject"), []).append(f"{_prompt(row)} {column(row, 'answer')}")
    return [_question(row, code, shots.get(column(row, "subject"), [])[:SHOTS]) for row in fetch(code, "test")]


def _question(row: Row, code: str, shots: list[str]) -> Row:
    subject = column(row, "subject").replace("_", " ")
    head = f"The following are multiple choice questions (with answers) about {subject}."
    return {
        "id": f"{column(row, 'sample_id')}/{code}",
        "group": column(row, "sample_id"),
        "language": code,
        "prompt": "\n\n".join([head, *shots, _prompt(row)]),
        "options": list(LETTERS),
        "answer": LETTERS.index(column(row, "answer")),
    }


def _prompt(row: Row) -> str:
    return lettered(column(row, "question"), [column(row, f"option_{letter.lower()}") for letter in LETTERS])


GLOBAL_MMLU = Dataset(
    name="global_mmlu",
    hub="CohereLabs/Global-MMLU",
    languages={code: code for code in LANGUAGES},
    parts=lambda code: [(code, "dev"), (code, "test")],
    build=_build,
)
