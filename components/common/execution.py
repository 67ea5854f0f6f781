"""What the KFP shells, the command line and ``python -m components.<stage>`` do around a step: inputs, events, record."""

import json
import os
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from components.common.artifacts import Reference
from components.common.cluster import RUN
from components.common.ending import terminable
from components.common.errors import BadInput, ExpanseError, error_of
from components.common.forking import ask
from components.common.pod_tracking import track
from components.common.run import RUN_FOLDER
from components.common.showing import describe, show_pages
from components.common.step import Outcome, Step, code_digest, default_store, find_step, run_step
from components.common.store import files_of
from components.common.tracking import StageRecord, spool
from components.common.trainjobs.spec import TRAINJOB, read_spec

WORKER = "EXPANSE_WORKER"
#: Where a local run that works ahead of its graph can be asked what has become of a step (pipelines/ahead.py).
AHEAD = "EXPANSE_AHEAD"


def execute(
    stage: str,
    name: str,
    code: str,
    configuration: str,
    inputs: Mapping[str, Any],
    output: Any,
    pages: Mapping[str, Any] | None = None,
) -> None:
    """The body of every KFP shell.

    ``code`` is the digest of the stage's source when the pipeline was compiled: it makes KFP's cache key see our code, and
    an image with other code is refused. ``inputs`` maps names to KFP artifacts, lists of them, or None; each artifact holds
    a reference file. ``output`` receives the new reference, with its digest, size and headline metrics as metadata;
    ``pages`` are outputs that receive a file of the new artifact itself. Exits with the code of the error.
    """
    try:
        step = Step(name, stage, configuration, {key: _references(value) for key, value in inputs.items()})
        with terminable():
            reference = perform(step, code).reference
        about = describe(name, reference)
        if pages:
            show_pages(default_store(), reference, pages, about)
        reference.save(Path(output.path))
    except ExpanseError as error:
        raise SystemExit(_say(error)) from None
    output.metadata.update(about)


def perform(step: Step, code: str) -> Outcome:
    """Run a step with its events and its tracking record, in the warm worker if one is there.

    A step that this run has worked at ahead of its place in the graph has told its events then, and is silent here.
    """
    if made := _made_ahead(step):
        return made
    event("started", step.name)
    started = time.time()
    try:
        _check_code(step.stage, code)
        outcome = _run(step)
    except BaseException as error:
        event("failed", step.name, error=str(error) or type(error).__name__, exit_code=getattr(error, "exit_code", 1))
        if not isinstance(error, ExpanseError):
            event("traceback", step.name, text=traceback.format_exc())
        if not isinstance(error, SystemExit):  # who is told to end has no time, and is tried again elsewhere
            _record(step, None, started)
        raise
    reference = asdict(outcome.reference)
    event("finished", step.name, cached=outcome.cached, metrics=reference["metadata"], reference=reference)
    _record(step, outcome, started)
    return outcome


def event(kind: str, name: str, **details: Any) -> None:
    """Append one line to the run's events, from which the progress display is drawn; nothing outside a local run."""
    folder = os.environ.get(RUN_FOLDER)
    if folder:
        line = json.dumps(
            {"event": kind, "name": name, "time": time.time(), **details}, ensure_ascii=False, default=str
        )
        with (Path(folder) / "events.jsonl").open("ab", buffering=0) as file:  # one write: steps end at the same time
            file.write(line.encode() + b"\n")


def _made_ahead(step: Step) -> Outcome | None:
    """What this run has made of the step already, once it has ended; None where it is to be done now.

    The artifact is looked up by the inputs that have come through the graph, so that nothing but their own work counts.
    Raises the error of a step whose failure ends the run.
    """
    address, started = os.environ.get(AHEAD), time.time()
    answer = ask(address, {"arrived": step.name}) if address else None
    if answer is None:
        return None
    if "error" in answer:
        raise error_of(answer["exit_code"], answer["error"])
    found = find_step(step, default_store()) if answer["done"] else None
    return Outcome(found, True, started, time.time()) if found else None


def _check_code(stage: str, code: str) -> None:
    if code != code_digest(stage):
        raise BadInput(
            f"The code of the {stage} stage here is not what the pipeline was compiled with; use one version for both."
        )


def _run(step: Step) -> Outcome:
    address, job = os.environ.get(WORKER), os.environ.get(TRAINJOB)
    started = time.time()
    if (address or job) and (found := find_step(step, default_store())):
        return Outcome(found, True, started, time.time())
    if job:
        from components.common.trainjobs.launching import launch

        return launch(step, read_spec(job))
    if address:
        from components.common import worker

        return worker.ask(address, step)
    return run_step(step, default_store())


def _record(step: Step, outcome: Outcome | None, started: float) -> None:
    """Leave the step's record: in the run's folder for its driver, or from a pod straight to the tracking server."""
    folder, run = os.environ.get(RUN_FOLDER), os.environ.get(RUN)
    with suppress(
        OSError, ExpanseError
    ):  # a full disk or a slow store must not undo finished work for its record's sake
        if folder:
            spool(_told(step, outcome, started, Path(folder).name), Path(folder) / "spool")
        elif run:
            track(_told(step, outcome, started, run), default_store())


def _told(step: Step, outcome: Outcome | None, started: float, run: str) -> StageRecord:
    metadata = outcome.reference.metadata if outcome else {}
    return StageRecord(
        name=step.name,
        stage=step.stage,
        pipeline_run=run,
        started=started,
        ended=time.time(),
        status="finished" if outcome else "failed",
        cached=bool(outcome and outcome.cached),
        parameters=flatten(json.loads(step.configuration)),
        metrics={key: float(value) for key, value in metadata.items() if isinstance(value, int | float)},
        tags=_tags(step, outcome),
        files=_files(outcome),
    )


def flatten(value: Any, prefix: str = "") -> dict[str, float | int | str]:
    """Nested fields as one level with dotted names, as a tracking server shows them."""
    if not isinstance(value, dict):
        return {prefix: value if isinstance(value, int | float | str) else json.dumps(value, ensure_ascii=False)}
    flat: dict[str, float | int | str] = {}
    for key, inner in value.items():
        flat |= flatten(inner, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _tags(step: Step, outcome: Outcome | None) -> dict[str, str]:
    tags = {"code": code_digest(step.stage)}
    if outcome:
        tags |= {"artifact": outcome.reference.digest, "uri": outcome.reference.uri}
        tags |= {key: str(value) for key, value in outcome.reference.metadata.items() if isinstance(value, str)}
    for name, group in step.inputs.items():
        tags |= {f"input.{name}.{index}": each.digest for index, each in enumerate(group)}
    return tags


def _files(outcome: Outcome | None) -> list[str]:
    """Small files that a person wants to open from the tracking server."""
    if outcome is None:
        return []
    names = ("report.html", "steps.json", "table.txt", "model_card.md", "results.json", "gate.json", "deployment.json")
    return [str(path) for path in files_of(outcome.reference, names).values()]


def _references(value: Any) -> Sequence[Reference]:
    artifacts = [] if value is None else value if isinstance(value, list) else [value]
    return [Reference.load(Path(artifact.path)) for artifact in artifacts if artifact is not None]


def _say(error: ExpanseError) -> int:
    print(f"expanse: {error}", flush=True)
    return error.exit_code
