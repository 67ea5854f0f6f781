"""Tracking from a step's own pod, where no driver of ours collects the records of all steps.

KFP's MLflow plugin gives every task a run, nested under the one of the pipeline, and its id in MLFLOW_RUN_ID: that run is
filled. Without the plugin the first step makes the pipeline's run, and every step a nested one. What cannot be delivered is
kept in the store and delivered by a later step of the same run; the work goes on meanwhile.
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from components.common.artifacts import Provenance, write_manifest
from components.common.canonical import digest
from components.common.errors import ExpanseError
from components.common.mlflow_client import connect, experiment_id, log, log_to_run, milliseconds, one_line, shown
from components.common.store import Store
from components.common.tracking import PARENT_TAG, StageRecord, deliver_one, fill, nested_runs, read_record, spool

if TYPE_CHECKING:
    from mlflow import MlflowClient

TRACKING_URI, RUN_ID, EXPERIMENT = "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME"
PIPELINE_TAG = "expanse.run"
HEADLINE_STEP, LAST_STAGE = "evaluate-final", "deployment"


def track(record: StageRecord, store: Store) -> bool:
    """Deliver the record, and those that earlier steps of its run could not; whether MLflow has them all now.

    Nothing is raised: without MLFLOW_TRACKING_URI nothing happens, and where MLflow or the store are away a line is logged.
    """
    uri = os.environ.get(TRACKING_URI)
    if not uri:
        return False
    group = f"tracking-{record.pipeline_run}/records"
    try:
        client = connect(uri)
        _deliver(client, uri, record, os.environ.get(RUN_ID), store)
        _deliver_kept(client, uri, store, group)
    except Exception as error:  # whatever MLflow, the network or the store raise: tracking never fails the work
        log.warning("Cannot track %s at %s (%s); its record is kept.", record.name, shown(uri), one_line(error))
        _keep(record, store, group)
        return False
    return True


def _deliver(client: "MlflowClient", uri: str, record: StageRecord, run_id: str | None, store: Store) -> None:
    if run_id:  # made, and ended, by KFP's plugin
        fill(client, run_id, record)
        parent = _parent_of(client, run_id)
    else:
        parent = _pipeline_run(client, uri, record, store)
        experiment = client.get_run(parent).info.experiment_id
        deliver_one(client, experiment, parent, record, nested_runs(client, experiment, parent).get(record.id))
        _mark(client, parent, record)
    if parent and record.name == HEADLINE_STEP:
        log_to_run(client, parent, metrics=record.metrics, time=record.ended)


def _parent_of(client: "MlflowClient", run_id: str) -> str:
    tags: Mapping[str, str] = client.get_run(run_id).data.tags
    return tags.get(PARENT_TAG, "")


def _pipeline_run(client: "MlflowClient", uri: str, record: StageRecord, store: Store) -> str:
    """The run of the pipeline, made by whichever step comes first.

    MLflow would make two for two steps that come at once; the store commits one artifact per key, so it holds which counts.
    """
    name, own = os.environ.get(EXPERIMENT, "expanse"), []

    def make(output: Path) -> dict[str, str]:
        tags, started = {PIPELINE_TAG: record.pipeline_run}, milliseconds(record.started)
        experiment = experiment_id(client, uri, name)
        run = client.create_run(experiment, start_time=started, run_name=record.pipeline_run, tags=tags)
        own.append(str(run.info.run_id))
        (output / RUN_ID).write_text(own[0], encoding="utf-8")
        return {"run": own[0]}

    made = store.produce(Provenance("tracking", "", digest([shown(uri), name, record.pipeline_run])), make)
    for late in own:
        if late != made.metadata["run"]:
            client.delete_run(late)
    return str(made.metadata["run"])


def _mark(client: "MlflowClient", parent: str, record: StageRecord) -> None:
    """The pipeline's run fails with a step, runs again when that step is tried again, and ends with the last one."""
    if record.status != "finished":
        client.set_terminated(parent, status="FAILED", end_time=milliseconds(record.ended))
    elif record.stage == LAST_STAGE:
        client.set_terminated(parent, status="FINISHED", end_time=milliseconds(record.ended))
    elif client.get_run(parent).info.status != "RUNNING":
        client.update_run(parent, status="RUNNING")


def _deliver_kept(client: "MlflowClient", uri: str, store: Store, group: str) -> None:
    for name in store.kept(group):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "record"
            if store.restore(group, name, folder):
                path = next(folder.glob("*-*.json"))
                run_id = (folder / RUN_ID).read_text(encoding="utf-8")
                _deliver(client, uri, read_record(path), run_id or None, store)
        store.forget(group, [name])


def _keep(record: StageRecord, store: Store, group: str) -> None:
    """Keep the record, and the run that KFP made for it, but not its files: they belong to the artifact in the store."""
    try:
        with tempfile.TemporaryDirectory() as place:
            spool(record, Path(place))
            (Path(place) / RUN_ID).write_text(os.environ.get(RUN_ID, ""), encoding="utf-8")
            write_manifest(Path(place), Provenance("tracking", "", record.id), {})
            store.keep(group, record.id, Path(place))
    except (OSError, ExpanseError) as error:
        log.warning("The record of %s is lost (%s).", record.name, one_line(error))
