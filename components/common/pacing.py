"""Staying within an endpoint's limits per minute: token buckets, and the pauses that the server itself asks for."""

import time
from collections.abc import Callable

Clock = Callable[[], float]
#: So much of a unit is a rounding error and nothing to wait for.
TINY = 1e-6


class Bucket:
    """``per_minute`` units flow in evenly, and at most a second's worth (or one unit) waits to be taken at once.

    In any minute no more than ``per_minute`` and that burst are taken. An amount beyond the burst is taken when the bucket
    is full and leaves a debt, which those after it wait for.
    """

    def __init__(self, per_minute: float, clock: Clock) -> None:
        self._rate = per_minute / 60.0
        self._burst = max(1.0, self._rate)
        self._clock, self._level, self._seen = clock, self._burst, clock()

    def delay(self, amount: float) -> float:
        """Seconds until ``amount`` can be taken; nothing is taken."""
        now = self._clock()
        self._level = min(self._burst, self._level + (now - self._seen) * self._rate)
        self._seen = now
        missing = min(amount, self._burst) - self._level
        return missing / self._rate if missing > TINY else 0.0

    def take(self, amount: float) -> None:
        """Take ``amount``; a negative one gives back what was taken for nothing."""
        self._level -= amount


class Pace:
    """When the next request may start, by the requests and the tokens per minute, each of them None for no limit."""

    def __init__(
        self, requests_per_minute: float | None, tokens_per_minute: float | None, clock: Clock = time.monotonic
    ) -> None:
        self._clock, self._closed_until = clock, 0.0
        self._requests = Bucket(requests_per_minute, clock) if requests_per_minute else None
        self._tokens = Bucket(tokens_per_minute, clock) if tokens_per_minute else None

    def admit(self, tokens: float) -> float:
        """Let one request of about ``tokens`` tokens start and return 0, or return the seconds after which to ask again."""
        wanted = [(bucket, amount) for bucket, amount in ((self._requests, 1.0), (self._tokens, tokens)) if bucket]
        wait = max([self._closed_until - self._clock(), *(bucket.delay(amount) for bucket, amount in wanted)])
        if wait <= 0:
            for bucket, amount in wanted:
                bucket.take(amount)
        return max(0.0, wait)

    def settle(self, expected: float, used: float) -> None:
        """Correct the tokens of a request that has ended from those that were expected to those that were used."""
        if self._tokens:
            self._tokens.take(used - expected)

    def pause(self, seconds: float) -> None:
        """Start no request for so long: the server has asked for it, and it means all of them."""
        self._closed_until = max(self._closed_until, self._clock() + seconds)
