"""A model's answers as they arrive, one line each, so that a killed run asks for none of them a second time."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from components.common.sampling import Sample


@dataclass(frozen=True)
class Usage:
    """Tokens that an endpoint has read and written, as it counts them. Answers that never arrived are not in it."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.prompt_tokens + other.prompt_tokens, self.completion_tokens + other.completion_tokens)

    def cost(self, input_price: float | None, output_price: float | None) -> float | None:
        """What it costs at prices per million tokens; None where no price is given."""
        if input_price is None and output_price is None:
            return None
        return (self.prompt_tokens * (input_price or 0.0) + self.completion_tokens * (output_price or 0.0)) / 1e6


#: Seconds after which a growing journal is kept elsewhere once more.
KEEP_EVERY = 60.0


class Journal:
    """The answers in the file ``path``, by the digest of their request; without a path nothing is kept.

    A line that a crash cut off, and whatever follows a damaged one, is dropped when the file is opened. ``usage`` counts
    every answer that was found or added. ``keep`` is called with the path now and then, and when the work fails, so that
    the answers outlive this machine.
    """

    def __init__(self, path: Path | None = None, keep: Callable[[Path], None] | None = None) -> None:
        self._path, self._keep, self._kept = path, keep, time.monotonic()
        self._file: IO[str] | None = None
        self._known: dict[str, Sample] = {}
        self.usage = Usage()
        if path and path.is_file():
            self._known = dict(_read(path))

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def find(self, key: str) -> Sample | None:
        """The answer to the request with this digest, or None."""
        found = self._known.get(key)
        self._count(found)
        return found

    def add(self, key: str, sample: Sample) -> None:
        """Write down an answer; it outlives the process from here on."""
        self._count(sample)
        if self._path is None:
            return
        self._file = self._file or self._path.open("a", encoding="utf-8")
        line = [key, sample.text, sample.finish_reason, sample.tokens, sample.prompt_tokens]
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()
        if time.monotonic() - self._kept >= KEEP_EVERY:
            self._keep_elsewhere()

    def remove(self) -> None:
        """Remove the file, since its answers have found another place."""
        if self._path:
            self._path.unlink(missing_ok=True)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._file:
            self._file.close()
            self._file = None
            if kind is not None:
                self._keep_elsewhere()

    def _keep_elsewhere(self) -> None:
        if self._keep and self._path:
            self._keep(self._path)
        self._kept = time.monotonic()

    def _count(self, sample: Sample | None) -> None:
        if sample:
            self.usage += Usage(sample.prompt_tokens, sample.tokens)


def _read(path: Path) -> Iterator[tuple[str, Sample]]:
    """The whole lines of a journal; the file is cut after the last of them."""
    sound = 0
    with path.open("rb") as file:
        for line in file:
            entry = _entry(line)
            if entry is None:
                break
            sound += len(line)
            yield entry
    with path.open("rb+") as file:
        file.truncate(sound)


def _entry(line: bytes) -> tuple[str, Sample] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        key, text, reason, tokens, prompt_tokens = json.loads(line)
        return str(key), Sample(str(text), str(reason), int(tokens), int(prompt_tokens))
    except (ValueError, TypeError):
        return None
