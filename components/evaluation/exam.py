"""Everything that can be known, and found wrong, before a model is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.common.errors import BadInput
from components.common.inference import BringUp, brought_up, preflight, storage_uri
from components.common.inputs import Inputs, optional
from components.common.journal import Journal
from components.common.records import Row
from components.evaluation.endpoint_judge import LABEL, ServedJudge, endpoint_judge
from components.evaluation.judge import Judge, TruthJudge
from components.evaluation.opponent import Opponent, read_opponent
from components.evaluation.questions import read_questions
from components.evaluation.settings import Benchmark, Config, ServedJudgeSettings, TruthJudgeSettings
from components.evaluation.tokenizers import check_tokenizer


@dataclass(frozen=True)
class Exam:
    """The questions by benchmark; per opponent's role ("baseline", "previous") the opponent; the judge."""

    questions: Mapping[str, list[Row]]
    opponents: Mapping[str, Opponent]
    judge: Judge


def prepare(config: Config, inputs: Inputs, journal: Journal, bring_up: BringUp = brought_up) -> Exam:
    """Read the questions and the opponents' answers; raises BadInput where they are wrong or do not fit together.

    A judge that will be asked is tried: an endpoint by a question, one that will be served by a dry run of its object.
    """
    folders = inputs.get("questions", [])
    if not folders:
        raise BadInput("An evaluation needs questions; add --input questions=REF, a folder with <benchmark>.parquet.")
    if config.answers.engine == "openai" and config.of_kind("multiple_choice"):
        check_tokenizer(config.answers, inputs)
    questions = {
        benchmark.name: read_questions(folders, benchmark, _needs_reference(config, benchmark))
        for benchmark in config.benchmarks
    }
    for benchmark in config.of_kind("safety"):
        _check_benign(benchmark, questions)
    given: dict[str, Path | None] = {role: optional(inputs, role) for role in ("baseline", "previous")}
    opponents = {role: read_opponent(folder) for role, folder in given.items() if folder is not None}
    for opponent in opponents.values():
        for benchmark in config.of_kind("pairwise"):
            opponent.to(benchmark.name, questions[benchmark.name])
    asked = bool((opponents and config.of_kind("pairwise")) or config.of_kind("safety"))
    return Exam(questions, opponents, _judge(config, asked, journal, bring_up))


def _check_benign(benchmark: Benchmark, questions: Mapping[str, list[Row]]) -> None:
    languages = {row["language"] for row in questions[benchmark.name]}
    if benchmark.benign and languages.isdisjoint(row["language"] for row in questions[benchmark.benign]):
        raise BadInput(
            f"{benchmark.benign} has no question in a language of {benchmark.name} ({', '.join(sorted(languages))}), so "
            "over-refusal cannot be told; name another benchmark as benign, or set it to null."
        )


def _needs_reference(config: Config, benchmark: Benchmark) -> bool:
    truth_judged = benchmark.kind == "pairwise" and config.judge.kind == "truth"
    return benchmark.cloze or truth_judged or benchmark.kind in ("exact_match", "chrf")


def _judge(config: Config, asked: bool, journal: Journal, bring_up: BringUp) -> Judge:
    settings = config.judge
    if isinstance(settings, TruthJudgeSettings):
        return TruthJudge(settings.tolerance)
    if isinstance(settings, ServedJudgeSettings):
        if asked:
            preflight(settings.served, storage_uri(settings.served, None), LABEL)
        return ServedJudge(settings, journal, bring_up)
    judge = endpoint_judge(settings, settings, settings.model, journal)
    if asked:
        judge.check()
    return judge
