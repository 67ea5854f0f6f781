"""The calls to the Kubernetes API that serving needs; every refusal is a sentence that names the object."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from components.common import cluster
from components.common.cluster import CONFLICT, NOT_FOUND
from components.common.errors import BadInput
from components.common.inference.objects import GROUP, PART_OF, PLURAL, RUN_LABEL, VERSION, Object

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

FIELD_VALIDATION = "Strict"
SECONDS = 30


class Services:
    """The InferenceServices of one namespace."""

    def __init__(self, api: "ApiClient | None" = None, namespace: str | None = None) -> None:
        from kubernetes import client

        api = api or cluster.connect()
        self.namespace = namespace or cluster.namespace()
        self._custom, self._core = client.CustomObjectsApi(api), client.CoreV1Api(api)
        self._where: dict[str, Any] = {
            "group": GROUP,
            "version": VERSION,
            "namespace": self.namespace,
            "plural": PLURAL,
        }

    def called(self, name: str) -> str:
        """The object as messages name it."""
        return f"InferenceService {self.namespace}/{name}"

    def read(self, name: str) -> Object | None:
        """The object, or None when there is none."""
        from kubernetes.client import ApiException

        with self._explained(name):
            try:
                found: Object = self._custom.get_namespaced_custom_object(**self._where, name=name, **_patience())
            except ApiException as error:
                if error.status != NOT_FOUND or _kind_is_missing(error):
                    raise
                return None
        return found

    def create(self, body: Object, dry_run: bool = False) -> Object | None:
        """The created object, or None when one of this name is there already."""
        name = body["metadata"]["name"]
        only = {"dry_run": "All"} if dry_run else {}
        with self._explained(name), _conflict_is_none() as outcome:
            outcome.append(
                self._custom.create_namespaced_custom_object(
                    **self._where, body=body, field_validation=FIELD_VALIDATION, **only, **_patience()
                )
            )
        return outcome[0] if outcome else None

    def replace(self, body: Object) -> Object | None:
        """The object after the change, or None when it has changed since it was read, or is gone."""
        name = body["metadata"]["name"]
        with self._explained(name), _conflict_is_none(NOT_FOUND) as outcome:
            outcome.append(
                self._custom.replace_namespaced_custom_object(
                    **self._where, name=name, body=body, field_validation=FIELD_VALIDATION, **_patience()
                )
            )
        return outcome[0] if outcome else None

    def delete(self, service: Object) -> bool:
        """Have the object deleted as it was read; False when it has changed since. What is gone already is fine."""
        metadata = service["metadata"]
        body = {"preconditions": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}}
        with self._explained(metadata["name"]), _conflict_is_none(NOT_FOUND) as outcome:
            outcome.append(
                self._custom.delete_namespaced_custom_object(
                    **self._where, name=metadata["name"], body=body, **_patience()
                )
            )
        return bool(outcome) or self.read(metadata["name"]) is None

    def released(self) -> list[Object]:
        """Every service of the platform that stays: those that steps bring up for themselves carry their run."""
        ours = ",".join(f"{key}={value}" for key, value in PART_OF.items())
        return self._listed("of released models", f"{ours},!{RUN_LABEL}")

    def _listed(self, which: str, selector: str) -> list[Object]:
        with self._explained(which):
            listed: Object = self._custom.list_namespaced_custom_object(
                **self._where, label_selector=selector, **_patience()
            )
        return list(listed["items"])

    def pods(self, name: str) -> list[Object]:
        """The pods of a service, as JSON."""
        selector = f"{GROUP}/inferenceservice={name}"
        with cluster.explained(f"The pods of {self.called(name)}"):
            found = self._core.list_namespaced_pod(self.namespace, label_selector=selector, **_patience())
        return [self._core.api_client.sanitize_for_serialization(pod) for pod in found.items]

    def refusals(self, name: str) -> list[str]:
        """Why pods of a service could not be created: the messages of its ReplicaSets' events, the latest last."""
        with cluster.explained(f"The events of {self.called(name)}"):
            found = self._core.list_namespaced_event(
                self.namespace, field_selector="reason=FailedCreate", **_patience()
            )
        return [event.message or "" for event in found.items if event.involved_object.name.startswith(f"{name}-")]

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        from kubernetes.client import ApiException

        what = self.called(name)
        with cluster.explained(what):
            try:
                yield
            except ApiException as error:
                if error.status == NOT_FOUND and _kind_is_missing(error):
                    raise BadInput(
                        f"{what}: this cluster does not know InferenceServices; install KServe, or correct KUBECONFIG."
                    ) from error
                raise


def _patience() -> dict[str, int]:
    return {"_request_timeout": SECONDS}


def _kind_is_missing(error: Any) -> bool:
    """Whether a 404 speaks of the definition and not of one object."""
    text = error.body if isinstance(error.body, str) else str(error.body or "")
    return "404 page not found" in text or "could not find the requested resource" in text


@contextmanager
def _conflict_is_none(*others: int) -> Iterator[list[Object]]:
    from kubernetes.client import ApiException

    outcome: list[Object] = []
    try:
        yield outcome
    except ApiException as error:
        if error.status not in (CONFLICT, *others) or _kind_is_missing(error):
            raise
