"""What a step in a pod of its own tells MLflow, with KFP's plugin and without, and when MLflow is away."""

from dataclasses import replace
from pathlib import Path
from threading import Barrier, Thread

import pytest

from components.common.mlflow_client import connect
from components.common.pod_tracking import HEADLINE_STEP, PIPELINE_TAG, track
from components.common.store import LocalStore
from components.common.tracking import PARENT_TAG, StageRecord

RECORD = StageRecord(
    name="sft-romance",
    stage="sft",
    pipeline_run="run-1",
    started=1_700_000_000.25,
    ended=1_700_000_090.5,
    parameters={"learning_rate": 1e-3},
    metrics={"loss_last": 1.5},
    tags={"artifact": "a" * 64},
)
AWAY = "http://127.0.0.1:9"


class KeepingStore(LocalStore):
    """A local store that keeps what a remote one would: the three methods over a folder."""

    def keep(self, group, name, folder):
        target = self.root / "kept" / group / name
        target.parent.mkdir(parents=True)
        folder.rename(target)
        folder.mkdir()

    def kept(self, group):
        return sorted(path.name for path in (self.root / "kept" / group).glob("*"))

    def restore(self, group, name, folder):
        (self.root / "kept" / group / name).rename(folder)
        return True

    def forget(self, group, names=None):
        pass


@pytest.fixture
def uri(tmp_path, monkeypatch):
    address = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "team")
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    return address


def runs(uri):
    client = connect(uri)
    experiment = client.get_experiment_by_name("team").experiment_id
    found = client.search_runs([experiment])
    parents = [run for run in found if PIPELINE_TAG in run.data.tags]
    return parents, [run for run in found if PARENT_TAG in run.data.tags]


def test_without_a_server_nothing_happens(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert not track(RECORD, LocalStore(tmp_path))


def test_steps_are_nested_under_one_run_of_their_pipeline(uri, tmp_path):
    store = LocalStore(tmp_path)
    final = replace(RECORD, name=HEADLINE_STEP, stage="evaluation", metrics={"arena/win_rate": 0.6})
    last = replace(RECORD, name="deploy", stage="deployment", metrics={})
    assert all(track(record, store) for record in (RECORD, RECORD, final, last))
    parents, nested = runs(uri)
    assert len(parents) == 1 and parents[0].info.status == "FINISHED"
    assert parents[0].data.metrics == {"arena/win_rate": 0.6}
    assert {run.info.run_name for run in nested} == {"sft-romance", "evaluate-final", "deploy"}
    assert {run.data.tags[PARENT_TAG] for run in nested} == {parents[0].info.run_id}
    assert next(run for run in nested if run.info.run_name == "sft-romance").data.metrics == {"loss_last": 1.5}


def test_a_failed_step_fails_the_run_until_it_is_tried_again(uri, tmp_path):
    track(replace(RECORD, status="failed"), LocalStore(tmp_path))
    assert runs(uri)[0][0].info.status == "FAILED"
    track(replace(RECORD, ended=RECORD.ended + 9), LocalStore(tmp_path))
    assert runs(uri)[0][0].info.status == "RUNNING"


def test_two_first_steps_at_once_make_one_run(uri, tmp_path):
    connect(uri)
    barrier = Barrier(2)

    def step(name):
        barrier.wait()
        track(replace(RECORD, name=name), LocalStore(tmp_path))

    threads = [Thread(target=step, args=(name,)) for name in ("generate-west", "generate-east")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    parents, nested = runs(uri)
    assert len(parents) == 1
    assert {run.data.tags[PARENT_TAG] for run in nested} == {parents[0].info.run_id}


def test_the_run_that_kfp_made_is_filled_and_left_open(uri, tmp_path, monkeypatch):
    client = connect(uri)
    experiment = client.create_experiment("team")
    parent = client.create_run(experiment).info.run_id
    task = client.create_run(experiment, tags={PARENT_TAG: parent}).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", task)
    file = tmp_path / "table.txt"
    file.write_text("gains")
    track(replace(RECORD, name=HEADLINE_STEP, files=[str(file)]), LocalStore(tmp_path))
    told = client.get_run(task)
    assert told.data.metrics == {"loss_last": 1.5} and told.info.status == "RUNNING"
    assert [each.path for each in client.list_artifacts(task)] == ["table.txt"]
    assert client.get_run(parent).data.metrics == {"loss_last": 1.5}
    assert len(client.search_runs([experiment])) == 2


def test_what_could_not_be_delivered_is_delivered_by_a_later_step(uri, tmp_path, monkeypatch):
    store = KeepingStore(tmp_path / "store")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", AWAY)
    assert not track(RECORD, store)
    assert len(store.kept("tracking-run-1/records")) == 1
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert track(replace(RECORD, name="sft-slavic"), store)
    assert not store.kept("tracking-run-1/records")
    assert {run.info.run_name for run in runs(uri)[1]} == {"sft-romance", "sft-slavic"}


def test_a_store_that_is_away_too_loses_the_record_but_not_the_work(uri, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", AWAY)
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert not track(RECORD, KeepingStore(Path(blocked) / "store"))
