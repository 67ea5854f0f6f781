"""Completions from an endpoint: resumed by prompt, counted, and from our own predictor."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.common.records import COMPLETION, PROMPT, read_records, write_records
from components.generation.task import Config, run
from tests.chat_endpoint import Endpoint
from tests.servers import NAME, save_chat_model, start_server

pytestmark = pytest.mark.faults
ROOT = Path(__file__).parents[3]
COUNT = 24
PROGRAM = """
import sys
from pathlib import Path
from components.generation.task import Config, run

run(Config.model_validate_json(sys.argv[1]), {"prompts": [Path(sys.argv[2])]}, Path(sys.argv[3]))
"""


@pytest.fixture
def prompts(tmp_path):
    folder = tmp_path / "prompts"
    folder.mkdir()
    rows = [{"id": f"p{n:02}", "language": "de", "prompt": f"Frage {n}"} for n in range(COUNT)]
    write_records(folder / "arbitrage.parquet", rows, PROMPT)
    return folder


@pytest.fixture
def output(tmp_path):
    folder = tmp_path / "attempt" / "output"
    folder.mkdir(parents=True)
    return folder


def config(url, model="m", **endpoint):
    described = {"url": url, "model": model, "concurrency": 2, **endpoint}
    settings = {"samples": 2, "temperature": 1.0, "max_new_tokens": 6, "shard": 16}
    return Config(model="teacher", portion="arbitrage", engine="openai", endpoint=described, **settings)


def asked(endpoint):
    return [(each["messages"][0]["content"], each["seed"]) for each in endpoint.requests]


def test_a_run_that_is_killed_in_mid_shard_asks_for_the_missing_answers_only(prompts, output):
    endpoint = Endpoint()
    endpoint.delay = 0.02
    settings = config(endpoint.url, input_price=1.0, output_price=10.0)
    command = [sys.executable, "-c", PROGRAM, settings.model_dump_json(), str(prompts), str(output)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as child:
        deadline = time.monotonic() + 300
        # 32 answers make the first shard
        while len(endpoint.requests) < 39 and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
    first = asked(endpoint)
    assert 39 <= len(first) < 2 * COUNT
    endpoint.requests.clear()
    changed = config(endpoint.url, input_price=1.0, output_price=10.0, requests_per_minute=6000)
    metrics = run(changed, {"prompts": [prompts]}, output)
    again = asked(endpoint)
    endpoint.close()
    assert len(set(first) & set(again)) <= 2  # what was under way when the process died
    assert set(first) | set(again) == {
        (f"Frage {n}", seed) for n in range(COUNT) for _, seed in seeds(first + again, n)
    }
    assert len(set(first) | set(again)) == 2 * COUNT
    rows = read_records(output / "completions.parquet", COMPLETION)
    assert [(row["id"], row["completion"]) for row in rows[::2]] == [(f"p{n:02}", f"Frage {n}!") for n in range(COUNT)]
    assert (metrics["prompt_tokens"], metrics["completion_tokens"]) == (2 * COUNT * 2, 2 * COUNT * 3)
    assert metrics["cost"] == pytest.approx((2 * COUNT * 2 * 1.0 + 2 * COUNT * 3 * 10.0) / 1e6)
    assert not list(output.parent.rglob("*.jsonl"))


IN_A_POD = """
import sys
from pathlib import Path
from components.common.standalone import adopt
from components.generation.component import generation
from tests.shells import run_shell
configuration, prompts, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
run_shell(generation, "generation", configuration, {"prompts": adopt(prompts)}, folder)
"""


def test_an_evicted_pod_keeps_its_answers_within_its_grace_period(prompts, tmp_path, service, root, monkeypatch):
    monkeypatch.setenv("EXPANSE_STORE", root)
    endpoint = Endpoint()
    endpoint.delay = 0.02
    settings = config(endpoint.url).model_copy(update={"shard": COUNT})
    command = [sys.executable, "-c", IN_A_POD, settings.model_dump_json(), str(prompts)]
    pod = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([*command, str(tmp_path / "first")], cwd=ROOT, env=pod) as child:
        deadline = time.monotonic() + 300
        while len(endpoint.requests) < 20 and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=30) == 143
    first = asked(endpoint)
    assert 20 <= len(first) < 2 * COUNT
    endpoint.requests.clear()
    elsewhere = {**pod, "EXPANSE_SCRATCH": str(tmp_path / "elsewhere")}
    subprocess.run([*command, str(tmp_path / "second")], cwd=ROOT, env=elsewhere, check=True, timeout=120)
    again = asked(endpoint)
    endpoint.close()
    assert len(set(first) & set(again)) <= 2  # what was under way when the pod was told to end
    assert len(set(first) | set(again)) == 2 * COUNT


def seeds(requests, number):
    return {each for each in requests if each[0] == f"Frage {number}"}


def test_without_prices_there_is_no_cost_but_tokens_are_counted(prompts, output):
    endpoint = Endpoint()
    metrics = run(config(endpoint.url), {"prompts": [prompts]}, output)
    endpoint.close()
    assert metrics["completion_tokens"] == metrics["tokens"] == 2 * COUNT * 3
    assert "cost" not in metrics


def test_our_own_predictor_answers_alike_however_it_is_asked(prompts, tmp_path):
    server = start_server(save_chat_model(tmp_path / "model"), tmp_path / "log")
    try:
        found = []
        for number, concurrency in enumerate((1, 8)):
            output = tmp_path / str(number) / "output"
            output.mkdir(parents=True)
            settings = config(f"{server.url}/openai/v1", NAME, concurrency=concurrency)
            metrics = run(settings, {"prompts": [prompts]}, output)
            found.append(read_records(output / "completions.parquet", COMPLETION))
            assert metrics["completion_tokens"] == sum(row["tokens"] for row in found[-1])
            assert metrics["prompt_tokens"] > 2 * COUNT
    finally:
        server.stop()
    assert found[0] == found[1]
    assert len({row["completion"] for row in found[0]}) > COUNT
