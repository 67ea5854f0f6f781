"""A resident process that has imported the heavy libraries once and forks a child for each step.

Importing torch, transformers and TRL takes five to ten seconds, and a laptop run has some fifty steps. The pipeline's
steps stay processes of their own (a crash or a leak in one cannot touch the next), they only start warm.
The worker ends when its standard input closes, so it cannot outlive the run that started it.
"""

import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from dataclasses import asdict
from functools import cache
from typing import Any

from components.common.artifacts import Reference
from components.common.errors import BadInput, ExpanseError, Transient
from components.common.step import Outcome, Step, default_store, run_step

PRELOAD = (
    "pyarrow.parquet",
    "sacrebleu",
    "torch",
    "transformers.models.cohere.modeling_cohere",
    "transformers.models.auto.tokenization_auto",
    "transformers.generation.utils",
    "trl.trainer.sft_trainer",
    "trl.trainer.dpo_trainer",
)
PR_SET_PDEATHSIG = 1


def ask(address: str, step: Step) -> Outcome:
    """Have the worker at the Unix socket ``address`` run a step, its output appearing on our own; raises its error."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(address)
        request = json.dumps({"step": step.to_json(), "environment": dict(os.environ)}).encode()
        header = len(request).to_bytes(8, "big")
        socket.send_fds(connection, [header], [1, 2])
        connection.sendall(request)
        reply = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    if not reply:
        raise Transient(
            f"The process of {step.name} was killed (out of memory?); run the same command again to resume."
        )
    answer = json.loads(reply)
    if "error" in answer:
        raise _error(answer)
    return Outcome(Reference(**answer["reference"]), answer["cached"], answer["started"], answer["ended"])


def serve(address: str) -> None:
    """Accept steps until standard input closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the children
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(address)
        listener.listen()
        while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            _preload()
            _fork(listener, connection)


@cache
def _preload() -> None:
    for module in PRELOAD:
        importlib.import_module(module)
    gc.freeze()  # keep the shared pages of the imported modules out of the children's garbage collections


def _fork(listener: socket.socket, connection: socket.socket) -> None:
    with connection:
        if os.fork() == 0:
            try:
                listener.close()
                _child(connection)
            finally:  # whatever happens, a child must not go on as a second server
                os._exit(0)


def _child(connection: socket.socket) -> None:
    """Run one step in this process and answer."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    answer: dict[str, Any]
    try:
        step = _receive(connection)
        outcome = run_step(step, default_store())
        answer = {**asdict(outcome), "reference": asdict(outcome.reference)}
    except ExpanseError as error:
        answer = {"error": str(error), "exit_code": error.exit_code}
    except BaseException as error:
        traceback.print_exc()
        answer = {"error": f"{type(error).__name__}: {error}", "exit_code": 1}
    sys.stdout.flush()
    sys.stderr.flush()
    connection.sendall(json.dumps(answer).encode())


def _receive(connection: socket.socket) -> Step:
    header, descriptors, _, _ = socket.recv_fds(connection, 8, 2)
    for target, descriptor in zip((1, 2), descriptors, strict=True):
        os.dup2(descriptor, target)
        os.close(descriptor)
    length = int.from_bytes(header, "big")
    request = b""
    while len(request) < length:
        part = connection.recv(min(1 << 16, length - len(request)))
        if not part:
            raise Transient("The process that asked for a step is gone; run the same command again to resume.")
        request += part
    message = json.loads(request)
    os.environ.clear()
    os.environ.update(message["environment"])
    return Step.from_json(message["step"])


def _error(answer: dict[str, Any]) -> ExpanseError:
    kinds: dict[int, type[ExpanseError]] = {2: BadInput, 3: Transient}
    return kinds.get(answer["exit_code"], ExpanseError)(answer["error"])


if __name__ == "__main__":
    serve(sys.argv[1])
