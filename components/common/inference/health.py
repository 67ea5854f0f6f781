"""What an InferenceService and its pods say about themselves: ready, on the way, or unable to get there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from components.common.errors import BadInput, ExpanseError, Transient
from components.common.inference.objects import Object

#: Why a container waits, and whether a retry can help; what is not here is on its way.
STUCK: dict[str, tuple[type[ExpanseError], str]] = {
    "InvalidImageName": (BadInput, "correct the runtime's image"),
    "ErrImageNeverPull": (BadInput, "put the image on the node, or correct the runtime's pull policy"),
    "ErrImagePull": (BadInput, "correct the runtime's image, or give its registry's pull secret"),
    "ImagePullBackOff": (BadInput, "correct the runtime's image, or give its registry's pull secret"),
    "CreateContainerConfigError": (BadInput, "create what it misses"),
    "CreateContainerError": (Transient, "see the pod's events"),
    "CrashLoopBackOff": (Transient, "see the container's log, and whether the model fits into its GPUs"),
}
#: What KServe says of a specification that no waiting can help.
HOPELESS = frozenset({"NoSupportingRuntime", "RuntimeNotRecognized", "RuntimeDisabled", "InvalidPredictorSpec"})
LONGEST = 300


@dataclass(frozen=True)
class State:
    """``said`` is the sentence's middle part, ``failure`` and ``remedy`` are set when it cannot get ready as it is.

    ``final`` says that no patience helps; other failures may pass, as when a registry is away for a moment.
    """

    ready: bool
    said: str
    failure: type[ExpanseError] | None = None
    remedy: str = ""
    final: bool = False


def state_of(service: Object, pods: Sequence[Object], refusals: Sequence[str]) -> State:
    """The state by the most telling sign: KServe's verdict, then a container, then the scheduler, then a quota."""
    status = (service.get("status") or {}) if _observed(service) else {}
    ready = _condition(status, "Ready")
    if ready.get("status") == "True" and _address(status):
        return State(True, "ready")
    model = status.get("modelStatus") or {}
    failure = model.get("lastFailureInfo") or {}
    reason = failure.get("reason") or ""
    said = _joined(reason, failure.get("message"))
    if model.get("transitionStatus") == "InvalidSpec" or reason in HOPELESS:
        remedy = "install the serving runtime of the chart, or correct the recipe's served section"
        return State(False, said or "its specification is invalid", BadInput, remedy, final=True)
    stuck = next(_stuck(pods), None)
    if stuck:
        return stuck
    if model.get("transitionStatus") == "BlockedByFailedLoad":
        return State(False, said, Transient, "see the log of its pod, and whether the model fits into its GPUs")
    waiting = next(_unscheduled(pods), None) or next(iter(reversed(refusals)), None)
    return State(False, waiting or _joined(ready.get("reason"), ready.get("message")) or "no status yet")


def _observed(service: Object) -> bool:
    """Whether the status speaks of the specification as it is now; a status that does not say counts."""
    seen = (service.get("status") or {}).get("observedGeneration")
    return seen is None or seen >= service["metadata"].get("generation", 0)


def _address(status: Object) -> str | None:
    found: str | None = (status.get("address") or {}).get("url") or status.get("url")
    return found


def address(service: Object) -> str:
    """Where pods of the cluster reach a ready service."""
    return str(_address(service["status"])).rstrip("/")


def _condition(status: Object, kind: str) -> Object:
    return next((each for each in status.get("conditions") or [] if each["type"] == kind), {})


def _stuck(pods: Sequence[Object]) -> Iterator[State]:
    for pod in pods:
        status = pod.get("status") or {}
        for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
            waiting = (container.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") in STUCK:
                kind, remedy = STUCK[waiting["reason"]]
                ended = ((container.get("lastState") or {}).get("terminated")) or {}
                last = _joined(ended.get("reason"), ended.get("message"))
                said = _joined(waiting["reason"], last or waiting.get("message"))
                final = waiting["reason"] == "InvalidImageName"
                named = f"pod {pod['metadata']['name']}, container {container['name']} (image {container['image']}): "
                yield State(False, named + said, kind, remedy, final)


def _unscheduled(pods: Sequence[Object]) -> Iterator[str]:
    for pod in pods:
        scheduled = _condition(pod.get("status") or {}, "PodScheduled")
        if scheduled.get("status") == "False":
            yield f"pod {pod['metadata']['name']} has no node: {_joined(scheduled.get('reason'), scheduled.get('message'))}"


def _joined(*parts: str | None) -> str:
    """The parts that there are in one line, the end of a long one: a log's last words say most."""
    text = ": ".join(" ".join(part.split())[-LONGEST:] for part in parts if part and part.strip())
    return text.rstrip(".")
