"""m-ArenaHard (arXiv 2412.04261) and its version 2.0: hard requests of users, translated; judged pairwise."""

from functools import partial

from components.benchmarks.dataset import Dataset, Fetch, Part, column
from components.common.languages import LANGUAGES
from components.common.records import Row


def _parts(code: str) -> list[Part]:
    return [(code, "test")]


def _build(code: str, fetch: Fetch) -> list[Row]:
    return [_question(row, code) for row in fetch(code, "test")]


def _question(row: Row, code: str) -> Row:
    question = column(row, "question_id")
    return {"id": f"{question}/{code}", "group": question, "language": code, "prompt": column(row, "prompt")}


_dataset = partial(Dataset, languages={code: code for code in LANGUAGES}, parts=_parts, build=_build)

M_ARENA_HARD = _dataset(name="m_arena_hard", hub="CohereLabs/m-ArenaHard")
M_ARENA_HARD_V2 = _dataset(name="m_arena_hard_v2", hub="CohereLabs/m-ArenaHard-v2.0")
