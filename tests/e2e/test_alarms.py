"""Rewards that rise while answers get worse: a real training runs away, and the loop of rounds goes back and ends."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.common.inputs import PassThrough
from components.common.records import PAIR, PROMPT, QUESTION, write_records
from components.dpo import task as dpo
from components.evaluation import task as evaluation
from components.generation import task as generation
from components.promotion import task as promotion
from components.sft import task as sft
from tests.trainable import example, pair, save_examples, save_trainable

COUNT = 24
PROMPTS = [f"Wie weit ist Ort {number}?" for number in range(COUNT)]
SHORT = [f"{number % 9 + 1} km" for number in range(COUNT)]
OTHER = [answer.replace("km", "км") for answer in SHORT]
EVALUATION = evaluation.Config(
    name="round-1",
    benchmarks=[{"name": "arena", "kind": "pairwise"}],
    generation={"max_new_tokens": 48},
    bootstrap={"resamples": 200},
)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learnt to answer shortly and in the script of the question, and has also seen another one."""
    folder = tmp_path_factory.mktemp("taught")
    answers = [answer for triple in zip(SHORT, SHORT, OTHER, strict=True) for answer in triple]
    rows = [example(i, prompt=PROMPTS[i // 3], completion=answer, language="de") for i, answer in enumerate(answers)]
    inputs = {"model": [save_trainable(folder / "base", hidden=64)], "examples": [save_examples(folder / "in", rows)]}
    config = sft.Config(steps=80, learning_rate=3e-3, global_batch_size=72, device_batch_size=72)
    sft.run(config, inputs, made(folder / "attempt" / "model"))
    return folder / "attempt" / "model"


def made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def evaluated(folder: Path, model: Path, **previous: Path) -> dict[str, Any]:
    questions = made(folder.with_suffix(".questions"))
    rows = [
        {"id": str(i), "language": "de", "prompt": prompt, "group": str(i), "reference": SHORT[i]}
        for i, prompt in enumerate(PROMPTS)
    ]
    write_records(questions / "arena.parquet", rows, QUESTION)
    inputs = {"model": [model], "questions": [questions]} | {name: [each] for name, each in previous.items()}
    evaluation.run(EVALUATION, inputs, made(folder))
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("chosen", "alarm"),
    [
        (lambda i: " ".join([SHORT[i]] * 6), "The mean length of an answer grew"),
        (lambda i: OTHER[i], "Language consistency changed by -"),
    ],
)
def test_a_round_whose_reward_rises_for_the_wrong_reason_is_undone_and_ends_the_loop(tmp_path, taught, chosen, alarm):
    rows = [
        pair(i, prompt=prompt, language="de", chosen=chosen(i), rejected=SHORT[i]) for i, prompt in enumerate(PROMPTS)
    ]
    write_records(made(tmp_path / "pairs") / "pairs.parquet", rows, PAIR)
    config = dpo.Config(steps=20, learning_rate=1e-3, global_batch_size=24, device_batch_size=24)
    model = made(tmp_path / "attempt" / "model")
    metrics = dpo.run(config, {"model": [taught], "pairs": [tmp_path / "pairs"]}, model)
    assert metrics["reward_margin"] > 1 and metrics["reward_accuracy"] > 0.9  # by its own figures a success

    before, after = tmp_path / "before", tmp_path / "after"
    evaluated(before, taught)
    results = evaluated(after, model, previous=before)
    assert results["regressed"] and any(reason.startswith(alarm) for reason in results["reasons"])

    inputs = {"models": [taught, model], "evaluation": [after]}
    kept = promotion.run(promotion.Config(action="accept"), inputs, made(tmp_path / "accepted"))
    assert isinstance(kept, PassThrough) and kept.index == 0 and alarm in kept.reason

    write_records(
        made(tmp_path / "prompts") / "round-2.parquet", [{n: r[n] for n in PROMPT.names} for r in rows], PROMPT
    )
    inputs = {"prompts": [tmp_path / "prompts"], "model": [taught], "guard": [after]}
    drawn = generation.run(generation.Config(model="policy", portion="round-2"), inputs, made(tmp_path / "samples"))
    assert drawn["completions"] == 0 and alarm in drawn["stopped"]
