"""Turn published data sets into the questions of an evaluation, once, so that no later step depends on the hub."""

from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from components.benchmarks.dataset import source_of
from components.benchmarks.registry import DATASETS
from components.common.errors import BadInput
from components.common.inputs import Inputs
from components.common.records import QUESTION, Row, write_records


class Config(BaseModel):
    """``names`` are data sets of the registry; ``source`` is "hub", or a folder that holds their downloads.

    ``languages`` (codes such as "de"; null: all) are asked of every data set that has them; ``limit`` keeps the first
    so many questions of each language.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: tuple[str, ...] = Field(min_length=1)
    source: str = "hub"
    languages: tuple[str, ...] | None = None
    limit: int | None = Field(default=None, gt=0)

    @field_validator("names")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in DATASETS]
        if unknown:
            raise ValueError(f"there is no data set {unknown[0]!r}; there are {', '.join(DATASETS)}")
        return names


def run(config: Config, inputs: Inputs, output: Path) -> dict[str, float | int | str]:
    """Write ``<name>.parquet`` (QUESTION) for every data set; returns the number of questions of each."""
    return {
        name: write_records(
            output / f"{name}.parquet", load(name, config.source, config.languages, config.limit), QUESTION
        )
        for name in config.names
    }


def load(name: str, source: str, languages: Iterable[str] | None = None, limit: int | None = None) -> list[Row]:
    """QUESTION rows of one data set, at most ``limit`` per language.

    ``source`` is "hub", or a folder with ``<data set>/<configuration>/<split>*.parquet`` (or .jsonl), as downloads from
    the hub are laid out. Raises BadInput when it has none of ``languages``, or when a part or a column is missing.
    """
    dataset = DATASETS[name]
    chosen = [code for code in dataset.languages if languages is None or code in set(languages)]
    if not chosen:
        raise BadInput(f"{name} has none of the languages asked for; it has {', '.join(dataset.languages)}.")
    fetch = source_of(dataset, source)
    rows = [row for code in chosen for row in dataset.build(code, fetch)[:limit]]
    return [{"reference": None, "options": None, "answer": None} | row for row in rows]
