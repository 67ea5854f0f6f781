"""KServe's model server on an address of our choice, with our routes, bounds and error answers around it."""

import asyncio
import logging
import signal
import socket
import struct
import warnings
from typing import Any

import h11
import kserve
import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import FastAPIDeprecationWarning, RequestValidationError
from fastapi.responses import Response
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.rest.server import RESTServer
from starlette.exceptions import HTTPException
from uvicorn.protocols.http.h11_impl import H11Protocol

from serving.gate import BINARY, Gate
from serving.limits import Limits, Refused, is_openai
from serving.model import Predictor
from serving.openai_api import openai_router

logger = logging.getLogger(__name__)


class ModelServer(kserve.ModelServer):  # type: ignore[misc]
    """Serves one loaded predictor on a bound socket until SIGTERM or SIGINT, then lets started requests finish."""

    def __init__(self, listener: socket.socket, limits: Limits) -> None:
        super().__init__(
            enable_grpc=False, grace_period=limits.grace_seconds, timeout_keep_alive=int(limits.head_seconds)
        )
        for noisy in ("kserve", "kserve.trace"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        warnings.simplefilter("ignore", FastAPIDeprecationWarning)  # kserve's answers are ORJSONResponse
        self._listener, self._limits = listener, limits
        self.dataplane = _DataPlane(model_registry=self.registered_models)

    def start(self, models: list[Predictor]) -> None:
        """Serve; returns when the server has stopped."""
        (predictor,) = models
        self.register_model(predictor)
        kserve.model_server.app.include_router(openai_router(predictor))
        rest = _RESTServer(self, self._listener, self._limits)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: rest.finish())  # uvicorn's handlers do the same while it runs
        with asyncio.Runner(loop_factory=rest.config.get_loop_factory()) as runner:
            runner.run(rest.start())
        predictor.stop()


class _DataPlane(DataPlane):  # type: ignore[misc]
    async def ready(self) -> bool:
        """Whether every model is healthy; KServe's own answer is yes regardless."""
        models = self._model_registry.get_models().values()
        return bool(models) and all([await model.healthy() for model in models])


class _RESTServer(RESTServer):  # type: ignore[misc]
    def __init__(self, server: ModelServer, listener: socket.socket, limits: Limits) -> None:
        super().__init__(
            "kserve.model_server:app",
            server.dataplane,
            server.model_repository_extension,
            0,
            grace_period=server.grace_period,
            timeout_keep_alive=server.timeout_keep_alive,
        )
        self.config.http = _protocol(limits.head_seconds)
        self.config.ws = "none"
        self.config.limit_concurrency = limits.connections
        self._listener, self._limits = listener, limits

    def finish(self) -> None:
        """Take no more requests and end when those in hand are answered."""
        self._server.should_exit = True

    async def start(self) -> None:
        self.create_application()
        await self._server.serve(sockets=[self._listener])

    def _add_middlewares(self, app: FastAPI) -> None:
        app.add_middleware(Gate, limits=self._limits)

    def _add_exception_handlers(self, app: FastAPI) -> None:
        super()._add_exception_handlers(app)
        app.add_exception_handler(Refused, _refused)
        app.add_exception_handler(kserve.errors.InvalidInput, _invalid)
        app.add_exception_handler(kserve.errors.ModelNotFound, _not_found)
        app.add_exception_handler(RequestValidationError, _malformed)
        app.add_exception_handler(HTTPException, _http_error)
        for kind in (KeyError, TypeError, ValueError, struct.error):
            app.add_exception_handler(kind, _unreadable)


def _protocol(seconds: float) -> type[H11Protocol]:
    """uvicorn's HTTP protocol, closing connections whose request head does not arrive within ``seconds``."""

    class Bounded(H11Protocol):
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._timer = self.loop.call_later(seconds, self._close_idle)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state is not h11.IDLE:
                self._cancel()
            elif self._timer is None and (self.cycle is None or self.cycle.response_complete):
                self._timer = self.loop.call_later(seconds, self._close_idle)

        def connection_lost(self, exc: Exception | None) -> None:
            self._cancel()
            super().connection_lost(exc)

        def _cancel(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _close_idle(self) -> None:
            self._timer = None
            self.transport.close()

    return Bounded


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    body = orjson.dumps(error.body(is_openai(request.url.path)))
    return Response(body, error.status, dict(error.headers), "application/json")


async def _invalid(request: Request, error: Exception) -> Response:
    return await _refused(request, Refused(400, str(error)[:500]))


async def _not_found(request: Request, error: Exception) -> Response:
    return await _refused(request, Refused(404, str(error.reason)[:200], "model", "model_not_found"))  # type: ignore[attr-defined]


async def _malformed(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    param = ".".join(str(part) for part in first["loc"])[:200]
    return await _refused(request, Refused(400, f"{param}: {first['msg']}.", param))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return await _refused(
        request, Refused(error.status_code, f"{error.detail}: {request.method} {request.url.path[:200]}")
    )


async def _unreadable(request: Request, error: Exception) -> Response:
    """KServe reads binary tensors without checks: there these errors are the client's, elsewhere ours."""
    if request.headers.get("content-type", "").startswith(BINARY):
        return await _refused(request, Refused(400, "The binary tensors do not fit their JSON description."))
    logger.error("%s failed", request.url.path, exc_info=error)
    return await _refused(request, Refused(500, "The server failed on this request; its log says why."))
