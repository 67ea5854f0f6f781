"""A run that was killed ends as if it had not been; a snapshot average is the mean of the weights it names."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from components.common.checkpoints import keep_checkpoint, latest_checkpoint, resume_point, seal
from components.common.errors import BadInput
from components.common.store import open_store, scratch
from components.sft.task import Config, run
from tests.s3 import Fault
from tests.trainable import KilledError, kill_at

pytestmark = pytest.mark.faults

BASE = {"learning_rate": 1e-3, "global_batch_size": 8, "device_batch_size": 4, "schedule": "linear", "warmup_steps": 2}


def folder(tmp_path, name):
    path = tmp_path / name / "output"
    path.mkdir(parents=True)
    return path


@pytest.mark.parametrize("averaged", [1, 3])
def test_a_resumed_run_equals_an_uninterrupted_one(model, examples, tmp_path, monkeypatch, capfd, averaged):
    config = Config(**BASE, steps=12, save_steps=4, average_checkpoints=averaged, snapshot_steps=3)
    inputs = {"model": [model], "examples": [examples]}
    whole, killed = folder(tmp_path, "whole"), folder(tmp_path, "killed")
    expected = run(config, inputs, whole)
    with monkeypatch.context() as patch:
        kill_at(patch, 11)
        with pytest.raises(KilledError):
            run(config, inputs, killed)
    checkpoints = sorted(scratch(killed).glob("*/checkpoint-*"))
    assert [path.name for path in checkpoints] == ["checkpoint-4", "checkpoint-8"]
    with next(checkpoints[1].glob("*.safetensors")).open("r+b") as file:  # the kill came while it was written
        file.truncate(1000)
    capfd.readouterr()
    assert run(config, inputs, killed) == expected
    assert "resuming from checkpoint-4" in capfd.readouterr().out
    assert (whole / "model.safetensors").read_bytes() == (killed / "model.safetensors").read_bytes()
    assert not list(killed.rglob("checkpoint*"))


KILLED_WHILE_SAVING = """
import os, signal, sys
from pathlib import Path
import torch
from components.common import training_loop
from components.sft.task import Config, run

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def saved(value, path, *arguments, save=torch.save, **options):
    if point == "half of the optimizer" and "checkpoint-8" in str(path):
        save(value, path, *arguments, **options)
        os.truncate(path, os.path.getsize(path) // 2)
        die()
    save(value, path, *arguments, **options)

def sealed(checkpoint, seal=training_loop.seal):
    if point == "before the seal" and checkpoint.name == "checkpoint-8":
        die()
    seal(checkpoint)

point, config, model, examples, output = sys.argv[1:]
torch.save, training_loop.seal = saved, sealed
run(Config.model_validate_json(config), {"model": [Path(model)], "examples": [Path(examples)]}, Path(output))
"""


@pytest.mark.parametrize("point", ["half of the optimizer", "before the seal"])
def test_a_kill_while_a_checkpoint_is_saved_costs_that_checkpoint_only(model, examples, tmp_path, capfd, point):
    config = Config(**BASE, steps=12, save_steps=4)
    inputs = {"model": [model], "examples": [examples]}
    whole, killed = folder(tmp_path, "whole"), folder(tmp_path, "killed")
    arguments = [point, config.model_dump_json(), *map(str, (model, examples, killed))]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}  # sums depend on it
    command = [sys.executable, "-c", KILLED_WHILE_SAVING, *arguments]
    done = subprocess.run(command, cwd=Path.cwd(), env=environment, timeout=300)
    assert done.returncode == -signal.SIGKILL
    assert sorted(path.name for path in scratch(killed).glob("*/checkpoint-*")) == ["checkpoint-4", "checkpoint-8"]
    expected = run(config, inputs, whole)
    capfd.readouterr()
    assert run(config, inputs, killed) == expected
    assert "resuming from checkpoint-4" in capfd.readouterr().out
    assert (whole / "model.safetensors").read_bytes() == (killed / "model.safetensors").read_bytes()


@pytest.mark.parametrize("averaged", [1, 3])
def test_an_evicted_run_goes_on_on_another_machine(
    model, examples, tmp_path, monkeypatch, capfd, service, root, averaged
):
    monkeypatch.setenv("EXPANSE_STORE", root)
    config = Config(**BASE, steps=12, save_steps=4, average_checkpoints=averaged, snapshot_steps=3)
    inputs = {"model": [model], "examples": [examples]}
    whole, first = folder(tmp_path, "whole"), folder(tmp_path / "first", "sft-key")
    expected = run(config, inputs, whole)
    with monkeypatch.context() as patch:
        kill_at(patch, 11)
        with pytest.raises(KilledError):
            run(config, inputs, first)
    shutil.rmtree(tmp_path / "first")
    second = folder(tmp_path / "second", "sft-key")
    capfd.readouterr()
    assert run(config, inputs, second) == expected
    assert "resuming from checkpoint-8" in capfd.readouterr().out
    assert (whole / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()


def test_the_newest_checkpoint_counts_here_or_in_the_store(tmp_path, monkeypatch, service, root):
    monkeypatch.setenv("EXPANSE_STORE", root)
    here, there = tmp_path / "here" / "sft-key" / "scratch" / "id", tmp_path / "there" / "sft-key" / "scratch" / "id"
    for step in (9, 10, 11, 12):
        checkpoint = (here if step == 12 else there) / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        (checkpoint / "weights").write_bytes(b"w" * step)
        seal(checkpoint)
        if step < 12:
            keep_checkpoint(checkpoint)
    assert resume_point(here).name == "checkpoint-12"
    (here / "checkpoint-12" / "weights").write_bytes(b"torn")
    assert resume_point(here).name == "checkpoint-11"
    assert (here / "checkpoint-11" / "weights").read_bytes() == b"w" * 11
    assert open_store(root).kept("sft-key/id") == ["checkpoint-10", "checkpoint-11"]


def test_work_goes_on_when_a_checkpoint_cannot_be_kept(tmp_path, monkeypatch, capfd, service, root):
    monkeypatch.setenv("EXPANSE_STORE", root)
    service.faults.append(Fault((503, "SlowDown"), lambda request: True, times=1000))
    checkpoint = tmp_path / "sft-key" / "scratch" / "id" / "checkpoint-1"
    checkpoint.mkdir(parents=True)
    (checkpoint / "weights").touch()
    seal(checkpoint)
    keep_checkpoint(checkpoint)
    assert "checkpoint-1 is kept on this machine only" in capfd.readouterr().err


def test_a_step_that_ruins_the_weights_leaves_the_checkpoint_before_it(model, examples, output):
    """The first step of the warm-up changes nothing; the loss of the second is fine, and what it does to the weights is not."""
    config = Config(**BASE | {"learning_rate": 1e40}, steps=12, save_steps=1)
    with pytest.raises(BadInput, match=r"weights are not finite after step 2\); nothing was saved"):
        run(config, {"model": [model], "examples": [examples]}, output)
    (identity,) = scratch(output).iterdir()
    found = latest_checkpoint(identity)
    assert found is not None and found.name == "checkpoint-1"
    before, kept = load_file(model / "model.safetensors"), load_file(found / "model.safetensors")
    assert all(torch.equal(tensor, before[name]) for name, tensor in kept.items())
    assert not list(output.iterdir())


def test_a_loss_that_is_not_finite_stops_the_run_before_its_checkpoint(model, examples, output, monkeypatch):
    from components.sft.training import Trainer

    original = Trainer.compute_loss

    def compute_loss(self, *positional, **named):
        loss = original(self, *positional, **named)
        factor = torch.nan if self.state.global_step == 7 else 1.0
        return (loss[0] * factor, *loss[1:]) if isinstance(loss, tuple) else loss * factor

    monkeypatch.setattr(Trainer, "compute_loss", compute_loss)
    with pytest.raises(BadInput, match=r"loss nan .* at step 8"):
        run(Config(**BASE, steps=12, save_steps=4), {"model": [model], "examples": [examples]}, output)
    (identity,) = scratch(output).iterdir()
    assert [path.name for path in identity.iterdir()] == ["checkpoint-4"]
    assert latest_checkpoint(identity) is not None


def test_another_run_does_not_resume_from_these_checkpoints(model, examples, tmp_path, capfd):
    inputs = {"model": [model], "examples": [examples]}
    output = folder(tmp_path, "one")
    run(Config(**BASE, steps=4, save_steps=2), inputs, output)
    shutil.rmtree(output)
    output.mkdir()
    capfd.readouterr()
    run(Config(**BASE, steps=4, save_steps=2, seed=1), inputs, output)
    assert "resuming" not in capfd.readouterr().out


def test_unsealed_and_damaged_checkpoints_do_not_exist(tmp_path):
    for step in (9, 10, 11):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "weights").write_bytes(b"w" * step)
    seal(tmp_path / "checkpoint-9")
    seal(tmp_path / "checkpoint-10")
    (tmp_path / "checkpoint-10" / "weights").write_bytes(b"v" * 10)
    found = latest_checkpoint(tmp_path)
    assert found is not None and found.name == "checkpoint-9"
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-9"]


def test_average_is_the_mean_of_the_last_weights(model, examples, tmp_path):
    inputs = {"model": [model], "examples": [examples]}
    constant = {**BASE, "schedule": "constant"}
    ends = []
    for steps in (4, 6, 8):
        output = folder(tmp_path, f"end-{steps}")
        run(Config(**constant, steps=steps), inputs, output)
        ends.append(load_file(output / "model.safetensors"))
    output = folder(tmp_path, "mean")
    run(Config(**constant, steps=8, average_checkpoints=3, snapshot_steps=2), inputs, output)
    mean = load_file(output / "model.safetensors")
    assert mean.keys() == ends[0].keys()
    for name, tensor in mean.items():
        torch.testing.assert_close(tensor, torch.stack([end[name] for end in ends]).mean(0), rtol=1e-5, atol=1e-7)


def test_too_many_snapshots_are_refused(model, examples, output):
    with pytest.raises(BadInput, match="needs more than 10 steps"):
        run(Config(**BASE, steps=10, average_checkpoints=3), {"model": [model], "examples": [examples]}, output)
