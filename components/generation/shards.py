"""Completions shard by shard, each finished shard kept, so that a killed run does not draw it again."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.common.canonical import digest
from components.common.errors import BadInput
from components.common.inputs import Inputs, one, optional
from components.common.languages import LANGUAGES
from components.common.records import COMPLETION, Row, read_records, write_records
from components.common.sampling import Sample

if TYPE_CHECKING:
    from components.generation.task import Config

Answer = Callable[[Sequence[str]], list[list[Sample]]]


def complete_all(config: "Config", inputs: Inputs, prompts: Sequence[Row], kept: Path) -> list[Row]:
    """COMPLETION rows of all prompts in order; finished shards are read from ``kept`` and new ones written there."""
    rows: list[Row] = []
    answer: Answer | None = None
    for start in range(0, len(prompts), config.shard):
        shard = prompts[start : start + config.shard]
        path = kept / f"{digest([[row['id'], row['prompt']] for row in shard])}.parquet"
        if not path.is_file():
            answer = answer or _engine(config, inputs)
            temporary = path.with_suffix(".partial")
            write_records(temporary, _complete(config, answer, _translator(config, inputs, answer), shard), COMPLETION)
            temporary.rename(path)
        rows += read_records(path, COMPLETION)
        print(f"{len(rows)} of {len(prompts) * config.samples} completions", flush=True)
    return rows


def _complete(config: "Config", answer: Answer, translate: Answer, shard: Sequence[Row]) -> list[Row]:
    if config.through_english is None:
        return _rows(config, shard, answer([row["prompt"] for row in shard]))
    asked = [config.through_english.answer.format(prompt=row["prompt"]) for row in shard]
    english = [samples[0] for samples in answer(asked)]
    requests = [
        config.through_english.translate.format(language=LANGUAGES[row["language"]].name, text=sample.text)
        for row, sample in zip(shard, english, strict=True)
    ]
    return _rows(config, shard, translate(requests))


def _rows(config: "Config", shard: Sequence[Row], answers: Sequence[Sequence[Sample]]) -> list[Row]:
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


def _engine(config: "Config", inputs: Inputs) -> Answer:
    if config.engine == "transformers":
        return _local(config, one(inputs, "model"))
    from components.common.endpoint import EndpointEngine

    assert config.endpoint is not None, "the configuration's validation demands one"
    engine = EndpointEngine(
        config.endpoint.url, config.endpoint.model, config.endpoint.api_key_variable, config.endpoint.concurrency
    )
    return lambda prompts: engine.sample(prompts, config.sampling())


def _translator(config: "Config", inputs: Inputs, answer: Answer) -> Answer:
    folder = optional(inputs, "translator")
    return _local(config, folder) if config.through_english and folder else answer


def _local(config: "Config", folder: Path) -> Answer:
    from components.common.models import load_causal_lm
    from components.common.sampling import sample

    model, tokenizer = load_causal_lm(folder)
    if not getattr(tokenizer, "chat_template", None):
        raise BadInput(f"{folder} has no chat template; add one to its tokenizer before sampling.")
    return lambda prompts: sample(model, tokenizer, prompts, config.sampling())
