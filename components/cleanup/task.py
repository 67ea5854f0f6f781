"""Remove whatever a run has started in the cluster and not taken down itself: the last task, after success and failure."""

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from components.common import cluster
from components.common.cluster import NOT_FOUND
from components.common.errors import BadInput, Transient
from components.common.inference.objects import RUN_LABEL, label_value
from components.common.inputs import Inputs
from components.common.run import run_id

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

POLL_SECONDS, REQUEST_SECONDS = 1.0, 30


class Config(BaseModel):
    """``gone_seconds``: how long to wait until what was deleted is gone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    gone_seconds: Annotated[float, Field(ge=0)] = 300.0


@dataclass(frozen=True)
class Kind:
    """A custom resource that steps create."""

    name: str
    group: str
    version: str
    plural: str


KINDS = (
    Kind("InferenceService", "serving.kserve.io", "v1beta1", "inferenceservices"),
    Kind("TrainJob", "trainer.kubeflow.org", "v1alpha1", "trainjobs"),
)


def outside(config: Config) -> dict[str, list[str]]:
    """A clean-up is never finished work: what it removed once, a later attempt may have started again."""
    return {"attempt": [uuid.uuid4().hex]}


def effects(config: Config) -> bool:
    """What is removed is gone for the steps that still use it."""
    return True


def run(config: Config, inputs: Inputs, output: Path) -> dict[str, float | int | str]:
    """Delete the objects that carry the run's label and write their names to removed.json; nothing without a cluster.

    Raises BadInput for a missing permission, Transient when objects do not go in time.
    """
    api = _connected()
    removed = sorted(_remove_all(api, config.gone_seconds)) if api else []
    (output / "removed.json").write_text(json.dumps(removed, indent=1) + "\n", encoding="utf-8")
    print(f"removed: {', '.join(removed)}" if removed else "nothing to remove", flush=True)
    return {"removed": len(removed)}


def _connected() -> "ApiClient | None":
    """A run outside a cluster has started nothing there."""
    try:
        return cluster.connect()
    except BadInput as error:
        print(f"{error} Nothing to remove.", flush=True)
        return None


def _remove_all(api: "ApiClient", seconds: float) -> set[str]:
    """Delete again until nothing is left: a step that is ending may have created one more."""
    deadline = time.monotonic() + seconds
    names: set[str] = set()
    while left := list(_left(api)):
        for kind, item in left:
            names.add(f"{kind.name} {item['metadata']['namespace']}/{item['metadata']['name']}")
            if "deletionTimestamp" not in item["metadata"]:
                _delete(api, kind, item)
        if time.monotonic() >= deadline and list(_left(api)):
            raise Transient(f"{', '.join(sorted(names))} will not go; see which finalizer holds them, and try again.")
        time.sleep(min(POLL_SECONDS, seconds))
    return names


def _left(api: "ApiClient") -> Iterator[tuple[Kind, dict[str, Any]]]:
    from kubernetes import client

    custom, namespace = client.CustomObjectsApi(api), cluster.namespace()
    selector = f"{RUN_LABEL}={label_value(run_id())}"
    for kind in KINDS:
        with cluster.explained(f"The {kind.name}s of {namespace}"):
            try:
                found = custom.list_namespaced_custom_object(
                    kind.group, kind.version, namespace, kind.plural,
                    label_selector=selector, _request_timeout=REQUEST_SECONDS,
                )  # fmt: skip
            except client.ApiException as error:
                if error.status != NOT_FOUND:
                    raise
                continue  # a cluster without this kind has none of them
        yield from ((kind, item) for item in found["items"])


def _delete(api: "ApiClient", kind: Kind, item: dict[str, Any]) -> None:
    from kubernetes import client

    name, namespace = item["metadata"]["name"], item["metadata"]["namespace"]
    with cluster.explained(f"{kind.name} {namespace}/{name}"):
        try:
            client.CustomObjectsApi(api).delete_namespaced_custom_object(
                kind.group, kind.version, namespace, kind.plural, name,
                propagation_policy="Foreground", _request_timeout=REQUEST_SECONDS,
            )  # fmt: skip
        except client.ApiException as error:
            if error.status != NOT_FOUND:
                raise
