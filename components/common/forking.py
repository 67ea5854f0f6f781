"""A resident process that has done the slow imports once and forks a child for each request.

A request comes over a Unix socket with the asker's environment and its standard output and error, which become the
child's own. Children are processes of their own: a crash or a leak in one cannot touch the next, they only start warm.
The process ends when its standard input closes, so it cannot outlive the run that started it, and its children die
with it; a child also dies when its asker does, or hangs up. This file needs the standard library only: a starter that
imports nothing else reaches it in milliseconds.
"""

import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess

Message = dict[str, Any]
Handle = Callable[[Message], Message]
PR_SET_PDEATHSIG = 1


def ask(address: str, message: Message) -> Message | None:
    """The answer of a child of the process behind the Unix socket ``address``; None when one of the two was killed."""
    try:
        with begin(address, message) as connection:
            return reply(connection)
    except (ConnectionError, FileNotFoundError):
        return None


def begin(address: str, message: Message, output: int = 1, errors: int = 2) -> socket.socket:
    """Ask without waiting; ``reply`` gives the answer, and closing the connection ends the child that works at it.

    The child writes to the descriptors ``output`` and ``errors``. Its environment is this process's, unless the message
    has one.
    """
    request = json.dumps({"environment": dict(os.environ), **message}).encode()
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(address)
        socket.send_fds(connection, [len(request).to_bytes(8, "big")], [output, errors])
        connection.sendall(request)
    except BaseException:
        connection.close()
        raise
    return connection


def reply(connection: socket.socket) -> Message | None:
    """The answer to what ``begin`` asked, when it is there; None when the other side is gone without one."""
    try:
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    except ConnectionError:
        return None
    return json.loads(answer) if answer else None


@contextmanager
def resident(module: str, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Start ``python -m module``, which calls ``serve``; gives the address of its socket and ends it.

    ``environment`` is what its imports see; without one, this process's own.

    The socket is there before the process, so nobody who asks comes too early; its path is short, as the kernel demands.
    """
    import subprocess
    import tempfile

    with tempfile.TemporaryDirectory(prefix="expanse-") as folder:
        address = f"{folder}/socket"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(address)
            listener.listen()
            descriptor = listener.fileno()
            command = [sys.executable, "-m", module, str(descriptor)]
            server = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[descriptor], env=environment)
        with closing_input(server):
            yield address


@contextmanager
def closing_input(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Close the process's standard input at the end, the sign for it to leave, and wait for it."""
    try:
        yield
    finally:
        assert process.stdin is not None
        from subprocess import TimeoutExpired

        process.stdin.close()
        try:
            process.wait(timeout=10)
        except TimeoutExpired:
            process.kill()
            process.wait()


def serve(descriptor: int, prepare: Callable[[], None], handle: Handle) -> None:
    """Call ``prepare`` on the first request, and ``handle`` in a child for each, until standard input closes."""
    _die_with_parent()  # closed input is heard only between requests, not during the slow imports
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started us; the children end with us
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the children
    prepared = False
    with socket.socket(fileno=descriptor) as listener:
        poll = select.poll()  # not select(), which knows no descriptor beyond 1023
        for each in (listener, sys.stdin):
            poll.register(each, select.POLLIN)
        while sys.stdin.fileno() not in dict(poll.poll()):
            connection, _ = listener.accept()
            if not prepared:
                prepare()
                prepared = True
            _fork(listener, connection, handle)


def _die_with_parent() -> None:
    """Have the kernel kill this process when the one that started it ends in whatever way."""
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _fork(listener: socket.socket, connection: socket.socket, handle: Handle) -> None:
    with connection:
        if os.fork() == 0:
            try:
                listener.close()
                _answer(connection, handle)
            finally:  # whatever happens, a child must not go on as a second server
                os._exit(0)


def _answer(connection: socket.socket, handle: Handle) -> None:
    import threading

    _die_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    message, descriptors = receive(connection)
    for target, descriptor in zip((1, 2), descriptors, strict=False):
        os.dup2(descriptor, target)
        os.close(descriptor)
    if message is None:
        return
    threading.Thread(target=_end_with_asker, args=[connection], daemon=True).start()
    os.environ.clear()
    os.environ.update(message["environment"])
    answer = handle(message)
    sys.stdout.flush()
    sys.stderr.flush()
    connection.sendall(json.dumps(answer).encode())


def _end_with_asker(connection: socket.socket) -> None:
    """Nobody is left to hear the answer: what has not been committed by now would be done in vain."""
    with suppress(OSError):
        connection.recv(1)
    os.kill(os.getpid(), signal.SIGKILL)


def receive(connection: socket.socket) -> tuple[Message | None, list[int]]:
    """A request, or None when the asker is gone; and the descriptors of its output and errors, which are ours to close."""
    header, descriptors, _, _ = socket.recv_fds(connection, 8, 2)
    length = int.from_bytes(header, "big")
    request = b""
    while len(request) < length:
        part = connection.recv(min(1 << 16, length - len(request)))
        if not part:
            return None, descriptors
        request += part
    return (json.loads(request) if request else None), descriptors
