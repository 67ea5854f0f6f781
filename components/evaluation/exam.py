"""Everything that can be known, and found wrong, before a model is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.common.errors import BadInput
from components.common.inputs import Inputs, optional
from components.common.records import Row
from components.evaluation.endpoint_judge import endpoint_judge
from components.evaluation.judge import Judge, TruthJudge
from components.evaluation.opponent import Opponent, read_opponent
from components.evaluation.questions import read_questions
from components.evaluation.settings import Benchmark, Config, TruthJudgeSettings


@dataclass(frozen=True)
class Exam:
    """The questions by benchmark; per opponent's role ("baseline", "previous") the opponent; the judge."""

    questions: Mapping[str, list[Row]]
    opponents: Mapping[str, Opponent]
    judge: Judge


def prepare(config: Config, inputs: Inputs) -> Exam:
    """Read the questions and the opponents' answers; raises BadInput where they are wrong or do not fit together."""
    folders = inputs.get("questions", [])
    if not folders:
        raise BadInput("An evaluation needs questions; add --input questions=REF, a folder with <benchmark>.parquet.")
    questions = {
        benchmark.name: read_questions(folders, benchmark, _needs_reference(config, benchmark))
        for benchmark in config.benchmarks
    }
    given: dict[str, Path | None] = {role: optional(inputs, role) for role in ("baseline", "previous")}
    opponents = {role: read_opponent(folder) for role, folder in given.items() if folder is not None}
    for opponent in opponents.values():
        for benchmark in config.of_kind("pairwise"):
            opponent.to(benchmark.name, questions[benchmark.name])
    return Exam(questions, opponents, _judge(config, asked=bool(opponents and config.of_kind("pairwise"))))


def _needs_reference(config: Config, benchmark: Benchmark) -> bool:
    truth_judged = benchmark.kind == "pairwise" and config.judge.kind == "truth"
    return benchmark.cloze or truth_judged or benchmark.kind in ("exact_match", "chrf")


def _judge(config: Config, asked: bool) -> Judge:
    if isinstance(config.judge, TruthJudgeSettings):
        return TruthJudge(config.judge.tolerance)
    judge = endpoint_judge(config.judge)
    if asked:
        judge.check()
    return judge
