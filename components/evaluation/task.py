"""Evaluate one model: ask it everything, score it, compare it with the baseline and with the step before."""

import json
from pathlib import Path

from components.common.inputs import Inputs, one
from components.common.records import write_records
from components.evaluation.settings import Config

__all__ = ["Config", "run"]


def run(config: Config, inputs: Inputs, output: Path) -> dict[str, float | int | str]:
    """Write results.json, answers.parquet and judgements.parquet; returns the headline figures.

    Inputs: ``model``; ``questions`` (folders with <benchmark>.parquet); ``baseline`` and ``previous`` (evaluations,
    optional).
    """
    from components.evaluation.answering import answer_all
    from components.evaluation.exam import prepare
    from components.evaluation.pairwise import JUDGEMENT
    from components.evaluation.report import headlines, judge_all, report
    from components.evaluation.results import ANSWER

    folder = one(inputs, "model")
    exam = prepare(config, inputs)
    answers = answer_all(config, folder, exam.questions)
    judged = judge_all(config, exam, answers)
    results = report(config, exam, answers, judged)
    write_records(output / "answers.parquet", (row for answered in answers.values() for row in answered.rows), ANSWER)
    write_records(output / "judgements.parquet", (row for rows in judged.values() for row in rows), JUDGEMENT)
    text = json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False)
    (output / "results.json").write_text(text + "\n", encoding="utf-8")
    return headlines(results)
