"""The endpoint judge over HTTP: a server on loopback that reads the prompt and prefers the longer answer."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import ValidationError

from components.common.endpoints import Endpoint, Served
from components.common.errors import BadInput, Transient
from components.common.journal import Journal
from components.common.records import read_records
from components.evaluation.endpoint_judge import ServedJudge, endpoint_judge
from components.evaluation.judge import Comparison
from components.evaluation.pairwise import JUDGEMENT
from components.evaluation.settings import EndpointJudgeSettings, ServedJudgeSettings
from components.evaluation.task import Config
from tests.unit.evaluation.conftest import question, save_questions
from tests.unit.evaluation.test_task import evaluate

PARTS = re.compile(r"\[(\w{8}) ANSWER A\]\n(.*)\n\[\1 ANSWER B\]\n(.*)\n\[\1 END\]", re.DOTALL)


@dataclass
class JudgeServer:
    """Replies by ``reply(prompt)``, or with ``status`` where that is not 200."""

    url: str = ""
    status: int = 200
    verdict: str = "VERDICT {code} {winner}"
    requests: list[dict] = field(default_factory=list)

    def reply(self, prompt: str) -> str:
        found = PARTS.search(prompt)
        if found is None:
            return "ready"
        code, first, second = found.groups()
        winner = "TIE" if len(first) == len(second) else "A" if len(first) > len(second) else "B"
        return "One is longer.\n" + self.verdict.format(code=code, winner=winner)


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    state = JudgeServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.requests.append(request)
            text = state.reply(request["messages"][0]["content"])
            body = json.dumps({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}).encode()
            self.send_response(state.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    state.url = f"http://127.0.0.1:{listening.server_port}/v1"
    yield state
    listening.shutdown()
    thread.join()
    listening.server_close()


@pytest.fixture
def setting(tmp_path: Path, model_folder: Path, server: JudgeServer) -> tuple[Config, Path, Path, Path]:
    """A configuration with the judge, the model, four questions and a baseline that answered them in one letter."""
    questions = save_questions(tmp_path / "questions", arena=[question(number, reference=None) for number in range(4)])
    judge = {"kind": "endpoint", "url": server.url, "model": "judge-1"}
    config = Config(
        name="next", benchmarks=[{"name": "arena", "kind": "pairwise"}], judge=judge, generation={"max_new_tokens": 8}
    )
    evaluate(config.model_copy(update={"name": "base"}), tmp_path / "base", model_folder, questions)
    return config, model_folder, questions, tmp_path / "base"


def test_asks_both_orders_and_names_the_judge(tmp_path: Path, server: JudgeServer, setting: tuple) -> None:
    config, model, questions, base = setting
    assert server.requests == []  # without an opponent nobody is asked
    results = evaluate(config, tmp_path / "out", model, questions, baseline=base)
    assert len(server.requests) == 1 + 2 * 4
    assert all(request["temperature"] == 0 for request in server.requests)
    assert results["judge"].startswith("judge-1 (prompt 1, answers cut to 12000 characters, 20")
    arena = results["benchmarks"]["arena"]
    assert (arena["value"], arena["ties"], arena["unparsed"], arena["order_decided"]) == (0.5, 4, 0, 0)
    judged = read_records(tmp_path / "out" / "judgements.parquet", JUDGEMENT)
    assert {row["first_comment"] for row in judged} == {"One is longer."}


def test_a_refusing_judge_stops_before_the_model_is_loaded(tmp_path: Path, server: JudgeServer, setting: tuple) -> None:
    config, _, questions, base = setting
    server.status = 401
    with pytest.raises(BadInput, match="status 401"):
        evaluate(config, tmp_path / "out", tmp_path / "no-model", questions, baseline=base)


def test_a_failing_judge_leaves_nothing_behind(
    tmp_path: Path, server: JudgeServer, setting: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, model, questions, base = setting
    monkeypatch.setattr("components.common.endpoint.waiting_time", lambda *_: 0.0)
    server.status = 503
    with pytest.raises(Transient):
        evaluate(config, tmp_path / "out", model, questions, baseline=base)
    assert list((tmp_path / "out").iterdir()) == []


def test_unreadable_verdicts_are_reported_and_refused_above_the_limit(
    tmp_path: Path, server: JudgeServer, setting: tuple
) -> None:
    config, model, questions, base = setting
    server.verdict = "The winner is {winner}."
    with pytest.raises(BadInput, match="no readable verdict in 8 of 8"):
        evaluate(config, tmp_path / "out", model, questions, baseline=base)
    lenient = Config.model_validate(
        config.model_dump() | {"judge": config.judge.model_dump() | {"max_unparsed_share": 1}}
    )
    results = evaluate(lenient, tmp_path / "lenient", model, questions, baseline=base)
    assert results["benchmarks"]["arena"]["unparsed"] == 4


COMPARISONS = [Comparison(str(n), "de", f"Frage {n}", None, "eins", "zwei und mehr") for n in range(3)]


def test_verdicts_that_were_paid_for_are_not_asked_for_again(tmp_path: Path, server: JudgeServer) -> None:
    settings = EndpointJudgeSettings(url=server.url, model="judge-1")
    found = []
    for _ in range(2):
        with Journal(tmp_path / "verdicts.jsonl") as journal:
            found.append(endpoint_judge(settings, settings, "judge-1", journal).decide(COMPARISONS))
    assert found[0] == found[1] and {verdict.winner for verdict in found[0]} == {"second"}
    assert len(server.requests) == 3


def test_a_served_judge_is_up_while_it_sits_and_goes_by_its_source(server: JudgeServer) -> None:
    at_work: list[str] = []

    @contextmanager
    def bring_up(served: Served, uri: str, label: str) -> Iterator[Endpoint]:
        at_work.append(uri)
        yield Endpoint(url=server.url, model="expanse-judge-1")
        at_work.remove(uri)

    settings = ServedJudgeSettings(served=Served(source="hf://org/judge@v1", gpus=8))
    judge = ServedJudge(settings, Journal(), bring_up)
    with judge.sitting() as sitting:
        assert at_work == ["hf://org/judge:v1"]
        assert [verdict.winner for verdict in sitting.decide(COMPARISONS)] == ["second"] * 3
        assert sitting.name == judge.name
    assert at_work == []
    assert judge.name.startswith("org/judge@v1 (prompt 1")
    assert {request["model"] for request in server.requests} == {"expanse-judge-1"}


def test_a_served_judge_needs_a_source() -> None:
    with pytest.raises(ValidationError, match=r"served\.source"):
        Config(benchmarks=[{"name": "arena", "kind": "pairwise"}], judge={"kind": "served", "served": {"gpus": 8}})
