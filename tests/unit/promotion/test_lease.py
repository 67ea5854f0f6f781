"""The cluster's lease, against an API in memory that keeps the real compare-and-set rules."""

import copy
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from kubernetes.client import ApiException, V1Lease, V1LeaseSpec, V1ObjectMeta

from components.common.errors import Transient
from components.promotion.lease import DURATION, cluster_lease, held


class Leases:
    """What CoordinationV1Api does with leases, by resource version."""

    def __init__(self) -> None:
        self.stored: dict[str, V1Lease] = {}
        self.guard = threading.Lock()

    def read_namespaced_lease(self, name: str, namespace: str) -> V1Lease:
        with self.guard:
            if name not in self.stored:
                raise ApiException(status=404)
            return copy.deepcopy(self.stored[name])

    def create_namespaced_lease(self, namespace: str, lease: V1Lease) -> None:
        self._write(lease, lambda name: name in self.stored)

    def replace_namespaced_lease(self, name: str, namespace: str, lease: V1Lease) -> None:
        version = lease.metadata.resource_version
        self._write(lease, lambda name: self.stored[name].metadata.resource_version != version)

    def _write(self, lease: V1Lease, conflicts: Callable[[str], bool]) -> None:
        with self.guard:
            name = lease.metadata.name
            if conflicts(name):
                raise ApiException(status=409)
            stored = copy.deepcopy(lease)
            stored.metadata.resource_version = str(int(lease.metadata.resource_version or 0) + 1)
            self.stored[name] = stored


def lease_of(age: float) -> V1Lease:
    renewed = datetime.now(UTC) - timedelta(seconds=age)
    spec = V1LeaseSpec(holder_identity="someone", renew_time=renewed)
    return V1Lease(metadata=V1ObjectMeta(name="promote-expanse", resource_version="1"), spec=spec)


def test_only_one_of_many_holds_it() -> None:
    api, inside, most = Leases(), [0], [0]

    def hold(_: int) -> None:
        with cluster_lease(api, "ns", "Expanse", patience=3):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            threading.Event().wait(0.01)
            inside[0] -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(hold, range(4)))
    assert most == [1] and api.stored["promote-expanse"].spec.holder_identity is None


def test_a_held_lease_is_waited_for_and_a_dead_holder_loses_it() -> None:
    api = Leases()
    api.stored["promote-expanse"] = lease_of(age=1)
    with pytest.raises(Transient, match="stays held"), cluster_lease(api, "ns", "expanse", patience=0.1):
        pass
    api.stored["promote-expanse"] = lease_of(age=DURATION + 1)
    with cluster_lease(api, "ns", "expanse", patience=0.1):
        assert api.stored["promote-expanse"].spec.holder_identity != "someone"


def test_an_api_that_refuses_is_not_mistaken_for_a_held_lease() -> None:
    class Forbidden(Leases):
        def read_namespaced_lease(self, name: str, namespace: str) -> Any:
            raise ApiException(status=403)

    with pytest.raises(ApiException), cluster_lease(Forbidden(), "ns", "expanse"):
        pass


def test_outside_a_cluster_a_server_is_guarded_by_a_file(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with held("http://mlflow:5000", "expanse"):
        assert len(list(tmp_path.iterdir())) == 1
