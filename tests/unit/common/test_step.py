import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from components.common.artifacts import Provenance, Reference
from components.common.errors import BadInput
from components.common.execution import flatten
from components.common.forking import resident
from components.common.records import SCORED, write_records
from components.common.step import Step, code_digest, find_step, load_stage, run_step, stages
from components.common.store import LocalStore
from components.common.worker import ask

ROOT = Path(__file__).parents[3]


def scored(store: LocalStore) -> Reference:
    rows = [
        {
            "id": f"p{number}", "language": "de", "prompt": "frage", "model": model, "sample": 0,
            "completion": f"antwort {model}", "finish_reason": "stop", "tokens": 3,
            "reward": float(place * (number % 2 * 2 - 1)), "rejected_because": "",
        }
        for number in range(4)
        for place, model in enumerate(["a", "b"])
    ]  # fmt: skip

    def produce(output: Path) -> dict[str, int]:
        write_records(output / "scored.parquet", rows, SCORED)
        return {"scored": len(rows)}

    return store.produce(Provenance("scoring", "c", "d"), produce)


def step(store: LocalStore, configuration: str = '{"routing":"reward"}') -> Step:
    return Step("route", "arbitrage", configuration, {"scored": [scored(store)]})


def test_a_step_runs_once_and_is_found_afterwards(tmp_path):
    store = LocalStore(tmp_path)
    assert find_step(step(store), store) is None
    first, second = run_step(step(store), store), run_step(step(store), store)
    assert (first.cached, second.cached) == (False, True)
    assert first.reference == second.reference == find_step(step(store), store)
    assert (store.fetch(first.reference) / "examples.parquet").is_file()


def test_defaults_written_out_do_not_make_another_artifact(tmp_path):
    store = LocalStore(tmp_path)
    plain, spelt = run_step(step(store, "{}"), store), run_step(step(store), store)
    assert spelt.cached and plain.reference == spelt.reference


def test_another_configuration_or_input_is_another_artifact(tmp_path):
    store = LocalStore(tmp_path)
    keys = {run_step(step(store, text), store).reference.key for text in ('{"seed":1}', '{"seed":2}', "{}")}
    assert len(keys) == 3


def test_a_wrong_configuration_names_the_field(tmp_path):
    store = LocalStore(tmp_path)
    with pytest.raises(BadInput, match="route: routing: "):
        run_step(step(store, '{"routing":"nowhere"}'), store)


def test_a_step_that_passes_through_stands_for_its_input(tmp_path):
    store = LocalStore(tmp_path)

    def results(output: Path) -> dict[str, int]:
        document = {"name": "round", "regressed": True, "reasons": ["worse"], "benchmarks": {}}
        (output / "results.json").write_text(json.dumps(document))
        return {}

    checked = store.produce(Provenance("evaluation", "c", "d"), results)
    before, after = (scored(LocalStore(tmp_path / name)) for name in ("x", "y"))
    accept = Step("accept-1", "promotion", '{"action":"accept"}', {"models": [before, after], "evaluation": [checked]})
    for outcome in (run_step(accept, store), run_step(accept, store)):
        assert outcome.reference.uri == before.uri and outcome.reference.digest == before.digest
        assert "regressed: worse" in str(outcome.reference.metadata["passed_through"])


def test_every_stage_has_a_light_configuration_and_a_digest():
    code = "import sys\nfrom components.common.step import load_stage, stages\n[load_stage(s) for s in stages()]\n"
    code += "assert not {'torch', 'transformers', 'trl', 'mlflow', 'kserve', 'datasets'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    assert len({code_digest(stage) for stage in stages()}) == len(stages())


def test_an_unknown_stage_names_the_known_ones():
    with pytest.raises(BadInput, match="There is no stage 'cooking'; the stages are arbitrage, "):
        load_stage("cooking")


def test_a_step_survives_its_json(tmp_path):
    made = step(LocalStore(tmp_path))
    assert Step.from_json(made.to_json()) == made


@pytest.fixture
def worker(tmp_path, monkeypatch):
    monkeypatch.setenv("EXPANSE_STORE", (tmp_path / "store").as_uri())
    with resident("components.common.worker") as address:
        yield address


def test_the_worker_runs_steps_and_hands_errors_back(worker, tmp_path):
    store = LocalStore(tmp_path / "store")
    outcome = ask(worker, step(store))
    assert not outcome.cached and find_step(step(store), store) == outcome.reference
    with pytest.raises(BadInput, match="route: routing"):
        ask(worker, step(store, '{"routing":"nowhere"}'))
    assert ask(worker, step(store)).cached


def test_the_worker_outlives_clients_that_vanish(worker, tmp_path):
    store = LocalStore(tmp_path / "store")
    for sent in (b"", b"\0\0\0\0\0\0\0\x09half"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(worker)
            if sent:
                socket.send_fds(client, [sent], [1, 2])
    assert find_step(step(store), store) is None
    assert not ask(worker, step(store)).cached


def test_flatten_gives_dotted_names():
    assert flatten({"a": {"b": 1, "c": [1, "x"]}, "d": "e"}) == {"a.b": 1, "a.c": '[1, "x"]', "d": "e"}
