"""MLflow as the chart runs it: the same commands and arguments, here on a folder in place of the volume."""

import importlib.util
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.charts import CHART, find, pods, render

START_SECONDS = 400  # about 20 on a quiet machine
LOOPBACK = "127.0.0.1"
BIN = Path(sys.executable).parent


def containers():
    (pod,) = pods(find(render({"mlflow": {"workers": 1}}), "Deployment", "expanse-mlflow"))
    (migrate,), (server,) = pod["initContainers"], pod["containers"]
    return migrate, server


def environment(container, folder):
    """The container's own variables with the volume's paths moved, in an environment that has no others of MLflow."""
    values = {each["name"]: each.get("value", "team-a") for each in container["env"]}
    return {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        **{name: here(value, folder) for name, value in values.items()},
        "HOME": str(folder),
    }


def here(text, folder):
    return text.replace("/mlflow/", f"{folder}/").replace("$(NAMESPACE)", "team-a")


def migrated(folder):
    migrate, _ = containers()
    command = [sys.executable, *migrate["command"][1:]]
    done = subprocess.run(command, env=environment(migrate, folder), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    with sqlite3.connect(folder / "mlflow.db") as database:
        return database.execute("select version_num from alembic_version").fetchall()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The port of a server that the chart's init container and container have started, the former twice."""
    folder = tmp_path_factory.mktemp("volume")
    assert migrated(folder) == migrated(folder) != []
    _, container = containers()
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port = probe.getsockname()[1]
    changes = {"--host=0.0.0.0": f"--host={LOOPBACK}", "--port=5000": f"--port={port}"}
    arguments = [here(changes.get(each, each), folder) for each in container["args"]]
    command = [str(BIN / "mlflow"), container["command"][1], *arguments]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, env=environment(container, folder), stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while status(port, "/health") != 200:
            assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.2)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def status(port, path, host="localhost"):
    request = urllib.request.Request(f"http://{LOOPBACK}:{port}{path}", headers={"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


EXPERIMENT = "/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default"


@pytest.mark.parametrize(
    "host",
    ["expanse-mlflow:5000", "expanse-mlflow", "expanse-mlflow.team-a.svc.cluster.local:5000", "localhost:5000"],
)
def test_it_answers_under_the_names_of_its_service(server, host):
    assert status(server, EXPERIMENT, host) == 200


@pytest.mark.parametrize("host", ["evil.example.com", "expanse-mlflow.team-b:5000", "expanse-mlflow.evil.example.com"])
def test_it_refuses_other_names(server, host):
    assert status(server, EXPERIMENT, host) == 403


def test_probes_pass_whatever_the_name_is(server):
    _, container = containers()
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert status(server, container[probe]["httpGet"]["path"], "10.1.2.3:5000") == 200


def check(*addresses):
    specification = importlib.util.spec_from_file_location("check", CHART / "files" / "check.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.main(addresses, pause=0.05)


def test_helm_test_passes_when_all_is_there(server, capsys):
    assert check(f"http://localhost:{server}/health") == 0
    assert capsys.readouterr().out == f"ok: http://localhost:{server}/health\n"


def test_helm_test_says_what_is_not(server, capsys):
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        closed = f"http://{LOOPBACK}:{probe.getsockname()[1]}/health"
    unknown_name = f"http://{LOOPBACK}:{server}{EXPERIMENT}"  # with this port it is on nobody's list
    assert check(closed, unknown_name, f"http://localhost:{server}/health") == 1
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.startswith(f"failed: {closed} cannot be reached")
    assert "add it to mlflow.allowedHosts" in second
    assert third.startswith("ok: ")
