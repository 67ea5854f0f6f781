"""Data sets in a local folder, laid out as their repositories are, and the formats that their files have."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from components.benchmarks.parts import part_files
from components.common.errors import BadInput
from components.common.records import Row, read_records

CARD = "README.md"


def read(folder: Path, configuration: str, split: str) -> list[Row]:
    """The rows of one part; raises BadInput where the folder has no file of it, or one that cannot be read."""
    files = [str(path.relative_to(folder).as_posix()) for path in folder.rglob("*") if path.is_file()]
    names = part_files(files, _card(folder / CARD), configuration, split)
    if not names:
        raise BadInput(
            f"{folder} has no {configuration}/{split}*.parquet, .jsonl or .csv; download the data set into it."
        )
    return [row for name in names for row in read_table(folder / name)]


def read_table(path: Path) -> list[Row]:
    """The rows of a Parquet, JSONL or CSV file."""
    return READERS[path.suffix](path)


def _jsonl(path: Path) -> list[Row]:
    rows = []
    for number, line in enumerate(_text(path).split("\n"), start=1):  # not splitlines: JSON strings may hold U+2028
        try:
            rows += [json.loads(line)] if line.strip() else []
        except ValueError as error:
            raise BadInput(f"{path}, line {number} is not JSON: {error}.") from error
    return rows


def _csv(path: Path) -> list[Row]:
    try:
        return [dict(row) for row in csv.DictReader(io.StringIO(_text(path), newline=""), strict=True)]
    except csv.Error as error:
        raise BadInput(f"{path} cannot be read as CSV: {error}.") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read as UTF-8 text: {error}.") from error


READERS: dict[str, Callable[[Path], list[Row]]] = {".parquet": read_records, ".jsonl": _jsonl, ".csv": _csv}


def _card(path: Path) -> dict[str, Any]:
    """The metadata at the head of a data set's card; empty where there is none."""
    if not path.is_file():
        return {}
    head = _text(path).split("---\n", 2)
    try:
        card = yaml.safe_load(head[1]) if len(head) == 3 and not head[0].strip() else {}
    except yaml.YAMLError as error:
        raise BadInput(f"{path} has no readable metadata at its head: {error}.") from error
    return card if isinstance(card, dict) else {}
