"""A web server on loopback that answers as a test tells it, and remembers what it was asked."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Status, headers and body; a body that is neither bytes nor text becomes JSON.
Answer = tuple[int, dict[str, str], Any]
Headers = dict[str, str]


@dataclass
class Site:
    """``answers`` by path, or a function of path and headers; everything else is 404."""

    url: str = ""
    answers: dict[str, Answer | Callable[[Headers], Answer]] = field(default_factory=dict)
    asked: list[tuple[str, str, Headers]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    def answer(self, method: str, path: str, headers: Headers) -> Answer:
        self.asked.append((method, path, headers))
        found = self.answers.get(path, (404, {}, {"error": "not found"}))
        return found(headers) if callable(found) else found


@contextmanager
def site() -> Iterator[Site]:
    """A running server."""
    served = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            served.bodies.append(self.rfile.read(int(headers.get("content-length", 0))))
            status, extra, body = served.answer(self.command, self.path, headers)
            text = body if isinstance(body, str | bytes) else json.dumps(body)
            data = text if isinstance(text, bytes) else text.encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **extra}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_HEAD = do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        served.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
