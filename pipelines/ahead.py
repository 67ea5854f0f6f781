"""Local runs work ahead: every step whose inputs are there runs in one of a few slots, whatever place the graph gives it.

kfp.local runs the tasks of the graph one after another. Here their shells are called as soon as they can be, so that
kfp.local, when it comes to a task, finds its artifact in the store or waits for the attempt at work
(docs/decisions/0021-local-runs-work-ahead.md).
"""

import json
import os
import selectors
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from components.common import forking
from components.common.execution import AHEAD, event
from components.common.inputs import REFERENCE
from components.common.step import has_effects
from components.common.worker import KILLED
from pipelines.planning.walking import PlannedStep
from pipelines.tasks import ADDRESS as TASKS

#: Starts a step; its answer comes through the connection, and closing that ends the step.
Begin = Callable[[PlannedStep], socket.socket]
LOGS = "logs"  # in the run's folder, a file for each step


class Queue:
    """The steps that may run ahead, those with the longest way behind them first.

    Steps with effects outside the store wait for their place in the graph, and so do the steps that need one of them.
    """

    def __init__(self, steps: Sequence[PlannedStep]) -> None:
        free = _free(steps)
        behind = _behind(steps)
        order = sorted((step for step in steps if step.name in free), key=lambda step: -behind[step.name])
        self.waiting = {step.name: step for step in order}
        self.names = frozenset(self.waiting)
        self.done: set[str] = set()

    def take(self) -> PlannedStep | None:
        """The next step whose inputs are there; None when there is none at the moment."""
        ready = (step for step in self.waiting.values() if self.done.issuperset(step.inputs.values()))
        step = next(ready, None)
        return step and self.waiting.pop(step.name)


class Ahead:
    """Keeps up to ``jobs`` steps at work, and tells kfp.local's tasks what has become of theirs.

    A task that arrives at its place asks ``{"arrived": name}`` and is told, as soon as it is known, ``{"done": true}``,
    or that the step is its own to do, or the error that ends the run. After a failure nothing starts, and what is at work
    ends; only steps that exit the graph still run.
    """

    def __init__(self, steps: Sequence[PlannedStep], jobs: int, begin: Begin, listener: socket.socket) -> None:
        self.queue, self.jobs, self.begin = Queue(steps), jobs, begin
        self.exits = {step.name for step in steps if step.exits}
        self.at_work: dict[socket.socket, str] = {}
        self.arrived: dict[str, socket.socket] = {}
        self.stopped = self.over = False
        self.failure: dict[str, Any] | None = None
        self.listener, self.selector = listener, selectors.DefaultSelector()
        self.selector.register(listener, selectors.EVENT_READ, self._arrive)

    def end(self) -> None:
        """Make ``serve`` return, from another thread."""
        self.listener.shutdown(socket.SHUT_RDWR)

    def serve(self) -> None:
        """Work until ``end``. Should this fail, tasks find nobody here and do their steps themselves."""
        try:
            while not self.over:
                self._start()
                for key, _ in self.selector.select():
                    key.data(key.fileobj)
        finally:
            self._stop()
            for connection in (self.listener, *self.arrived.values()):
                connection.close()
            self.selector.close()

    def _start(self) -> None:
        while not self.stopped and len(self.at_work) < self.jobs and (step := self.queue.take()):
            connection = self.begin(step)
            self.at_work[connection] = step.name
            self.selector.register(connection, selectors.EVENT_READ, self._end)

    def _end(self, connection: socket.socket) -> None:
        """A step has ended, or its process is gone; unless it was stopped in this same turn."""
        name = self.at_work.pop(connection, None)
        if name is None:
            return
        self.selector.unregister(connection)
        with connection:
            answer = forking.reply(connection)
        if answer and answer["exit_code"] == 0:
            self.queue.done.add(name)
            if name in self.arrived:
                _answer(self.arrived.pop(name), {"done": True})
        else:
            self._fail(name, answer["exit_code"] if answer else None)

    def _fail(self, name: str, exit_code: int | None) -> None:
        if exit_code is None:  # nobody was left to say so
            exit_code = 3
            event("failed", name, error=f"The process of {name} {KILLED}", exit_code=exit_code)
        self.failure = {"error": f"{name} has failed; this ends the run.", "exit_code": exit_code}
        self._stop()
        while self.arrived:
            _answer(self.arrived.popitem()[1], self.failure)

    def _stop(self) -> None:
        self.stopped = True
        for connection in self.at_work:
            self.selector.unregister(connection)
            connection.close()
        self.at_work.clear()

    def _arrive(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            self.over = True
            return
        request, descriptors = forking.receive(connection)
        for descriptor in descriptors:
            os.close(descriptor)
        name = request["arrived"] if request else ""
        if name in self.exits:  # the others have ended, well or not
            self._stop()
            _answer(connection, {"done": False})
        elif self.failure:
            _answer(connection, self.failure)
        elif name in self.queue.done or name not in self.queue.names:
            _answer(connection, {"done": name in self.queue.done})
        else:
            self.arrived[name] = connection


@contextmanager
def working_ahead(steps: Sequence[PlannedStep], jobs: int, folder: Path) -> Iterator[None]:
    """Work ahead of the graph that this process runs meanwhile; ``folder`` is the run's."""
    address = Path(os.environ[TASKS]).with_name("ahead")  # a short path, as sockets need, in a folder that is removed
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(address))
    listener.listen()
    ahead = Ahead(steps, jobs, _begin_in(folder), listener)
    thread = threading.Thread(target=ahead.serve, daemon=True)
    thread.start()
    os.environ[AHEAD] = str(address)
    try:
        yield
    finally:
        with suppress(OSError):  # it has failed and left its traceback
            ahead.end()
        thread.join()


def _begin_in(folder: Path) -> Begin:
    """Calls a step's shell in a child of the tasks' process. Its output goes to a log of its own."""
    environment = dict(os.environ)  # without AHEAD: who has this one does the work

    def begin(step: PlannedStep) -> socket.socket:
        message = {
            "stage": step.stage,
            "shell": step.shell,
            "parameters": dict(step.parameters),
            "artifacts": {name: str(path) for name, path in _artifacts(step, folder / "ahead").items()},
            "environment": environment,
        }
        (folder / LOGS).mkdir(exist_ok=True)
        with (folder / LOGS / f"{step.name}.txt").open("ab") as log:
            return forking.begin(environment[TASKS], message, log.fileno(), log.fileno())

    return begin


def _artifacts(step: PlannedStep, folder: Path) -> dict[str, Path]:
    """Files for a shell's inputs and outputs. The first output is the reference, the others are pages for KFP's UI."""
    shell = getattr(import_module(f"components.{step.stage}.component"), step.shell)
    reference, *pages = shell.component_spec.outputs
    inputs = {name: folder / origin / REFERENCE for name, origin in step.inputs.items()}
    return inputs | {reference: folder / step.name / REFERENCE} | {page: folder / step.name / page for page in pages}


def _answer(connection: socket.socket, answer: dict[str, Any]) -> None:
    with connection, suppress(OSError):  # a task that is gone needs no answer
        connection.sendall(json.dumps(answer).encode())


def _free(steps: Sequence[PlannedStep]) -> frozenset[str]:
    """The steps without effects that need no step with effects."""
    known = {step.name: step for step in steps}

    @cache
    def free(name: str) -> bool:
        step = known[name]
        return not has_effects(step.stage, step.config) and all(map(free, step.inputs.values()))

    return frozenset(filter(free, known))


def _behind(steps: Sequence[PlannedStep]) -> dict[str, int]:
    """How many steps the longest way from each step to the end of the graph has."""
    followers: dict[str, list[str]] = {step.name: [] for step in steps}
    for step in steps:
        for origin in step.inputs.values():
            followers[origin].append(step.name)

    @cache
    def longest(name: str) -> int:
        return 1 + max(map(longest, followers[name]), default=0)

    return {name: longest(name) for name in followers}
