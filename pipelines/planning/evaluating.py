"""What an evaluation does: answers written, options read, judgements asked for."""

from collections.abc import Mapping
from dataclasses import dataclass

from components.evaluation.settings import GENERATIVE, Benchmark, Config, ServedJudgeSettings, TruthJudgeSettings
from pipelines.planning.assumptions import BenchmarkTokens, Planning
from pipelines.planning.benchmarks import PUBLIC
from pipelines.planning.formulas import Decoding, forward_flops, mean_and_longest
from pipelines.planning.work import BYTES_PER_TOKEN, Asked, Made, Model, Questions, Work

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
        rows = 1 if self.benchmark.name in LETTERED else 2 if self.benchmark.name in PAIRED else OPTIONS
        return self.count * rows * (self.tokens.question + self.tokens.answer)


def evaluate(config: Config, inputs: Mapping[str, Made], planning: Planning) -> Work:
    """The work of an evaluation of ``model`` on ``questions`` against the opponents among the inputs."""
    model, questions = inputs["model"], inputs["questions"]
    assert isinstance(model, Model) and isinstance(questions, Questions)
    items = [_item(benchmark, questions, planning) for benchmark in config.benchmarks]
    decodings = [_decoding(config, item, planning) for item in items if item.benchmark.kind in GENERATIVE]
    read, written = sum(item.read() for item in items), sum(each.tokens for each in decodings)
    opponents = sum(name in inputs for name in ("baseline", "previous"))
    return Work(
        rows=sum(item.count for item in items),
        generated=written,
        read=read,
        reading_flops=forward_flops(model.shape, read),
        decoding_flops=sum(each.flops(model.shape) for each in decodings),
        decoding_bytes=sum(each.bytes(model.shape, model.width) for each in decodings),
        stored=(read + written) * BYTES_PER_TOKEN,
        weights=model.bytes,
        asked=_judged(config, items, opponents, planning),
    )


def _item(benchmark: Benchmark, questions: Questions, planning: Planning) -> _Item:
    name = benchmark.name
    public = PUBLIC[name].tokens if name in PUBLIC else None
    default = BenchmarkTokens(question=planning.prompt_tokens, answer=planning.completion_tokens)
    return _Item(benchmark, questions.counts[name], planning.benchmark_tokens.get(name) or public or default)


def _decoding(config: Config, item: _Item, planning: Planning) -> Decoding:
    limit = item.benchmark.max_new_tokens or config.generation.max_new_tokens
    mean, longest = mean_and_longest(item.tokens.answer, planning.longest_over_mean, limit)
    return Decoding(item.count, item.tokens.question, mean, longest, config.generation.batch_size)


def _judged(config: Config, items: list[_Item], opponents: int, planning: Planning) -> tuple[Asked, ...]:
    """Every answer against every opponent's, in both orders; nothing where the truth is the judge."""
    judge = config.judge
    if isinstance(judge, TruthJudgeSettings) or not opponents:
        return ()
    if isinstance(judge, ServedJudgeSettings):
        url, model, concurrency = "KServe", str(judge.served.source), judge.served.concurrency
    else:
        url, model, concurrency = judge.url, judge.model, judge.concurrency
    shown = {item: 2 * opponents * item.count for item in items if item.benchmark.kind == "pairwise"}
    requests = sum(shown.values())
    sent = sum(count * (INSTRUCTIONS + item.tokens.question + 2 * item.tokens.answer) for item, count in shown.items())
    written = requests * min(planning.judgement_tokens, judge.max_new_tokens)
    return (Asked(url, model, requests, sent, written, concurrency),) if requests else ()
