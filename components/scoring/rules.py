"""Why a completion may not be compared, whatever the reward model thinks of it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from components.common.language_check import wrong_script

RuleName = Literal["empty", "length", "loop", "script"]

#: A text whose last part says the same thing this often in a row goes in circles.
REPEATS = 5


def is_empty(row: Mapping[str, Any]) -> bool:
    """Nothing but white space; special tokens never get into a completion's text."""
    return not str(row["completion"] or "").strip()


def is_cut(row: Mapping[str, Any]) -> bool:
    """The model had not finished: it ran out of tokens, or the prompt left no room."""
    return str(row["finish_reason"]) != "stop"


def loops(row: Mapping[str, Any]) -> bool:
    """The text ends in one piece of at least two characters repeated ``REPEATS`` times or more."""
    text = (row["completion"] or "").rstrip()
    longest = min(len(text) // REPEATS, 200)
    return any(text.endswith(text[-size:] * REPEATS) for size in range(2, longest + 1))


def is_foreign(row: Mapping[str, Any]) -> bool:
    """Most letters are of another script than the prompt's language is written in."""
    return wrong_script(row["completion"] or "", row["language"])


RULES: dict[RuleName, Callable[[Mapping[str, Any]], bool]] = {
    "empty": is_empty,
    "length": is_cut,
    "loop": loops,
    "script": is_foreign,
}


def rejection(row: Mapping[str, Any], rules: Sequence[RuleName]) -> str:
    """The name of the first rule that the completion breaks, or an empty string."""
    return next((rule for rule in rules if RULES[rule](row)), "")
