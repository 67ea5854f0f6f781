"""INCLUDE base-44 (arXiv 2411.19799): exam questions written in each language; 20 of the 23 have them.

The report does not state the number of examples; five, from the validation split, is our default. lm-eval's prompt has
a stray space before "D."; this one has not.
"""

from components.benchmarks.dataset import LETTERS, Dataset, Fetch, column, lettered
from components.common.languages import LANGUAGES
from components.common.records import Row

SHOTS = 5


def _build(code: str, fetch: Fetch) -> list[Row]:
    name = INCLUDE.languages[code]
    shots = [f"{_prompt(row)} {LETTERS[int(row['answer'])]}" for row in fetch(name, "validation")[:SHOTS]]
    return [_question(row, code, number, shots) for number, row in enumerate(fetch(name, "test"))]


def _question(row: Row, code: str, number: int, shots: list[str]) -> Row:
    return {
        "id": f"{number}/{code}",
        "group": f"{number}/{code}",  # the questions are not translations of each other
        "language": code,
        "prompt": "\n\n".join([*shots, _prompt(row)]),
        "options": list(LETTERS),
        "answer": int(column(row, "answer")),
    }


def _prompt(row: Row) -> str:
    return lettered(column(row, "question"), [column(row, f"option_{letter.lower()}") for letter in LETTERS])


INCLUDE = Dataset(
    name="include",
    hub="CohereLabs/include-base-44",
    languages={code: language.name for code, language in LANGUAGES.items() if code not in ("cs", "en", "ro")},
    parts=lambda code: [(LANGUAGES[code].name, "validation"), (LANGUAGES[code].name, "test")],
    build=_build,
)
