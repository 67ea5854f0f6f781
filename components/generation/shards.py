"""Completions shard by shard, each finished shard kept, so that a killed run does not draw it again.

Beside an unfinished shard lies the journal of the answers that an endpoint has given to its prompts so far.
"""

import json
import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from components.common.checkpoints import bring_file, checkpoint_folder, forget_file, keep_file, run_identity
from components.common.errors import BadInput
from components.common.identity import identity
from components.common.inputs import Inputs
from components.common.journal import Journal, Usage
from components.common.languages import LANGUAGES
from components.common.records import COMPLETION, Row, read_records, write_records
from components.common.sampling import Sample
from components.generation.engines import Engines, Open, open_engines

if TYPE_CHECKING:
    from components.generation.task import Config

ENGLISH = "en"
USAGE = b"usage"


@dataclass(frozen=True)
class Shard:
    """COMPLETION rows, and what an endpoint has counted for them."""

    rows: list[Row]
    usage: Usage


def complete_all(
    config: "Config", inputs: Inputs, prompts: Sequence[Row], output: Path, open_engines: Open = open_engines
) -> Shard:
    """All prompts in order as one shard; finished shards are read from the scratch beside ``output``.

    Shards are kept under a digest of the configuration and of every input, so those of another run are never taken.
    Through English, English prompts are left out: there is nothing to translate. Engines are opened for the first shard
    that is missing, so finished work brings up no endpoint, and closed in every case.
    """
    if config.through_english:
        prompts = [row for row in prompts if row["language"] != ENGLISH]
    used = [folder for name in ("prompts", "model", "translator") for folder in inputs.get(name, [])]
    kept = checkpoint_folder(output, run_identity(identity(config), used))
    rows: list[Row] = []
    usage = Usage()
    engines: Engines | None = None
    with ExitStack() as opened:
        for start in range(0, len(prompts), config.shard):
            path = kept / f"{start:09}.parquet"
            finished = _finished(path)
            if finished is None:
                engines = engines or opened.enter_context(open_engines(config, inputs))
                finished = _complete(config, engines, prompts[start : start + config.shard], path)
            rows += finished.rows
            usage += finished.usage
            print(f"{min(start + config.shard, len(prompts))} of {len(prompts)} prompts answered", flush=True)
    return Shard(rows, usage)


def _finished(path: Path) -> Shard | None:
    """A kept shard; None when there is none, or one that a power cut damaged."""
    bring_file(path)
    if path.is_file():
        with suppress(BadInput):
            rows = read_records(path, COMPLETION)
            return Shard(rows, Usage(**json.loads(pq.read_schema(path).metadata[USAGE])))
    return None


def _keep(path: Path, shard: Shard) -> None:
    temporary = path.with_suffix(".partial")
    write_records(temporary, shard.rows, COMPLETION.with_metadata({USAGE: json.dumps(asdict(shard.usage))}))
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.rename(path)
    keep_file(path)


def _complete(config: "Config", engines: Engines, shard: Sequence[Row], path: Path) -> Shard:
    """Answer one shard and keep it at ``path``; its journal outlives a failure and goes when the shard is kept."""
    noted = path.with_suffix(".jsonl")
    bring_file(noted)
    with Journal(noted, keep_file) as journal:
        finished = Shard(_answers(config, engines, shard, journal), journal.usage)
        _keep(path, finished)
        journal.remove()
        forget_file(noted)
    return finished


def _answers(config: "Config", engines: Engines, shard: Sequence[Row], journal: Journal) -> list[Row]:
    if config.through_english:
        answers = _through_english(config, engines, shard, journal)
    else:
        answers = engines.answer([row["prompt"] for row in shard], config.sampling(), journal)
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


def _through_english(config: "Config", engines: Engines, shard: Sequence[Row], journal: Journal) -> list[list[Sample]]:
    """Answers in English, drawn, and their translations, greedy. What is cut or empty in English is not translated."""
    words = config.through_english
    assert words is not None
    asked = [words.answer.format(prompt=row["prompt"]) for row in shard]
    english = engines.answer(asked, config.sampling(), journal)
    requests = [
        words.translate.format(language=LANGUAGES[row["language"]].name, text=sample.text)
        for row, samples in zip(shard, english, strict=True)
        for sample in samples
        if _is_whole(sample)
    ]
    greedy = config.sampling().model_copy(update={"samples": 1, "temperature": 0.0})
    translated = iter(engines.translate(requests, greedy, journal))
    return [
        [next(translated)[0] if _is_whole(each) else Sample("", each.finish_reason, each.tokens) for each in samples]
        for samples in english
    ]


def _is_whole(sample: Sample) -> bool:
    return sample.finish_reason == "stop" and bool(sample.text.strip())
