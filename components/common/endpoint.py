"""Sampling answers from any OpenAI-compatible chat endpoint: many requests at once, few surprises."""

import asyncio
import email.utils
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from components.common.addresses import check_url
from components.common.errors import BadInput, Transient
from components.common.hashing import stable_fraction
from components.common.retry import waiting_time
from components.common.sampling import Sample, SamplingSettings

#: Statuses that mean "not now" rather than "not like this".
RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
LONGEST_REPLY = 64_000_000
TOO_LONG = ("context_length_exceeded", "maximum context length", "context length exceeded")
TOO_LONG_PROMPT = Sample("", "too_long", 0)


class _RetryError(Exception):
    """This attempt failed and another may not; ``wait`` is what the server asked for, in seconds."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


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

    def sample(self, prompts: Sequence[str], settings: SamplingSettings) -> list[list[Sample]]:
        """``settings.samples`` answers for each prompt as one user turn, in the order of the prompts.

        A prompt that is too long for the endpoint's model gets the finish reason "too_long". ``tokens`` are as the
        endpoint counts them, 0 where it does not. Raises BadInput for an address or a request that is refused, and
        Transient when the endpoint stays away; either cancels the other requests at once.
        """
        check_url(self.url)
        drawn = settings.samples if settings.temperature else 1
        requests = [self._request(prompt, number, settings) for prompt in prompts for number in range(drawn)]
        answers = asyncio.run(self._ask_all(requests))
        copies = settings.samples // drawn
        return [answers[start : start + drawn] * copies for start in range(0, len(answers), drawn)]

    def _request(self, prompt: str, number: int, settings: SamplingSettings) -> dict[str, Any]:
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": settings.max_new_tokens,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "seed": int(stable_fraction("endpoint", settings.seed, prompt, number) * (1 << 31)),
        }

    async def _ask_all(self, requests: Sequence[dict[str, Any]]) -> list[Sample]:
        gate = asyncio.Semaphore(self.concurrency)
        limits = httpx.Limits(max_connections=self.concurrency, max_keepalive_connections=self.concurrency)
        timeout = httpx.Timeout(self.timeout, connect=min(30.0, self.timeout))
        async with httpx.AsyncClient(headers=self._headers(), timeout=timeout, limits=limits) as client:
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self._ask(client, request, gate)) for request in requests]
            except ExceptionGroup as errors:
                refused = [error for error in errors.exceptions if isinstance(error, BadInput)]
                raise (refused or errors.exceptions)[0] from None
        return [task.result() for task in tasks]

    def _headers(self) -> dict[str, str]:
        if self.api_key_variable is None:
            return {}
        key = os.environ.get(self.api_key_variable, "").strip()
        if not key or not key.isascii() or not key.isprintable():
            raise BadInput(
                f"The environment variable {self.api_key_variable} holds no key; set it to the one of {self.url}."
            )
        return {"Authorization": f"Bearer {key}"}

    async def _ask(self, client: httpx.AsyncClient, request: dict[str, Any], gate: asyncio.Semaphore) -> Sample:
        """One answer, after as many attempts as it takes."""
        reason = ""
        for attempt in range(self.attempts):
            try:
                async with gate, asyncio.timeout(self.timeout):
                    return await self._attempt(client, request)
            except (_RetryError, httpx.TransportError, httpx.DecodingError, TimeoutError) as error:
                reason = str(error) or type(error).__name__
                asked = error.wait if isinstance(error, _RetryError) else None
            if attempt + 1 < self.attempts:
                await asyncio.sleep(waiting_time(self.pause, attempt, asked))
        raise Transient(
            f"{self.url} gave no answer in {self.attempts} attempts ({reason}); see that it runs, try again."
        )

    async def _attempt(self, client: httpx.AsyncClient, request: dict[str, Any]) -> Sample:
        address = f"{self.url.rstrip('/')}/chat/completions"
        async with client.stream("POST", address, json=request) as response:
            body = await self._body(response)
        if response.status_code == 200:
            return _read(body)
        if response.status_code in RETRIED:
            raise _RetryError(f"status {response.status_code}", _retry_after(response.headers.get("Retry-After", "")))
        message = " ".join(body[:500].decode("utf-8", "replace").split())
        if response.status_code in (400, 413, 422) and any(sign in message.lower() for sign in TOO_LONG):
            return TOO_LONG_PROMPT
        secret = client.headers.get("Authorization", "").removeprefix("Bearer ")
        message = message.replace(secret, "***") if secret else message
        raise BadInput(f"{self.url} refused a request for {self.model} with status {response.status_code}: {message}")

    async def _body(self, response: httpx.Response) -> bytes:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > LONGEST_REPLY:
                raise BadInput(
                    f"{self.url} sent more than {LONGEST_REPLY:,} bytes in one answer; it is no chat endpoint."
                )
        return bytes(body)


def _read(body: bytes) -> Sample:
    """The answer in a reply. A body that holds none is retried, since proxies cut and replace bodies."""
    try:
        reply = json.loads(body)
        choice = reply["choices"][0]
        text: str = choice["message"].get("content") or ""
        tokens = int((reply.get("usage") or {}).get("completion_tokens") or 0)
        # A lone surrogate is valid JSON and cannot be stored.
        text = text.encode("utf-8", "replace").decode("utf-8")
        return Sample(text, str(choice.get("finish_reason") or "stop"), tokens)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise _RetryError(f"the body is no chat completion: {type(error).__name__}") from error


def _retry_after(value: str) -> float | None:
    """Seconds until the time in Retry-After, which is a number of seconds or a date."""
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
