"""What describes a public data set, and where its rows come from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from components.benchmarks import folder, github, hub
from components.common.errors import BadInput
from components.common.records import Row

#: ``fetch(configuration, split)`` gives the rows of one part of a data set as published.
Fetch = Callable[[str, str], list[Row]]
#: A configuration and a split.
Part = tuple[str, str]
LETTERS = "ABCD"


@dataclass(frozen=True)
class Dataset:
    """A published data set and how it becomes questions.

    ``hub`` is its id there (with a ``commit``: a GitHub repository, which is read at that commit unless another is given),
    ``languages`` maps our codes to the names that it uses, ``parts(code)`` are what is read for one language, and
    ``build(code, fetch)`` gives its QUESTION rows with their few-shot prompts.
    """

    name: str
    hub: str
    languages: Mapping[str, str]
    parts: Callable[[str], Sequence[Part]]
    build: Callable[[str, Fetch], list[Row]]
    commit: str = ""

    def parts_of(self, codes: Sequence[str]) -> list[Part]:
        """What is read for these languages, each part once."""
        return list(dict.fromkeys(part for code in codes for part in self.parts(code)))


@dataclass(frozen=True)
class Source:
    """Where rows come from; ``origin`` names repository and commit, "" for a folder."""

    fetch: Fetch
    origin: str = ""


def source_of(dataset: Dataset, source: str, codes: Sequence[str], revision: str = "") -> Source:
    """The rows of ``dataset`` from "hub" (at ``revision``) or from a local folder; each part is read once."""
    if source == "hub" and dataset.commit:
        commit = revision or dataset.commit
        return Source(
            cache(lambda configuration, split: github.read(dataset.hub, commit, configuration, split)),
            github.origin(dataset.hub, commit),
        )
    if source == "hub":
        snapshot = hub.find(dataset.hub, dataset.parts_of(codes), revision)
        return Source(cache(lambda configuration, split: hub.read(snapshot, configuration, split)), snapshot.source)
    path = Path(source) / dataset.hub.split("/")[-1]
    return Source(cache(lambda configuration, split: folder.read(path, configuration, split)))


def lettered(question: str, options: list[str]) -> str:
    """The question, its options as "A. ...", and "Answer:" on lines of their own."""
    lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=True)]
    return "\n".join([question.strip(), *lines, "Answer:"])


def column(row: Row, name: str) -> str:
    """The text of a column; raises BadInput when the data set no longer has it."""
    if row.get(name) is None:
        raise BadInput(f"The data set has no column {name!r} or it is empty; its columns are {', '.join(row)}.")
    return str(row[name])
