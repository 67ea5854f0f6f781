"""What the launcher of a training step does: create or adopt its TrainJob, follow it to the end, delete it."""

import time
from datetime import UTC, datetime

from components.common.cluster import connect, namespace
from components.common.errors import BadInput, ExpanseError, Transient
from components.common.step import (
    Outcome,
    Step,
    default_store,
    find_step,
    load_stage,
    parse_configuration,
    provenance_of,
)
from components.common.trainjobs.jobs import Jobs
from components.common.trainjobs.manifest import NODE, job_name, step_config_map, train_job
from components.common.trainjobs.observing import INDEX_LABEL, State, Words, failure, given_up, observe
from components.common.trainjobs.spec import TrainJobSpec

PAUSE = 5.0
#: How long the API may be away, and how long an old job may take to disappear.
PATIENCE, DISAPPEARANCE = 900.0, 120.0


def launch(step: Step, spec: TrainJobSpec, pause: float = PAUSE) -> Outcome:
    """Have the step done by a TrainJob and return its artifact; looks every ``pause`` seconds.

    Ends with the error that ended the job, in the job's own words where it left some. The job is deleted at the end, good
    or bad. If this process dies, the job goes on and the next launcher of the same step takes it over.
    """
    started = time.time()
    key = provenance_of(step, parse_configuration(step, load_stage(step.stage)[0])).key
    jobs, name = Jobs(connect(), namespace()), job_name(step, key)
    _start(jobs, step, key, spec, pause)
    error = Follower(jobs, name, spec, pause).follow()
    reference = find_step(step, default_store())  # also of a job that failed after its work was committed
    jobs.delete(name)
    if reference is None:
        raise error or BadInput(
            f"{jobs.what(name)} is complete, but the artifact of {step.name} is not in the store; give the launcher and the "
            "job the same EXPANSE_STORE and images of one version."
        )
    return Outcome(reference, False, started, time.time())


def _start(jobs: Jobs, step: Step, key: str, spec: TrainJobSpec, pause: float) -> None:
    """Create the job or adopt it; waits for one that is being deleted to be gone."""
    jobs.require_runtime(spec.runtime)
    body = train_job(step, key, spec, jobs.workflow())
    limit, said = time.monotonic() + DISAPPEARANCE, ""
    while True:
        try:
            job, new = jobs.create(body)
            break
        except Transient as error:
            if time.monotonic() > limit:
                raise
            if str(error) != said:
                _say(said := str(error))
            time.sleep(pause)
    _say(f"{jobs.what(job['metadata']['name'])}: {'created' if new else 'adopted from an earlier attempt'}")
    if large := step_config_map(step, job):
        jobs.create_config_map(large)


class Follower:
    """Watches one job: says what it waits for, prints its first pod's log, counts its restarts."""

    def __init__(self, jobs: Jobs, name: str, spec: TrainJobSpec, pause: float) -> None:
        self.jobs, self.name, self.spec, self.pause = jobs, name, spec, pause
        self.said = ""
        self.attempt = 0
        self.words: dict[str, Words] = {}
        self.log = Log(jobs)

    def follow(self) -> ExpanseError | None:
        """None when the job is complete, else what ended it. Raises Transient when the API is away for long."""
        seen = time.monotonic()
        while True:
            try:
                state = self._look()
                seen = time.monotonic()
            except Transient as away:
                if time.monotonic() - seen > PATIENCE:
                    raise
                state = State("waiting", str(away))
            if state.phase == "complete":
                return None
            if reason := self._end(state):
                return reason
            self._tell(state.says)
            time.sleep(self.pause)

    def _look(self) -> State:
        job = self.jobs.read(self.name)
        if job is None or job["metadata"].get("deletionTimestamp"):
            return State("gone")
        pods = self.jobs.pods(self.name)
        warning = "" if len(pods) >= self.spec.nodes else self.jobs.warning(self.name)
        for pod in pods:
            if pod["metadata"].get("labels", {}).get(INDEX_LABEL, "0") == "0":
                self.log.follow(pod["metadata"]["name"])
        return self._remember(observe(job, pods, warning, self.spec))

    def _remember(self, state: State) -> State:
        """Pods that fail are soon gone; what they said belongs to the attempt that they were of."""
        if state.attempt > self.attempt:
            last = list(self.words.values())[-1:] or list(state.words)[-1:]
            reason = f" after pod {last[0].pod}: {last[0].sentence}" if last else ""
            _say(f"{self.jobs.what(self.name)}: started again ({state.attempt} of {self.spec.restarts}){reason}")
            self.words = {word.pod: word for word in last if word.exit_code == 0}
            self.attempt = state.attempt
        self.words |= {word.pod: word for word in state.words}
        return State(state.phase, state.says, state.refusal, self.attempt, tuple(self.words.values()))

    def _end(self, state: State) -> ExpanseError | None:
        """Why the job is to be ended now, None while it may go on."""
        what = self.jobs.what(self.name)
        if state.phase == "gone":
            return Transient(
                f"{what} was deleted while it ran; it goes on from its last checkpoint when the step is run again."
            )
        if state.phase == "failed" or any(word.exit_code == BadInput.exit_code for word in state.words):
            return failure(what, state, self.spec)
        if state.attempt > self.spec.restarts:
            return given_up(what, state, self.spec)
        return state.refusal

    def _tell(self, says: str) -> None:
        if says != self.said:
            _say(f"{self.jobs.what(self.name)}: {says}")
            self.said = says


class Log:
    """Prints what a pod's log has gained, each line once."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self.seen: dict[str, str] = {}

    def follow(self, pod: str) -> None:
        """Print the lines that are newer than the last one printed of this pod."""
        last = self.seen.get(pod, "")
        for line in self.jobs.log(pod, NODE, _age(last)).splitlines():
            stamp, _, text = line.partition(" ")
            if _sortable(stamp) > last:
                self.seen[pod] = _sortable(stamp)
                print(text, flush=True)


def _age(stamp: str) -> int:
    """Seconds since a time, rounded up, so that no line is missed."""
    if not stamp:
        return 1 << 30
    then = datetime.fromisoformat(stamp[:19]).replace(tzinfo=UTC)
    return max(1, int((datetime.now(UTC) - then).total_seconds()) + 2)


def _sortable(stamp: str) -> str:
    """RFC 3339 drops trailing zeros of the fraction; with them, times sort as text."""
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    return f"{whole}.{fraction:0<9}"


def _say(text: str) -> None:
    print(f"expanse: {text}", flush=True)
