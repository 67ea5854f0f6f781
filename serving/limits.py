"""What one client may ask of the server, and how a request beyond it is refused."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Limits:
    """Bounds on requests (bytes, characters, counts), on the work in hand (sequences) and on waiting (seconds)."""

    body_bytes: int = 1 << 20
    json_depth: int = 16
    json_values: int = 4096
    messages: int = 256
    characters_per_token: int = 10
    max_tokens: int = 4096
    choices: int = 32
    logprobs: int = 5
    scored_tokens: int = 1 << 15
    stop_strings: int = 8
    stop_characters: int = 128
    batch: int = 32
    batch_tokens: int = 1 << 17
    queue: int = 256
    connections: int = 1024
    head_seconds: float = 10.0
    body_seconds: float = 10.0
    send_seconds: float = 30.0
    grace_seconds: int = 60


@dataclass
class Refused(Exception):
    """A request that is answered with an error: ``status``, one sentence, and the field that is wrong."""

    status: int
    message: str
    param: str | None = None
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self, openai: bool) -> dict[str, Any]:
        """The error as OpenAI's clients expect it, or as KServe's do."""
        if not openai:
            return {"error": self.message}
        kind = "invalid_request_error" if self.status < 500 and self.status != 429 else "server_error"
        kind = "rate_limit_error" if self.status == 429 else kind
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def too_busy(limit: int) -> Refused:
    """The queue is full: come back in a second."""
    return Refused(
        429, f"{limit} sequences are waiting already; try again in a second.", None, "queue_full", {"Retry-After": "1"}
    )


def is_openai(path: str) -> bool:
    """Whether a path belongs to the OpenAI routes, whose errors have their own shape."""
    return path.startswith("/openai/")


def depth(value: Any, limit: int) -> int:
    """How deep lists and objects nest in parsed JSON, counted without recursion up to ``limit`` + 1."""
    level, layer = 0, [value] if isinstance(value, (dict, list)) else []
    while layer and level <= limit:
        level += 1
        layer = [child for item in layer for child in _children(item) if isinstance(child, (dict, list))]
    return level


def values(value: Any, limit: int) -> int:
    """How many values parsed JSON holds at all levels, counted without recursion up to the first beyond ``limit``."""
    count, waiting = 1, [value]
    while waiting and count <= limit:
        item = waiting.pop()
        if isinstance(item, (dict, list)):
            count += len(item)
            if count <= limit:
                waiting.extend(_children(item))
    return count


def _children(item: dict[str, Any] | list[Any]) -> Any:
    return item.values() if isinstance(item, dict) else item
