"""The folder that every tiny model is built from: facts, prompts, held-out questions and the tokenizer."""

from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, PositiveInt, field_validator

from components.common.records import PROMPT, QUESTION, read_records, write_records
from components.miniature.facts import Fact, Split, all_facts, digest, split_of
from components.miniature.phrases import LANGUAGES
from components.miniature.questions import BENCHMARKS, checks, draw, held_out
from components.miniature.tokenizer import train_tokenizer

__all__ = ["World", "build_world", "read_facts", "read_tokenizer"]

TOKENIZER = "tokenizer"
FACT = pa.schema(
    [
        ("language", pa.string()),
        ("task", pa.string()),
        ("key", pa.string()),
        ("translated", pa.bool_()),
        ("prompt", pa.string()),
        ("answer", pa.string()),
    ]
)


class World(BaseModel):
    """Size of the world. All counts are per language.

    ``evaluation`` is the split that questions come from: "development" while tuning, "test" to report. ``draw`` redraws
    them, and nothing else.
    ``check`` are questions from the development split, on which rounds are accepted or undone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    languages: tuple[str, ...] = LANGUAGES
    vocabulary: PositiveInt = 2048
    prompts: PositiveInt = 200
    arena: PositiveInt = 30
    facts_choice: PositiveInt = 10
    facts_exact: PositiveInt = 10
    facts_chrf: PositiveInt = 10
    check: PositiveInt = 15
    evaluation: Literal["development", "test"] = "test"
    draw: int = 0

    @field_validator("languages")
    @classmethod
    def _known(cls, languages: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(languages) - set(LANGUAGES))
        if unknown or not languages:
            raise ValueError(f"unknown language {unknown[:1]}; choose from {', '.join(LANGUAGES)}")
        return languages


def build_world(settings: World, output: Path) -> dict[str, float | int | str]:
    """Write the world into ``output``; returns how much of everything there is.

    ``prompts.parquet`` carries no truth; ``training.parquet`` and ``probes.parquet`` do, for the tiny models only.
    """
    splits: dict[Split, list[Fact]] = {"training": [], "recipe": [], "development": [], "test": []}
    for fact in all_facts(settings.languages):
        splits[split_of(fact.language, fact.task, fact.key)].append(fact)
    prompts = sorted(draw(splits["recipe"], settings.prompts, "recipe"), key=lambda fact: digest("order", fact.id))
    write_records(output / "prompts.parquet", [_prompt(fact) for fact in prompts], PROMPT)
    questions = held_out(splits[settings.evaluation], settings.model_dump(include=set(BENCHMARKS)), settings.draw)
    questions["check"] = checks(splits["development"], settings.check, settings.draw)
    for benchmark, rows in questions.items():
        write_records(output / f"{benchmark}.parquet", rows, QUESTION)
    write_records(output / "training.parquet", map(_record, splits["training"]), FACT)
    write_records(output / "probes.parquet", map(_record, splits["development"]), FACT)
    texts = (text for fact in splits["training"] for text in (fact.prompt, fact.answer))
    train_tokenizer(texts, settings.vocabulary).save_pretrained(output / TOKENIZER)
    return {
        "facts": sum(map(len, splits.values())),
        "prompts": len(prompts),
        "questions": sum(map(len, questions.values())),
    }


def read_facts(world: Path, name: str) -> list[Fact]:
    """The facts of ``training`` or ``probes``."""
    return [Fact(**row) for row in read_records(world / f"{name}.parquet", FACT)]


def read_tokenizer(world: Path) -> Any:
    """The tokenizer that all tiny models share."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(world / TOKENIZER, local_files_only=True)


def _prompt(fact: Fact) -> dict[str, Any]:
    return {"id": fact.id, "language": fact.language, "prompt": fact.prompt}


def _record(fact: Fact) -> dict[str, Any]:
    return {name: getattr(fact, name) for name in FACT.names}
