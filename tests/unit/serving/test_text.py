from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.text import BROKEN, Detokenizer, StopFilter
from tests.tiny import tiny_tokenizer

TOKENIZER = tiny_tokenizer()
BACKEND = TOKENIZER.backend_tokenizer
CONTROL = [token.content for token in BACKEND.get_added_tokens_decoder().values()]


def pieces(tokens: Iterable[int]) -> list[str]:
    detokenizer = Detokenizer(BACKEND)
    return [*map(detokenizer.push, tokens), detokenizer.finish()]


@given(st.text().filter(lambda text: not any(token in text for token in CONTROL)))
def test_pieces_join_to_the_text_and_never_break_a_character(text: str) -> None:
    parts = pieces(BACKEND.encode(text, add_special_tokens=False).ids)
    assert "".join(parts) == text.rstrip(BROKEN)
    assert BROKEN in text or all(BROKEN not in part for part in parts)


@given(st.lists(st.integers(0, len(TOKENIZER) - 1)))
def test_pieces_of_any_tokens_join_to_what_the_tokenizer_decodes(tokens: list[int]) -> None:
    assert "".join(pieces(tokens)) == BACKEND.decode(tokens, skip_special_tokens=True).rstrip(BROKEN)


def test_a_character_that_never_ends_is_left_out() -> None:
    tokens = BACKEND.encode("ab💡", add_special_tokens=False).ids
    assert "".join(pieces(tokens[:-1])) == "ab"


@given(st.lists(st.text("abc", max_size=4)), st.lists(st.text("abc", min_size=1, max_size=3), max_size=3))
def test_text_ends_before_the_first_stop_string(parts: list[str], stops: list[str]) -> None:
    stop, shown = StopFilter(stops), ""
    for part in parts:
        shown += stop.push(part)
        if stop.stopped:
            break
    shown += stop.finish()
    text = "".join(parts)
    positions = [text.find(each) for each in stops if each in text]
    assert stop.stopped == bool(positions)
    assert not any(each in shown for each in stops)
    if positions:
        assert text.startswith(shown)
    else:
        assert shown == text


def test_nothing_of_a_stop_string_is_shown_early() -> None:
    stop = StopFilter(["END"])
    assert [stop.push(part) for part in ("one E", "N", "x E", "ND two")] == ["one ", "", "ENx ", ""]
    assert stop.stopped


@pytest.mark.parametrize("stops", [[], ["zzz"]])
def test_without_a_stop_string_everything_passes(stops: list[str]) -> None:
    stop = StopFilter(stops)
    assert stop.push("text z") + stop.push("z") + stop.finish() == "text zz"
