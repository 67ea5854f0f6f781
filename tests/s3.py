"""An S3 service on loopback (moto) behind a proxy that counts requests and fails on cue."""

import http.client
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
#: Kinds of faults; a number is a status, with the code of the error.
RESET, SHORT, CUT, HANG, ETAG, FLIP, LOST = "reset", "short", "cut", "hang", "etag", "flip", "lost"
HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "expect", "host", "date", "server"}


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    range: str | None
    sent: int

    def is_part(self) -> bool:
        """Whether file contents are transferred: a ranged read, or a part or an object written."""
        return self.range is not None or (self.method == "PUT" and "partNumber=" in self.path)


@dataclass
class Fault:
    """What happens to the next ``times`` requests that ``applies`` to."""

    kind: str | tuple[int, str]
    applies: Callable[[Request], bool]
    times: int = 1


@dataclass
class Service:
    """The proxy's address, what was asked of it, and what is to go wrong. ``dropped`` headers do not reach the service."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    answered: list[Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    dropped: set[str] = field(default_factory=set)
    ended: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def parts(self) -> list[Request]:
        return [request for request in self.requests if request.is_part()]

    def environment(self) -> dict[str, str]:
        return {**CREDENTIALS, "AWS_ENDPOINT_URL": self.url}

    def take(self, request: Request) -> Fault | None:
        with self.lock:
            self.requests.append(request)
            fault = next((each for each in self.faults if each.times and each.applies(request)), None)
            if fault:
                fault.times -= 1
            return fault

    def client(self) -> Any:
        """A client of the test's own, at the same address."""
        from components.common.s3_client import Location, connect

        return connect(Location("bucket"))


@contextmanager
def proxy(address: tuple[str, int]) -> Iterator[Service]:
    """Serve the service at ``address`` through a proxy."""
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(self.command, self.path, self.headers.get("Range"), len(body))
            fault = service.take(request)
            kind = fault.kind if fault else ""
            if kind == HANG:
                service.ended.wait(30)
                self.close_connection = True
            elif isinstance(kind, tuple):
                text = f"<Error><Code>{kind[1]}</Code><Message>on cue</Message></Error>".encode()
                self.answer(kind[0], {"Content-Type": "application/xml"}, b"" if self.command == "HEAD" else text)
            else:
                self.damage(kind, *self.ask(body))
                service.answered.append(request)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = forward  # noqa: N815

        def ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            connection = http.client.HTTPConnection(*address, timeout=60)
            headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP_BY_HOP | service.dropped}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            data = answer.read()
            connection.close()
            kept = {k: v for k, v in answer.getheaders() if k.lower() not in HOP_BY_HOP}
            if self.command == "HEAD":
                kept["Content-Length"] = answer.headers.get("Content-Length", "0")
            return answer.status, kept, data

        def damage(self, kind: str, status: int, headers: dict[str, str], data: bytes) -> None:
            if kind == LOST:
                self.close_connection = True
            elif kind == SHORT:
                self.answer(200, headers, data[: len(data) // 2])
            elif kind == ETAG:
                self.answer(status, {**headers, "ETag": '"0123456789abcdef0123456789abcdef"'}, data)
            elif kind == FLIP:
                self.answer(status, headers, data[:-1] + bytes([data[-1] ^ 1]))
            elif kind in (CUT, RESET):
                self.answer(status, {**headers, "Content-Length": str(len(data))}, data[: len(data) // 2])
                self.wfile.flush()
                if kind == RESET:  # close with a reset instead of an end
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close() if kind == RESET else self.connection.shutdown(socket.SHUT_RDWR)
            else:
                self.answer(status, headers, data)

        def answer(self, status: int, headers: dict[str, str], data: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, *_: object) -> None:
            """A client that was killed is part of the tests."""

    with Server(("127.0.0.1", 0), Handler) as server:
        service.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield service
        finally:
            service.ended.set()
            server.shutdown()
            thread.join()


@contextmanager
def moto() -> Iterator[tuple[str, int]]:
    """The address of an in-memory S3."""
    server = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'moto[s3]' flask flask-cors")
    started = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    started.start()
    try:
        yield started.get_host_and_port()
    finally:
        started.stop()


def use(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this process and its children talk to the service, and to nothing else of AWS."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in service.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
