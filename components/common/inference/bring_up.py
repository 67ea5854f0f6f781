"""An endpoint for as long as a step needs it: created or adopted, awaited, and removed by the last who used it."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from components.common.ending import terminable
from components.common.endpoints import Endpoint, Served
from components.common.errors import BadInput, ExpanseError, Transient
from components.common.inference.health import address
from components.common.inference.objects import (
    RUN_LABEL,
    SPECIFICATION,
    STEP_LABEL,
    USER,
    Object,
    inference_service,
    label_value,
    service_name,
)
from components.common.inference.probing import base_url
from components.common.inference.services import Services
from components.common.inference.waiting import PATIENCE, Patience, awaited, until_settled
from components.common.run import run_id, step_name

#: From a ready object to the address that its pods answer at; tests put a server on loopback there.
Address = Callable[[Object], str]
#: What ``brought_up`` is to a stage: serves a model, given where its weights are and a label, while the block runs.
BringUp = Callable[[Served, str, str], AbstractContextManager[Endpoint]]


@contextmanager
def brought_up(
    served: Served, uri: str, label: str, services: Services | None = None, address: Address = address,
    patience: Patience = PATIENCE,
) -> Iterator[Endpoint]:  # fmt: skip
    """The endpoint of a model that is served while the block runs.

    A service of the same run for the same model is shared, be it another step's or the one that a killed attempt has left.
    Raises BadInput where waiting cannot help, Transient when it is not ready in time; in every case our claim on the
    service ends with the block, and with the last claim the service.
    """
    services = services or Services()
    session = _Session(services, _body(served, uri, label), patience)
    with terminable():
        try:
            service = session.ready(served.ready_minutes)
            url = base_url(address(service), session.name, patience.poll, served.ready_minutes * 60)
            print(f"{session.called} answers at {url}", flush=True)
            yield Endpoint(url=url, model=session.name, concurrency=served.concurrency)
        except Transient as error:
            if session.is_gone():
                raise Transient(f"{session.called} was deleted while it was used; try again ({error})") from error
            raise
        finally:
            session.leave()


def preflight(served: Served, uri: str, label: str, services: Services | None = None) -> None:
    """Have the API check the object that ``brought_up`` will create; nothing is created.

    Raises BadInput for a missing KServe, a missing permission or a field that it refuses.
    """
    (services or Services()).create(_body(served, uri, label), dry_run=True)


def _body(served: Served, uri: str, label: str) -> Object:
    run = run_id()
    labels = {RUN_LABEL: label_value(run), STEP_LABEL: label_value(step_name())}
    return inference_service(service_name(label, run, uri, served), uri, served, labels)


class _Session:
    """One step's claim on a service."""

    def __init__(self, services: Services, body: Object, patience: Patience) -> None:
        self._services, self._body, self._patience = services, body, patience
        self._claim = f"{USER}{label_value(step_name())}"
        self.name: str = body["metadata"]["name"]
        self.called = services.called(self.name)

    def ready(self, minutes: float) -> Object:
        """The object once it is ready, with our claim on it."""
        return awaited(self._services, self.name, self._claimed, minutes, self._patience)

    def leave(self) -> None:
        """End our claim, and with the last claim the service; a cluster that cannot be asked is told of and left alone."""
        try:
            while not self._left():
                time.sleep(min(1.0, self._patience.poll))
            self._wait_until_gone()
        except ExpanseError as error:
            print(f"{self.called} may still be there ({error}); the clean-up of the run removes it.", flush=True)

    def is_gone(self) -> bool:
        """Whether somebody else has removed the service."""
        try:
            return self._services.read(self.name) is None
        except ExpanseError:
            return False

    def _claimed(self, deadline: float) -> Object:
        """The object, created where there is none, with our claim on it."""
        while True:
            service = until_settled(self._services, self.name, deadline, self._patience.poll)
            if service is None:
                service = self._services.create(self._with_claim(self._body))
            else:
                self._check_ours(service)
                claimed = self._claim in service["metadata"].get("annotations", {})
                service = service if claimed else self._services.replace(self._with_claim(service))
            if service is not None:
                return service
            time.sleep(min(1.0, self._patience.poll))

    def _with_claim(self, service: Object) -> Object:
        metadata = service["metadata"]
        annotations = {
            **metadata.get("annotations", {}),
            self._claim: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        return {**service, "metadata": {**metadata, "annotations": annotations}}

    def _check_ours(self, service: Object) -> None:
        metadata, wanted = service["metadata"], self._body["metadata"]
        same_run = metadata.get("labels", {}).get(RUN_LABEL) == wanted["labels"][RUN_LABEL]
        if not same_run or metadata.get("annotations", {}).get(SPECIFICATION) != wanted["annotations"][SPECIFICATION]:
            raise BadInput(f"{self.called} is there and is not of this run; delete it, or rename what made it.")

    def _left(self) -> bool:
        """Whether our claim has ended; False when the object has changed meanwhile."""
        service = self._services.read(self.name)
        if service is None or "deletionTimestamp" in service["metadata"]:
            return True
        annotations = dict(service["metadata"].get("annotations", {}))
        if annotations.pop(self._claim, None) is None:
            return True  # never ours, or ended by the clean-up
        if not any(name.startswith(USER) for name in annotations):
            return self._services.delete(service)
        rest = {**service, "metadata": {**service["metadata"], "annotations": annotations}}
        return self._services.replace(rest) is not None

    def _wait_until_gone(self) -> None:
        """Give the GPUs back before the next step asks for them; a service that others use stays."""
        deadline = time.monotonic() + self._patience.gone
        while time.monotonic() < deadline:
            service = self._services.read(self.name)
            if service is None or "deletionTimestamp" not in service["metadata"]:
                return
            time.sleep(min(1.0, self._patience.poll))
        print(f"{self.called} is still being deleted; nothing waits for it.", flush=True)
