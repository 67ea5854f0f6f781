"""How we speak to MLflow: one place that opens it, bounds its waiting, and spells names and times its way."""

import fcntl
import logging
import math
import os
import re
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from components.common.addresses import without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHUNK = 100  # MLflow takes at most 100 parameters and 100 tags in one call
LONGEST = 5000  # characters that every MLflow backend accepts as the value of a tag or a parameter
FIRST_USE = threading.Lock()  # warning filters and MLflow's imports are shared by the threads of a process
Scalar = float | int | str | bool | None

log = logging.getLogger("expanse.tracking")


def connect(tracking_uri: str) -> "MlflowClient":
    """A client for tracking and registry at this address; a SQLite schema is made once, whoever comes first.

    Requests to a server give up after seconds rather than MLflow's default of many minutes.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    with FIRST_USE, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside MLflow's own modules and its first use of SQLAlchemy
        return _client(tracking_uri)


def _client(tracking_uri: str) -> "MlflowClient":
    from mlflow import MlflowClient

    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # a traceback for what is raised anyway
    database = database_of(tracking_uri)
    if database is None:
        return MlflowClient(tracking_uri, tracking_uri)
    with locked(database.parent / f".{database.name}.schema"):
        if not database.exists():
            _make(database)
        return _opened(tracking_uri)


def _make(database: Path) -> None:
    """Make the tables under another name: a process that is killed meanwhile leaves nothing that looks like a database."""
    unfinished = database.with_name(f".{database.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    _opened(f"sqlite:///{unfinished}")
    unfinished.rename(database)


def _opened(tracking_uri: str) -> "MlflowClient":
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri, tracking_uri)
    client.get_experiment_by_name("Default")
    client.search_registered_models(max_results=1)
    return client


def experiment_id(client: "MlflowClient", tracking_uri: str, name: str) -> str:
    """The experiment called ``name``, made if need be; beside a SQLite file its artifacts go to ``mlartifacts/``."""
    from mlflow.exceptions import MlflowException

    database = database_of(tracking_uri)
    location = None if database is None else (database.parent / "mlartifacts").resolve().as_uri()
    if (found := client.get_experiment_by_name(name)) is None:
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:  # another process was first
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)


def log_to_run(
    client: "MlflowClient",
    run_id: str,
    parameters: Mapping[str, Scalar] | None = None,
    metrics: Mapping[str, float] | None = None,
    tags: Mapping[str, str] | None = None,
    files: Sequence[Path | str] = (),
    *,
    time: float,
) -> None:
    """Log what a run is known by, all at the unix second ``time``: logging the same record again changes nothing.

    Metrics that are not finite and files that are gone are left out.
    """
    from mlflow.entities import Metric, Param, RunTag

    run_metrics = [
        Metric(plain(name), float(value), milliseconds(time), 0)
        for name, value in (metrics or {}).items()
        if math.isfinite(value)
    ]
    run_parameters = [Param(plain(name), _text(value)) for name, value in (parameters or {}).items()]
    run_tags = [RunTag(plain(name), _text(value)) for name, value in (tags or {}).items()]
    for start in range(0, max(len(run_metrics), len(run_parameters), len(run_tags)), CHUNK):
        part = slice(start, start + CHUNK)
        client.log_batch(run_id, run_metrics[part], run_parameters[part], run_tags[part])
    for file in files:
        if Path(file).exists():
            client.log_artifact(run_id, str(file))
        else:
            log.warning("%s is gone and not logged to MLflow.", file)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file at ``path``; the kernel drops it when the process dies."""
    descriptor = os.open(made(path.parent) / path.name, os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def made(folder: Path) -> Path:
    """The folder, made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def database_of(tracking_uri: str) -> Path | None:
    """The file behind a ``sqlite:///`` address, None for a server's."""
    return Path(tracking_uri.removeprefix("sqlite:///")) if tracking_uri.startswith("sqlite:///") else None


def plain(name: str) -> str:
    """A name as MLflow takes it: letters, digits and ``_-./: ``."""
    return re.sub(r"[^\w\-./: ]+", "_", name)[:250]


def _text(value: Scalar) -> str:
    return str(value)[:LONGEST]


def shown(uri: str) -> str:
    """The address without the user and password in it."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts.netloc else uri


def one_line(error: Exception) -> str:
    """One line of an error, without the password that MLflow repeats from its address."""
    text = without_password(" ".join(str(error).split()))
    return f"{type(error).__name__}: {text[:200]}"


def milliseconds(seconds: float) -> int:
    """MLflow's spelling of a unix time."""
    return round(seconds * 1000)
