"""XStoryCloze (arXiv 2112.10668): the right ending of a story of four sentences.

The main branch of juletxara/xstory_cloze has been a loading script over TSV files with other names of columns; the rows
are read from the hub's own conversion to Parquet, or from the main branch once it has Parquet itself. Not tried against
the hub: that the conversion is laid out as ``<language>/eval/0000.parquet`` is how the hub writes all of them.
"""

from components.benchmarks.dataset import Dataset, Fetch, column
from components.common.records import Row


def _build(code: str, fetch: Fetch) -> list[Row]:
    return [_question(row, code) for row in fetch(code, "eval")]


def _question(row: Row, code: str) -> Row:
    story = column(row, "story_id")
    return {
        "id": f"{story}/{code}",
        "group": story,
        "language": code,
        "prompt": " ".join(column(row, f"input_sentence_{number}") for number in range(1, 5)),
        "options": [column(row, "sentence_quiz1"), column(row, "sentence_quiz2")],
        "answer": int(column(row, "answer_right_ending")) - 1,
    }


XSTORY_CLOZE = Dataset(
    name="xstory_cloze",
    hub="juletxara/xstory_cloze",
    languages={code: code for code in ("ar", "en", "es", "hi", "id", "ru", "zh")},
    parts=lambda code: [(code, "eval")],
    build=_build,
)
