"""The machine that the tests run on, and machines that lack something."""

import importlib.metadata
from types import SimpleNamespace

import pytest

from components.common.errors import BadInput, Transient
from pipelines.checks import machine
from pipelines.checks.finding import run_checks


def test_this_machine_is_fit():
    found = {each.object: each for each in run_checks(machine.machine_checks())}
    assert list(found) == ["Python", "packages", "GPUs", "scratch disk", "memory", "shared memory"]
    assert not [each for each in found.values() if each.status in ("failed", "transient")]
    assert "torch" in found["GPUs"].sentence


def test_a_package_outside_its_range_is_named(monkeypatch):
    monkeypatch.setattr(
        importlib.metadata, "requires", lambda name: ["kfp>=99", "no-such-package>=1", "pytest; extra == 'dev'"]
    )
    with pytest.raises(BadInput, match=r"kfp is .* and >=99 is needed; no-such-package is not installed; install what"):
        machine.look_at_packages()


def test_without_the_distribution_the_ranges_are_not_known(monkeypatch):
    monkeypatch.setattr(machine, "DISTRIBUTION", "no-such-distribution")
    assert machine.look_at_packages().status == "skipped"


def test_a_scratch_that_cannot_be_written(monkeypatch, tmp_path):
    monkeypatch.setenv("EXPANSE_SCRATCH", str(tmp_path / "new" / "scratch"))
    assert str(tmp_path / "new" / "scratch") in machine.look_at_scratch().sentence
    monkeypatch.setenv("EXPANSE_SCRATCH", "/proc/scratch")
    with pytest.raises(Transient, match="Cannot write to /proc"):
        machine.look_at_scratch()


def test_a_small_disk_and_a_small_pod_are_warnings(monkeypatch, tmp_path):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda folder: SimpleNamespace(total=64 << 20, free=1 << 20))
    assert machine.look_at_scratch().status == "warning"
    assert machine.look_at_shared_memory().remedy.startswith("set platform.shared_memory")
    limit = tmp_path / "memory.max"
    limit.write_text("1000000000\n")
    monkeypatch.setattr(machine, "CGROUP_LIMITS", (limit,))
    found = machine.look_at_memory()
    assert found.status == "warning" and found.sentence.startswith("1 GB of the node's")
    limit.write_text("max\n")
    assert "of the node's" not in machine.look_at_memory().sentence


def test_an_old_python(monkeypatch):
    monkeypatch.setattr(machine, "PYTHON", (99, 0))
    with pytest.raises(BadInput, match=r"99.0 or newer is needed"):
        machine.look_at_python()
