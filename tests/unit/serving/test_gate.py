import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.responses import StreamingResponse

from serving.gate import Gate
from serving.limits import Limits, depth, values

SCOPE = {
    "type": "http", "asgi": {"spec_version": "2.3"}, "method": "POST", "path": "/openai/v1/completions",
    "headers": [(b"content-type", b"application/json")],
}  # fmt: skip


def run(app: Any, send: Any, **limits: float) -> None:
    messages = [{"type": "http.request", "body": b"{}", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    asyncio.run(asyncio.wait_for(Gate(app, Limits(**limits))(dict(SCOPE), receive, send), 10))


def test_a_client_that_reads_nothing_ends_the_generation(caplog: pytest.LogCaptureFixture) -> None:
    closed = []

    async def events() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"data: x\n\n"
        finally:
            closed.append(True)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await StreamingResponse(events())(scope, receive, send)

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            await asyncio.sleep(60)

    run(app, send, send_seconds=0.05)
    assert closed and "took nothing" in caplog.text


def test_a_failing_application_is_not_hidden() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("a defect")

    async def send(message: dict[str, Any]) -> None:
        raise AssertionError("nothing to send")

    with pytest.raises(RuntimeError, match="a defect"):
        run(app, send)


@pytest.mark.parametrize(("value", "levels"), [(1, 0), ({}, 1), ([[1], {}], 2), ({"a": [{"b": []}]}, 4)])
def test_depth_counts_levels(value: Any, levels: int) -> None:
    assert depth(value, 16) == levels


def test_depth_stops_counting_beyond_its_limit() -> None:
    value: Any = []
    for _ in range(100_000):
        value = [value]
    assert depth(value, 16) == 17


@pytest.mark.parametrize(("value", "count"), [(1, 1), ({}, 1), ([[1], {}], 4), ({"a": [{"b": []}], "c": "xyz"}, 5)])
def test_values_are_counted_at_all_levels(value: Any, count: int) -> None:
    assert values(value, 100) == count


def test_counting_ends_beyond_its_limit() -> None:
    assert 1200 < values([[0] * 50] * 1000, 1200) <= 1251
    assert values([{}] * 1_000_000, 10) == 1_000_001  # by its length, without a look at what is in it
