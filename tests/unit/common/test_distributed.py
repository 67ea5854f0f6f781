"""A step on two real processes (gloo): it comes to what one process comes to, also when one of them is killed."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from components.common.canonical import canonical_json
from components.common.distributed import cause, read_step
from components.common.errors import BadInput
from components.common.standalone import adopt
from components.common.step import Outcome, Step, default_store, run_step
from components.common.store import LocalStore
from components.common.trainjobs.spec import LOST_PEER
from tests.trainable import example, pair, save_examples, save_pairs, save_trainable

ROOT = Path(__file__).parents[3]
SETTINGS = {"learning_rate": 1e-3, "schedule": "linear", "warmup_steps": 2, "global_batch_size": 8, "steps": 12}
#: The sums of a step are added up in another order on two processes; nothing else differs.
TOLERANCE = {"rtol": 0, "atol": 1e-6}


@pytest.fixture
def local(tmp_path, monkeypatch):
    """A store in a folder."""
    monkeypatch.setenv("EXPANSE_STORE", (tmp_path / "store").as_uri())


@pytest.fixture
def step(tmp_path):
    """Makes a step of one of the two stages, with its inputs in the store of this test."""

    def make(stage: str, **settings) -> Step:
        model, data = adopt(save_trainable(tmp_path / "model")), tmp_path / "data"
        rows = {"sft": ("examples", save_examples, example), "dpo": ("pairs", save_pairs, pair)}
        name, save, row = rows[stage]
        inputs = {"model": [model], name: [adopt(save(data, [row(i) for i in range(40)]))]}
        return Step(stage, stage, canonical_json(SETTINGS | settings), inputs)

    return make


def start(step: Step, tmp_path: Path, *arguments: str, **environment: str) -> subprocess.Popen:
    """The agent of a node, by default one with two ranks, as it runs in a pod of the job."""
    (tmp_path / "last-words").touch()
    return subprocess.Popen(
        [sys.executable, "-m", "components.common.distributed", *(arguments or ("--standalone", "--nproc-per-node=2"))],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "CUDA_VISIBLE_DEVICES": ""}
        | {"EXPANSE_STEP": step.to_json(), "EXPANSE_TERMINATION_LOG": str(tmp_path / "last-words")}
        | environment,
    )


def alone(step: Step, tmp_path: Path) -> Outcome:
    return run_step(step, LocalStore(tmp_path / "alone"))


def together(step: Step) -> Outcome:
    outcome = run_step(step, default_store())
    assert outcome.cached, "two processes committed nothing"
    return outcome


def weights(outcome: Outcome) -> dict[str, torch.Tensor]:
    return load_file(default_store().fetch(outcome.reference) / "model.safetensors")


def assert_equal(two: Outcome, one: Outcome) -> None:
    assert (set(two.reference.metadata), two.reference.key) == (set(one.reference.metadata), one.reference.key)
    for name in set(one.reference.metadata) - {"token_accuracy"}:  # a mean over micro-batches, which are other ones
        assert two.reference.metadata[name] == pytest.approx(one.reference.metadata[name], abs=1e-5), name
    torch.testing.assert_close(weights(two), weights(one), **TOLERANCE)


def test_sft_on_two_processes_survives_the_death_of_one_and_equals_one_process(local, step, tmp_path):
    work = step("sft", device_batch_size=4, steps=60, save_steps=20)
    killed = start(work, tmp_path)
    os.kill(rank_of(killed, lambda: sealed(tmp_path / "store")), signal.SIGKILL)
    output, _ = killed.communicate(timeout=500)
    assert killed.returncode == 3, output
    assert json.loads((tmp_path / "last-words").read_text())["exit_code"] == 3
    again = start(work, tmp_path)
    output, _ = again.communicate(timeout=500)
    assert again.returncode == 0, output
    assert "resuming from checkpoint-" in output
    assert_equal(together(work), alone(work, tmp_path))


def sealed(store: Path) -> bool:
    """Whether the first checkpoint has been sealed in a local store."""
    return bool(list(store.glob(".attempts/*/scratch/*/checkpoint-20/manifest.json")))


def rank_of(agent: subprocess.Popen, ready: Callable[[], bool]) -> int:
    """The process id of one of the ranks, as soon as ``ready``."""
    while not ready():
        assert agent.poll() is None, agent.stdout.read()
        time.sleep(0.01)
    children = Path(f"/proc/{agent.pid}/task").glob("*/children")
    return max(int(pid) for file in children for pid in file.read_text().split() if b"distributed" in command(pid))


def command(pid: str) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def losses(output: str) -> list[tuple[int, float]]:
    """The loss curve that a run prints."""
    return [(int(step), float(loss)) for step, loss in re.findall(r"^step (\d+)/\d+ loss (\S+)$", output, re.MULTILINE)]


def test_dpo_on_two_processes_equals_one_process_and_is_not_done_twice(local, step, tmp_path, capfd):
    work = step("dpo", device_batch_size=2, beta=0.1, gradient_checkpointing=True)
    agent = start(work, tmp_path)
    output, _ = agent.communicate(timeout=500)
    assert agent.returncode == 0, output
    again = start(work, tmp_path)
    silence, _ = again.communicate(timeout=500)
    assert (again.returncode, losses(silence)) == (0, []), silence
    capfd.readouterr()
    one = alone(work, tmp_path)
    curve = losses(capfd.readouterr().out)
    assert len(curve) >= 10 and losses(output) == [(at, pytest.approx(loss, abs=2e-4)) for at, loss in curve]
    assert_equal(together(work), one)


def test_a_node_that_is_told_to_stop_says_so_and_may_be_run_again(local, step, tmp_path):
    agent = start(step("sft", device_batch_size=4, steps=4000, save_steps=20), tmp_path)
    rank_of(agent, lambda: sealed(tmp_path / "store"))
    agent.terminate()
    output, _ = agent.communicate(timeout=500)
    assert agent.returncode == 3, output
    assert "told to stop (SIGTERM)" in json.loads((tmp_path / "last-words").read_text())["error"]


def test_a_refusal_in_a_rank_is_the_last_word_and_the_exit_code_of_the_node(local, step, tmp_path):
    agent = start(step("sft", device_batch_size=8), tmp_path)
    output, _ = agent.communicate(timeout=500)
    assert agent.returncode == 2, output
    words = json.loads((tmp_path / "last-words").read_text())
    assert words["exit_code"] == 2
    assert words["error"].startswith("global_batch_size 8 is not a multiple of device_batch_size 8 x 2 processes")


def nodes(step: Step, tmp_path: Path, attempt: str) -> list[subprocess.Popen]:
    """Two nodes with one rank and a disk of its own each, for the first time on these disks."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    place = ("--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1", f"--master-port={port}")
    disks = [str(tmp_path / f"{attempt}-disk-{number}") for number in range(2)]
    return [
        start(step, tmp_path, *place, f"--node-rank={number}", EXPANSE_SCRATCH=disk)
        for number, disk in enumerate(disks)
    ]


def test_a_job_whose_nodes_are_lost_goes_on_on_others_from_what_the_store_kept(
    root, service, step, tmp_path, monkeypatch
):
    monkeypatch.setenv("EXPANSE_STORE", root)
    work = step("sft", device_batch_size=4, steps=60, save_steps=20)
    bucket = root.split("/")[2]

    def kept() -> list[str]:
        objects = service.client().list_objects_v2(Bucket=bucket).get("Contents", [])
        return [each["Key"] for each in objects if "/.kept/" in each["Key"] and each["Key"].endswith("manifest.json")]

    lost = nodes(work, tmp_path, "first")
    os.kill(rank_of(lost[1], lambda: any("/checkpoint-20/" in key for key in kept())), signal.SIGKILL)
    for agent in lost:
        output, _ = agent.communicate(timeout=500)
        assert agent.returncode == 3, output
    for disk in tmp_path.glob("first-disk-*"):
        shutil.rmtree(disk)
    assert {key.split("/")[-3].partition("-of-")[0] for key in kept()} >= {"checkpoint-20", "part-0", "part-1"}
    again = nodes(work, tmp_path, "second")
    outputs = [agent.communicate(timeout=500)[0] for agent in again]
    assert [agent.returncode for agent in again] == [0, 0], outputs
    assert "resuming from checkpoint-" in outputs[0]
    outcome = together(work)
    assert not kept(), "what the store kept outlives the work"
    assert_equal(outcome, alone(work, tmp_path))


def ended(code: int, message: str = "", timestamp: int = 0) -> SimpleNamespace:
    return SimpleNamespace(
        exitcode=code, message=message, timestamp=timestamp, local_rank=1, signal_name=lambda: "SIGKILL"
    )


@pytest.mark.parametrize(
    "failures, sentence, code",
    [
        ([ended(3, LOST_PEER), ended(2, "refused", 9), ended(-15)], "refused", 2),
        ([ended(3, LOST_PEER), ended(1, "KeyError: 1", 9)], "KeyError: 1", 1),
        ([ended(3, LOST_PEER), ended(3, "the disk is full", 9)], "the disk is full", 3),
        ([ended(-15), ended(3, LOST_PEER, 5)], LOST_PEER, 3),
        ([ended(-9), ended(-15, timestamp=1)], "Local rank 1 was killed (SIGKILL)", 3),
    ],
)
def test_the_error_that_explains_the_others_is_told(failures, sentence, code):
    said, exit_code = cause(failures)
    assert (said.startswith(sentence), exit_code) == (True, code)


def test_without_a_step_the_variable_is_named(monkeypatch):
    monkeypatch.delenv("EXPANSE_STEP", raising=False)
    with pytest.raises(BadInput, match="set EXPANSE_STEP"):
        read_step()


def test_a_large_step_comes_in_a_file(local, step, tmp_path, monkeypatch):
    made = step("sft", device_batch_size=4)
    (tmp_path / "step.json").write_text(made.to_json(), encoding="utf-8")
    monkeypatch.setenv("EXPANSE_STEP_FILE", str(tmp_path / "step.json"))
    assert read_step() == made


def test_another_code_than_the_launchers_is_refused(local, step, monkeypatch):
    monkeypatch.setenv("EXPANSE_STEP", step("sft", device_batch_size=4).to_json())
    monkeypatch.setenv("EXPANSE_CODE", "0" * 64)
    with pytest.raises(BadInput, match="images of one version"):
        read_step()
