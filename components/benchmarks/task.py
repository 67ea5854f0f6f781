"""Turn published data sets into the questions of an evaluation, once, so that no later step depends on the hub."""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from components.benchmarks.dataset import Dataset, Source, source_of
from components.benchmarks.registry import DATASETS
from components.common.errors import BadInput
from components.common.inputs import Inputs
from components.common.records import QUESTION, Row, write_records

Revision = Annotated[str, StringConstraints(pattern=r"^[\w./-]+$")]


class Config(BaseModel):
    """``names`` are data sets of the registry; ``source`` is "hub", or a folder that holds their downloads.

    ``revisions`` pins repositories of the hub, by their names, to commits. ``languages`` (codes such as "de"; null: all)
    are asked of every data set that has them; ``limit`` keeps the first so many questions of each language.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: tuple[str, ...] = Field(min_length=1)
    source: str = "hub"
    revisions: dict[str, Revision] = {}
    languages: tuple[str, ...] | None = None
    limit: int | None = Field(default=None, gt=0)

    @field_validator("names")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in DATASETS]
        if unknown:
            raise ValueError(f"there is no data set {unknown[0]!r}; there are {', '.join(DATASETS)}")
        return names

    @field_validator("revisions")
    @classmethod
    def _repositories(cls, revisions: dict[str, str]) -> dict[str, str]:
        there = sorted({dataset.hub for dataset in DATASETS.values()})
        unknown = [name for name in revisions if name not in there]
        if unknown:
            raise ValueError(f"no data set is in the repository {unknown[0]!r}; they are in {', '.join(there)}")
        return revisions


def run(config: Config, inputs: Inputs, output: Path) -> dict[str, float | int | str]:
    """Write ``<name>.parquet`` (QUESTION) for every data set.

    Returns the number of questions of each, and as ``<name>.source`` the commit on the hub that they are from.
    """
    sources = {name: _source(config, DATASETS[name]) for name in config.names}  # all found before any is read
    made: dict[str, float | int | str] = {}
    for name, source in sources.items():
        rows = _rows(DATASETS[name], source, languages_of(DATASETS[name], config.languages), config.limit)
        made[name] = write_records(output / f"{name}.parquet", rows, QUESTION)
        made |= {f"{name}.source": source.origin} if source.origin else {}
    return made


def load(name: str, source: str, languages: Collection[str] | None = None, limit: int | None = None) -> list[Row]:
    """QUESTION rows of one data set, at most ``limit`` per language.

    ``source`` is "hub", or a folder with ``<data set>/<configuration>/<split>*.parquet`` (or .jsonl), as downloads from
    the hub are laid out. Raises BadInput when it has none of ``languages``, or when a part or a column is missing.
    """
    dataset = DATASETS[name]
    codes = languages_of(dataset, languages)
    return _rows(dataset, source_of(dataset, source, codes), codes, limit)


def languages_of(dataset: Dataset, languages: Collection[str] | None) -> list[str]:
    """Those of ``languages`` (None: all) that a data set has; raises BadInput when it has none of them."""
    codes = [code for code in dataset.languages if languages is None or code in languages]
    if not codes:
        raise BadInput(f"{dataset.name} has none of the languages asked for; it has {', '.join(dataset.languages)}.")
    return codes


def _source(config: Config, dataset: Dataset) -> Source:
    codes = languages_of(dataset, config.languages)
    return source_of(dataset, config.source, codes, config.revisions.get(dataset.hub, ""))


def _rows(dataset: Dataset, source: Source, codes: list[str], limit: int | None) -> list[Row]:
    rows = [row for code in codes for row in dataset.build(code, source.fetch)[:limit]]
    return [{"reference": None, "options": None, "answer": None} | row for row in rows]
