"""Whole steps that have a model served for them, through the same door as on a cluster."""

import pytest

from components.common.artifacts import Provenance, Reference
from components.common.canonical import canonical_json
from components.common.cluster import RUN
from components.common.endpoints import Served
from components.common.inference.objects import service_name
from components.common.inference.services import Services
from components.common.records import COMPLETION, PROMPT, QUESTION, read_records, write_records
from components.common.step import Step, run_step
from components.common.store import LocalStore
from components.evaluation.results import ANSWER
from components.evaluation.task import Config as Evaluation
from components.generation.task import Config
from tests.chat_endpoint import Endpoint
from tests.cluster.kserve import READY, Controller, listed

URI = "s3://models/expanse/merging/abc/0123"
POLICY = Reference("merging", "abc", URI, "f" * 64, 1)


@pytest.fixture
def services(api, namespace, monkeypatch):
    monkeypatch.setenv(RUN, "run-7")
    return Services(api, namespace)


def prompts(store):
    rows = [{"id": f"p{n}", "language": "de", "prompt": f"Frage {n}"} for n in range(5)]

    def work(output):
        write_records(output / "round-1.parquet", rows, PROMPT)
        return {}

    return store.produce(Provenance("prompts", "", ""), work)


def config(served):
    return Config(model="policy-1", portion="round-1", samples=2, temperature=1.0, engine="openai", served=served)


def test_the_policy_is_served_sampled_and_taken_down_and_found_again_on_any_hardware(services, tmp_path, capsys):
    store, chat, served = LocalStore(tmp_path / "store"), Endpoint(), Served(gpus=1)
    chat.models = [service_name("policy-1", "run-7", URI, served)]
    ready = READY | {"address": {"url": chat.url.removesuffix("/v1")}}

    def step(served):
        inputs = {"prompts": [prompts(store)], "model": [POLICY]}
        return Step("sample-1", "generation", canonical_json(config(served).model_dump(mode="json")), inputs)

    with Controller(services, lambda service: ready) as controller:
        made = run_step(step(served), store)
        (service,) = controller.seen
        assert service["metadata"]["labels"]["expanse.dev/step"] == "sample-1"
        assert listed(services) == []
        found = run_step(step(Served(gpus=8, replicas=4, queue="other")), store)
    chat.close()
    rows = read_records(store.fetch(made.reference) / "completions.parquet", COMPLETION)
    assert [row["completion"] for row in rows] == [f"Frage {n // 2}!" for n in range(10)]
    assert made.reference.metadata["completion_tokens"] == 30
    assert (found.cached, found.reference) == (True, made.reference)
    assert len(controller.seen) == 1


def questions(store):
    rows = [{"id": f"q{n}", "language": "de", "prompt": f"Frage {n}", "reference": f"Frage {n}!"} for n in range(4)]

    def work(output):
        write_records(
            output / "facts.parquet",
            [{"group": None, "options": None, "answer": None, **row} for row in rows],
            QUESTION,
        )
        return {}

    return store.produce(Provenance("benchmarks", "", ""), work)


def test_the_evaluated_model_is_served_where_it_lies_and_taken_down(services, tmp_path):
    store, chat, served = LocalStore(tmp_path / "store"), Endpoint(), Served(gpus=2, memory="128Gi")
    chat.models = [service_name("final", "run-7", URI, served)]
    ready = READY | {"address": {"url": chat.url.removesuffix("/v1")}}
    settings = Evaluation(
        name="final",
        benchmarks=[{"name": "facts", "kind": "exact_match"}],
        answers={"engine": "openai", "served": served},
        bootstrap={"resamples": 100},
    )
    inputs = {"questions": [questions(store)], "model": [POLICY]}
    step = Step("evaluate-final", "evaluation", canonical_json(settings.model_dump(mode="json")), inputs)
    with Controller(services, lambda service: ready) as controller:
        made = run_step(step, store)
        (service,) = controller.seen
        assert service["spec"]["predictor"]["model"]["storageUri"] == URI
        assert service["metadata"]["labels"]["expanse.dev/step"] == "evaluate-final"
        assert listed(services) == []
    chat.close()
    rows = read_records(store.fetch(made.reference) / "answers.parquet", ANSWER)
    assert [(row["answer"], row["score"]) for row in rows] == [(f"Frage {n}!", 1.0) for n in range(4)]
    assert made.reference.metadata["facts/accuracy"] == 1.0
    assert made.reference.metadata["answers/completion_tokens"] == 12
