"""Where a model is deployed: behind one small interface, the predictor as a process of this machine."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Protocol

from components.common.errors import BadInput, Transient

ROOT = Path(__file__).resolve().parents[2]
READY = re.compile(r"^Serving .+ at (http://\S+)/openai/v1$", re.MULTILINE)
POLL_SECONDS, STOP_SECONDS, TAIL = 0.1, 60.0, 2000


class Backend(Protocol):
    """A place that serves models."""

    def deployed(self, model: Path, name: str) -> AbstractContextManager[str]:
        """Serve ``model`` as ``name``; gives the base URL of its OpenAI interface once it is ready.

        Raises BadInput when the model is refused, Transient when it is not ready in time.
        """


class LocalBackend:
    """The predictor as a child process on a free loopback port; it ends with this process, however that ends."""

    def __init__(self, ready_seconds: float) -> None:
        self._ready_seconds = ready_seconds

    @contextmanager
    def deployed(self, model: Path, name: str) -> Iterator[str]:
        """See Backend.deployed."""
        command = [sys.executable, "-m", "serving", str(model), "--name", name, "--port", "0"]
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        with tempfile.NamedTemporaryFile() as log:
            process = subprocess.Popen(
                [*command, "--parent", str(os.getpid())],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment,
            )  # fmt: skip
            try:
                yield f"{self._wait(process, log)}/openai/v1"
            finally:
                _stop(process)

    def _wait(self, process: "subprocess.Popen[bytes]", log: IO[bytes]) -> str:
        deadline = time.monotonic() + self._ready_seconds
        while time.monotonic() < deadline:
            ended = process.poll() is not None
            text = _read(log)
            if found := READY.search(text):
                return found.group(1)
            if ended:
                raise _died(process.returncode, text)
            time.sleep(POLL_SECONDS)
        tail = _read(log)[-TAIL:]
        raise Transient(f"The predictor was not ready within {self._ready_seconds:g} seconds; its log ends: {tail}")


def _died(code: int, log: str) -> BadInput | Transient:
    tail = log.strip()[-TAIL:]
    if code == BadInput.exit_code:
        return BadInput(f"The predictor refuses the model: {tail.splitlines()[-1] if tail else 'no reason given'}")
    return Transient(f"The predictor ended with code {code} before it was ready; its log ends: {tail}")


def _read(log: IO[bytes]) -> str:
    return Path(log.name).read_text(encoding="utf-8", errors="replace")  # seeking would move the child's offset too


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
