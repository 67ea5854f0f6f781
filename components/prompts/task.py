"""Load prompts, check, deduplicate and decontaminate them, and deal them out in disjoint portions."""

import os
from collections import Counter
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from components.common.artifacts import Scalar
from components.common.canonical import file_digest
from components.common.errors import BadInput
from components.common.inputs import Inputs
from components.common.languages import LANGUAGES
from components.common.records import PROMPT, write_records
from components.prompts.cleaning import Dropped, clean
from components.prompts.contamination import Decontaminator
from components.prompts.portions import deal
from components.prompts.reading import read_prompts

DROPPED_FILE = "dropped.parquet"


class Config(BaseModel):
    """``portions`` maps a portion's name to its number of prompts; ``files`` are JSONL or Parquet beside the input ``world``.

    The step fails when more than ``max_bad_share`` of the lines cannot be used. ``ngram`` words in common with an evaluation
    question make a prompt contaminated (0: only equal prompts are).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    languages: tuple[str, ...] = tuple(LANGUAGES)
    portions: dict[str, int] = Field(min_length=1)
    files: tuple[str, ...] = ()
    max_characters: int = Field(default=20_000, ge=1)
    max_bad_share: float = Field(default=0.01, ge=0, le=1)
    ngram: int = Field(default=0, ge=0)
    seed: int = Field(default=0, ge=0)

    @field_validator("portions")
    @classmethod
    def _named_and_positive(cls, portions: dict[str, int]) -> dict[str, int]:
        for name, count in portions.items():
            if count < 1 or not name.replace("-", "").isalnum() or name == Path(DROPPED_FILE).stem:
                raise ValueError(f"{name!r}: {count} is no portion; use a plain name and at least one prompt")
        return portions


def outside(config: Config) -> dict[str, list[str]]:
    """The digests of the files that the configuration names, so that an edited file is another input."""
    missing = [name for name in config.files if not (Path(name).is_file() and os.access(name, os.R_OK))]
    if missing:
        raise BadInput(f"{missing[0]} is not there or may not be read; correct prompts.files.")
    return {"files": [file_digest(Path(name)) for name in config.files]} if config.files else {}


def run(config: Config, inputs: Inputs, output: Path) -> dict[str, Scalar]:
    """Write ``<portion>.parquet`` for every portion and dropped.parquet with the reason for every row left out.

    Metrics: prompts, read, dropped, dropped_<reason>. Raises BadInput for unreadable files, too many bad lines, an id with two
    texts, or fewer usable prompts than the portions ask for.
    """
    paths = [Path(name) for name in config.files] + [folder / "prompts.parquet" for folder in inputs.get("world", [])]
    if not paths:
        raise BadInput("prompts.files: there is no file to read prompts from; name JSONL or Parquet files.")
    dropped: list[Dropped] = []
    rows = [row for path in paths for row in read_prompts(path, config.max_characters, dropped)]
    if not rows and not dropped:
        raise BadInput(f"{paths[0]} holds no prompts; give a file with at least one.")
    _check_share(config, len(rows), len(dropped), paths)
    contaminated = Decontaminator(inputs.get("questions", []), config.ngram)
    usable = clean(rows, config.languages, contaminated, dropped)
    portions = deal(usable, config.portions, config.seed)
    for name, chosen in portions.items():
        write_records(output / f"{name}.parquet", chosen, PROMPT)
    write_records(output / DROPPED_FILE, [one.row() for one in dropped], Dropped.SCHEMA)
    reasons = Counter(one.reason for one in dropped)
    return {
        "prompts": sum(map(len, portions.values())),
        "read": len(rows) + sum(one.unreadable for one in dropped),
        "dropped": len(dropped),
        **{f"dropped_{reason.replace(' ', '_')}": count for reason, count in sorted(reasons.items())},
    }


def _check_share(config: Config, good: int, bad: int, paths: list[Path]) -> None:
    share = bad / (good + bad)
    if share > config.max_bad_share:
        raise BadInput(
            f"{paths[0]}: {bad} of {good + bad} lines cannot be used, more than the {config.max_bad_share:.1%} that "
            "prompts.max_bad_share allows; mend the file or raise the share."
        )
