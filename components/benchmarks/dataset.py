"""What describes a public data set, and where its rows come from."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from components.common.errors import BadInput, Transient
from components.common.records import Row, read_records

#: ``fetch(configuration, split)`` gives the rows of one part of a data set as published.
Fetch = Callable[[str, str], list[Row]]
LETTERS = "ABCD"


@dataclass(frozen=True)
class Dataset:
    """A published data set and how it becomes questions.

    ``hub`` is its id there, ``languages`` maps our codes to the names that it uses, and ``build(code, fetch)`` gives
    the QUESTION rows of one language with their few-shot prompts.
    """

    name: str
    hub: str
    languages: Mapping[str, str]
    build: Callable[[str, Fetch], list[Row]]


def source_of(dataset: Dataset, source: str) -> Fetch:
    """The rows of ``dataset`` from "hub" or from a local folder; each part is read once."""
    if source == "hub":
        return cache(lambda configuration, split: _from_hub(dataset.hub, configuration, split))
    folder = Path(source) / dataset.hub.split("/")[-1]
    return cache(lambda configuration, split: _from_folder(folder, configuration, split))


def lettered(question: str, options: list[str]) -> str:
    """The question, its options as "A. ...", and "Answer:" on lines of their own."""
    lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=True)]
    return "\n".join([question.strip(), *lines, "Answer:"])


def column(row: Row, name: str) -> str:
    """The text of a column; raises BadInput when the data set no longer has it."""
    if row.get(name) is None:
        raise BadInput(f"The data set has no column {name!r} or it is empty; its columns are {', '.join(row)}.")
    return str(row[name])


def _from_hub(name: str, configuration: str, split: str) -> list[Row]:
    from datasets import load_dataset

    try:
        rows: list[Row] = load_dataset(name, configuration, split=split).to_list()
    except (ConnectionError, TimeoutError) as error:
        raise Transient(f"The data set {name} ({configuration}, {split}) could not be fetched: {error}.") from error
    except (ValueError, RuntimeError, OSError) as error:
        raise BadInput(f"The data set {name} ({configuration}, {split}) cannot be loaded: {error}.") from error
    return rows


def _from_folder(folder: Path, configuration: str, split: str) -> list[Row]:
    layouts = (f"{configuration}/{split}", f"{split}/{configuration}")
    for pattern in (f"{layout}*.{ending}" for layout in layouts for ending in ("parquet", "jsonl")):
        paths = sorted(folder.glob(pattern))
        if paths:
            return [row for path in paths for row in _read(path)]
    raise BadInput(f"{folder} has no {configuration}/{split}*.parquet or .jsonl; download the data set into it.")


def _read(path: Path) -> list[Row]:
    if path.suffix == ".parquet":
        return read_records(path)
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            raise BadInput(f"{path}, line {number} is not JSON: {error}.") from error
    return rows
