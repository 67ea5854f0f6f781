"""Serving a model folder: the address is taken and the folder checked before anything heavy is loaded."""

import ctypes
import gc
import os
import re
import signal
import socket
import sys
from pathlib import Path

from components.common.artifacts import MANIFEST, verify
from components.common.errors import BadInput
from components.common.model_files import check_model_folder
from serving.limits import Limits

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 8080
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
PR_SET_PDEATHSIG = 1


def serve(
    model_dir: Path,
    name: str | None = None,
    host: str = LOOPBACK,
    port: int = DEFAULT_PORT,
    limits: Limits | None = None,
) -> None:
    """Serve a model folder until SIGTERM or SIGINT; needs a process of its own.

    ``name`` defaults to the folder's name. Port 0 takes a free one; the line "Serving NAME at URL" says which, and
    appears when the server is ready. Raises BadInput for a port in use, or a folder that does not verify.
    """
    limits = limits or Limits()
    name = model_name(model_dir, name)
    with bind(host, port) as listener:
        if (model_dir / MANIFEST).exists():
            verify(model_dir)
        check_model_folder(model_dir)
        sys.argv = sys.argv[:1]  # kserve parses the command line when it is imported
        from serving.model import Predictor
        from serving.server import ModelServer

        predictor = Predictor(name, model_dir, limits)
        predictor.load()
        _listen(listener, host)
        server = ModelServer(listener, limits)
        gc.freeze()  # or each full collection stops everyone for a quarter of a second to look at what was imported
        print(f"Serving {name} at http://{host}:{listener.getsockname()[1]}/openai/v1", flush=True)
        server.start([predictor])


def model_name(model_dir: Path, name: str | None) -> str:
    """The name to serve under; raises BadInput when it does not fit into a URL."""
    chosen = model_dir.resolve().name if name is None else name
    if not NAME.fullmatch(chosen):
        raise BadInput(
            f"The model name {chosen!r} does not fit into a URL; give --name letters, digits and . _ - only."
        )
    return chosen


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to the address; raises BadInput when that is impossible."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise _cannot_listen(host, port, error) from error
    return listener


def stop_with(parent: int) -> None:
    """Have the kernel send SIGTERM to this process when its parent, process ``parent``, ends in whatever way."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise BadInput(f"The parent process {parent} is gone; nothing is served.")


def _listen(listener: socket.socket, host: str) -> None:
    """Two sockets may be bound to one address, but only the first to listen has it."""
    try:
        listener.listen(socket.SOMAXCONN)
    except OSError as error:
        raise _cannot_listen(host, listener.getsockname()[1], error) from error


def _cannot_listen(host: str, port: int, error: Exception) -> BadInput:
    reason = getattr(error, "strerror", None) or error
    return BadInput(f"Cannot listen on {host} port {port}: {reason}; choose another --port or stop what uses it.")
