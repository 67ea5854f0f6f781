"""Asking any OpenAI-compatible endpoint: many requests at once, few surprises; chat answers are sampled here."""

import asyncio
import email.utils
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from components.common.addresses import check_url
from components.common.canonical import digest
from components.common.endpoints import Endpoint
from components.common.errors import BadInput, Transient
from components.common.hashing import stable_fraction
from components.common.journal import Journal
from components.common.pacing import Pace
from components.common.retry import waiting_time
from components.common.sampling import TOO_LONG_PROMPT, Sample, SamplingSettings

#: Statuses that mean "not now" rather than "not like this".
RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
TOO_MANY = 429
#: A server may close the door to all requests for so many seconds at most.
LONGEST_PAUSE = 600.0
LONGEST_REPLY = 64_000_000
TOO_LONG = ("context_length_exceeded", "maximum context length", "context length exceeded")
#: Bytes of text per token, for the expectation that a limit of tokens starts from; the endpoint's own count corrects it.
BYTES_PER_TOKEN = 4

CHAT = "/chat/completions"

Request = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """A request to the route ``path``, the tokens that it is expected to take, and how its reply is read.

    ``read`` raises RetryError for a body that is no reply, BadInput for one that the endpoint should not have given.
    """

    path: str
    body: Request
    expected: float
    read: Callable[[bytes], Sample]

    @property
    def key(self) -> str:
        """What a journal knows the answer by. Who was asked is not in it: a served model has another name in each run."""
        return digest([self.path, {**self.body, "model": None}])[:32]


class RefusedError(BadInput):
    """The endpoint has answered a request with a status that trying again does not change."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class RetryError(Exception):
    """This attempt failed and another may not; ``wait`` is what the server asked for, in seconds."""

    def __init__(self, reason: str, wait: float | None = None, too_many: bool = False) -> None:
        super().__init__(reason)
        self.wait, self.too_many = wait, too_many


@dataclass(frozen=True)
class EndpointEngine:
    """The model called ``model`` at ``url`` (which ends in /v1), asked by at most ``concurrency`` requests at once.

    The key is read from the environment variable ``api_key_variable`` and appears in no message. ``timeout`` (seconds)
    is for one attempt, of which there are at most ``attempts``; the waits between them grow from ``pause`` seconds.
    """

    url: str
    model: str
    api_key_variable: str | None = None
    concurrency: int = 16
    timeout: float = 600.0
    attempts: int = 7
    pause: float = 0.5
    pace: Pace = field(default_factory=lambda: Pace(None, None))

    @classmethod
    def of(cls, endpoint: Endpoint) -> "EndpointEngine":
        """The engine for the endpoint of a recipe."""
        pace = Pace(endpoint.requests_per_minute, endpoint.tokens_per_minute)
        return cls(endpoint.url, endpoint.model, endpoint.api_key_variable, endpoint.concurrency, pace=pace)

    def sample(
        self, prompts: Sequence[str], settings: SamplingSettings, journal: Journal | None = None
    ) -> list[list[Sample]]:
        """``settings.samples`` answers for each prompt as one user turn, in the order of the prompts.

        Answers that the journal has are not asked for, and each new one is written there as it comes. A prompt that is too
        long for the endpoint's model gets the finish reason "too_long". ``tokens`` are as the endpoint counts them, 0
        where it does not. Raises BadInput for an address or a request that is refused, and Transient when the endpoint
        stays away; either cancels the other requests at once.
        """
        drawn = settings.samples if settings.temperature else 1
        answers = self.ask(chat_calls(self.model, prompts, settings), journal)
        copies = settings.samples // drawn
        return [answers[start : start + drawn] * copies for start in range(0, len(answers), drawn)]

    def ask(self, calls: Iterable[Call], journal: Journal | None = None) -> list[Sample]:
        """The replies to ``calls``, in their order; see ``sample``."""
        check_url(self.url)
        answers: dict[int, Sample] = {}
        asyncio.run(self._ask_all(enumerate(calls), answers, journal or Journal()))
        return [answers[index] for index in range(len(answers))]

    async def _ask_all(self, calls: Iterator[tuple[int, Call]], answers: dict[int, Sample], journal: Journal) -> None:
        """Fill ``answers``; so many workers take one request after the other, so memory does not grow with their number."""
        limits = httpx.Limits(max_connections=self.concurrency, max_keepalive_connections=self.concurrency)
        timeout = httpx.Timeout(self.timeout, connect=min(30.0, self.timeout))
        async with httpx.AsyncClient(headers=self.headers(), timeout=timeout, limits=limits) as client:
            conversation = _Conversation(self, client)

            async def work() -> None:
                for index, call in calls:
                    key = call.key
                    answer = journal.find(key)
                    if answer is None:
                        answer = await conversation.ask(call)
                        journal.add(key, answer)
                    answers[index] = answer

            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(self.concurrency):
                        group.create_task(work())
            except ExceptionGroup as errors:
                refused = [error for error in errors.exceptions if isinstance(error, BadInput)]
                raise (refused or errors.exceptions)[0] from None

    def headers(self) -> dict[str, str]:
        """The key, where there is one; raises BadInput when its variable is empty."""
        if self.api_key_variable is None:
            return {}
        key = os.environ.get(self.api_key_variable, "").strip()
        if not key or not key.isascii() or not key.isprintable():
            raise BadInput(
                f"The environment variable {self.api_key_variable} holds no key; set it to the one of {self.url}."
            )
        return {"Authorization": f"Bearer {key}"}


def chat_calls(model: str, prompts: Iterable[str], settings: SamplingSettings) -> Iterator[Call]:
    """The requests for the answers to each prompt as one user turn, one after the other."""
    for prompt in prompts:
        for number in range(settings.samples if settings.temperature else 1):
            body = {
                "model": model,
                "messages": [{"role": "user", "content": prompt}],
                "max_tokens": settings.max_new_tokens,
                "temperature": settings.temperature,
                "top_p": settings.top_p,
                "seed": int(stable_fraction("endpoint", settings.seed, prompt, number) * (1 << 31)),
            }
            yield Call(CHAT, body, len(prompt.encode()) / BYTES_PER_TOKEN + settings.max_new_tokens, _read_chat)


class _Conversation:
    """The requests of one engine over one client; ``_served`` counts the answers so far."""

    def __init__(self, engine: EndpointEngine, client: httpx.AsyncClient) -> None:
        self._engine, self._client = engine, client
        self._door, self._served = asyncio.Lock(), 0

    async def ask(self, call: Call) -> Sample:
        """One answer, after as many attempts as it takes.

        "Too many requests" counts as an attempt only where nobody was answered since the last: a busy endpoint is not away.
        """
        engine, failed, reason, served = self._engine, 0, "", self._served
        while failed < engine.attempts:
            await self._admitted(call.expected)
            try:
                async with asyncio.timeout(engine.timeout):
                    answer = await self._attempt(call)
            except (RetryError, httpx.TransportError, httpx.DecodingError, TimeoutError) as error:
                engine.pace.settle(call.expected, 0)
                reason = str(error) or type(error).__name__
                asked = error.wait if isinstance(error, RetryError) else None
                busy = isinstance(error, RetryError) and error.too_many and self._served > served
                failed, served = failed + (not busy), self._served
                if failed < engine.attempts:
                    await self._rest(failed, asked)
            else:
                self._served += 1
                engine.pace.settle(call.expected, (answer.prompt_tokens + answer.tokens) or call.expected)
                return answer
        raise Transient(
            f"{engine.url} gave no answer in {engine.attempts} attempts ({reason}); see that it runs, try again."
        )

    async def _admitted(self, expected: float) -> None:
        """Wait for the pace to let a request start that is expected to take so many tokens."""
        async with self._door:
            while wait := self._engine.pace.admit(expected):
                await asyncio.sleep(wait)

    async def _rest(self, failed: int, asked: float | None) -> None:
        if asked is not None:
            self._engine.pace.pause(min(LONGEST_PAUSE, asked))
        await asyncio.sleep(waiting_time(self._engine.pause, max(0, failed - 1), asked))

    async def _attempt(self, call: Call) -> Sample:
        url = self._engine.url
        async with self._client.stream("POST", url.rstrip("/") + call.path, json=call.body) as response:
            body = await self._body(response)
        status = response.status_code
        if status == 200:
            return call.read(body)
        if status in RETRIED:
            asked = _retry_after(response.headers.get("Retry-After", ""))
            raise RetryError(f"status {status}", asked, status == TOO_MANY)
        message = " ".join(body[:500].decode("utf-8", "replace").split())
        if status in (400, 413, 422) and any(sign in message.lower() for sign in TOO_LONG):
            return TOO_LONG_PROMPT
        secret = self._client.headers.get("Authorization", "").removeprefix("Bearer ")
        message = message.replace(secret, "***") if secret else message
        raise RefusedError(f"{url} refused a request for {self._engine.model} with status {status}: {message}", status)

    async def _body(self, response: httpx.Response) -> bytes:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > LONGEST_REPLY:
                raise BadInput(
                    f"{self._engine.url} sent more than {LONGEST_REPLY:,} bytes in one answer; it serves no language model."
                )
        return bytes(body)


def _read_chat(body: bytes) -> Sample:
    """The answer in a reply. A body that holds none is retried, since proxies cut and replace bodies."""
    try:
        reply = json.loads(body)
        choice = reply["choices"][0]
        text: str = choice["message"].get("content") or ""
        read, written = usage_of(reply)
        # A lone surrogate is valid JSON and cannot be stored.
        text = text.encode("utf-8", "replace").decode("utf-8")
        return Sample(text, str(choice.get("finish_reason") or "stop"), written, read)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise RetryError(f"the body is no chat completion: {type(error).__name__}") from error


def usage_of(reply: Any) -> tuple[int, int]:
    """Tokens read and written as a reply counts them, 0 where it does not."""
    usage = reply.get("usage") or {}
    read, written = (int(usage.get(name) or 0) for name in ("prompt_tokens", "completion_tokens"))
    return read, written


def _retry_after(value: str) -> float | None:
    """Seconds until the time in Retry-After, which is a number of seconds or a date."""
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
