"""A model's answers: every choice in one likelihood pass, every written answer in one generation pass."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import numpy as np

from components.common.errors import Transient
from components.common.records import Row
from components.common.sampling import SamplingSettings
from components.common.statistics import Array
from components.evaluation.chrf import chrf_score, ngram_counts
from components.evaluation.confusion import count_passes
from components.evaluation.engines import Engine
from components.evaluation.exact_match import matches, matches_number, matches_number_strictly
from components.evaluation.multiple_choice import choose
from components.evaluation.settings import GENERATIVE, Benchmark, Config

Written = Mapping[str, list[Row]]


@dataclass(frozen=True)
class Answered:
    """ANSWER rows of one benchmark, and what its figure is a function of: one row of ``statistics`` per answer.

    ``also`` are second readings of the same answers, one value per answer, by the name of their metric.
    """

    rows: list[Row]
    statistics: Array = field(default_factory=lambda: np.empty((0, 0)))
    also: Mapping[str, list[float]] = field(default_factory=dict)


def answer_all(
    config: Config, opened: AbstractContextManager[Engine], questions: Mapping[str, list[Row]]
) -> dict[str, Answered]:
    """Open the engine once and let it answer every benchmark; scored, except where a judge is needed.

    Raises Transient, naming the settings to lower, when memory runs out.
    """
    import torch

    try:
        with opened as engine:
            return _answer_all(config, engine, questions)
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise Transient(
            f"The model does not fit into memory with these batches; lower generation.batch_size (now "
            f"{config.generation.batch_size}) or choice_batch_size (now {config.choice_batch_size})."
        ) from error


def _answer_all(config: Config, engine: Engine, questions: Mapping[str, list[Row]]) -> dict[str, Answered]:
    written = _write(config, engine, questions)
    return {
        benchmark.name: _scored(benchmark, written[benchmark.name])
        if benchmark.kind in GENERATIVE
        else _chosen(benchmark, engine, questions[benchmark.name])
        for benchmark in config.benchmarks
    }


def _chosen(benchmark: Benchmark, engine: Engine, questions: list[Row]) -> Answered:
    choices = choose(engine, questions, benchmark)
    plain = [float(choice.chosen == row["answer"]) for choice, row in zip(choices, questions, strict=True)]
    normalised = [
        float(choice.chosen_normalised == row["answer"]) for choice, row in zip(choices, questions, strict=True)
    ]
    scores, other = (normalised, plain) if benchmark.normalise else (plain, normalised)
    indices = [choice.chosen_normalised if benchmark.normalise else choice.chosen for choice in choices]
    rows = [
        _row(benchmark, question, question["options"][index], score)
        | {"reference": question["options"][question["answer"]]}
        for question, index, score in zip(questions, indices, scores, strict=True)
    ]
    return Answered(rows, _rates(scores), {"accuracy_plain" if benchmark.normalise else "accuracy_normalised": other})


def _write(config: Config, engine: Engine, questions: Mapping[str, list[Row]]) -> Written:
    """ANSWER rows by generative benchmark, without scores; benchmarks of equal length limits are sampled together."""
    benchmarks = config.of_kind(*GENERATIVE)
    limits = {benchmark.name: benchmark.max_new_tokens or config.generation.max_new_tokens for benchmark in benchmarks}
    written: dict[str, list[Row]] = {benchmark.name: [] for benchmark in benchmarks}
    for limit in sorted(set(limits.values())):
        asked = [(b, row) for b in benchmarks if limits[b.name] == limit for row in questions[b.name]]
        settings = SamplingSettings(**config.generation.model_dump() | {"max_new_tokens": limit})
        samples = engine.write([row["prompt"] for _, row in asked], settings)
        for (benchmark, question), given in zip(asked, samples, strict=True):
            row = _row(benchmark, question, given.text)
            written[benchmark.name].append(row | {"finish_reason": given.finish_reason, "tokens": given.tokens})
    return written


def _scored(benchmark: Benchmark, rows: list[Row]) -> Answered:
    if benchmark.kind in ("pairwise", "safety"):
        return Answered(rows)
    if benchmark.kind == "chrf":
        counts = ngram_counts([row["answer"] for row in rows], [row["reference"] for row in rows])
        scores = chrf_score(counts).tolist()
        return Answered(_with(rows, scores), counts)
    if benchmark.kind == "language_confusion":
        looked = count_passes(rows)
        return Answered(
            _with(rows, [passed if counted else None for passed, counted in looked[:, :2].tolist()]), looked
        )
    scores, also = _exact(benchmark, rows)
    return Answered(_with(rows, scores), _rates(scores), also)


def _exact(benchmark: Benchmark, rows: list[Row]) -> tuple[list[float], dict[str, list[float]]]:
    if benchmark.extract == "text":
        return [float(matches(row["answer"], row["reference"])) for row in rows], {}
    flexible = [float(matches_number(row["answer"], row["reference"])) for row in rows]
    strict = [float(matches_number_strictly(row["answer"], row["reference"], row["language"])) for row in rows]
    return flexible, {"accuracy_strict": strict}


def _with(rows: Sequence[Row], scores: Sequence[float | None]) -> list[Row]:
    return [row | {"score": score} for row, score in zip(rows, scores, strict=True)]


def _rates(scores: Sequence[float]) -> Array:
    return np.stack([np.asarray(scores, np.float64), np.ones(len(scores))], axis=1)


def _row(benchmark: Benchmark, question: Row, answer: str, score: float | None = None) -> Row:
    kept = {name: question[name] for name in ("id", "group", "language", "prompt", "reference")}
    return kept | {"benchmark": benchmark.name, "answer": answer, "score": score}
