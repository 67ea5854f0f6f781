"""Rows of prompt files. What cannot be used is put aside with its line and reason; what is cut off fails."""

import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.common.errors import BadInput
from components.common.records import PROMPT, Row, read_records
from components.prompts.cleaning import Dropped

#: No line is read further than this, so that one without an end cannot fill the memory.
MAX_LINE_BYTES = 10_000_000


def read_prompts(path: Path, max_characters: int, dropped: list[Dropped]) -> Iterator[Row]:
    """The usable rows of a ``.jsonl`` or ``.parquet`` file; the others are added to ``dropped``.

    Raises BadInput when the file is missing, of another kind, or ends in the middle of a line.
    """
    if path.suffix not in {".jsonl", ".parquet"}:
        raise BadInput(f"{path} is neither .jsonl nor .parquet; convert it, with the fields id, language and prompt.")
    if not path.is_file():
        raise BadInput(f"{path} is not there; correct prompts.files.")
    rows = enumerate(read_records(path, PROMPT), 1) if path.suffix == ".parquet" else _read_lines(path, dropped)
    for number, row in rows:
        reason = _unusable(row, max_characters)
        if reason:
            dropped.append(Dropped(f"{path.name}:{number}", reason, unreadable=True))
        else:
            yield {name: row[name] for name in PROMPT.names}


def _read_lines(path: Path, dropped: list[Dropped]) -> Iterator[tuple[int, Any]]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES):
            number += 1
            if len(line) == MAX_LINE_BYTES:
                while line and not line.endswith(b"\n"):
                    line = file.readline(MAX_LINE_BYTES)
                if not line:
                    raise _cut(path, number)
                dropped.append(Dropped(f"{path.name}:{number}", "over-long line", unreadable=True))
                continue
            whole = line.endswith(b"\n")
            reason, row = _parse(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
            if not whole and reason:
                raise _cut(path, number)
            if reason:
                dropped.append(Dropped(f"{path.name}:{number}", reason, unreadable=True))
            elif row is not None:
                yield number, row


def _cut(path: Path, number: int) -> BadInput:
    return BadInput(f"{path}, line {number}: the file ends in the middle of this line; fetch or write it again.")


def _parse(line: bytes) -> tuple[str, Any]:
    """The reason why a line is bad, or its value; ("", None) for a blank line."""
    if not line.strip():
        return "", None
    try:
        return "", json.loads(line.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError:
        return "invalid UTF-8", None
    except (ValueError, RecursionError):
        return "not JSON", None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _unusable(row: Any, max_characters: int) -> str:
    if not isinstance(row, dict):
        return "not an object"
    if not all(isinstance(row.get(name), str) and row[name] for name in PROMPT.names):
        return "id, language and prompt must be text"
    if any("\ud800" <= letter <= "\udfff" for name in PROMPT.names for letter in row[name]):
        return "lone surrogate"
    if all(unicodedata.category(letter)[0] in "CZ" for letter in row["prompt"]):
        return "empty prompt"
    return "over-long prompt" if len(row["prompt"]) > max_characters else ""
