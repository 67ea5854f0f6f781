"""What each stage makes of what it is given: one function per stage, counts at the upper bound (nothing dropped)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from components.arbitrage.task import Config as Arbitrage
from components.common.endpoints import Served
from components.common.training import TrainingConfig
from components.dpo.task import Config as DPO
from components.generation.task import Config as Generation
from components.merging.task import Config as Merging
from components.preference.task import Config as Preference
from components.prompts.task import Config as Prompts
from components.scoring.task import Config as Scoring
from components.sft.task import Config as SFT
from pipelines.planning.assumptions import Planning
from pipelines.planning.evaluating import evaluate
from pipelines.planning.formulas import (
    CHECKPOINT_BYTES,
    CHECKPOINTS,
    TRAINING_BYTES,
    Decoding,
    forward_flops,
    mean_and_longest,
    trained_rows,
    training_flops,
)
from pipelines.planning.sources import build_miniature, fetch_questions, fetch_weights, find_shape
from pipelines.planning.walking import PlannedStep
from pipelines.planning.work import BYTES_PER_TOKEN, Asked, Made, Model, Portions, Rows, Serving, Work, batch_of

Inputs = Mapping[str, Made]


def estimate(step: PlannedStep, inputs: Inputs, planning: Planning) -> Work:
    """The work of one step, given what its inputs are; raises BadInput for a benchmark without questions."""
    return STAGES[step.stage](step.config, inputs, planning)


def _prompts(config: Prompts, inputs: Inputs, planning: Planning) -> Work:
    rows = sum(config.portions.values())
    stored = rows * planning.prompt_tokens * BYTES_PER_TOKEN
    return Work(made=Portions(config.portions, frozenset(config.languages)), rows=rows, stored=stored)


def _generation(config: Generation, inputs: Inputs, planning: Planning) -> Work:
    portions, model = inputs["prompts"], inputs.get("model")
    assert isinstance(portions, Portions)
    mean, longest = mean_and_longest(planning.completion_tokens, planning.longest_over_mean, config.max_new_tokens)
    prompts, languages = float(portions.sizes[config.portion]), portions.languages
    passes = [planning.prompt_tokens]
    if config.through_english:
        foreign = languages - {"en"}
        prompts, languages = prompts * len(foreign) / len(languages), foreign
        passes.append(mean + planning.prompt_tokens)  # the English answer is the second request's prompt
    made = Rows(prompts, config.samples, planning.prompt_tokens, mean, languages)
    work = Work(made=made, rows=made.count, stored=made.bytes)
    if config.served:
        return _serving(
            work, config.served, model, [Decoding(made.count, read, mean, mean, 1) for read in passes], planning
        )
    if config.endpoint:
        requests = made.count * len(passes)
        return replace(work, asked=(Asked.of(config.endpoint, requests, made.count * sum(passes), requests * mean),))
    assert isinstance(model, Model)
    batch = max(1, config.batch_size)
    return _sampling(work, model, [Decoding(made.count, read, mean, longest, batch) for read in passes])


def _serving(work: Work, served: Served, model: Made, decodings: list[Decoding], planning: Planning) -> Work:
    """Requests follow one another without a batch that has to end, as many at once as the recipe asks."""
    shape = find_shape(served.source, planning) if served.source else model.shape if isinstance(model, Model) else None
    assert shape is not None, "check_sources comes first, and a step without a source serves its input"
    return replace(
        work,
        generated=sum(each.tokens for each in decodings),
        read=sum(each.rows * each.prompt for each in decodings),
        servings=(Serving(served, shape, tuple(replace(each, batch=batch_of(served)) for each in decodings)),),
    )


def _sampling(work: Work, model: Model, decodings: list[Decoding]) -> Work:
    read = sum(each.rows * each.prompt for each in decodings)
    return replace(
        work,
        generated=sum(each.tokens for each in decodings),
        read=read,
        reading_flops=forward_flops(model.shape, read),
        decoding_flops=sum(each.flops(model.shape) for each in decodings),
        decoding_bytes=sum(each.bytes(model.shape, model.width) for each in decodings),
        weights=model.bytes,
        cache=max(each.cache(model.shape) for each in decodings),
    )


def _scoring(config: Scoring, inputs: Inputs, planning: Planning) -> Work:
    tables = [made for name, made in inputs.items() if name.startswith("completions") and isinstance(made, Rows)]
    reward = inputs["reward"]
    assert isinstance(reward, Model)
    first = tables[0]
    made = replace(first, each=sum(table.count for table in tables) / first.prompts)
    tokens = sum(
        table.count * min(table.prompt_tokens + table.completion_tokens, config.max_length) for table in tables
    )
    flops = forward_flops(reward.shape, tokens)
    return Work(made=made, rows=made.count, read=tokens, reading_flops=flops, stored=made.bytes, weights=reward.bytes)


def _arbitrage(config: Arbitrage, inputs: Inputs, planning: Planning) -> Work:
    scored = inputs["scored"]
    assert isinstance(scored, Rows)
    made = replace(scored, each=1)
    return Work(made=made, rows=made.count, stored=made.bytes)


def _preference(config: Preference, inputs: Inputs, planning: Planning) -> Work:
    scored, translated = inputs["scored"], inputs.get("translated")
    assert isinstance(scored, Rows)
    pairs = scored.prompts if scored.each >= 2 else 0.0
    if isinstance(translated, Rows):
        pairs += translated.prompts
    made = replace(scored, prompts=min(pairs, config.maximum_pairs or pairs), each=1)
    return Work(made=made, rows=made.count, stored=made.bytes)


def _sft(config: SFT, inputs: Inputs, planning: Planning) -> Work:
    examples = inputs["examples"]
    assert isinstance(examples, Rows)
    rows = examples.count * _share(config, examples) * (config.part[1] - config.part[0])
    length = min(examples.prompt_tokens + examples.completion_tokens, config.max_length)
    return _training(config, inputs["model"], rows, length)


def _dpo(config: DPO, inputs: Inputs, planning: Planning) -> Work:
    pairs, model = inputs["pairs"], inputs["model"]
    assert isinstance(pairs, Rows) and isinstance(model, Model)
    rows = pairs.count * _share(config, pairs)
    length = 2 * min(pairs.prompt_tokens + pairs.completion_tokens, config.max_length)  # chosen and rejected
    work = _training(config, model, rows, length)
    read = min(rows, trained_rows(config, rows)) * length  # the reference reads each pair once
    return replace(work, read=read, reading_flops=forward_flops(model.shape, read))


def _training(config: TrainingConfig, model: Made, rows: float, length: float) -> Work:
    assert isinstance(model, Model)
    repeated = trained_rows(config, rows)
    tokens = repeated * length
    return Work(
        made=model,
        rows=rows,
        trained=tokens,
        training_flops=training_flops(model.shape, tokens, config.gradient_checkpointing),
        stored=model.bytes,
        working=CHECKPOINTS * CHECKPOINT_BYTES * model.shape.parameters if config.save_steps else 0,
        weights=TRAINING_BYTES * model.shape.parameters,
    )


def _share(config: TrainingConfig, rows: Rows) -> float:
    """The part of the rows in the configuration's languages, prompts being spread evenly."""
    return 1.0 if config.languages is None else len(rows.languages & set(config.languages)) / len(rows.languages)


def _merging(config: Merging, inputs: Inputs, planning: Planning) -> Work:
    model = inputs["model_1"]
    assert isinstance(model, Model)
    return Work(made=model, stored=model.bytes)


def _promotion(config: Any, inputs: Inputs, planning: Planning) -> Work:
    return Work(made=inputs.get("after"))  # an accepted round's model is handed on, not copied


def _nothing(config: Any, inputs: Inputs, planning: Planning) -> Work:
    return Work()


#: By the stage's folder under components.
STAGES: dict[str, Callable[[Any, Inputs, Planning], Work]] = {
    "benchmarks": lambda config, inputs, planning: fetch_questions(config, planning),
    "weights": lambda config, inputs, planning: fetch_weights(config, planning),
    "miniature": lambda config, inputs, planning: build_miniature(config, inputs.get("world"), planning),
    "prompts": _prompts,
    "generation": _generation,
    "scoring": _scoring,
    "arbitrage": _arbitrage,
    "preference": _preference,
    "sft": _sft,
    "dpo": _dpo,
    "merging": _merging,
    "evaluation": evaluate,
    "promotion": _promotion,
    "reporting": _nothing,
    "deployment": _nothing,
    "cleanup": _nothing,
}
