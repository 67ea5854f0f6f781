"""Tracking: every step leaves a record in a spool folder first; MLflow gets it when MLflow can be reached.

The spool is the truth: a record is one JSON file, renamed into place, and moves to ``delivered/`` only after its MLflow
run is complete. Nothing here ever fails the work: what cannot be delivered stays for the next delivery.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, TypeVar

from components.common.canonical import digest
from components.common.mlflow_client import (
    Scalar,
    connect,
    experiment_id,
    locked,
    log,
    log_to_run,
    made,
    milliseconds,
    one_line,
    plain,
    shown,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

DELIVERED = "delivered"
RECORD_TAG = "expanse.record"
STEP_TAG = "expanse.step"
PARENT_TAG = "mlflow.parentRunId"
Result = TypeVar("Result")


@dataclass(frozen=True)
class StageRecord:
    """What one step of one pipeline run did. Times are unix seconds; ``files`` are logged as MLflow artifacts.

    ``status`` is "finished" or "failed"; ``tags`` carry the digests of the artifact, the code, the configuration and
    the inputs; ``cached`` says that finished work was found and nothing ran.
    """

    name: str
    stage: str
    pipeline_run: str
    started: float
    ended: float
    status: str = "finished"
    cached: bool = False
    parameters: Mapping[str, Scalar] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[str] = ()

    @property
    def id(self) -> str:
        """The same for every delivery of this record, another for every other attempt at the step."""
        return digest([self.pipeline_run, self.name, self.started, self.ended, self.status, self.cached])[:32]


def spool(record: StageRecord, folder: Path) -> Path:
    """Write the record as one JSON file into ``folder`` by rename and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{plain(record.name)}-{record.id}.json"
    temporary = folder / f".{path.name}.{os.getpid()}"
    document = asdict(record) | {"files": [str(file) for file in record.files]}
    temporary.write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8")
    temporary.rename(path)
    return path


def read_record(path: Path) -> StageRecord:
    """The record in a spooled file; raises ValueError or TypeError when it is not one."""
    return StageRecord(**json.loads(path.read_text(encoding="utf-8")))


class Tracker:
    """One experiment of one MLflow server or database, spoken to only while it answers.

    Every method gives None, 0 or False after one warning line when MLflow cannot be reached.
    """

    def __init__(self, tracking_uri: str, experiment: str) -> None:
        self.tracking_uri = tracking_uri
        self.experiment = experiment

    def start_pipeline(
        self,
        name: str,
        tags: Mapping[str, str],
        parameters: Mapping[str, Scalar],
        resume: str | None = None,
    ) -> str | None:
        """The id of the parent run: the one in MLFLOW_RUN_ID, the unfinished one called ``resume``, or a new one."""
        return self._attempt("start the run", lambda client: self._parent(client, name, tags, parameters, resume), None)

    def deliver(self, folder: Path, parent: str) -> int:
        """Make every spooled record a nested run of ``parent`` and return how many were delivered.

        Safe to repeat and to call from several processes: a record whose run exists is completed, never doubled.
        """
        if not any(folder.glob("*.json")):
            return 0

        def deliver(client: "MlflowClient") -> int:
            with locked(folder / ".delivery"):
                return self._deliver(client, folder, parent)

        return self._attempt("deliver the records", deliver, 0)

    def finish(
        self, run_id: str, metrics: Mapping[str, float], status: str = "finished", files: Sequence[Path | str] = ()
    ) -> bool:
        """Log the headline metrics and files on the parent run and end it; a run that was adopted is left open."""

        def end(client: "MlflowClient") -> bool:
            log_to_run(client, run_id, metrics=metrics, files=files, time=time())
            if run_id != os.environ.get("MLFLOW_RUN_ID"):
                client.set_terminated(run_id, status=status.upper())
            return True

        return self._attempt("finish the run", end, False)

    def _attempt(self, what: str, call: "Callable[[MlflowClient], Result]", otherwise: Result) -> Result:
        try:
            return call(connect(self.tracking_uri))
        except Exception as error:  # whatever MLflow, SQLAlchemy or the network raise: tracking never fails the work
            log.warning(
                "Cannot %s at %s (%s); the records stay spooled.", what, shown(self.tracking_uri), one_line(error)
            )
            return otherwise

    def _parent(
        self,
        client: "MlflowClient",
        name: str,
        tags: Mapping[str, str],
        parameters: Mapping[str, Scalar],
        resume: str | None,
    ) -> str:
        adopted = os.environ.get("MLFLOW_RUN_ID")
        run_id = adopted or _unfinished(client, resume)
        if run_id is None:
            experiment = experiment_id(client, self.tracking_uri, self.experiment)
            run_id = str(client.create_run(experiment, run_name=name).info.run_id)
        elif not adopted:
            client.update_run(run_id, status="RUNNING")
        known = client.get_run(run_id).data.params  # a parameter of MLflow can be written once only
        fresh = {key: value for key, value in parameters.items() if plain(key) not in known}
        log_to_run(client, run_id, parameters=fresh, tags=tags, time=time())
        return run_id

    def _deliver(self, client: "MlflowClient", folder: Path, parent: str) -> int:
        experiment = client.get_run(parent).info.experiment_id
        runs = nested_runs(client, experiment, parent)
        steps = {run.data.tags.get(STEP_TAG) for run in runs.values() if run.info.status == "FINISHED"}
        delivered = 0
        for path, record in _spooled(folder):
            repeats = record.cached and record.name in steps  # a resumed run finds again what it has already told
            if repeats or deliver_one(client, experiment, parent, record, runs.get(record.id)):
                steps.add(record.name if record.status == "finished" else None)
                path.rename(made(folder / DELIVERED) / path.name)
                delivered += not repeats
        return delivered


def _unfinished(client: "MlflowClient", run_id: str | None) -> str | None:
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id) if run_id else None
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return run_id if run and run.info.status != "FINISHED" and run.info.lifecycle_stage == "active" else None


def nested_runs(client: "MlflowClient", experiment: str, parent: str) -> dict[str, "Run"]:
    """The runs below ``parent`` by the id of the record that each was made for."""
    found: dict[str, Run] = {}
    token = None
    while True:
        page = client.search_runs([experiment], f"tags.`{PARENT_TAG}` = '{parent}'", page_token=token)
        found |= {run.data.tags[RECORD_TAG]: run for run in page if RECORD_TAG in run.data.tags}
        token = page.token
        if not token:
            return found


def _spooled(folder: Path) -> Iterator[tuple[Path, StageRecord]]:
    read: list[tuple[Path, StageRecord]] = []
    for path in folder.glob("*.json"):
        try:
            read.append((path, read_record(path)))
        except (OSError, ValueError, TypeError) as error:
            log.warning("%s is not a record (%s); it is left where it is.", path, one_line(error))
    yield from sorted(read, key=lambda pair: (pair[1].started, pair[0].name))


def deliver_one(client: "MlflowClient", experiment: str, parent: str, record: StageRecord, run: "Run | None") -> bool:
    """Make the record a run below ``parent``, or complete the ``run`` that an earlier delivery began.

    Returns whether the record now has a complete run; False when MLflow refuses this one record for good.
    """
    from mlflow.exceptions import MlflowException

    if run is not None and run.info.status != "RUNNING":
        return True
    tags = {PARENT_TAG: parent, RECORD_TAG: record.id, STEP_TAG: record.name}
    try:
        if run is None:
            run = client.create_run(
                experiment, start_time=milliseconds(record.started), tags=tags, run_name=record.name
            )
        run_id = run.info.run_id
        fill(client, run_id, record)
        client.set_terminated(run_id, status=record.status.upper(), end_time=milliseconds(record.ended))
    except MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        log.warning("MLflow refuses the record of %s (%s); it stays spooled.", record.name, one_line(error))
        return False
    return True


def fill(client: "MlflowClient", run_id: str, record: StageRecord) -> None:
    """Log everything of a record on a run, without ending it."""
    tags = {"expanse.stage": record.stage, "expanse.cached": str(record.cached).lower(), **record.tags}
    log_to_run(client, run_id, record.parameters, record.metrics, tags, record.files, time=record.ended)
