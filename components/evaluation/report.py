"""results.json: every figure with its interval, what the judge was, and whether the model has regressed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.common.records import Row
from components.common.statistics import Figure
from components.evaluation.answering import Answered
from components.evaluation.behaviour import behaviour
from components.evaluation.chrf import chrf_score
from components.evaluation.confusion import pass_rates
from components.evaluation.endpoint_judge import EndpointJudge
from components.evaluation.exam import Exam
from components.evaluation.harm import read_answers, safety_entries
from components.evaluation.judge import Judge
from components.evaluation.opponent import Opponent
from components.evaluation.pairwise import judge_answers
from components.evaluation.regression import regressions
from components.evaluation.results import Entry, entry, mean_entry, rate
from components.evaluation.settings import METRICS, PREVIOUS, Benchmark, Config

#: What an opponent's role adds to a benchmark's name in results.json.
SUFFIX = {"baseline": "", "previous": PREVIOUS}
NO_OPPONENT = "No opponent was given, so no win-rate was measured: this model is the baseline."
NO_LINE = "No answer to {} had a line of five words, so it was not measured."


@dataclass(frozen=True)
class Judged:
    """JUDGEMENT rows by benchmark and opponent's role; HARM rows by safety benchmark and by what was read for it."""

    pairs: Mapping[tuple[str, str], list[Row]]
    read: Mapping[str, Mapping[str, list[Row]]]


def judge_all(config: Config, exam: Exam, answers: Mapping[str, Answered]) -> Judged:
    """All that a judge is needed for, in one sitting."""
    pairwise, safety = config.of_kind("pairwise") if exam.opponents else [], config.of_kind("safety")
    if not (pairwise or safety):
        return Judged({}, {})
    with exam.judge.sitting() as judge:
        pairs = {
            (benchmark.name, role): _pairs(exam, benchmark, opponent, answers[benchmark.name].rows, judge)
            for benchmark in pairwise
            for role, opponent in exam.opponents.items()
        }
        return Judged(pairs, {benchmark.name: _read(benchmark, answers, judge) for benchmark in safety})


def _pairs(exam: Exam, benchmark: Benchmark, opponent: Opponent, rows: Sequence[Row], judge: Judge) -> list[Row]:
    questions = exam.questions[benchmark.name]
    mine = {row["id"]: row["answer"] for row in rows}
    theirs = {row["id"]: row["answer"] for row in opponent.to(benchmark.name, questions)}
    judged = judge_answers(questions, mine, opponent.name, theirs, judge)
    return [row | {"benchmark": benchmark.name} for row in judged]


def _read(benchmark: Benchmark, answers: Mapping[str, Answered], judge: Judge) -> dict[str, list[Row]]:
    """The benchmark's own answers, and those to benign requests in its languages."""
    assert isinstance(judge, EndpointJudge), "the settings demand a language model for safety"
    rows = answers[benchmark.name].rows
    found = {benchmark.name: read_answers(rows, judge)}
    if benchmark.benign:
        languages = {row["language"] for row in rows}
        benign = [row for row in answers[benchmark.benign].rows if row["language"] in languages]
        found[benchmark.benign] = read_answers(benign, judge)
    return found


def report(config: Config, exam: Exam, answers: Mapping[str, Answered], judged: Judged) -> dict[str, Any]:
    """The content of results.json."""
    entries: dict[str, Entry] = {}
    for benchmark in config.benchmarks:
        for role in exam.opponents if benchmark.kind == "pairwise" else ():
            entries[benchmark.name + SUFFIX[role]] = _win_rate(config, benchmark, judged.pairs[benchmark.name, role])
        if benchmark.kind == "language_confusion":
            entries |= _pass_rates(config, benchmark, answers[benchmark.name])
        elif benchmark.kind == "safety":
            entries |= safety_entries(benchmark, judged.read[benchmark.name], config.bootstrap.build())
        elif benchmark.kind != "pairwise":
            entries[benchmark.name] = _figure(config, benchmark, answers[benchmark.name])
    bootstrap = config.bootstrap.build()
    written = [row for benchmark in config.of_kind("pairwise") for row in answers[benchmark.name].rows]
    reasons = _reasons(config, exam, entries, written)
    notes = [NO_OPPONENT] if config.of_kind("pairwise") and "baseline" not in exam.opponents else []
    notes += [NO_LINE.format(each.name) for each in config.of_kind("language_confusion") if each.name not in entries]
    return {
        "name": config.name,
        "judge": exam.judge.name,
        "regressed": bool(reasons),
        "reasons": reasons,
        "notes": notes,
        "benchmarks": entries,
        "behaviour": behaviour(written, bootstrap),
    }


def headlines(results: Mapping[str, Any]) -> dict[str, float | int | str]:
    """The few figures by which runs are compared, under names that stay."""
    metrics: dict[str, float | int | str] = {"regressed": int(results["regressed"])}
    for name, figures in results["benchmarks"].items():
        metrics[f"{name}/{figures['metric']}"] = figures["value"]
        if figures["kind"] == "pairwise":
            metrics |= {f"{name}/low": figures["low"], f"{name}/high": figures["high"]}
        if figures.get("unparsed"):
            metrics[f"{name}/unparsed"] = figures["unparsed"]
    return metrics | {name: figures["value"] for name, figures in results["behaviour"].items()}


def _win_rate(config: Config, benchmark: Benchmark, rows: Sequence[Row]) -> Entry:
    outcomes = [row["outcome"] for row in rows]
    swapped = sum(abs(row["first_order"] - row["second_order"]) == 1 for row in rows)
    return (
        _head(benchmark)
        | {"opponent": rows[0]["opponent"]}
        | mean_entry(outcomes, rows, config.bootstrap.build(), benchmark.average == "languages")
        | {
            "wins": sum(outcome > 0.5 for outcome in outcomes),
            "ties": sum(outcome == 0.5 for outcome in outcomes),
            "losses": sum(outcome < 0.5 for outcome in outcomes),
            "order_decided": swapped,
            "unparsed": sum(not row["parsed"] for row in rows),
        }
    )


def _figure(config: Config, benchmark: Benchmark, answered: Answered) -> Entry:
    figure: Figure = chrf_score if benchmark.kind == "chrf" else rate
    over_languages = benchmark.kind == "chrf" or benchmark.average == "languages"
    bootstrap = config.bootstrap.build()
    also = {
        name: mean_entry(values, answered.rows, bootstrap, over_languages)["value"]
        for name, values in answered.also.items()
    }
    return (
        _head(benchmark) | entry(answered.statistics, figure, answered.rows, bootstrap, over_languages) | {"also": also}
    )


def _pass_rates(config: Config, benchmark: Benchmark, answered: Answered) -> dict[str, Entry]:
    over_languages = benchmark.average == "languages"
    return pass_rates(benchmark.name, answered.statistics, answered.rows, config.bootstrap.build(), over_languages)


def _head(benchmark: Benchmark) -> Entry:
    return {"kind": benchmark.kind, "metric": METRICS[benchmark.kind]}


def _reasons(config: Config, exam: Exam, entries: Mapping[str, Entry], written: Sequence[Row]) -> list[str]:
    previous = exam.opponents.get("previous")
    if previous is None:
        return []
    names = [benchmark.name for benchmark in config.of_kind("pairwise")]
    before = [row for name in names for row in previous.to(name, exam.questions[name])]
    against = {name: entries[name + SUFFIX["previous"]] for name in names}
    found = regressions(against, written, before, config.regression, config.bootstrap.build())
    lasting = config.regression.lasting and previous.regressed
    return [*found, f"{previous.name} had regressed, and nothing after it counts."] if lasting else found
