"""Records survive whatever MLflow does, and reach it exactly once."""

import json
import logging
import multiprocessing
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from components.common import tracking
from components.common.mlflow_client import connect
from components.common.tracking import DELIVERED, StageRecord, Tracker, spool

RECORD = StageRecord(
    name="sft-romance",
    stage="sft",
    pipeline_run="run-1",
    started=1_700_000_000.25,
    ended=1_700_000_090.5,
    parameters={"learning_rate": 1e-3, "languages": None},
    metrics={"loss": 1.5, "chrf++/de": 40.0, "broken": float("nan")},
    tags={"artifact": "a" * 64, "input.model": "b" * 64},
)


@pytest.fixture(autouse=True)
def no_adopted_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)


@pytest.fixture
def uri(tmp_path: Path, schema: Path) -> str:
    folder = tmp_path / "with space é"
    folder.mkdir()
    return f"sqlite:///{shutil.copy(schema, folder / 'mlflow.db')}"


@pytest.fixture
def tracker(uri: str) -> Tracker:
    return Tracker(uri, "expanse")


def nested(tracker: Tracker, parent: str) -> list:
    client = connect(tracker.tracking_uri)
    experiment = client.get_run(parent).info.experiment_id
    return list(client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'"))


def test_a_record_becomes_a_nested_run_with_its_own_times(tracker: Tracker, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.write_text("<p>")
    parent = tracker.start_pipeline("mini", {"configuration": "c" * 64}, {"recipe": "mini"})
    spool(StageRecord(**{**vars(RECORD), "files": [str(report), str(tmp_path / "gone")]}), tmp_path / "spool")
    assert parent and tracker.deliver(tmp_path / "spool", parent) == 1
    (run,) = nested(tracker, parent)
    assert run.info.run_name == "sft-romance" and run.info.status == "FINISHED"
    assert (run.info.start_time, run.info.end_time) == (1_700_000_000_250, 1_700_000_090_500)
    assert run.data.metrics == {"loss": 1.5, "chrf_/de": 40.0}
    assert run.data.params == {"learning_rate": "0.001", "languages": "None"}
    assert run.data.tags["input.model"] == "b" * 64 and run.data.tags["expanse.cached"] == "false"
    client = connect(tracker.tracking_uri)
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["report.html"]
    assert (Path(tracker.tracking_uri.removeprefix("sqlite:///")).parent / "mlartifacts").is_dir()
    assert client.get_run(parent).data.tags["configuration"] == "c" * 64


def test_delivery_repeated_or_cut_short_makes_no_duplicate(
    tracker: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "spool"
    parent = tracker.start_pipeline("mini", {}, {})
    assert parent
    path = spool(RECORD, folder)
    original = tracking.log_to_run
    monkeypatch.setattr(
        tracking, "log_to_run", lambda *a, **k: (original(*a, **k), 1 / 0)
    )  # dies before the run is ended
    assert tracker.deliver(folder, parent) == 0 and path.exists()
    assert [run.info.status for run in nested(tracker, parent)] == ["RUNNING"]
    monkeypatch.setattr(tracking, "log_to_run", original)
    assert tracker.deliver(folder, parent) == 1
    (folder / DELIVERED / path.name).rename(path)  # dies between the end of the run and the move
    assert tracker.deliver(folder, parent) == 1
    assert tracker.deliver(folder, parent) == 0
    (run,) = nested(tracker, parent)
    assert run.info.status == "FINISHED"
    assert len(connect(tracker.tracking_uri).get_metric_history(run.info.run_id, "loss")) == 1


def test_every_record_of_many_arrives_in_the_order_of_time(tracker: Tracker, tmp_path: Path) -> None:
    parent = tracker.start_pipeline("mini", {}, {})
    for index in reversed(range(12)):
        spool(StageRecord(f"step-{index}", "sft", "run-1", 100.0 + index, 101.0 + index, "failed"), tmp_path)
    assert parent and tracker.deliver(tmp_path, parent) == 12
    runs = sorted(nested(tracker, parent), key=lambda run: run.info.start_time)
    assert [run.info.run_name for run in runs] == [f"step-{index}" for index in range(12)]
    assert {run.info.status for run in runs} == {"FAILED"}


def test_a_resumed_run_does_not_tell_twice_what_it_found_finished(tracker: Tracker, tmp_path: Path) -> None:
    parent = tracker.start_pipeline("mini", {}, {})
    assert parent
    spool(RECORD, tmp_path)
    tracker.deliver(tmp_path, parent)
    spool(StageRecord(**{**vars(RECORD), "cached": True, "started": 1_700_000_200.0}), tmp_path)
    assert tracker.deliver(tmp_path, parent) == 0
    assert len(nested(tracker, parent)) == 1 and not list(tmp_path.glob("*.json"))


def test_the_parent_is_adopted_resumed_or_new(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tracker.start_pipeline("mini", {}, {"seed": 1})
    assert first and tracker.start_pipeline("mini", {}, {"seed": 2}, resume=first) == first
    assert tracker.finish(first, {"arena/win_rate": 0.6}, "finished")
    second = tracker.start_pipeline("mini", {}, {"seed": 1}, resume=first)
    assert second and second != first
    assert tracker.start_pipeline("mini", {}, {}, resume="0" * 32) not in (first, second)
    monkeypatch.setenv("MLFLOW_RUN_ID", second)
    assert tracker.start_pipeline("another", {"t": "1"}, {}) == second
    assert tracker.finish(second, {}, "finished")
    client = connect(tracker.tracking_uri)
    assert client.get_run(second).info.status == "RUNNING"  # whoever made it ends it
    assert client.get_run(first).info.status == "FINISHED"
    assert client.get_run(first).data.metrics == {"arena/win_rate": 0.6}


def test_mlflow_away_leaves_the_spool_and_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    away = Tracker("http://someone:hunter2@127.0.0.1:9", "expanse")
    path = spool(RECORD, tmp_path)
    with caplog.at_level(logging.WARNING, "expanse.tracking"):
        assert away.deliver(tmp_path, "0" * 32) == 0
    assert path.exists() and len(caplog.records) == 1 and "hunter2" not in caplog.text
    assert away.start_pipeline("mini", {}, {}) is None and not away.finish("0" * 32, {}, "failed")


def test_a_database_that_others_hold_leaves_the_spool_and_one_line(
    tracker: Tracker, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    parent = tracker.start_pipeline("mini", {}, {})
    path = spool(RECORD, tmp_path / "spool")
    assert parent
    other = sqlite3.connect(tracker.tracking_uri.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    caplog.clear()
    assert tracker.deliver(tmp_path / "spool", parent) == 0
    assert path.exists() and [record.name for record in caplog.records] == ["expanse.tracking"]
    assert "Traceback" not in "".join(capfd.readouterr())
    other.execute("ROLLBACK")
    other.close()
    assert tracker.deliver(tmp_path / "spool", parent) == 1


def test_a_server_that_never_answers_costs_seconds_and_leaves_the_spool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    path = spool(RECORD, tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        assert Tracker(f"http://127.0.0.1:{silent.getsockname()[1]}", "expanse").deliver(tmp_path, "0" * 32) == 0
        assert time.monotonic() - started < 30
    assert path.exists()


def test_a_damaged_or_refused_record_does_not_hold_up_the_others(
    tracker: Tracker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parent = tracker.start_pipeline("mini", {}, {})
    (tmp_path / "cut.json").write_text('{"name": "s')
    (tmp_path / "other.json").write_text(json.dumps({"name": "s"}))
    spool(StageRecord("bad", "sft", "r", 1.0, 2.0, parameters={"": "a name that MLflow refuses"}), tmp_path)
    spool(RECORD, tmp_path)
    assert parent and tracker.deliver(tmp_path, parent) == 1
    assert len(list(tmp_path.glob("*.json"))) == 3 and "cut.json" in caplog.text and "bad" in caplog.text


def _race(uri: str, folder: Path, parent: str, barrier: Barrier) -> None:
    barrier.wait()
    Tracker(uri, "expanse").deliver(folder, parent)


def test_a_process_killed_while_it_makes_the_tables_leaves_no_half_made_database(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    code = f"from components.common.mlflow_client import connect; connect('sqlite:///{database}')"
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as process:
        while not any(path.stat().st_size for path in tmp_path.glob(".mlflow.db.unfinished")):
            assert process.poll() is None
            time.sleep(0.002)
        process.kill()
    assert not database.exists()
    client = connect(f"sqlite:///{database}")
    assert client.get_experiment_by_name("Default") is not None
    assert [path.name for path in tmp_path.iterdir() if "unfinished" in path.name] == []


def test_processes_that_deliver_at_once_make_each_run_once(tracker: Tracker, tmp_path: Path) -> None:
    parent = tracker.start_pipeline("mini", {}, {})
    assert parent
    for index in range(6):
        spool(StageRecord(f"step-{index}", "sft", "run-1", float(index), index + 1.0), tmp_path / "spool")
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    arguments = (tracker.tracking_uri, tmp_path / "spool", parent, barrier)
    processes = [context.Process(target=_race, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert sorted(run.info.run_name for run in nested(tracker, parent)) == [f"step-{index}" for index in range(6)]
