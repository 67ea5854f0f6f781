"""A killed evaluation asks the model only for what is missing, and ends with the same bytes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.common.records import Row
from components.evaluation.task import Config, run
from tests.unit.evaluation.conftest import question, save_questions

ROOT = Path(__file__).parents[3]
#: Every forward pass of the model leaves one byte in a file; a pause makes it likely that a kill comes between two.
PROGRAM = """
import sys, time
from pathlib import Path
from transformers import CohereForCausalLM
from components.evaluation.task import Config, run

forward, count = CohereForCausalLM.forward, open(sys.argv[5], "ab", buffering=0)

def counted(self, *arguments, **given):
    count.write(b".")
    time.sleep(0.01)
    return forward(self, *arguments, **given)

CohereForCausalLM.forward = counted
output = Path(sys.argv[4])
output.mkdir(parents=True, exist_ok=True)
run(Config.model_validate_json(sys.argv[1]), {"model": [Path(sys.argv[2])], "questions": [Path(sys.argv[3])]}, output)
"""
CONFIG = Config(
    name="sft",
    benchmarks=[{"name": "exact", "kind": "exact_match"}, {"name": "choice", "kind": "multiple_choice", "chat": False}],
    generation={"max_new_tokens": 6, "batch_size": 4, "temperature": 0.7},
    choice_batch_size=4,
    bootstrap={"resamples": 100},
)


@pytest.fixture(scope="session")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows: list[Row] = [question(number, "fr", prompt="mot " * (number % 5) + str(number)) for number in range(24)]
    options = {"options": ["un deux", "trois quatre cinq"], "answer": 0}
    return save_questions(tmp_path_factory.mktemp("questions"), exact=rows, choice=[row | options for row in rows])


def started(model: Path, questions: Path, output: Path, count: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-c",
        PROGRAM,
        CONFIG.model_dump_json(),
        str(model),
        str(questions),
        str(output),
        str(count),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)


def forwards(count: Path) -> int:
    return count.stat().st_size if count.is_file() else 0


def killed(child: subprocess.Popen[bytes], count: Path, at: int) -> None:
    deadline = time.monotonic() + 120
    while forwards(count) < at:
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.wait()


def test_a_killed_evaluation_repeats_the_batch_in_hand_alone_and_ends_with_the_same_bytes(
    tmp_path: Path, model_folder: Path, questions: Path
) -> None:
    whole, counts = tmp_path / "whole" / "output", [tmp_path / name for name in ("whole.count", "count")]
    assert started(model_folder, questions, whole, counts[0]).wait() == 0
    needed, longest = forwards(counts[0]), 6  # forward passes of one batch of answers at most
    output = tmp_path / "attempt" / "output"
    for share in (0.3, 0.8):
        killed(started(model_folder, questions, output, counts[1]), counts[1], int(needed * share))
        assert list(output.iterdir()) == []
    assert started(model_folder, questions, output, counts[1]).wait() == 0
    assert needed <= forwards(counts[1]) <= needed + 2 * (longest + 2)
    for name in ("results.json", "answers.parquet", "judgements.parquet"):
        assert (output / name).read_bytes() == (whole / name).read_bytes()


def test_an_evicted_evaluation_goes_on_on_another_machine(
    tmp_path: Path, model_folder: Path, questions: Path, monkeypatch: pytest.MonkeyPatch, root: str
) -> None:
    monkeypatch.setenv("EXPANSE_STORE", root)
    inputs = {"model": [model_folder], "questions": [questions]}
    outputs = [tmp_path / name / "evaluation-key" / "output" for name in ("first", "second")]
    for each in outputs:
        each.mkdir(parents=True)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="evicted"):
        patch.setattr("components.evaluation.answering._scored", lambda *_: (_ for _ in ()).throw(OSError("evicted")))
        run(CONFIG, inputs, outputs[0])
    with monkeypatch.context() as patch:
        patch.setattr("components.common.sampling._write", lambda *_: pytest.fail("the model was asked again"))
        run(CONFIG, inputs, outputs[1])
    assert (outputs[1] / "results.json").is_file()


@pytest.mark.parametrize("change", ["seed", "questions"])
def test_answers_of_another_evaluation_are_never_taken(
    tmp_path: Path, model_folder: Path, questions: Path, change: str
) -> None:
    output = tmp_path / "output"
    output.mkdir()
    run(CONFIG, {"model": [model_folder], "questions": [questions]}, output)
    first = (output / "answers.parquet").read_bytes()
    if change == "questions":
        rows = [question(number, "de") for number in range(4)]
        options = {"options": ["eins", "zwei"], "answer": 0}
        questions = save_questions(tmp_path / "other", exact=rows, choice=[row | options for row in rows])
    config = CONFIG
    if change == "seed":
        config = CONFIG.model_copy(update={"generation": CONFIG.generation.model_copy(update={"seed": 1})})
    run(config, {"model": [model_folder], "questions": [questions]}, output)
    assert (output / "answers.parquet").read_bytes() != first
