"""Why a completion may not be compared, whatever the reward model thinks of it."""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from components.common.language_check import wrong_script

RuleName = Literal["empty", "length", "loop", "script"]

#: A piece of at most ``LONGEST_PIECE`` characters that is said ``REPEATS`` times in a row, over so many characters, goes
#: in circles.
REPEATS = 5
LONGEST_PIECE = 200
SHORTEST_LOOP = 24

#: Control tokens as model families write them: <|im_end|>, <EOS_TOKEN>, </s>.
CONTROL = re.compile(r"<\|[^|<>]{1,64}\|>|<[A-Z_]{2,32}>|</?s>")


def is_empty(row: Mapping[str, Any]) -> bool:
    """Nothing that a reader would see: white space, invisible characters and control tokens do not count."""
    text: str = CONTROL.sub("", row["completion"] or "")
    return all(unicodedata.category(letter)[0] in "CZ" for letter in text)


def is_cut(row: Mapping[str, Any]) -> bool:
    """The model had not finished: it ran out of tokens, the prompt left no room, or a filter stepped in."""
    return str(row["finish_reason"]) != "stop"


def loops(row: Mapping[str, Any]) -> bool:
    """Somewhere the text says one piece with a letter in it ``REPEATS`` times in a row or more."""
    import numpy as np

    text = row["completion"] or ""
    letters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    for size in range(1, min(LONGEST_PIECE, len(text) // REPEATS) + 1):
        needed = max(REPEATS * size, SHORTEST_LOOP) - size
        same = letters[size:] == letters[:-size]
        if np.count_nonzero(same) < needed:
            continue
        breaks = np.flatnonzero(np.concatenate([[True], ~same, [True]]))
        runs = np.diff(breaks) - 1
        starts = breaks[:-1][runs >= needed]
        if any(any(map(str.isalpha, text[start : start + size])) for start in starts):
            return True
    return False


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
