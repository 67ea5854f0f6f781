"""The process that KFP's tasks are forked from, and the launcher that stands in for an interpreter."""

import json
import os
import shlex
import subprocess
import time
from pathlib import Path

import pytest

from components.common.artifacts import Reference
from components.common.forking import ask, begin, resident
from components.common.step import STORE, code_digest
from components.common.store import LocalStore
from pipelines import tasks
from pipelines.launcher import KILLED
from tests.shells import commit

COMPONENT = """
from kfp import dsl
import os, sys, time
def stage(wanted: int, made: dsl.OutputPath(str)):
    print("seen", os.environ["GREETING"])
    open(made, "w").write(str(os.getpid()))
    if wanted == 9:
        time.sleep(600)
    if wanted:
        sys.exit(wanted)
"""


@pytest.fixture(scope="module")
def address():
    with resident("pipelines.tasks") as address:
        yield address


def prepared(address, folder, wanted):
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
    return ["sh", "-ec", f"exec {command}"], {**os.environ, tasks.ADDRESS: address, "GREETING": "hello"}


def launch(address, folder, wanted):
    command, environment = prepared(address, folder, wanted)
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_a_task_runs_with_its_own_environment_and_output(address, tmp_path):
    done = launch(address, tmp_path, 0)
    assert done.returncode == 0, done.stderr
    assert "seen hello" in done.stdout
    assert (tmp_path / "made").read_text()


def test_a_task_that_fails_fails_with_its_own_code(address, tmp_path):
    assert launch(address, tmp_path, 3).returncode == 3
    assert launch(address, tmp_path, 0).returncode == 0


def test_a_launcher_whose_process_is_gone_counts_as_killed(tmp_path):
    with resident("pipelines.tasks") as gone:
        pass
    assert launch(gone, tmp_path, 0).returncode == KILLED


def test_a_task_ends_with_its_launcher(address, tmp_path):
    command, environment = prepared(address, tmp_path, 9)
    launcher = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        made = tmp_path / "made"
        until(lambda: made.exists() and made.read_text())
        task = Path("/proc", made.read_text())
        assert task.exists()
    finally:
        launcher.kill()
        launcher.wait()
    until(lambda: not task.exists())


def gate(folder):
    """A request to run the shell of a gate whose evaluation lies in the folder's store, and where its reference comes."""
    results = {"name": "final", "regressed": False, "benchmarks": {"arena": {"value": 0.6, "low": 0.55, "high": 0.65}}}
    (folder / "results").mkdir()
    (folder / "results" / "results.json").write_text(json.dumps(results))
    commit(LocalStore(folder / "store"), "evaluation", folder / "results", "x").save(folder / "evaluation.json")
    configuration = {"action": "gate", "rules": [{"benchmark": "arena", "at_least_low": 0.5}]}
    message = {
        "stage": "promotion",
        "shell": "gate",
        "parameters": {
            "name": "the-gate",
            "code": code_digest("promotion"),
            "configuration": json.dumps(configuration),
        },
        "artifacts": {"evaluation": str(folder / "evaluation.json"), "decision": str(folder / "decision.json")},
        "environment": {**os.environ, STORE: (folder / "store").as_uri()},
    }
    return message, folder / "decision.json"


def test_a_shell_runs_without_kfp_around_it(address, tmp_path):
    message, made = gate(tmp_path)
    assert ask(address, message) == {"exit_code": 0}
    folder = LocalStore(tmp_path / "store").fetch(Reference.load(made))
    assert json.loads((folder / "gate.json").read_text())["rules"]


def test_a_shell_that_fails_gives_its_exit_code_and_writes_to_its_own_log(address, tmp_path):
    message, made = gate(tmp_path)
    message["parameters"]["code"] = "another"
    with (tmp_path / "log.txt").open("ab") as log:
        connection = begin(address, message, log.fileno(), log.fileno())
    with connection:
        assert json.loads(b"".join(iter(lambda: connection.recv(4096), b""))) == {"exit_code": 2}
    assert "is not what the pipeline was compiled with" in (tmp_path / "log.txt").read_text()
    assert not made.exists()


def until(true, seconds=60):
    deadline = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < deadline, "it has not come in time"
        time.sleep(0.02)
    return value
