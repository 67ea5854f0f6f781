import json
import socket
import time
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.servers import NAME, Server

CHAT = "/openai/v1/chat/completions"
SECONDS, GROWTH = 0.5, 32 << 20  # generous: the machine may be busy; one request alone takes a few milliseconds
PROCESSOR = (
    0.2  # seconds of the server's own time: some 10 to 60 ms were measured, and what this guards against took seconds
)


def body(**fields: Any) -> dict[str, Any]:
    return {"model": NAME, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4, **fields}


def said(content: Any) -> dict[str, Any]:
    return body(messages=[{"role": "user", "content": content}])


REFUSED = {
    "negative temperature": (body(temperature=-0.1), 400, "temperature"),
    "hot": (body(temperature=2.1), 400, "temperature"),
    "text temperature": (body(temperature="1"), 400, "temperature"),
    "top_p 0": (body(top_p=0), 400, "top_p"),
    "top_p 1.1": (body(top_p=1.1), 400, "top_p"),
    "a million choices": (body(n=10**6), 400, "n"),
    "no choice": (body(n=0), 400, "n"),
    "true choices": (body(n=True), 400, "n"),
    "no tokens": (body(max_tokens=0), 400, "max_tokens"),
    "too many tokens": (body(max_tokens=10**9), 400, "max_tokens"),
    "more than the context": (body(max_tokens=2048), 400, "max_tokens"),
    "huge seed": (body(seed=1 << 63), 400, "seed"),
    "ten thousand stops": (body(stop=["x"] * 10**4), 400, "stop"),
    "nine stops": (body(stop=["x"] * 9), 400, "stop"),
    "empty stop": (body(stop=""), 400, "stop"),
    "long stop": (body(stop="x" * 129), 400, "stop"),
    "no messages": (body(messages=[]), 400, "messages"),
    "many messages": (body(messages=[{"role": "user", "content": "x"}] * 257), 400, "messages"),
    "unknown role": (body(messages=[{"role": "robot", "content": "x"}]), 400, "messages.0.role"),
    "picture": (said([{"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}]), 400, "messages"),
    "long prompt": (said("hello " * 2500), 400, "messages"),
    "million characters": (said("x " * 500_000), 400, "messages"),
    "unknown field": (body(best="x"), 400, "best"),
    "unserved feature": (body(logprobs=True), 400, "logprobs"),
    "unknown model": (body(model="gpt"), 404, "model"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_request_beyond_the_limits_is_refused_quickly(http: httpx.Client, server: Server, name: str) -> None:
    request, status, field = REFUSED[name]
    content, before, costs = json.dumps(request).encode(), server.rss(), []
    for _ in range(3):  # the first request of all is not a typical one
        spent, started = server.cpu(), time.perf_counter()
        answer = http.post(CHAT, content=content, headers={"content-type": "application/json"})
        assert time.perf_counter() - started < SECONDS
        costs.append(server.cpu() - spent)
    assert min(costs) < PROCESSOR
    error = answer.json()["error"]
    assert answer.status_code == status and error["type"] == "invalid_request_error"
    assert error["param"].startswith(field) and len(error["message"]) < 500
    assert server.rss() - before < GROWTH


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"x" * (8 << 20), "application/json", 413),
        (b"[" * 100_000 + b"]" * 100_000, "application/json", 400),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "application/json", 400),
        (b'{"model": ' + b"[" * 20 + b"]" * 20 + b"}", "application/json", 400),
        (b'{"temperature": NaN}', "application/json", 400),
        (b'{"temperature": 1e999}', "application/json", 400),
        (b'{"model": "\xff"}', "application/json", 400),
        (b'{"model": "\\ud800"}', "application/json", 400),
        (b"", "application/json", 400),
        (b"null", "application/json", 400),
        (b"{}", "text/plain", 415),
        (b"{}", "application/octet-stream", 415),
        (b"{}", "multipart/form-data; boundary=x", 415),
    ],
)
def test_a_body_that_is_no_request_is_refused_in_openais_shape(
    http: httpx.Client, server: Server, content: bytes, kind: str, status: int
) -> None:
    before, started = server.rss(), time.perf_counter()
    answer = http.post(CHAT, content=content, headers={"content-type": kind})
    assert time.perf_counter() - started < SECONDS
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert server.rss() - before < GROWTH


V1, V2 = f"/v1/models/{NAME}:predict", f"/v2/models/{NAME}/infer"
MANY = 100_000
TENSOR = {"name": "i", "shape": [1], "datatype": "BYTES", "data": ["x"]}
CROWDED = {
    "messages that are none": (CHAT, body(messages=[{}] * MANY)),
    "parts that are none": (CHAT, said([1] * MANY)),
    "messages with many fields": (CHAT, body(messages=[dict.fromkeys(map(str, range(60_000)))])),
    "unknown fields": (CHAT, body(**dict.fromkeys(map(str, range(80_000)), 1))),
    "stops that are none": (CHAT, body(stop=[1] * MANY)),
    "lists in lists": (CHAT, body(metadata=[[[]] * 100] * 500)),
    "instances that are none": (V1, {"instances": [1] * MANY}),
    "unknown parameters": (V1, {"instances": ["x"], "parameters": dict.fromkeys(map(str, range(80_000)), 1)}),
    "tensors that are none": (V2, {"inputs": [{}] * MANY}),
    "tensors": (V2, {"inputs": [TENSOR] * 10_000}),
    "elements that are none": (V2, {"inputs": [TENSOR | {"data": [1] * MANY}]}),
}  # fmt: skip


@pytest.mark.parametrize("name", CROWDED)
def test_a_crowded_body_costs_no_more_than_reading_it(http: httpx.Client, server: Server, name: str) -> None:
    """Each of its values is wrong, and a validator that noted them all would take seconds and a gigabyte."""
    path, request = CROWDED[name]
    content, before, spent = json.dumps(request, separators=(",", ":")).encode(), server.rss(), server.cpu()
    assert len(content) <= 1 << 20
    for _ in range(5):
        answer = http.post(path, content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 400 and "more than 4,096 values" in answer.text and len(answer.text) < 500
    assert (server.cpu() - spent) / 5 < PROCESSOR
    assert server.rss() - before < GROWTH


PROMPTS = {
    "tokens beyond the context": [1] * MANY,
    "tokens that are none": [*[1] * MANY, None],
    "negative tokens": [-1] * MANY,
    "texts": ["x"] * MANY,
    "empty prompts": [[]] * MANY,
    "prompts of one token": [[1]] * MANY,
    "objects": [{}] * MANY,
    "an object": dict.fromkeys(map(str, range(60_000))),
}


@pytest.mark.parametrize("name", PROMPTS)
def test_a_prompt_of_very_many_parts_costs_no_more_than_reading_it(
    http: httpx.Client, server: Server, name: str
) -> None:
    request = {"model": NAME, "prompt": PROMPTS[name]}
    content, before, spent = json.dumps(request, separators=(",", ":")).encode(), server.rss(), server.cpu()
    for _ in range(5):
        answer = http.post("/openai/v1/completions", content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 400 and len(answer.text) < 500
    assert (server.cpu() - spent) / 5 < PROCESSOR
    assert server.rss() - before < GROWTH


def test_the_most_crowded_body_that_is_read_is_cheap_too(http: httpx.Client, server: Server) -> None:
    spent = server.cpu()
    for path, request in ((CHAT, body(messages=[{}] * 4000)), (V2, {"inputs": [{}] * 4000})):
        assert http.post(path, json=request).status_code == 400
    assert (server.cpu() - spent) / 2 < PROCESSOR


def test_a_chunked_body_is_bounded_too(http: httpx.Client) -> None:
    answer = http.post(CHAT, content=(b" " * 65536 for _ in range(64)), headers={"content-type": "application/json"})
    assert answer.status_code == 413


def test_a_huge_announced_body_is_refused_before_it_is_sent(server: Server) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), 5) as connection:
        connection.sendall(head.encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 413")


def test_endless_headers_are_refused(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * (1 << 17))
        assert connection.recv(4096).startswith(b"HTTP/1.1 400")


def test_unknown_paths_and_methods_are_answered_in_openais_shape(http: httpx.Client) -> None:
    for answer, status in ((http.get(CHAT), 405), (http.post("/openai/v1/nothing", json={}), 404)):
        assert answer.status_code == status and answer.json()["error"]["type"] == "invalid_request_error"


def test_a_context_filling_chat_is_cut_to_the_room_left(http: httpx.Client) -> None:
    request = said("hello " * 300) | {"max_tokens": None, "temperature": 0}
    usage = http.post(CHAT, json=request).json()["usage"]
    assert usage["total_tokens"] <= 2048


LEAF = st.one_of(
    st.none(), st.booleans(), st.integers(-(1 << 63), (1 << 64) - 1), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20), st.sampled_from(["user", "text", NAME, "BYTES", "<|END_OF_TURN_TOKEN|>", "\x00", "😀" * 40]),
)  # fmt: skip
ANYTHING = st.recursive(
    LEAF,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)
FIELDS = {
    CHAT: ["messages", "n", "temperature", "top_p", "seed", "stop", "stream", "stream_options", "logprobs", "user", "tools"],
    "/openai/v1/completions": ["prompt", "n", "temperature", "top_p", "seed", "stop", "stream", "echo", "logprobs", "best_of"],
    V1: ["instances", "parameters"],
    V2: ["inputs", "outputs", "parameters", "id"],
}  # fmt: skip
WHOLE = {
    CHAT: body(max_tokens=1),
    "/openai/v1/completions": {"model": NAME, "prompt": "hello", "max_tokens": 1},
    V1: {"instances": ["hello"], "parameters": {"max_tokens": 1}},
    V2: {"inputs": [TENSOR], "parameters": {"max_tokens": 1}},
}


@given(st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_json_whatever_makes_the_server_fail(http: httpx.Client, data: st.DataObject) -> None:
    """A sound request with some of its fields replaced is answered or refused, and never the server's own fault."""
    path = data.draw(st.sampled_from(sorted(FIELDS)))
    changes = data.draw(st.dictionaries(st.sampled_from(FIELDS[path]), ANYTHING, min_size=1, max_size=3))
    content = json.dumps(WHOLE[path] | changes).encode()
    answer = http.post(path, content=content, headers={"content-type": "application/json"})
    assert answer.status_code in (200, 400, 404), (content, answer.status_code, answer.text[:300])
    assert answer.status_code == 200 or answer.json()["error"]
