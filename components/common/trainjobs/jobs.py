"""The requests that a launcher makes to the Kubernetes API about one TrainJob.

The kubernetes client, not the Kubeflow SDK: see docs/decisions/0011-trainjobs-without-the-sdk.md.
"""

import os
from contextlib import suppress
from typing import Any

from components.common.cluster import CONFLICT, FORBIDDEN, NOT_FOUND, explained
from components.common.errors import BadInput, Transient
from components.common.trainjobs.manifest import (
    GROUP,
    KEY_ANNOTATION,
    KIND,
    PLURAL,
    RUNTIME_KIND,
    RUNTIMES,
    VERSION,
    Document,
)
from components.common.trainjobs.observing import newest_warning

JOBSET_LABEL = "jobset.sigs.k8s.io/jobset-name"
#: Seconds of a log that one request may bring, and bytes of it.
LOG_WINDOW, LOG_BYTES = 600, 1 << 20


class Jobs:
    """TrainJobs of one namespace. Every method raises BadInput or Transient with the object and the API's reason."""

    def __init__(self, api: Any, namespace: str) -> None:
        from kubernetes import client

        self.objects, self.core, self.namespace = client.CustomObjectsApi(api), client.CoreV1Api(api), namespace

    def what(self, name: str) -> str:
        """How a job is called in sentences."""
        return f"{KIND} {self.namespace}/{name}"

    def require_runtime(self, name: str) -> None:
        """Raise BadInput if the runtime does not exist; somebody who may not look finds out when the job is created."""
        from kubernetes.client import ApiException

        with explained(f"{RUNTIME_KIND} {name}"):
            try:
                self.objects.get_cluster_custom_object(GROUP, VERSION, RUNTIMES, name)
            except ApiException as error:
                if error.status != FORBIDDEN:
                    raise

    def create(self, body: Document) -> tuple[Document, bool]:
        """The new job, or the one that an earlier attempt at the same step made; the flag says that it is new."""
        from kubernetes.client import ApiException

        name = body["metadata"]["name"]
        with explained(self.what(name)):
            try:
                arguments = (GROUP, VERSION, self.namespace, PLURAL, body)
                return self.objects.create_namespaced_custom_object(*arguments, field_validation="Strict"), True
            except ApiException as error:
                if error.status != CONFLICT:
                    raise
        return self._adopt(name, body["metadata"]["annotations"][KEY_ANNOTATION]), False

    def _adopt(self, name: str, key: str) -> Document:
        found = self.read(name)
        if found is None or found["metadata"].get("deletionTimestamp"):
            raise Transient(f"{self.what(name)} is being deleted; try again when it is gone.")
        if found["metadata"].get("annotations", {}).get(KEY_ANNOTATION) != key:
            raise BadInput(
                f"{self.what(name)} exists and is not this step's (its annotation {KEY_ANNOTATION} differs); "
                "delete it, or give the step another name."
            )
        return found

    def create_config_map(self, body: Document) -> None:
        """Create a ConfigMap; one that an earlier attempt made is the same."""
        from kubernetes.client import ApiException

        with explained(f"ConfigMap {self.namespace}/{body['metadata']['name']}"):
            try:
                self.core.create_namespaced_config_map(self.namespace, body)
            except ApiException as error:
                if error.status != CONFLICT:
                    raise

    def read(self, name: str) -> Document | None:
        """The job as it is now, None if there is none."""
        from kubernetes.client import ApiException

        with explained(self.what(name)):
            try:
                return self.objects.get_namespaced_custom_object(  # type: ignore[no-any-return]
                    GROUP, VERSION, self.namespace, PLURAL, name
                )
            except ApiException as error:
                if error.status != NOT_FOUND:
                    raise
        return None

    def delete(self, name: str) -> None:
        """Delete the job with its pods, if it is there."""
        from kubernetes.client import ApiException

        with explained(self.what(name)):
            try:
                self.objects.delete_namespaced_custom_object(
                    GROUP, VERSION, self.namespace, PLURAL, name, propagation_policy="Background"
                )
            except ApiException as error:
                if error.status != NOT_FOUND:
                    raise

    def pods(self, name: str) -> list[Document]:
        """The job's pods, in the order of their names."""
        with explained(f"The pods of {self.what(name)}"):
            found = self.core.list_namespaced_pod(self.namespace, label_selector=f"{JOBSET_LABEL}={name}")
            plain = self.core.api_client.sanitize_for_serialization(found)
        return sorted(plain["items"], key=lambda pod: pod["metadata"]["name"])

    def warning(self, name: str) -> str:
        """The newest warning about the objects of the job: a quota, a policy, a webhook that refuses its pods."""
        with explained(f"The events of {self.what(name)}"):
            found = self.core.list_namespaced_event(self.namespace, field_selector="type=Warning")
            plain = self.core.api_client.sanitize_for_serialization(found)
        return newest_warning(each for each in plain["items"] if each["involvedObject"]["name"].startswith(name))

    def log(self, pod: str, container: str, seconds: int) -> str:
        """The log of the last so many seconds with a time before each line; "" while there is none to read."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        # What a log says is for people: to be without it must not end a job.
        with suppress(ApiException, HTTPError):
            return str(
                self.core.read_namespaced_pod_log(
                    pod,
                    self.namespace,
                    container=container,
                    since_seconds=min(seconds, LOG_WINDOW),
                    timestamps=True,
                    limit_bytes=LOG_BYTES,
                )
            )
        return ""

    def workflow(self) -> Document | None:
        """What the job's life is bound to: the workflow that this pod belongs to, None outside one.

        The pod itself must not own the job: it would take the job along when it is evicted, and there would be nothing left
        for its successor to adopt.
        """
        from kubernetes.client import ApiException

        with explained("The launcher's own pod"):
            try:
                pod = self.core.read_namespaced_pod(os.environ.get("HOSTNAME") or "none", self.namespace)
            except ApiException as error:
                if error.status not in (NOT_FOUND, FORBIDDEN):  # not in a pod, or not allowed to look
                    raise
                return None
        owners = (each for each in pod.metadata.owner_references or [] if each.kind == "Workflow")
        kept = {"apiVersion": "api_version", "kind": "kind", "name": "name", "uid": "uid"}
        return next(({name: getattr(owner, field) for name, field in kept.items()} for owner in owners), None)
