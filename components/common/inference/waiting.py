"""Waiting for an InferenceService to get ready, with what it waits for said whenever that changes."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from components.common.errors import Transient
from components.common.inference.health import State, state_of
from components.common.inference.objects import Object
from components.common.inference.services import Services


@dataclass(frozen=True)
class Patience:
    """Seconds: between looks, for which a failure must last to be believed, and for an object to be gone."""

    poll: float = 5.0
    failing: float = 120.0
    gone: float = 120.0


PATIENCE = Patience()
#: Gives the object as it is, making it what it should be where it is not; gets the deadline (monotonic seconds).
Current = Callable[[float], Object]


def awaited(services: Services, name: str, current: Current, minutes: float, patience: Patience) -> Object:
    """The object once it is ready.

    Raises BadInput where waiting cannot help, Transient when a failure lasts or the time is over.
    """
    called, deadline = services.called(name), time.monotonic() + 60 * minutes
    failing_since, told = None, ""
    while True:
        service, state = _looked_at(services, name, current, deadline)
        if state.ready and service is not None:
            return service
        now = time.monotonic()
        failing_since = (failing_since or now) if state.failure else None
        if state.failure and (state.final or now - (failing_since or now) >= patience.failing):
            raise state.failure(f"{called} cannot get ready: {state.said}; {state.remedy}.")
        if now >= deadline:
            raise Transient(
                f"{called} was not ready within {minutes:g} minutes; last seen: {state.said}; see that its GPUs, its "
                "quota and its weights are there, or raise ready_minutes."
            )
        if state.said != told:
            print(f"waiting for {called}: {state.said}", flush=True)
            told = state.said
        time.sleep(patience.poll)


def _looked_at(services: Services, name: str, current: Current, deadline: float) -> tuple[Object | None, State]:
    """The object and its state; an API that is away for a moment is a state too, and must not cost a loaded model."""
    try:
        service = current(deadline)
        state = state_of(service, [], [])
        if not state.ready and not state.final:
            state = state_of(service, services.pods(name), services.refusals(name))
    except Transient as error:
        return None, State(False, str(error).rstrip("."))
    return service, state


def until_settled(services: Services, name: str, deadline: float, poll: float) -> Object | None:
    """The object, or None when there is none; one that is being deleted is waited for.

    Raises Transient when it is still being deleted at the deadline.
    """
    while True:
        service = services.read(name)
        if service is None or "deletionTimestamp" not in service["metadata"]:
            return service
        if time.monotonic() >= deadline:
            raise Transient(
                f"{services.called(name)} is still being deleted; see which finalizer holds it, and try again."
            )
        time.sleep(min(1.0, poll))
