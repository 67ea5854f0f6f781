from pathlib import Path

import pytest

from components.common.errors import BadInput
from components.evaluation.questions import read_questions
from components.evaluation.settings import Benchmark
from tests.unit.evaluation.conftest import question, save_questions

EXACT = Benchmark(name="facts", kind="exact_match")
CHOICE = Benchmark(name="facts", kind="multiple_choice")


def test_a_question_without_group_is_its_own(tmp_path: Path) -> None:
    folder = save_questions(tmp_path, facts=[question(1, group=None)])
    assert read_questions([folder], EXACT, needs_reference=True)[0]["group"] == "1/de"


@pytest.mark.parametrize(
    ("benchmark", "row", "words"),
    [
        (EXACT, question(1, reference=" "), "row 0 .*reference is empty"),
        (EXACT, question(1, prompt=""), "prompt is empty"),
        (EXACT, question(1) | {"language": None}, "the language None is none of"),
        (EXACT, question(1, id=None), "missing or repeated id"),
        (CHOICE, question(1, options=["a"], answer=0), "at least two options"),
        (CHOICE, question(1, options=["a", ""], answer=0), "none of them empty"),
        (CHOICE, question(1, options=["a", "b"], answer=2), "answer 2 is not the index"),
        (CHOICE, question(1, options=["a", "b"]), "answer None"),
    ],
)
def test_refuses_questions_that_cannot_be_scored(tmp_path: Path, benchmark: Benchmark, row: dict, words: str) -> None:
    folder = save_questions(tmp_path, facts=[row])
    with pytest.raises(BadInput, match=words):
        read_questions([folder], benchmark, needs_reference=benchmark is EXACT)


def test_refuses_missing_double_empty_and_repeated(tmp_path: Path) -> None:
    one, two = save_questions(tmp_path / "1", facts=[question(1)]), save_questions(tmp_path / "2", facts=[])
    with pytest.raises(BadInput, match="found 0 times"):
        read_questions([tmp_path], EXACT, needs_reference=True)
    with pytest.raises(BadInput, match="found 2 times"):
        read_questions([one, two], EXACT, needs_reference=True)
    with pytest.raises(BadInput, match="has no questions"):
        read_questions([two], EXACT, needs_reference=True)
    double = save_questions(tmp_path / "3", facts=[question(1), question(1)])
    with pytest.raises(BadInput, match="repeated id"):
        read_questions([double], EXACT, needs_reference=True)
