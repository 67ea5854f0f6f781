import concurrent.futures
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from components.common.artifacts import Provenance, write_manifest
from components.common.errors import BadInput
from serving.limits import Limits
from serving.predictor import bind, model_name, serve
from tests.servers import NAME, Server, start_server

ROOT = Path(__file__).parents[3]
LONG = {"model": NAME, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 1900, "temperature": 0}
CHAT = "/openai/v1/chat/completions"


@pytest.fixture(scope="module")
def small(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with room for two sequences, two more in the queue, and little patience."""
    limits = {"batch": 2, "queue": 2, "head_seconds": 2.0, "body_seconds": 2.0, "send_seconds": 2.0}
    server = start_server(model_folder, tmp_path_factory.mktemp("log") / "server.log", **limits)
    yield server
    if server.process.poll() is None:
        server.stop()


def gauge(server: Server, name: str) -> float:
    text = httpx.get(f"{server.url}/metrics", trust_env=False).text
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name + " "))


def eventually(server: Server, name: str, value: float, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while gauge(server, name) != value:
        assert time.monotonic() < deadline, f"{name} is {gauge(server, name)}, not {value}"
        time.sleep(0.02)


def occupy(server: Server, count: int, stream: bool = False) -> list[socket.socket]:
    """Connections that each wait for one long answer."""
    content = json.dumps(LONG | {"stream": stream}).encode()
    head = (
        f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    connections = [socket.create_connection(("127.0.0.1", server.port), 30) for _ in range(count)]
    for connection in connections:
        connection.sendall(head.encode() + content)
    return connections


def test_beyond_the_queue_is_429_with_retry_after_and_leaving_clients_free_the_room(small: Server) -> None:
    connections = occupy(small, 2)
    eventually(small, "expanse_running_sequences", 2)
    connections += occupy(small, 2)
    eventually(small, "expanse_waiting_sequences", 2)
    for request in (LONG, LONG | {"stream": True}):
        answer = httpx.post(small.url + CHAT, json=request, trust_env=False)
        assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"]["type"] == "rate_limit_error"
    for connection in connections:
        connection.close()
    eventually(small, "expanse_running_sequences", 0, seconds=2)
    assert gauge(small, "expanse_waiting_sequences") == 0


def test_leaving_in_mid_stream_cancels_the_generation(small: Server) -> None:
    written = gauge(small, "expanse_cancelled_requests_total")
    with httpx.stream("POST", small.url + CHAT, json=LONG | {"stream": True}, trust_env=False) as response:
        lines = response.iter_lines()
        next(lines)
        eventually(small, "expanse_running_sequences", 1)
    eventually(small, "expanse_running_sequences", 0, seconds=2)
    assert gauge(small, "expanse_cancelled_requests_total") == written + 1


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\nGET /"])
def test_connections_that_send_no_request_are_closed(small: Server, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", small.port), 5) as connection:
        connection.sendall(sent)
        while connection.recv(4096):
            pass


def test_a_body_that_trickles_is_refused(small: Server) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
    with socket.create_connection(("127.0.0.1", small.port), 5) as connection:
        connection.sendall(head.encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 408")


def test_a_port_in_use_is_one_sentence_and_exit_2(small: Server, model_folder: Path) -> None:
    command = [sys.executable, "-m", "serving", str(model_folder), "--port", str(small.port)]
    started = time.monotonic()
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 2 and time.monotonic() - started < 5
    assert len(result.stderr.splitlines()) == 1 and "choose another --port" in result.stderr


def test_started_requests_finish_after_sigterm(small: Server) -> None:
    """The last test with this server: two running and one waiting request are answered whole, no new one."""

    def answer(connection: socket.socket) -> str:
        with connection, http.client.HTTPResponse(connection) as response:
            response.begin()
            return response.read().decode()

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(answer, *occupy(small, 1, stream=stream)) for stream in (True, False)]
        eventually(small, "expanse_running_sequences", 2)
        answers.append(pool.submit(answer, *occupy(small, 1)))
        eventually(small, "expanse_waiting_sequences", 1)
        small.process.send_signal(signal.SIGTERM)
        assert [each.result(60).count('"finish_reason":"length"') for each in answers] == [1] * 3
    assert small.process.wait(60) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(small.url, trust_env=False)


def test_nobody_is_let_in_before_the_weights_are_loaded(model_folder: Path) -> None:
    """The port is taken from the start, but the first connection that succeeds meets a model that answers."""
    with bind("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "serving", str(model_folder), "--name", NAME, "--port", str(port)]
    refused, deadline = 0, time.monotonic() + 120
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                answer = httpx.get(f"http://127.0.0.1:{port}/v2/health/ready", trust_env=False)
                break
            except httpx.ConnectError:
                refused += 1
                time.sleep(0.02)
        said = httpx.post(f"http://127.0.0.1:{port}{CHAT}", json=LONG | {"max_tokens": 2}, trust_env=False)
        process.terminate()
    assert refused > 5 and answer.status_code == said.status_code == 200


def test_a_model_that_differs_from_its_manifest_is_not_served(model_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "model")
    write_manifest(folder, Provenance("test", "", ""), {})
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(BadInput, match="differs from its manifest"):
        serve(folder, port=0)


def test_a_truncated_model_is_not_served(model_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(BadInput, match=r"model\.safetensors"):
        serve(folder, port=0)


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ raise_exception('no') }}",
        "{{ 'x' * 300000 }}",
        "{% for",
        None,
    ],
)
def test_a_chat_template_that_cannot_be_used_is_refused(
    model_folder: Path, tmp_path: Path, template: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", sys.argv[:1])  # kserve parses the command line when it is imported
    from serving import model

    monkeypatch.setattr("components.common.chat_templates.CPU_SECONDS", 1)
    folder = shutil.copytree(model_folder, tmp_path / "model")
    (folder / "chat_template.jinja").unlink()
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(BadInput, match="chat template"):
        model.Predictor("tiny", folder, Limits()).load()


def test_names_that_break_urls_and_addresses_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    for name in ("a/b", "", "ä", "x" * 101):
        with pytest.raises(BadInput, match="--name"):
            model_name(tmp_path, name)
    assert model_name(tmp_path / "aya-8b", None) == "aya-8b"
    for host, port in (("192.0.2.1", 0), ("127.0.0.1", 70000)):
        with pytest.raises(BadInput, match="Cannot listen"):
            bind(host, port)


def test_the_server_ends_with_its_parent(model_folder: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "serving", str(model_folder), "--port", "0", "--parent", str(os.getpid() + 1)],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert result.returncode == 2 and "parent" in result.stderr
