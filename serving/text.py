"""From tokens to text as they come: never half a character, never a part of a stop string."""

from collections.abc import Sequence
from typing import Any

BROKEN = "\ufffd"


class Detokenizer:
    """Text of a growing token sequence, in pieces that end on character boundaries.

    Only the tokens since the last boundary but one are decoded again: enough for decoders that look at the token
    before (leading spaces), and constant work per token.
    """

    def __init__(self, backend: Any) -> None:
        self._decode = backend.decode
        self._tokens: list[int] = []
        self._start = 0
        self._done = 0

    def push(self, token: int) -> str:
        """The text that ``token`` completes; empty while a character is incomplete."""
        self._tokens.append(token)
        text = self._pending()
        if not text or text.endswith(BROKEN):
            return ""
        self._start, self._done = self._done, len(self._tokens)
        return text

    def finish(self) -> str:
        """What was held back, without the bytes of a character that never came to its end."""
        return self._pending().rstrip(BROKEN)

    def _pending(self) -> str:
        before: str = self._decode(self._tokens[self._start : self._done], skip_special_tokens=True)
        after: str = self._decode(self._tokens[self._start :], skip_special_tokens=True)
        return after[len(before) :]


class StopFilter:
    """Lets text pass up to the first stop string, holding back what may yet become one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False

    def push(self, text: str) -> str:
        """The part of ``text`` (and of what was held) that may be shown now."""
        held = self._held + text
        found = [position for stop in self._stops if (position := held.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return held[: min(found)]
        keep = self._suffix(held)
        self._held = held[len(held) - keep :]
        return held[: len(held) - keep]

    def finish(self) -> str:
        """What was held back when the sequence ended otherwise."""
        held, self._held = self._held, ""
        return held

    def _suffix(self, text: str) -> int:
        longest = max((len(stop) for stop in self._stops), default=1) - 1
        sizes = range(min(longest, len(text)), 0, -1)
        return next((size for size in sizes if any(stop.startswith(text[-size:]) for stop in self._stops)), 0)
