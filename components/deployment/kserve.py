"""A model deployed under KServe, where it stays: created or updated, awaited, probed, and rolled back when that fails."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.common.artifacts import Reference
from components.common.endpoints import Served
from components.common.errors import BadInput, ExpanseError
from components.common.inference.bring_up import Address
from components.common.inference.health import address
from components.common.inference.objects import PART_OF, SPECIFICATION, Object, inference_service, storage_uri
from components.common.inference.probing import base_url
from components.common.inference.services import Services
from components.common.inference.waiting import PATIENCE, Patience, awaited, until_settled
from components.common.inputs import REFERENCE
from components.common.run import run_id

#: On a service that has not answered its probes yet; and what it was before, as JSON, where it was something.
UNPROVEN, PREVIOUS, RUN = "expanse.dev/unproven", "expanse.dev/previous", "expanse.dev/run"
#: The model before serves until the new one is ready.
STRATEGY = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}


class KServeBackend:
    """An InferenceService of the namespace, as ``served`` says; ``patience`` and ``address`` are for tests."""

    def __init__(
        self, served: Served, services: Services | None = None, address: Address = address,
        patience: Patience = PATIENCE,
    ) -> None:  # fmt: skip
        self._served, self._patience, self._address = served, patience, address
        self._services = services or Services()

    @contextmanager
    def deployed(self, model: Path, name: str) -> Iterator[str]:
        """See Backend.deployed; the service stays when the block ends well.

        Where it does not get ready or the block fails, the service becomes again what it was before, or goes when there was
        none. A model that had been proven before and is deployed again is left as it is.
        """
        uri = storage_uri(self._served, Reference.load(model / REFERENCE))
        body = inference_service(name, uri, self._served, {})
        body["spec"]["predictor"]["deploymentStrategy"] = STRATEGY
        try:
            service = awaited(
                self._services, name, lambda deadline: self._applied(body, deadline), self._served.ready_minutes,
                self._patience,
            )  # fmt: skip
            yield base_url(self._address(service), name, self._patience.poll, 60 * self._served.ready_minutes)
        except ExpanseError as error:
            raise type(error)(f"{error} {self._roll_back(body)}") from error
        self._mark(name, {UNPROVEN: None, PREVIOUS: None})

    def _applied(self, body: Object, deadline: float) -> Object:
        """The service with the wanted specification; what it was before is noted on it, should this process be killed."""
        name = body["metadata"]["name"]
        while True:
            service = until_settled(self._services, name, deadline, self._patience.poll)
            if service is None:
                service = self._services.create(_annotated(body, {UNPROVEN: "true", RUN: run_id()}))
            elif not _is_ours(service):
                raise BadInput(
                    f"{self._services.called(name)} is there and was not deployed by this platform; remove it, or deploy "
                    "under another name."
                )
            elif _specification(service) != _specification(body):
                service = self._services.replace(_updated(service, body))
            if service is not None:
                return service
            time.sleep(min(1.0, self._patience.poll))

    def _roll_back(self, body: Object) -> str:
        """Undo what this deployment has changed; returns the sentence that says what there is now."""
        name = body["metadata"]["name"]
        called = self._services.called(name)
        try:
            while service := self._services.read(name):
                annotations = service["metadata"].get("annotations", {})
                if not _is_ours(service) or UNPROVEN not in annotations:
                    return f"{called} is as it was."
                if PREVIOUS not in annotations:
                    if self._services.delete(service):
                        return f"{called} is removed; there was none before."
                elif self._services.replace(_restored(service)):
                    return f"{called} is rolled back to the model before."
                time.sleep(min(1.0, self._patience.poll))
        except ExpanseError as error:
            return f"{called} could not be rolled back ({error})"
        return f"{called} is gone."

    def _mark(self, name: str, changes: dict[str, str | None]) -> None:
        while service := self._services.read(name):
            if self._services.replace(_annotated(service, changes)):
                return


def _annotated(service: Object, changes: dict[str, str | None]) -> Object:
    metadata = service["metadata"]
    merged = {**metadata.get("annotations", {}), **changes}
    annotations = {key: value for key, value in merged.items() if value is not None}
    return {**service, "metadata": {**metadata, "annotations": annotations}}


def _is_ours(service: Object) -> bool:
    labels = service["metadata"].get("labels", {})
    return all(labels.get(key) == value for key, value in PART_OF.items())


def _specification(service: Object) -> str | None:
    found: str | None = service["metadata"].get("annotations", {}).get(SPECIFICATION)
    return found


def _updated(service: Object, body: Object) -> Object:
    """The service with the specification of ``body``; the last proven specification is what it can go back to."""
    annotations = service["metadata"].get("annotations", {})
    before = json.dumps({"spec": service["spec"], "specification": _specification(service)})
    proven = UNPROVEN not in annotations
    previous = {PREVIOUS: before} if proven else {}
    changes = {**body["metadata"]["annotations"], **previous, UNPROVEN: "true", RUN: run_id()}
    return {**_annotated(service, changes), "spec": body["spec"]}


def _restored(service: Object) -> Object:
    before = json.loads(service["metadata"]["annotations"][PREVIOUS])
    changes = {SPECIFICATION: before["specification"], PREVIOUS: None, UNPROVEN: None}
    return {**_annotated(service, changes), "spec": before["spec"]}
