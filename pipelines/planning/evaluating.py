"""What an evaluation does: answers written, options read, judgements asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from components.common.errors import BadInput
from components.evaluation.settings import (
    GENERATIVE,
    Benchmark,
    Config,
    EndpointJudgeSettings,
    LanguageJudge,
    ServedJudgeSettings,
)
from pipelines.planning.assumptions import BenchmarkTokens, Planning
from pipelines.planning.benchmarks import PUBLIC, shared
from pipelines.planning.formulas import Decoding, forward_flops, mean_and_longest
from pipelines.planning.sources import find_shape
from pipelines.planning.work import BYTES_PER_TOKEN, Asked, Made, Model, Questions, Serving, Work, batch_of

#: Tokens of the judge's instructions (components/evaluation/endpoint_judge.py).
INSTRUCTIONS = 350
OPTIONS = 4
#: Options that are one letter share the row of their question (components/evaluation/likelihood.py).
LETTERED = frozenset({"global_mmlu", "include"})
PAIRED = frozenset({"xwinograd", "xcopa", "xstory_cloze"})


@dataclass(frozen=True)
class _Item:
    """One benchmark of one evaluation."""

    benchmark: Benchmark
    count: int
    tokens: BenchmarkTokens

    def read(self) -> float:
        """Tokens of a forward pass: the question before an answer, or the question with every option."""
        if self.benchmark.kind in GENERATIVE:
            return self.count * self.tokens.question
        return self.count * self.forward * (self.tokens.question + self.tokens.answer)

    @property
    def forward(self) -> int:
        """Rows that a question with options takes."""
        return 1 if self.benchmark.name in LETTERED else 2 if self.benchmark.name in PAIRED else OPTIONS


def evaluate(config: Config, inputs: Mapping[str, Made], planning: Planning) -> Work:
    """The work of an evaluation of ``model`` on ``questions`` against the opponents among the inputs."""
    model, questions = inputs.get("model"), inputs["questions"]
    assert isinstance(questions, Questions)
    items = [_item(benchmark, questions, planning) for benchmark in config.benchmarks]
    opponents = sum(name in inputs for name in ("baseline", "previous"))
    judgements = _judgements(config, items, opponents, planning)
    answered = _answered(config, items, model, planning)
    return replace(
        answered,
        rows=sum(item.count for item in items),
        stored=sum(item.read() for item in items) * BYTES_PER_TOKEN + answered.stored,
        asked=answered.asked + _judged(config, judgements),
        servings=answered.servings + _served(config, judgements, planning),
    )


def _answered(config: Config, items: list[_Item], model: Made, planning: Planning) -> Work:
    """What answering takes, on the step's own card, at an endpoint or on the GPUs of a served model."""
    endpoint, served = config.answers.endpoint, config.answers.served
    decodings = [_decoding(config, item, planning) for item in items if item.benchmark.kind in GENERATIVE]
    read, written = sum(item.read() for item in items), sum(each.tokens for each in decodings)
    scored = [item for item in items if item.benchmark.kind not in GENERATIVE]
    if endpoint:
        choices = sum(item.count * item.forward for item in scored)
        requests = choices + sum(each.rows for each in decodings)
        asked = Asked.of(endpoint, requests, read, written + choices)
        return Work(stored=written * BYTES_PER_TOKEN, asked=(asked,))
    work = Work(generated=written, read=read, stored=written * BYTES_PER_TOKEN)
    if served:
        shape = (
            find_shape(served.source, planning) if served.source else model.shape if isinstance(model, Model) else None
        )
        assert shape is not None, "check_sources comes first, and a step without a source serves its input"
        each = tuple(replace(decoding, batch=batch_of(served)) for decoding in decodings)
        return replace(work, servings=(Serving(served, shape, each, sum(item.read() for item in scored)),))
    assert isinstance(model, Model)
    return replace(
        work,
        reading_flops=forward_flops(model.shape, read),
        decoding_flops=sum(each.flops(model.shape) for each in decodings),
        decoding_bytes=sum(each.bytes(model.shape, model.width) for each in decodings),
        weights=model.bytes,
        cache=max((each.cache(model.shape) for each in decodings), default=0),
    )


def _item(benchmark: Benchmark, questions: Questions, planning: Planning) -> _Item:
    name = benchmark.name
    if name not in questions.counts:
        raise BadInput(
            f"The benchmark {name!r} has no questions in this run, which makes those of {', '.join(questions.counts)}; add "
            "it to benchmarks.names, or take it out of the evaluation."
        )
    public = PUBLIC[name].tokens if name in PUBLIC else None
    default = BenchmarkTokens(question=planning.prompt_tokens, answer=planning.completion_tokens)
    return _Item(benchmark, questions.counts[name], planning.benchmark_tokens.get(name) or public or default)


def _decoding(config: Config, item: _Item, planning: Planning) -> Decoding:
    limit = item.benchmark.max_new_tokens or config.generation.max_new_tokens
    mean, longest = mean_and_longest(item.tokens.answer, planning.longest_over_mean, limit)
    return Decoding(item.count, item.tokens.question, mean, longest, config.generation.batch_size)


@dataclass(frozen=True)
class _Judgements:
    """Comparisons that a language model is asked for, with mean tokens shown to it and written by it."""

    count: float
    shown: float
    written: float


def _judgements(config: Config, items: list[_Item], opponents: int, planning: Planning) -> _Judgements:
    """Every answer against every opponent's, in both orders, and what is read for safety; nothing where the truth judges."""
    pairs = [(item, 2 * opponents * item.count, 2) for item in items if item.benchmark.kind == "pairwise"]
    read = [
        (item, count, 1)
        for safety in items
        if safety.benchmark.kind == "safety"
        for item, count in _read(safety, items)
    ]
    total = sum(count for _, count, _ in pairs + read)
    if not total or not isinstance(config.judge, LanguageJudge):
        return _Judgements(0, 0, 0)
    shown = sum(
        count * (INSTRUCTIONS + item.tokens.question + answers * item.tokens.answer)
        for item, count, answers in pairs + read
    )
    return _Judgements(total, shown / total, min(planning.judgement_tokens, config.judge.max_new_tokens))


def _read(safety: _Item, items: list[_Item]) -> list[tuple[_Item, float]]:
    """How many answers are read of a safety benchmark, and of the benign requests in its languages."""
    benign = [item for item in items if item.benchmark.name == safety.benchmark.benign]
    return [
        (safety, safety.count),
        *((item, item.count * shared(safety.benchmark.name, item.benchmark.name)) for item in benign),
    ]


def _judged(config: Config, judgements: _Judgements) -> tuple[Asked, ...]:
    judge = config.judge
    if not isinstance(judge, EndpointJudgeSettings) or not judgements.count:
        return ()
    sent, written = judgements.count * judgements.shown, judgements.count * judgements.written
    return (Asked.of(judge, judgements.count, sent, written),)


def _served(config: Config, judgements: _Judgements, planning: Planning) -> tuple[Serving, ...]:
    judge = config.judge
    if not isinstance(judge, ServedJudgeSettings) or not judgements.count:
        return ()
    shape = find_shape(str(judge.served.source), planning)
    assert shape is not None, "check_sources comes first"
    each = Decoding(judgements.count, judgements.shown, judgements.written, judgements.written, batch_of(judge.served))
    return (Serving(judge.served, shape, (each,)),)
