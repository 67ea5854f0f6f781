"""A model deployed under KServe, where it stays: created or updated, awaited, probed, and rolled back when that fails."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from components.common.artifacts import Reference
from components.common.endpoints import Served
from components.common.errors import BadInput, ExpanseError
from components.common.inference.bring_up import Address
from components.common.inference.health import address
from components.common.inference.objects import SPECIFICATION, Object, inference_service, storage_uri
from components.common.inference.probing import base_url
from components.common.inference.services import Services
from components.common.inference.waiting import PATIENCE, Patience, awaited, until_settled
from components.common.inputs import REFERENCE
from components.common.releases.history import who
from components.common.run import run_id
from components.deployment.record import (
    BY,
    PREVIOUS,
    RUN,
    STANDING,
    UNPROVEN,
    annotated,
    annotations_of,
    is_ours,
    proven,
    specification,
    with_model,
)


class KServeBackend:
    """An InferenceService of the namespace, as ``served`` says; ``patience`` and ``address`` are for tests.

    ``address`` None asks the service nothing: KServe's word that it is ready counts. ``version`` is "MODEL/N" where the
    registry knows the model, ``notes`` are annotations of a service that answered.
    """

    def __init__(
        self, served: Served, services: Services | None = None, address: Address | None = address,
        patience: Patience = PATIENCE, version: str = "", notes: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self._served, self._patience, self._address = served, patience, address
        self._services = services or Services()
        self._version, self._notes = version, dict(notes or {})

    @contextmanager
    def deployed(self, model: Path, name: str) -> Iterator[str]:
        """See Backend.deployed; the service stays when the block ends well.

        Where it does not get ready or the block fails, the service becomes again what it was before, or goes when there was
        none. A model that had been proven before and is deployed again is left as it is.
        """
        uri = storage_uri(self._served, Reference.load(model / REFERENCE))
        body = inference_service(name, uri, self._served, {})
        body["spec"]["predictor"] |= STANDING
        with self._standing(body) as url:
            yield url

    @contextmanager
    def replaced(self, service: Object, uri: str) -> Iterator[str]:
        """Have ``service`` serve the model at ``uri`` as it did before, else with its present settings; see ``deployed``."""
        with self._standing(with_model(service, uri)) as url:
            yield url

    @contextmanager
    def _standing(self, body: Object) -> Iterator[str]:
        name, applied = body["metadata"]["name"], _Applied(self._services, body, self._patience)
        try:
            service = awaited(self._services, name, applied, self._served.ready_minutes, self._patience)
            seconds = 60 * self._served.ready_minutes
            yield base_url(self._address(service), name, self._patience.poll, seconds) if self._address else ""
            self._mark(body)
        except ExpanseError as error:
            raise type(error)(f"{error} {self._roll_back(body)}") from error

    def _roll_back(self, body: Object) -> str:
        """Undo what this deployment has changed; returns the sentence that says what there is now."""
        name = body["metadata"]["name"]
        called = self._services.called(name)
        try:
            while service := self._services.read(name):
                annotations = annotations_of(service)
                if not is_ours(service) or UNPROVEN not in annotations or specification(service) != specification(body):
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

    def _mark(self, body: Object) -> None:
        name = body["metadata"]["name"]
        while service := self._services.read(name):
            _check_ours(self._services.called(name), service, body)
            if self._services.replace(annotated(proven(service, self._version), {**self._notes})):
                return


class _Applied:
    """Gives the service with the wanted specification; what it was before is noted on it, should this process be killed."""

    def __init__(self, services: Services, body: Object, patience: Patience) -> None:
        self._services, self._body, self._patience = services, body, patience
        self._done = False

    def __call__(self, deadline: float) -> Object:
        name = self._body["metadata"]["name"]
        called = self._services.called(name)
        while True:
            service = until_settled(self._services, name, deadline, self._patience.poll)
            if service is None:
                service = self._services.create(annotated(self._body, _changes()))
            elif not is_ours(service):
                raise BadInput(
                    f"{called} is there and was not deployed by this platform; remove it, or deploy under another name."
                )
            elif self._done:
                _check_ours(called, service, self._body)
            elif specification(service) != specification(self._body):
                service = self._services.replace(_updated(service, self._body))
            if service is not None:
                self._done = True
                return service
            time.sleep(min(1.0, self._patience.poll))


def _check_ours(called: str, service: Object, body: Object) -> None:
    """Two that deploy at once would undo each other's work for an hour: the later one goes on, the earlier one ends."""
    if specification(service) != specification(body):
        by = annotations_of(service).get(BY) or "somebody"
        raise BadInput(f"{called} was changed by {by} meanwhile; that change counts.")


def _changes() -> dict[str, str | None]:
    return {UNPROVEN: "true", RUN: run_id(), BY: who()}


def _updated(service: Object, body: Object) -> Object:
    """The service with the specification of ``body``; the last proven specification is what it can go back to."""
    before = json.dumps({"spec": service["spec"], "specification": specification(service)})
    previous: dict[str, str | None] = {} if UNPROVEN in annotations_of(service) else {PREVIOUS: before}
    changes = {**annotations_of(body), **previous, **_changes()}
    return {**annotated(service, changes), "spec": body["spec"]}


def _restored(service: Object) -> Object:
    before = json.loads(annotations_of(service)[PREVIOUS])
    changes = {SPECIFICATION: before["specification"], PREVIOUS: None, UNPROVEN: None}
    return {**annotated(service, changes), "spec": before["spec"]}
