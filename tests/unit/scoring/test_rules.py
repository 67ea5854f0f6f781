import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.scoring.rules import RULES, rejection
from tests.tiny import TEXTS


def row(completion="Guten Tag", language="de", finish_reason="stop"):
    return {"completion": completion, "language": language, "finish_reason": finish_reason}


ALL = tuple(RULES)


@pytest.mark.parametrize(
    "text", ["", "   ", "\n\t", "\u200b\u200e", "<|END_OF_TURN_TOKEN|>", " <EOS_TOKEN></s>\n", None]
)
def test_nothing_to_read_is_empty(text):
    assert rejection(row(text), ALL) == "empty"


@pytest.mark.parametrize("reason", ["length", "content_filter", "too_long"])
def test_what_was_not_finished_is_cut(reason):
    assert rejection(row(finish_reason=reason), ALL) == "length"


@pytest.mark.parametrize(
    "text",
    ["na " * 10, "Well. " + "the same thing again and again, " * 5, "公里" * 20, "a" * 60, "x\n" * 200 + "and so it ends."],
)  # fmt: skip
def test_going_in_circles_is_a_loop(text):
    assert rejection(row(text), ("loop",)) == "loop"


@pytest.mark.parametrize(
    "text",
    [*TEXTS, "1" + "0" * 100, "| a | b |\n|" + "-" * 60 + "|", "ha ha ha ha", "no, no, no!", "." * 300, "",
     "\n".join(f"- item {number} of the list" for number in range(40))],
)  # fmt: skip
def test_ordinary_text_is_no_loop(text):
    assert rejection(row(text), ("loop",)) == ""


@given(st.text(min_size=1, max_size=150), st.text(max_size=20), st.text(max_size=20))
def test_a_repeated_piece_with_a_letter_is_a_loop_wherever_it_stands(piece, before, after):
    text = before + piece * 24 + after
    assert (rejection(row(text), ("loop",)) == "loop") or not any(map(str.isalpha, piece))


def test_a_long_text_is_judged_quickly():
    text = " ".join(f"word{number}" for number in range(5000))
    start = time.process_time()
    assert rejection(row(text), ("loop",)) == ""
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [("twelve days", "ru", "script"), ("двенадцать дней", "ru", ""), ("12", "ru", ""), ("十二公里", "ja", ""),
     ("двенадцать", "de", "script"), ("zwölf Kilometer", "de", "")],
)  # fmt: skip
def test_another_script_is_rejected(text, language, expected):
    assert rejection(row(text, language), ALL) == expected


def test_only_the_named_rules_apply():
    bad = row("", finish_reason="length")
    assert rejection(bad, ()) == ""
    assert rejection(bad, ("length",)) == "length"
