"""One promotion at a time: a lock file on one machine, a Lease object in a cluster.

MLflow has no compare-and-set on an alias, so whoever moves one holds this first.
"""

import fcntl
import hashlib
import os
import re
import socket
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from components.common import cluster
from components.common.cluster import CONFLICT, NOT_FOUND, SERVICE_ACCOUNT
from components.common.errors import Transient
from components.common.mlflow_client import database_of

DURATION = 300  # seconds after which a holder that died has lost the lease; a promotion takes a few
PATIENCE = 600  # seconds to wait for the others


@dataclass(frozen=True)
class Where:
    """The namespace whose Lease is taken, and the kubeconfig's context that leads there (None for the current one)."""

    namespace: str
    context: str | None = None


@contextmanager
def held(tracking_uri: str, registered_model: str, where: Where | None = None) -> Iterator[None]:
    """Hold the right to promote ``registered_model``; raises Transient when others hold it for too long.

    ``where`` names the cluster for somebody outside of it; a pod knows its own.
    """
    if where is None and (SERVICE_ACCOUNT / "namespace").is_file():
        where = Where(cluster.namespace())
    if database_of(tracking_uri) is None and where:
        from kubernetes.client import CoordinationV1Api

        api = CoordinationV1Api(cluster.connect(where.context))
        with (
            cluster.explained(f"The lease of {registered_model} in {where.namespace}"),
            cluster_lease(api, where.namespace, registered_model),
        ):
            yield
    else:
        with _file_lock(_lock_path(tracking_uri, registered_model)):
            yield


@contextmanager
def cluster_lease(api: Any, namespace: str, registered_model: str, patience: float = PATIENCE) -> Iterator[None]:
    """Hold a ``coordination.k8s.io/v1`` Lease, taken and renewed by compare-and-set on its resource version."""
    name = f"promote-{re.sub(r'[^a-z0-9-]+', '-', registered_model.lower()).strip('-')}"
    holder = f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
    deadline = time.monotonic() + patience
    while not _taken(api, namespace, name, holder):
        if time.monotonic() > deadline:
            raise Transient(f"The lease {namespace}/{name} stays held by another promotion; try again later.")
        time.sleep(min(1.0, patience / 10))
    try:
        yield
    finally:
        _release(api, namespace, name, holder)


def _taken(api: Any, namespace: str, name: str, holder: str) -> bool:
    from kubernetes.client import ApiException, V1Lease, V1LeaseSpec, V1ObjectMeta

    now = datetime.now(UTC)
    try:
        lease = api.read_namespaced_lease(name, namespace)
    except ApiException as error:
        if error.status != NOT_FOUND:
            raise
        lease = V1Lease(metadata=V1ObjectMeta(name=name), spec=V1LeaseSpec())
    spec = lease.spec
    if spec.holder_identity and spec.renew_time and now - spec.renew_time < timedelta(seconds=DURATION):
        return False
    spec.holder_identity, spec.acquire_time, spec.renew_time = holder, now, now
    spec.lease_duration_seconds = DURATION
    try:
        if lease.metadata.resource_version is None:
            api.create_namespaced_lease(namespace, lease)
        else:
            api.replace_namespaced_lease(name, namespace, lease)
    except ApiException as error:
        if error.status != CONFLICT:
            raise
        return False
    return True


def _release(api: Any, namespace: str, name: str, holder: str) -> None:
    lease = api.read_namespaced_lease(name, namespace)
    if lease.spec.holder_identity == holder:
        lease.spec.holder_identity = lease.spec.renew_time = None
        api.replace_namespaced_lease(name, namespace, lease)


def _lock_path(tracking_uri: str, registered_model: str) -> Path:
    database = database_of(tracking_uri)
    if database is not None:
        return database.parent / f".{database.name}.promote-{registered_model}"
    server = hashlib.sha256(tracking_uri.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"expanse-{os.getuid()}-{server}.promote-{registered_model}"


@contextmanager
def _file_lock(path: Path, patience: float = PATIENCE) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    try:
        deadline = time.monotonic() + patience
        while not _locked(descriptor):
            if time.monotonic() > deadline:
                raise Transient(f"{path} stays locked by another promotion; try again later.")
            time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
