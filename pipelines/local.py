"""The whole recipe on this machine: the graph under kfp.local, a warm worker, MLflow on SQLite, the store in a folder."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from components.common.errors import ExpanseError, Transient, error_of, storage_error
from components.common.execution import WORKER
from components.common.forking import closing_input, resident
from components.common.run import RUN_FOLDER
from components.common.step import STORE
from components.common.tracking import Tracker
from pipelines.ahead import LOGS
from pipelines.recipe import Recipe
from pipelines.tasks import ADDRESS as TASKS

Event = dict[str, Any]
POLL_SECONDS = 0.1
#: Sums depend on the number of threads: one makes the result the same on any number of cores, which other steps fill.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
MOST_JOBS = 8


class LocalRun:
    """One run in one folder: ``store/`` keeps finished work, ``runs/<id>/`` the events, logs and records of a run.

    A run that was interrupted is taken up again under its id, and so is its MLflow run.
    """

    def __init__(self, recipe: Recipe, root: Path, until: str, jobs: int | None = None) -> None:
        self.recipe, self.root, self.until = recipe, root.absolute(), until
        self.jobs = sensible_jobs(recipe) if jobs is None else jobs
        self.environment = {**os.environ, **(ONE_THREAD if recipe.miniature else {})}
        self.tracking_uri = f"sqlite:///{self.root / 'mlflow.db'}"
        self.tracker = Tracker(self.tracking_uri, recipe.experiment)
        self.interrupted = False
        self._held = ExitStack()

    def __enter__(self) -> "LocalRun":
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._held.enter_context(exclusive(self.root))
            self.folder = self.root / "runs" / (_unfinished(self.root, self.recipe) or time.strftime("%Y%m%d-%H%M%S"))
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "recipe.json").write_text(self.recipe.model_dump_json(indent=1), encoding="utf-8")
            self.events = self.folder / "events.jsonl"
            self.events.write_text("", encoding="utf-8")
        except OSError as error:
            raise storage_error(error, self.root) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def discard_finished_work(self) -> None:
        """Delete the store, so that every step runs again."""
        shutil.rmtree(self.root / "store", ignore_errors=True)

    def follow(self) -> Iterator[Event]:
        """Run the graph and yield every event of its steps as it happens; raises the error of a step that failed."""
        with (
            resident("components.common.worker", self.environment) as worker,
            resident("pipelines.tasks") as tasks,
            self._engine(worker, tasks) as engine,
            self.hearing_interrupts(),
        ):
            parent = self._parent()
            yield from self._deliver(self.read_events(engine), parent)
        if engine.returncode:
            self._raise_failure(parent)

    @contextmanager
    def hearing_interrupts(self) -> Iterator[None]:
        """Note an interrupt, to be raised between two events: one that is raised inside a library can get lost there.

        A second one is raised at once, for whoever does not want to wait for what the first one waits for.
        """

        def note(*_: object) -> None:
            if self.interrupted:
                raise KeyboardInterrupt
            self.interrupted = True

        before = signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def read_events(self, process: subprocess.Popen[bytes]) -> Iterator[Event]:
        """The run's events until the process that causes them has ended; raises KeyboardInterrupt if there was one."""
        with self.events.open(encoding="utf-8") as file:
            rest = ""
            while True:
                ended = process.poll() is not None
                *lines, rest = (rest + file.read()).split("\n")
                yield from map(json.loads, lines)
                if self.interrupted:
                    raise KeyboardInterrupt
                if ended:
                    return
                time.sleep(POLL_SECONDS)

    def finish(self, summary: dict[str, Any], files: list[Path]) -> None:
        """Write the summary, which marks the run as finished, and end its MLflow run with the headline metrics."""
        parent = self._parent()
        if parent:
            final = summary["steps"][-1] if summary["steps"] else {}
            metrics = {key: value for key, value in final.get("metrics", {}).items() if isinstance(value, int | float)}
            self.tracker.deliver(self.folder / "spool", parent)
            self.tracker.finish(parent, metrics, files=files)
        for folder in (self.folder, self.root):
            _write(folder / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
        for scaffold in ("kfp", "ahead"):
            shutil.rmtree(self.folder / scaffold, ignore_errors=True)

    def _parent(self) -> str | None:
        """The MLflow run of this pipeline run: its id is kept in the run's folder."""
        note = self.folder / "mlflow-run"
        known = note.read_text(encoding="utf-8") if note.is_file() else None
        tags = {"expanse.recipe": self.recipe.name, "expanse.configuration": self.recipe.digest}
        name = f"{self.recipe.name}-{self.folder.name}"
        parent = self.tracker.start_pipeline(name, tags, {"recipe": self.recipe.name, "seed": self.recipe.seed}, known)
        if parent and parent != known:
            _write(note, parent)
        return parent

    def _deliver(self, events: Iterator[Event], parent: str | None) -> Iterator[Event]:
        for event in events:
            yield event
            if parent and event["event"] in {"finished", "failed"}:
                self.tracker.deliver(self.folder / "spool", parent)

    @contextmanager
    def _engine(self, worker: str, tasks: str) -> Iterator[subprocess.Popen[bytes]]:
        """The process that runs the graph; it ends itself and its children when our end of its standard input closes."""
        environment = {
            **self.environment,
            STORE: (self.root / "store").as_uri(),
            RUN_FOLDER: str(self.folder),
            WORKER: worker,
            TASKS: tasks,
            "MLFLOW_TRACKING_URI": self.tracking_uri,
            "TOKENIZERS_PARALLELISM": "false",
        }
        command = [sys.executable, "-m", "pipelines.engine", str(self.folder), self.until, str(self.jobs)]
        with (self.folder / "log.txt").open("ab") as log:
            engine = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        with closing_input(engine):
            yield engine

    def _raise_failure(self, parent: str | None) -> None:
        if parent:
            self.tracker.finish(parent, {}, status="failed")
        failures = [event for event in _read(self.events) if event["event"] == "failed"]
        if not failures:
            raise ExpanseError(f"The run stopped without a failed step; its log is {self.folder / 'log.txt'}.")
        first = failures[0]
        own = self.folder / LOGS / f"{first['name']}.txt"  # where the step ran ahead of its place
        where = (
            "" if first["exit_code"] in (2, 3) else f" (the log is {own if own.is_file() else self.folder / 'log.txt'})"
        )
        raise error_of(first["exit_code"], f"{first['name']}: {first['error']}{where}")


def sensible_jobs(recipe: Recipe) -> int:
    """How many steps to run at a time: one for each core that this process may use.

    The miniature's graph has nothing left to do for more than ``MOST_JOBS``. Models of another recipe may fill the memory,
    or the one GPU, each by itself: their steps take turns.
    """
    return min(len(os.sched_getaffinity(0)), MOST_JOBS) if recipe.miniature else 1


@contextmanager
def exclusive(root: Path) -> Iterator[None]:
    """Hold the folder for one run; raises Transient when another run holds it."""
    with (root / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Transient(
                f"Another run is at work in {root}; wait for it, or choose another folder with --root."
            ) from None
        yield


def _read(path: Path) -> list[Event]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _unfinished(root: Path, recipe: Recipe) -> str | None:
    """The newest run of the same configuration that has no summary yet."""
    for folder in sorted((root / "runs").glob("*"), reverse=True):
        if not (folder / "summary.json").exists() and (folder / "recipe.json").is_file():
            same = (folder / "recipe.json").read_text(encoding="utf-8") == recipe.model_dump_json(indent=1)
            return folder.name if same else None
    return None


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(text, encoding="utf-8")
    temporary.rename(path)
