"""XWinograd (Tikhonov and Ryabinin 2021): whom a pronoun means. What follows the blank is scored after each filler.

Muennighoff/xwinograd has a loading script, and beside it the files that the script reads, ``test/<language>.jsonl``,
which are read here. Not tried against the hub; published copies of the script name these files.
"""

from components.benchmarks.dataset import Dataset, Fetch, column
from components.common.errors import BadInput
from components.common.records import Row

BLANK = "_"
CODES = {"en": "en", "fr": "fr", "ja": "jp", "pt": "pt", "ru": "ru", "zh": "zh"}


def _build(code: str, fetch: Fetch) -> list[Row]:
    rows = fetch(CODES[code], "test")
    return [_question(row, code, number) for number, row in enumerate(rows)]


def _question(row: Row, code: str, number: int) -> Row:
    before, blank, after = column(row, "sentence").partition(BLANK)
    if not blank or not after.strip():
        raise BadInput(f"XWinograd {code}, row {number} has no text after a blank: {row['sentence']!r}.")
    return {
        "id": f"{number}/{code}",
        "group": f"{number}/{code}",  # the languages' sets are not parallel
        "language": code,
        "prompt": before,
        "reference": after.strip(),
        "options": [column(row, "option1"), column(row, "option2")],
        "answer": int(column(row, "answer")) - 1,
    }


XWINOGRAD = Dataset(
    name="xwinograd",
    hub="Muennighoff/xwinograd",
    languages=CODES,
    parts=lambda code: [(CODES[code], "test")],
    build=_build,
)
