"""What a TrainJob, its pods and its events say, as a state that a launcher can act on and a person can read."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from components.common.errors import BadInput, ExpanseError, Transient
from components.common.trainjobs.spec import LOST_PEER, TrainJobSpec

ATTEMPT_LABEL = "jobset.sigs.k8s.io/restart-attempt"
INDEX_LABEL = "batch.kubernetes.io/job-completion-index"
#: Waiting that does not end by itself, by the reason that the kubelet gives.
HOPELESS = frozenset(
    {"ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError", "CreateContainerError"}
)
OUT_OF_MEMORY = "OOMKilled"
MANAGED = ("Suspended", "Complete", "Failed")

Document = dict[str, Any]


@dataclass(frozen=True)
class Words:
    """The last words of a pod: its error's sentence and exit code; code 0 when Kubernetes took the pod away."""

    pod: str
    sentence: str
    exit_code: int


@dataclass(frozen=True)
class State:
    """``phase`` is waiting, running, complete or failed; ``says`` explains it; ``refusal`` is why it cannot go on."""

    phase: str
    says: str = ""
    refusal: ExpanseError | None = None
    attempt: int = 0
    words: tuple[Words, ...] = ()


def observe(job: Document, pods: Sequence[Document], warning: str, spec: TrainJobSpec) -> State:
    """The state of a job. ``warning`` is the newest warning among the events of what should become its pods."""
    attempt = max((_attempt(pod) for pod in pods), default=0)
    present = [pod for pod in pods if _attempt(pod) == attempt]
    words = tuple(word for pod in pods for word in _last_words(pod))
    conditions = {each["type"]: each for each in job.get("status", {}).get("conditions", [])}
    if _true(conditions, "Complete"):
        return State("complete", attempt=attempt, words=words)
    if _true(conditions, "Failed"):
        return State("failed", _message(conditions["Failed"]), attempt=attempt, words=words)
    refusal = next((error for pod in present if (error := _hopeless(pod))), None)
    phase, says = _progress(conditions, present, warning, spec)
    return State(phase, says, refusal, attempt, words)


def _progress(
    conditions: dict[str, Document], pods: list[Document], warning: str, spec: TrainJobSpec
) -> tuple[str, str]:
    if _true(conditions, "Suspended"):
        queue = f"its turn in the queue {spec.queue}" if spec.queue else "somebody to resume it: it is suspended"
        return "waiting", f"waits for {queue} ({_message(conditions['Suspended'])})"
    strange = [_message(each) for kind, each in conditions.items() if kind not in MANAGED and each["status"] == "False"]
    if not pods:
        return "waiting", f"waits for its pods ({'; '.join(filter(None, [*strange, warning])) or 'none is there yet'})"
    pending = [reason for pod in pods if (reason := _pending(pod))]
    if pending or len(pods) < spec.nodes:
        return (
            "waiting",
            f"{len(pods) - len(pending)} of {spec.nodes} pods run ({pending[0] if pending else warning or 'more to come'})",
        )
    return "running", f"runs on {spec.nodes} x {max(1, spec.gpus)} {spec.accelerator if spec.gpus else 'CPU processes'}"


def failure(what: str, state: State, spec: TrainJobSpec) -> ExpanseError:
    """Why a job failed, as the error that its step ends with: a rank's own words first, then what Kubernetes says."""
    order = {2: 0, 1: 1, 0: 2, 3: 3}
    words = sorted(state.words, key=lambda word: (order.get(word.exit_code, 4), LOST_PEER in word.sentence))
    if words and words[0].exit_code in (1, 2):
        kind = BadInput if words[0].exit_code == BadInput.exit_code else ExpanseError
        return kind(words[0].sentence)
    said = f" (pod {words[0].pod}: {words[0].sentence.rstrip('.')})" if words else ""
    if state.attempt >= spec.restarts > 0:
        return given_up(what, state, spec)
    if "DeadlineExceeded" in state.says:
        return Transient(
            f"{what} ran longer than its timeout_hours ({spec.timeout_hours:g}){said}; it goes on from its last checkpoint "
            "when the step is run again, raise timeout_hours if that is not enough."
        )
    return Transient(
        f"{what} failed: {state.says.rstrip('.')}{said}; it goes on from its last checkpoint when the step is run again."
    )


def given_up(what: str, state: State, spec: TrainJobSpec) -> Transient:
    """The error of a job that was stopped and started again too often."""
    last = state.words[-1] if state.words else None
    said = f" (the last time pod {last.pod}: {last.sentence.rstrip('.')})" if last else ""
    return Transient(
        f"{what} was stopped and started again {state.attempt} times{said}; give it a higher priority or nodes that are not "
        "taken away, its last checkpoint is kept for when the step is run again."
    )


def newest_warning(events: Iterable[Document]) -> str:
    """The message of the newest warning, "" without one."""
    warnings = [each for each in events if each.get("type") == "Warning"]
    newest = max(warnings, key=lambda each: str(each.get("lastTimestamp") or each.get("eventTime") or ""), default=None)
    return f"{newest.get('reason', 'Warning')}: {_line(newest.get('message'))}" if newest else ""


def _last_words(pod: Document) -> list[Words]:
    """What an ended container left, and why Kubernetes took the pod away if it did."""
    name, status = pod["metadata"]["name"], pod.get("status", {})
    words = []
    for each in status.get("conditions") or []:
        if each["type"] == "DisruptionTarget" and each["status"] == "True":
            words.append(Words(name, f"{each.get('reason', 'Disrupted')}: {_line(each.get('message'))}", 0))
    if status.get("reason") and not words:
        words.append(Words(name, f"{status['reason']}: {_line(status.get('message'))}", 0))
    for container in status.get("containerStatuses") or []:
        ended = container.get("state", {}).get("terminated") or container.get("lastState", {}).get("terminated")
        if ended and ended.get("exitCode"):
            words.append(_of_container(name, ended))
    return words


def _of_container(pod: str, ended: Document) -> Words:
    if ended.get("reason") == OUT_OF_MEMORY:
        return Words(pod, "it used more memory than its node gives it (OOMKilled); raise the machine's memory", 3)
    try:
        said = json.loads(ended.get("message") or "")
        return Words(pod, str(said["error"]), int(said["exit_code"]))
    except (ValueError, KeyError, TypeError):
        return Words(pod, f"it ended with exit code {ended['exitCode']}", 3)


def _hopeless(pod: Document) -> BadInput | None:
    """An error for a pod that waits for what will never come."""
    for container in pod.get("status", {}).get("containerStatuses") or []:
        waiting = container.get("state", {}).get("waiting") or {}
        if waiting.get("reason") not in HOPELESS:
            continue
        message = _line(waiting.get("message")) or "no message"
        if "Image" in waiting["reason"]:
            return BadInput(
                f"The image {container['image']} cannot be pulled ({waiting['reason']}: {message}); correct "
                "platform.images, or platform.image_pull_secrets."
            )
        return BadInput(
            f"Pod {pod['metadata']['name']} cannot start ({waiting['reason']}: {message}); create what is missing."
        )
    return None


def _pending(pod: Document) -> str | None:
    """Why a pod does not run yet; None for one that does or did."""
    status = pod.get("status", {})
    if status.get("phase", "Pending") != "Pending":
        return None
    for each in status.get("conditions") or []:
        if each["type"] == "PodScheduled" and each["status"] == "False":
            return f"{each.get('reason', 'not scheduled')}: {_line(each.get('message'))}"
    for container in status.get("containerStatuses") or []:
        if waiting := container.get("state", {}).get("waiting"):
            return f"{waiting.get('reason', 'starting')} {_line(waiting.get('message'))}".strip()
    return "not scheduled yet"


def _attempt(pod: Document) -> int:
    return int(pod["metadata"].get("labels", {}).get(ATTEMPT_LABEL, 0))


def _true(conditions: dict[str, Document], kind: str) -> bool:
    return bool(conditions.get(kind, {}).get("status") == "True")


def _message(condition: Document) -> str:
    return f"{condition.get('reason', condition['type'])}: {_line(condition.get('message'))}"


def _line(text: Any) -> str:
    """Another program's words on one line, of a length that a person reads."""
    return " ".join(str(text or "").split())[:300]
