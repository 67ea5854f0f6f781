"""The process that KFP's tasks are forked from, and the launcher that stands in for an interpreter."""

import json
import os
import shlex
import subprocess

import pytest

from components.common.forking import resident
from pipelines import tasks
from pipelines.launcher import KILLED

COMPONENT = """
from kfp import dsl
import os, sys
def stage(wanted: int, made: dsl.OutputPath(str)):
    print("seen", os.environ["GREETING"])
    open(made, "w").write("x")
    if wanted:
        sys.exit(wanted)
"""


@pytest.fixture(scope="module")
def address():
    with resident("pipelines.tasks") as address:
        yield address


def launch(address, folder, wanted):
    (folder / "component.py").write_text(COMPONENT)
    executor_input = {
        "inputs": {"parameterValues": {"wanted": wanted}},
        "outputs": {
            "parameters": {"made": {"outputFile": str(folder / "made")}},
            "outputFile": str(folder / "output.json"),
        },
    }
    arguments = [
        "-m", tasks.EXECUTOR, "--component_module_path", str(folder / "component.py"),
        "--executor_input", json.dumps(executor_input), "--function_to_execute", "stage",
    ]  # fmt: skip
    command = f"{tasks.command()} {shlex.join(arguments)}"
    environment = {**os.environ, tasks.ADDRESS: address, "GREETING": "hello"}
    return subprocess.run(["sh", "-ec", command], env=environment, capture_output=True, text=True, timeout=120)


def test_a_task_runs_with_its_own_environment_and_output(address, tmp_path):
    done = launch(address, tmp_path, 0)
    assert done.returncode == 0, done.stderr
    assert "seen hello" in done.stdout
    assert (tmp_path / "made").read_text() == "x"


def test_a_task_that_fails_fails_with_its_own_code(address, tmp_path):
    assert launch(address, tmp_path, 3).returncode == 3
    assert launch(address, tmp_path, 0).returncode == 0


def test_a_launcher_whose_process_is_gone_counts_as_killed(tmp_path):
    with resident("pipelines.tasks") as gone:
        pass
    assert launch(gone, tmp_path, 0).returncode == KILLED
