"""Evaluate one model: ask it everything, score it, compare it with the baseline and with the step before."""

import json
from dataclasses import asdict
from pathlib import Path

from components.common.checkpoints import bring_file, checkpoint_folder, keep_file
from components.common.inference import BringUp, brought_up
from components.common.inputs import Inputs, one
from components.common.journal import Journal, Usage
from components.common.records import write_records
from components.evaluation.settings import Config, EndpointJudgeSettings

__all__ = ["Config", "run"]


def run(config: Config, inputs: Inputs, output: Path, bring_up: BringUp = brought_up) -> dict[str, float | int | str]:
    """Write results.json, answers.parquet and judgements.parquet; returns the headline figures.

    What a language model has judged is noted beside the output, so that a killed evaluation does not pay for it again.

    Inputs: ``model``; ``questions`` (folders with <benchmark>.parquet); ``baseline`` and ``previous`` (evaluations,
    optional).
    """
    from components.evaluation.answering import answer_all
    from components.evaluation.exam import prepare
    from components.evaluation.pairwise import JUDGEMENT
    from components.evaluation.report import headlines, judge_all, report
    from components.evaluation.results import ANSWER

    folder = one(inputs, "model")
    noted = checkpoint_folder(output, "judge") / "verdicts.jsonl"
    bring_file(noted)
    with Journal(noted, keep_file) as journal:
        exam = prepare(config, inputs, journal, bring_up)
        answers = answer_all(config, folder, exam.questions)
        judged = judge_all(config, exam, answers)
    results = report(config, exam, answers, judged)
    write_records(output / "answers.parquet", (row for answered in answers.values() for row in answered.rows), ANSWER)
    write_records(output / "judgements.parquet", (row for rows in judged.values() for row in rows), JUDGEMENT)
    text = json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False)
    (output / "results.json").write_text(text + "\n", encoding="utf-8")
    return headlines(results) | _spent(config, journal.usage)


def _spent(config: Config, usage: Usage) -> dict[str, float | int | str]:
    """What a language model as judge has read and written, and its cost where the recipe gives prices."""
    if usage == Usage():
        return {}
    prices = config.judge if isinstance(config.judge, EndpointJudgeSettings) else None
    cost = usage.cost(prices.input_price, prices.output_price) if prices else None
    spent = {f"judge/{name}": value for name, value in asdict(usage).items()}
    return {**spent, **({} if cost is None else {"judge/cost": cost})}
