"""Evaluate one model: ask it everything, score it, compare it with the baseline and with the step before."""

import json
from dataclasses import asdict
from pathlib import Path

from components.common.checkpoints import bring_file, checkpoint_folder, keep_file, run_identity
from components.common.endpoints import Endpoint
from components.common.identity import identity
from components.common.inference import BringUp, brought_up
from components.common.inputs import Inputs, one
from components.common.journal import Journal, Usage
from components.common.records import write_records
from components.evaluation.settings import Config, EndpointJudgeSettings

__all__ = ["Config", "run"]


def by_reference(config: Config) -> frozenset[str]:
    """Of a model that answers elsewhere nothing but its tokenizer is fetched to this machine."""
    return frozenset({"model"}) if config.answers.engine == "openai" else frozenset()


def run(config: Config, inputs: Inputs, output: Path, bring_up: BringUp = brought_up) -> dict[str, float | int | str]:
    """Write results.json, answers.parquet, judgements.parquet and, of safety, harm.parquet; returns the headline figures.

    Answers, likelihoods and verdicts are noted beside the output as they come, so that a killed evaluation goes on where
    it was.

    Inputs: ``model``, unless an endpoint or a ``served.source`` answers; ``questions`` (folders with
    <benchmark>.parquet); ``baseline`` and ``previous`` (evaluations, optional).
    """
    from components.evaluation.answering import answer_all
    from components.evaluation.engines import open_engine
    from components.evaluation.exam import prepare
    from components.evaluation.harm import HARM
    from components.evaluation.pairwise import JUDGEMENT
    from components.evaluation.report import headlines, judge_all, report
    from components.evaluation.results import ANSWER

    if config.answers.engine == "transformers":
        one(inputs, "model")
    with _journal(config, [], output, "verdicts") as verdicts:
        exam = prepare(config, inputs, verdicts, bring_up)
        used = [folder for role in ("model", "questions") for folder in inputs.get(role, [])]
        with _journal(config, used, output, "answers") as noted:
            answers = answer_all(config, open_engine(config, inputs, noted, bring_up), exam.questions)
        judged = judge_all(config, exam, answers)
    results = report(config, exam, answers, judged)
    write_records(output / "answers.parquet", (row for answered in answers.values() for row in answered.rows), ANSWER)
    write_records(output / "judgements.parquet", (row for rows in judged.pairs.values() for row in rows), JUDGEMENT)
    if judged.read:
        read = (row for parts in judged.read.values() for rows in parts.values() for row in rows)
        write_records(output / "harm.parquet", read, HARM)
    text = json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False)
    (output / "results.json").write_text(text + "\n", encoding="utf-8")
    judge = config.judge if isinstance(config.judge, EndpointJudgeSettings) else None
    spent = _spent("judge", verdicts.usage, judge)
    if config.answers.engine == "openai":
        spent |= _spent("answers", noted.usage, config.answers.endpoint)
    return headlines(results) | spent


def _journal(config: Config, used: list[Path], output: Path, name: str) -> Journal:
    """What an earlier attempt at the very same evaluation has noted, here or on another machine."""
    path = checkpoint_folder(output, run_identity(identity(config), used)) / f"{name}.jsonl"
    bring_file(path)
    return Journal(path, keep_file)


def _spent(name: str, usage: Usage, prices: Endpoint | None) -> dict[str, float | int | str]:
    """What a language model behind an endpoint has read and written, and its cost where the recipe gives prices."""
    if usage == Usage():
        return {}
    cost = usage.cost(prices.input_price, prices.output_price) if prices else None
    spent = {f"{name}/{field}": value for field, value in asdict(usage).items()}
    return {**spent, **({} if cost is None else {f"{name}/cost": cost})}
