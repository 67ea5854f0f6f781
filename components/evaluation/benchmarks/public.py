"""What describes a public benchmark, and where its rows come from."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from components.common.errors import BadInput, Transient
from components.common.records import Row, read_records
from components.evaluation.settings import Benchmark

#: ``fetch(configuration, split)`` gives the rows of one part of a data set as published.
Fetch = Callable[[str, str], list[Row]]
LETTERS = "ABCD"


@dataclass(frozen=True)
class PublicBenchmark:
    """A published data set and how it becomes questions.

    ``dataset`` is its id on the hub, ``languages`` maps our codes to the names that the data set uses, and
    ``build(code, fetch)`` gives the QUESTION rows of one language with their few-shot prompts.
    """

    benchmark: Benchmark
    dataset: str
    languages: Mapping[str, str]
    build: Callable[[str, Fetch], list[Row]]


def source_of(public: PublicBenchmark, source: str) -> Fetch:
    """The rows of ``public``'s data set from "hub" or from a local folder; each part is read once."""
    if source == "hub":
        return cache(lambda configuration, split: _from_hub(public.dataset, configuration, split))
    folder = Path(source) / public.dataset.split("/")[-1]
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


def _from_hub(dataset: str, configuration: str, split: str) -> list[Row]:
    from datasets import load_dataset

    try:
        rows: list[Row] = load_dataset(dataset, configuration, split=split).to_list()
    except (ConnectionError, TimeoutError) as error:
        raise Transient(f"The data set {dataset} ({configuration}, {split}) could not be fetched: {error}.") from error
    except (ValueError, RuntimeError, OSError) as error:
        raise BadInput(f"The data set {dataset} ({configuration}, {split}) cannot be loaded: {error}.") from error
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
