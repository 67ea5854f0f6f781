"""XStoryCloze (arXiv 2112.10668): the right ending of a story of four sentences."""

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
    build=_build,
)
