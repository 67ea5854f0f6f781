"""The outermost layer: bounds every request before anything parses it, and notices when a client leaves."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson

from serving.limits import Limits, Refused, depth, is_openai, values
from serving.metrics import CANCELLED, REQUESTS, SECONDS, route_of

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Receive, Send], Awaitable[None]]

JSON, BINARY = "application/json", "application/octet-stream"
BINARY_HEADER = "inference-header-content-length"
DRAIN_SECONDS, DRAIN_BYTES = 2.0, 256 << 20
logger = logging.getLogger(__name__)


@dataclass
class _Exchange:
    """One request and what has been answered so far."""

    send: Send
    seconds: float
    status: int = 0
    complete: bool = False
    unread: bool = True
    stalled: bool = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self.complete = not message.get("more_body", False)
        try:
            async with asyncio.timeout(self.seconds):
                await self.send(message)
        except TimeoutError:
            self.stalled = True
            raise


class Gate:
    """ASGI middleware: size, time, type and depth of bodies; disconnects and slow readers end the work; metrics."""

    def __init__(self, app: Application, limits: Limits) -> None:
        self._app, self._limits = app, limits

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close"})
            else:
                await self._app(scope, receive, send)
            return
        exchange, started = _Exchange(send, self._limits.send_seconds), time.perf_counter()
        try:
            body = await self._body(scope, receive, exchange)
            await self._answer(scope, body, receive, exchange)
        except Refused as refusal:
            await _refuse(scope["path"], refusal, receive, exchange)
        except ConnectionError:
            CANCELLED.inc()
        except Exception:
            if not exchange.stalled:
                raise
            logger.warning("%s: the client took nothing for %g seconds", scope["path"], self._limits.send_seconds)
            CANCELLED.inc()
        finally:
            route = route_of(scope["path"])
            REQUESTS.labels(route, exchange.status or 499).inc()
            SECONDS.labels(route).observe(time.perf_counter() - started)

    async def _body(self, scope: Any, receive: Receive, exchange: _Exchange) -> bytes:
        """The whole body of a request, refused as early as its headers or bytes allow."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if scope["path"].startswith("/v2/repository"):
            raise Refused(404, "Models are loaded when the server starts; start another server for another model.")
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return b""
        kind = headers.get("content-type", "").split(";")[0].strip().lower()
        if kind != JSON and not (kind == BINARY and BINARY_HEADER in headers):
            raise Refused(415, f"The content type {kind[:80]!r} is not understood; send {JSON}.", "content-type")
        if int_or(headers.get("content-length", "0"), self._limits.body_bytes + 1) > self._limits.body_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                body = await self._read(receive)
        except TimeoutError as error:
            seconds = self._limits.body_seconds
            raise Refused(408, f"The body did not arrive within {seconds:g} seconds; send it at once.") from error
        exchange.unread = False
        head = len(body) if kind == JSON else int_or(headers[BINARY_HEADER], -1)
        scope["document"] = self._document(body, head)
        return body

    async def _read(self, receive: Receive) -> bytes:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError("the client left before its request was complete")
            body += message.get("body", b"")
            if len(body) > self._limits.body_bytes:
                raise self._too_large()
            if not message.get("more_body", False):
                return bytes(body)

    def _document(self, body: bytes, head: int) -> dict[str, Any]:
        if not 0 < head <= len(body):
            raise Refused(400, "The body's JSON part is empty or longer than the body; correct its length.")
        try:
            document = orjson.loads(body[:head])
        except orjson.JSONDecodeError as error:
            raise Refused(400, f"The body is not valid JSON: {error}.") from error
        if not isinstance(document, dict):
            raise Refused(400, "The body must be a JSON object.")
        self._check_count(document)
        if depth(document, self._limits.json_depth) > self._limits.json_depth:
            raise Refused(400, f"The body nests deeper than {self._limits.json_depth} levels; flatten it.")
        return document

    def _check_count(self, document: dict[str, Any]) -> None:
        """Whoever validates the document notes what is wrong with every single value, at a thousand times its size.

        A prompt may be thousands of token ids, and whoever validates that one stops at what is wrong.
        """
        left = self._limits.json_values
        for field, value in document.items():
            left -= 1 if field == "prompt" else values(value, left)
            if left < 0:
                message = f"The body has more than {self._limits.json_values:,} values; send fewer in {field[:80]!r}."
                raise Refused(400, message, field[:80])

    def _too_large(self) -> Refused:
        return Refused(413, f"The body is larger than {self._limits.body_bytes:,} bytes; send less.")

    async def _answer(self, scope: Any, body: bytes, receive: Receive, exchange: _Exchange) -> None:
        """Run the application on the body; when the client leaves, cancel it."""
        delivered, gone = False, asyncio.Event()

        async def replay() -> Message:
            nonlocal delivered
            if not delivered:
                delivered = True
                return {"type": "http.request", "body": body, "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        work = asyncio.ensure_future(self._app(scope, replay, exchange))
        watcher = asyncio.ensure_future(watch())
        try:
            await asyncio.wait({work, watcher}, return_when=asyncio.FIRST_COMPLETED)
            if work.done() or exchange.complete:
                await work
            else:
                CANCELLED.inc()
        finally:
            gone.set()
            for task in (work, watcher):
                task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await work


async def _refuse(path: str, refusal: Refused, receive: Receive, send: _Exchange) -> None:
    """Answer at once, then read what the client is still sending: closing on it could destroy the answer."""
    body = orjson.dumps(refusal.body(is_openai(path)))
    headers = {"content-type": JSON, "content-length": str(len(body)), **refusal.headers}
    headers |= {"connection": "close"} if send.unread else {}
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": HTTPStatus(refusal.status), "headers": encoded})
    await send({"type": "http.response.body", "body": body, "more_body": send.unread})
    if send.unread:
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await _drain(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drain(receive: Receive) -> None:
    left, more = DRAIN_BYTES, True
    while more and left > 0:
        message = await receive()
        left -= len(message.get("body", b""))
        more = message.get("more_body", False)


def int_or(text: str, otherwise: int) -> int:
    """A decimal header value of sensible length, or ``otherwise``."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else otherwise
