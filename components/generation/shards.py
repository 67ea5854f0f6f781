"""Completions shard by shard, each finished shard kept, so that a killed run does not draw it again."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from components.common.checkpoints import checkpoint_folder, run_identity
from components.common.errors import BadInput
from components.common.inputs import Inputs
from components.common.languages import LANGUAGES
from components.common.records import COMPLETION, Row, read_records, write_records
from components.common.sampling import Sample
from components.generation.engines import Engines, open_engines

if TYPE_CHECKING:
    from components.generation.task import Config

ENGLISH = "en"


def complete_all(config: "Config", inputs: Inputs, prompts: Sequence[Row], output: Path) -> list[Row]:
    """COMPLETION rows of all prompts in order; those of finished shards are read from the scratch beside ``output``.

    Shards are kept under a digest of the configuration and of every input, so those of another run are never taken.
    Through English, English prompts are left out: there is nothing to translate.
    """
    if config.through_english:
        prompts = [row for row in prompts if row["language"] != ENGLISH]
    used = [folder for name in ("prompts", "model", "translator") for folder in inputs.get(name, [])]
    kept = checkpoint_folder(output, run_identity(config.model_dump(mode="json"), used))
    rows: list[Row] = []
    engines: Engines | None = None
    for start in range(0, len(prompts), config.shard):
        path = kept / f"{start:09}.parquet"
        finished = _finished(path)
        if finished is None:
            engines = engines or open_engines(config, inputs)
            finished = _complete(config, engines, prompts[start : start + config.shard])
            _keep(path, finished)
        rows += finished
        print(f"{min(start + config.shard, len(prompts))} of {len(prompts)} prompts answered", flush=True)
    return rows


def _finished(path: Path) -> list[Row] | None:
    """The rows of a kept shard; None when there is none, or one that a power cut damaged."""
    if path.is_file():
        with suppress(BadInput):
            return read_records(path, COMPLETION)
    return None


def _keep(path: Path, rows: list[Row]) -> None:
    temporary = path.with_suffix(".partial")
    write_records(temporary, rows, COMPLETION)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.rename(path)


def _complete(config: "Config", engines: Engines, shard: Sequence[Row]) -> list[Row]:
    if config.through_english:
        answers = _through_english(config, engines, shard)
    else:
        answers = engines.answer([row["prompt"] for row in shard], config.sampling())
    return [
        {
            **{name: row[name] for name in ("id", "language", "prompt")},
            "model": config.model,
            "sample": number,
            "completion": sample.text,
            "finish_reason": sample.finish_reason,
            "tokens": sample.tokens,
        }
        for row, samples in zip(shard, answers, strict=True)
        for number, sample in enumerate(samples)
    ]


def _through_english(config: "Config", engines: Engines, shard: Sequence[Row]) -> list[list[Sample]]:
    """Answers in English, drawn, and their translations, greedy. What is cut or empty in English is not translated."""
    words = config.through_english
    assert words is not None
    english = engines.answer([words.answer.format(prompt=row["prompt"]) for row in shard], config.sampling())
    requests = [
        words.translate.format(language=LANGUAGES[row["language"]].name, text=sample.text)
        for row, samples in zip(shard, english, strict=True)
        for sample in samples
        if _is_whole(sample)
    ]
    greedy = config.sampling().model_copy(update={"samples": 1, "temperature": 0.0})
    translated = iter(engines.translate(requests, greedy))
    return [
        [next(translated)[0] if _is_whole(each) else Sample("", each.finish_reason, each.tokens) for each in samples]
        for samples in english
    ]


def _is_whole(sample: Sample) -> bool:
    return sample.finish_reason == "stop" and bool(sample.text.strip())
