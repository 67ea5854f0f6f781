"""What becomes of a run: a line for each chapter and step that changes its state, and the reason of a failure."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.common.errors import BadInput, Transient
from pipelines.kfp_api import explained
from pipelines.submitting import Run

if TYPE_CHECKING:
    from kfp_server_api import V2beta1PipelineTaskDetail, V2beta1Run

ENDED = frozenset({"SUCCEEDED", "SKIPPED", "FAILED", "CANCELED"})
#: How long a server may be away while we wait; the run goes on without us.
AWAY_SECONDS = 600.0
#: How a step says why it failed, in its log.
SENTENCE = re.compile(r"expanse: (.+)")


@dataclass(frozen=True)
class Change:
    """A chapter or a step is in another state; ``step`` is empty for the chapter itself."""

    chapter: str
    step: str
    state: str

    def __str__(self) -> str:
        return f"{self.chapter}{'/' if self.step else ''}{self.step}: {self.state.lower()}"


def follow(run: Run, poll_seconds: float = 10.0, clock: Callable[[], float] = time.monotonic) -> Iterator[Change]:
    """The changes of a run until it ends; raises BadInput with the step and its reason when it does not end well.

    A server that cannot be reached is asked again for ten minutes, then Transient is raised.
    """
    seen: dict[str, str] = {}
    reached = clock()
    while True:
        try:
            now = _get(run)
            reached = clock()
        except Transient as error:
            if clock() - reached > AWAY_SECONDS:
                raise Transient(f"{error} The run goes on: {run.link}") from error
            time.sleep(poll_seconds)
            continue
        except BadInput as error:
            raise BadInput(f"{error} The run goes on: {run.link}") from error
        yield from _changes(run, now, seen)
        if now.state in ENDED:
            break
        time.sleep(poll_seconds)
    if now.state != "SUCCEEDED":
        raise BadInput(_failure(run, now))


def _get(run: Run) -> "V2beta1Run":
    from kfp_server_api import RunServiceApi

    with explained(run.host, f"run {run.run_id}"):
        return RunServiceApi(run.client).run_service_get_run(run.run_id)


def _tasks(now: "V2beta1Run") -> "list[V2beta1PipelineTaskDetail]":
    return (now.run_details and now.run_details.task_details) or []


def _changes(run: Run, now: "V2beta1Run", seen: dict[str, str]) -> Iterator[Change]:
    """The tasks of the graph that are in another state than last time, in the order in which they began.

    KFP lists Argo's nodes, several to a task; those that bear the name of a chapter or a step tell its state.
    """
    names = {name: (name, "") for name in run.chapters.values()} | {
        step: (chapter, step) for step, chapter in run.chapters.items() if step != chapter
    }
    for task in sorted(_tasks(now), key=lambda task: str(task.start_time)):
        name, state = task.display_name, str(task.state)
        if name in names and state != "PENDING" and seen.get(name) != state:
            seen[name] = state
            yield Change(*names[name], state)


def _failure(run: Run, now: "V2beta1Run") -> str:
    """One sentence: which step failed and why, as far as KFP knows."""
    if now.state == "CANCELED":
        return f"The run was cancelled; see {run.link}"
    failed = [task for task in _tasks(now) if task.state == "FAILED"]
    steps = [task for task in failed if _step(task, run) is not None]
    if not steps:
        reason = f" ({now.error.message})" if now.error and now.error.message else ""
        return f"The run {str(now.state).lower()}{reason}; see {run.link}"
    first = min(steps, key=lambda task: str(task.end_time))
    reason = _reason(run, first, failed)
    return f"{_step(first, run)} failed{': ' + reason if reason else ''}; see {run.link}"


def _step(task: "V2beta1PipelineTaskDetail", run: Run) -> str | None:
    """The step that a node belongs to: by its name, or by that of its driver."""
    name = str(task.display_name).removesuffix("-driver")
    return name if name in run.chapters else None


def _reason(run: Run, task: "V2beta1PipelineTaskDetail", failed: "list[V2beta1PipelineTaskDetail]") -> str:
    """The last sentence in the logs of the failed pods below a node, in the order of the attempts; else an error of KFP's."""
    pods = {each.pod_name: each for each in failed if each.pod_name}
    below, found = [task], ""
    while below:
        node = below.pop(0)
        if node.error and node.error.message:
            found = " ".join(str(node.error.message).split())
        below += [pods.pop(child.pod_name) for child in node.child_tasks or [] if child.pod_name in pods]
        found = _last_sentence(run, node.pod_name) or found
    return found.rstrip(".")


def _last_sentence(run: Run, pod: str | None) -> str:
    """What a step said last in its log; "" where the log is gone or may not be read."""
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError

    if not pod:
        return ""
    path = {"run": run.run_id, "pod": pod}
    try:
        answer: Any = run.client.call_api(
            "/apis/v1alpha1/runs/{run}/nodes/{pod}/log",
            "GET",
            path_params=path,
            response_type="str",
            auth_settings=["Bearer"],
        )[0]
    except (ApiException, HTTPError):
        return ""
    said = SENTENCE.findall(str(answer))
    return said[-1].strip() if said else ""
