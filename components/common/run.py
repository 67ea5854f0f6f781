"""Which pipeline run and which step this process works for: the marks on what it starts in a cluster."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from components.common.canonical import digest
from components.common.cluster import RUN

RUN_FOLDER = "EXPANSE_RUN_FOLDER"
_STEP: ContextVar[str] = ContextVar("step", default="alone")


def run_id() -> str:
    """The id of the pipeline run: KFP's, else a local run's, else one for this user of this machine."""
    if given := os.environ.get(RUN):
        return given
    folder = os.environ.get(RUN_FOLDER)
    return Path(folder).name if folder else f"alone-{digest([socket.gethostname(), os.getuid()])[:8]}"


def step_name() -> str:
    """The name of the step that is being worked at."""
    return _STEP.get()


@contextmanager
def working_at(step: str) -> Iterator[None]:
    """Make ``step`` the step that is being worked at."""
    token = _STEP.set(step)
    try:
        yield
    finally:
        _STEP.reset(token)
