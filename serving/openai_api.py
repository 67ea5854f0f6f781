"""OpenAI's models, chat completions and completions routes, streaming included."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from serving.batch import Tokens
from serving.engine import EngineError, Piece
from serving.limits import Refused
from serving.logprobs import ID, rendered
from serving.metrics import FIRST_TOKEN, TOKENS
from serving.model import Predictor
from serving.sampling import Sampling
from serving.schemas import ChatRequest, CompletionRequest, parse

COMPLETION_TOKENS = 16  # OpenAI's default for completions; a chat may fill the context
NO_BUFFER = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


@dataclass(frozen=True)
class Job:
    """A request ready to run: one prompt per choice, and how its answer is dressed.

    ``echoes`` are the texts that the answers follow, and tokens are named by their ids where ``by_id`` is set.
    """

    kind: str
    identifier: str
    prompts: list[Tokens]
    prompt_tokens: int
    sampling: Sampling
    stream: bool
    usage: bool
    echoes: Sequence[str] = ()
    by_id: bool = False

    @property
    def chat(self) -> bool:
        """Whether the answer is a message, or plain text."""
        return self.kind == "chat.completion"


def openai_router(predictor: Predictor) -> APIRouter:
    """The routes under /openai/v1 for one model."""
    router = APIRouter(prefix="/openai/v1")
    created = int(time.time())
    card: dict[str, Any] = {"id": predictor.name, "object": "model", "created": created, "owned_by": "expanse"}
    card["max_model_len"] = predictor.encoder.context

    async def models() -> Response:
        return _json({"object": "list", "data": [card]})

    async def model(name: str) -> Response:
        _check_name(predictor, name)
        return _json(card)

    async def chat(request: Request) -> Response:
        return await _respond(predictor, await _chat_job(predictor, request.scope["document"]))

    async def completions(request: Request) -> Response:
        return await _respond(predictor, await _completion_job(predictor, request.scope["document"]))

    router.add_api_route("/models", models, methods=["GET"])
    router.add_api_route("/models/{name}", model, methods=["GET"])
    router.add_api_route("/chat/completions", chat, methods=["POST"])
    router.add_api_route("/completions", completions, methods=["POST"])
    return router


async def _chat_job(predictor: Predictor, document: Any) -> Job:
    request = parse(ChatRequest, document)
    _check_name(predictor, request.model)
    limits = predictor.limits
    if len(request.messages) > limits.messages:
        raise Refused(400, f"{len(request.messages)} messages are more than {limits.messages}.", "messages")
    choices = request.choices(limits, 1)
    messages = [message.plain() for message in request.messages]
    prompt = await asyncio.to_thread(predictor.encoder.conversation, messages)
    sampling = request.sampling(limits, len(prompt), predictor.encoder.context, limits.max_tokens)
    usage = request.stream_options is not None and request.stream_options.include_usage
    name = f"chatcmpl-{uuid.uuid4().hex}"
    return Job("chat.completion", name, [prompt] * choices, len(prompt), sampling, bool(request.stream), usage)


async def _completion_job(predictor: Predictor, document: Any) -> Job:
    request = parse(CompletionRequest, document)
    _check_name(predictor, request.model)
    limits, given = predictor.limits, request.prompt
    request.check(limits)
    choices = request.choices(limits, len(given))
    prompts = await asyncio.to_thread(lambda: [_encode(predictor, prompt) for prompt in given])
    longest, total = max(map(len, prompts)), sum(map(len, prompts))
    sampling = request.sampling(limits, longest, predictor.encoder.context, COMPLETION_TOKENS)
    sampling = replace(sampling, logprobs=request.logprobs, echo=bool(request.echo))
    if sampling.reads_prompt and total * choices > limits.scored_tokens:
        message = f"The log-probabilities of {total * choices:,} tokens are more than {limits.scored_tokens:,} at once"
        raise Refused(400, f"{message}; send fewer prompts.", "prompt")
    usage = request.stream_options is not None and request.stream_options.include_usage
    each = [prompt for prompt in prompts for _ in range(choices)]
    job = Job("text_completion", f"cmpl-{uuid.uuid4().hex}", each, total, sampling, bool(request.stream), usage)
    echoes = await asyncio.to_thread(lambda: _echoes(predictor, given, choices)) if request.echo else ()
    return replace(job, echoes=echoes, by_id=bool(request.return_tokens_as_token_ids))


def _encode(predictor: Predictor, prompt: str | list[int]) -> Tokens:
    return predictor.encoder.text(prompt) if isinstance(prompt, str) else predictor.encoder.tokens(prompt)


def _echoes(predictor: Predictor, given: Sequence[str | list[int]], choices: int) -> list[str]:
    texts = [prompt if isinstance(prompt, str) else predictor.encoder.decode(tuple(prompt)) for prompt in given]
    return [text for text in texts for _ in range(choices)]


async def _respond(predictor: Predictor, job: Job) -> Response:
    """Run a job. A stream's first piece is awaited, so that a refusal still has its own status code."""
    TOKENS.labels("prompt").inc(job.prompt_tokens)
    pieces = _timed(predictor.decoder.pieces(job.prompts, job.sampling))
    head = {"id": job.identifier, "created": int(time.time()), "model": predictor.name}
    if not job.stream:
        return _json(await _collect(predictor, job, head, pieces))
    try:
        first = await anext(pieces)
    except EngineError as error:
        raise Refused(500, str(error)) from error
    return _EventStream(_events(job, head, first, pieces))


class _EventStream(StreamingResponse):
    """Server-sent events whose generator is closed, and its sequences cancelled, however the response ends."""

    def __init__(self, events: AsyncGenerator[bytes, None]) -> None:
        super().__init__(events, media_type="text/event-stream", headers=NO_BUFFER)
        self._events = events

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async with aclosing(self._events):
            await super().__call__(scope, receive, send)


async def _timed(pieces: AsyncGenerator[Piece, None]) -> AsyncGenerator[Piece, None]:
    started, waiting = time.perf_counter(), True
    async with aclosing(pieces):
        async for piece in pieces:
            if waiting:
                FIRST_TOKEN.observe(time.perf_counter() - started)
                waiting = False
            if piece.finish_reason is not None:
                TOKENS.labels("completion").inc(piece.tokens)
            yield piece


async def _collect(
    predictor: Predictor, job: Job, head: dict[str, Any], pieces: AsyncGenerator[Piece, None]
) -> dict[str, Any]:
    texts = [""] * len(job.prompts)
    last: dict[int, Piece] = {}
    try:
        async for piece in pieces:
            texts[piece.index] += piece.text
            if piece.finish_reason is not None:
                last[piece.index] = piece
    except EngineError as error:
        raise Refused(500, str(error)) from error
    choices = await asyncio.to_thread(
        lambda: [_whole(predictor, job, last[index], text) for index, text in enumerate(texts)]
    )
    return {**head, "object": job.kind, "choices": choices, "usage": _usage(job, sum(p.tokens for p in last.values()))}


def _whole(predictor: Predictor, job: Job, last: Piece, text: str) -> dict[str, Any]:
    """One choice of an answer that is not streamed."""
    if job.chat:
        dress: dict[str, Any] = {"message": {"role": "assistant", "content": text}}
    else:
        dress = {"text": (job.echoes[last.index] if job.echoes else "") + text}
    logprobs = None
    if job.sampling.logprobs is not None:
        name = (lambda token: f"{ID}{token}") if job.by_id else (lambda token: predictor.encoder.decode((token,)))
        logprobs = rendered(last.scored, name)
    return {"index": last.index, **dress, "logprobs": logprobs, "finish_reason": last.finish_reason}


async def _events(
    job: Job, head: dict[str, Any], first: Piece, rest: AsyncGenerator[Piece, None]
) -> AsyncGenerator[bytes, None]:
    """Server-sent events: a role for each choice of a chat, the pieces, the usage if asked for, and [DONE]."""
    frame = _framer(job, head)
    if job.chat:
        for index in range(len(job.prompts)):
            yield frame([_choice(job, index, {"role": "assistant", "content": ""}, None)])
    total = 0
    try:
        async with aclosing(_chain(first, rest)) as pieces:
            async for piece in pieces:
                delta = {"content": piece.text} if piece.text else {}
                yield frame([_choice(job, piece.index, delta, piece.finish_reason)])
                total += piece.tokens if piece.finish_reason else 0
    except EngineError as error:
        yield b"data: " + orjson.dumps(Refused(500, str(error)).body(openai=True)) + b"\n\n"
        return
    if job.usage:
        yield frame([], _usage(job, total))
    yield b"data: [DONE]\n\n"


async def _chain(first: Piece, rest: AsyncGenerator[Piece, None]) -> AsyncGenerator[Piece, None]:
    async with aclosing(rest):
        yield first
        async for piece in rest:
            yield piece


def _framer(job: Job, head: dict[str, Any]) -> Callable[..., bytes]:
    kind = "chat.completion.chunk" if job.chat else job.kind

    def frame(choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> bytes:
        extra = {"usage": usage} if job.usage else {}
        return b"data: " + orjson.dumps({**head, "object": kind, "choices": choices, **extra}) + b"\n\n"

    return frame


def _choice(job: Job, index: int, delta: dict[str, str], reason: str | None) -> dict[str, Any]:
    dress: dict[str, Any] = {"delta": delta} if job.chat else {"text": delta.get("content", "")}
    return {"index": index, **dress, "logprobs": None, "finish_reason": reason}


def _usage(job: Job, completion: int) -> dict[str, int]:
    total = job.prompt_tokens + completion
    return {"prompt_tokens": job.prompt_tokens, "completion_tokens": completion, "total_tokens": total}


def _check_name(predictor: Predictor, name: str) -> None:
    if name != predictor.name:
        message = f"The model {name[:80]!r} is not served here; ask for {predictor.name!r}."
        raise Refused(404, message, "model", "model_not_found")


def _json(value: dict[str, Any]) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")
