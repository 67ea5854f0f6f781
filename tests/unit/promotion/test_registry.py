"""Registration on a real MLflow registry: refused, idempotent, raced, and away."""

import json
import multiprocessing
import os
import socket
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from components.common.artifacts import Reference, read_manifest
from components.common.errors import BadInput, Transient
from components.common.mlflow_client import connect
from components.common.step import Step, find_step, run_step
from components.common.store import LocalStore, origin
from components.promotion.releasing import Registry, move_back, way_back
from components.promotion.task import Config, run
from tests.unit.promotion.conftest import evaluation_of, gate_of, released

REGISTER = Config(action="register", registered_model="expanse-mini")


pytestmark = pytest.mark.usefixtures("uri")


def registered(inputs: dict[str, list[Path]], output: Path) -> dict[str, Any]:
    output.mkdir(parents=True)
    run(REGISTER, inputs, output)
    document: dict[str, Any] = json.loads((output / "registration.json").read_text())
    return document


def test_a_passed_model_gets_a_version_its_lineage_and_the_alias(tmp_path: Path, uri: str) -> None:
    inputs = released(tmp_path / "a", "weights")
    document = registered(inputs, tmp_path / "output")
    version = connect(uri).get_model_version_by_alias("expanse-mini", "champion")
    reference = read_manifest(inputs["model"][0])
    assert document["registered"] and (document["version"], document["previous"]) == ("1", "")
    assert version.source == reference.uri == document["source"]
    assert version.tags["expanse.model"] == reference.digest
    assert version.tags["expanse.input.models"] == f"{'d' * 64} {'e' * 64}"
    assert version.tags["arena/win_rate"] == "0.61 (0.58 to 0.64)"


def test_a_version_says_from_which_commits_its_model_comes(tmp_path: Path, uri: str) -> None:
    inputs = released(tmp_path / "a", "weights")
    about = {"source": "hf://org/base", "commit": "c0ffee"}
    Reference("weights", "key", "s3://bucket/key", "digest", 1, about).save(tmp_path / "base" / "reference.json")
    registered({**inputs, "origins": [tmp_path / "base"]}, tmp_path / "output")
    version = connect(uri).get_model_version_by_alias("expanse-mini", "champion")
    assert version.tags["expanse.origins"] == "hf://org/base@c0ffee"


def test_a_model_from_a_remote_store_is_registered_by_its_address_there(tmp_path: Path, uri: str) -> None:
    inputs = released(tmp_path / "a", "weights")
    origin(inputs["model"][0]).write_text("s3://bucket/store/merging/key/0123456789abcdef")
    document = registered(inputs, tmp_path / "output")
    version = connect(uri).get_model_version_by_alias("expanse-mini", "champion")
    assert version.source == document["source"] == "s3://bucket/store/merging/key/0123456789abcdef"


def test_the_same_model_again_changes_nothing_and_a_new_one_takes_the_alias(tmp_path: Path, uri: str) -> None:
    first, second = released(tmp_path / "a", "one"), released(tmp_path / "b", "two")
    registered(first, tmp_path / "1")
    assert registered(first, tmp_path / "2")["reason"] == "champion already was version 1."
    assert (registered(second, tmp_path / "3")["version"], registered(second, tmp_path / "4")["previous"]) == ("2", "1")
    again = registered(first, tmp_path / "5")  # a late retry does not undo the newer promotion
    assert again["version"] == "1" and "stays on the newer version 2" in again["reason"]
    client = connect(uri)
    assert int(client.get_registered_model("expanse-mini").aliases["champion"]) == 2
    assert len(client.search_model_versions("name = 'expanse-mini'")) == 2


def test_a_crash_before_the_alias_moved_is_repaired_by_the_next_attempt(tmp_path: Path, uri: str) -> None:
    inputs = released(tmp_path / "a", "one")
    registered(inputs, tmp_path / "1")
    connect(uri).delete_registered_model_alias("expanse-mini", "champion")
    assert registered(inputs, tmp_path / "2")["version"] == "1"
    assert connect(uri).get_model_version_by_alias("expanse-mini", "champion").version == 1


def test_what_did_not_pass_is_refused_without_asking_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    document = registered(released(tmp_path / "a", "one", at_least=0.9), tmp_path / "1")
    assert not document["registered"] and "at least 0.9 is asked for" in document["reason"]


def test_what_did_not_pass_is_recorded_with_the_reasons_and_without_the_alias(tmp_path: Path, uri: str) -> None:
    document = registered(released(tmp_path / "a", "one", at_least=0.9), tmp_path / "1")
    assert not document["registered"] and document["version"] == "1"
    version = connect(uri).get_model_version("expanse-mini", "1")
    assert version.tags["expanse.verdict"] == document["reason"] and not version.aliases
    assert "at least 0.9 is asked for" in document["reason"]
    later = registered(released(tmp_path / "b", "one", at_least=0.5), tmp_path / "2")  # the same model, judged again
    assert later["registered"] and later["version"] == "1" and later["reason"] == "champion is now version 1."
    assert connect(uri).get_model_version("expanse-mini", "1").tags["expanse.verdict"] == "passed"


def test_what_did_not_pass_needs_no_registry_to_be_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    document = registered(released(tmp_path / "a", "one", at_least=0.9), tmp_path / "1")
    assert not document["registered"] and "It is not recorded either" in document["reason"]


def test_a_repeated_step_does_not_undo_a_rollback(tmp_path: Path, uri: str) -> None:
    first, second, third = (released(tmp_path / name, name) for name in ("one", "two", "three"))
    for index, inputs in enumerate((first, second)):
        registered(inputs, tmp_path / f"out-{index}")
    registry = Registry(uri, "expanse-mini", "champion")
    planned = registry.read()
    move_back(registry, planned, way_back(planned), "it answers in the wrong language")
    again = registered(second, tmp_path / "again")
    assert "stays on version 1: version 2 was promoted before" in again["reason"]
    assert registered(third, tmp_path / "new")["reason"] == "champion is now version 3."


def test_a_finished_registration_is_done_again_where_its_version_was_deleted(tmp_path: Path, uri: str) -> None:
    inputs = {name: [read_manifest(path) for path in paths] for name, paths in released(tmp_path / "a", "one").items()}
    step = Step("register", "promotion", REGISTER.model_dump_json(), inputs)
    store = LocalStore(tmp_path / "store")
    first = run_step(step, store)
    assert find_step(step, store) == first.reference
    client = connect(uri)
    client.delete_model_version("expanse-mini", "1")
    assert find_step(step, store) is None
    second = run_step(step, store)
    assert not second.cached and second.reference.metadata["version"] == "2"
    assert int(client.get_registered_model("expanse-mini").aliases["champion"]) == 2
    assert find_step(step, store) == second.reference and run_step(step, store).cached
    client.delete_registered_model("expanse-mini")
    assert run_step(step, store).reference.metadata["version"] == "1"


def test_a_gate_of_another_evaluation_or_model_is_refused(tmp_path: Path, results: dict[str, Any]) -> None:
    one, other = released(tmp_path / "a", "one"), released(tmp_path / "b", "two")
    assert "another evaluation" in registered({**one, "gate": other["gate"]}, tmp_path / "1")["reason"]
    assert "another model" in registered({**one, "model": other["model"]}, tmp_path / "2")["reason"]
    evaluation = evaluation_of(tmp_path / "unknown", results)
    mixed = {**one, "evaluation": [evaluation], "gate": [gate_of(tmp_path / "gate", evaluation)]}
    assert not registered(mixed, tmp_path / "3")["registered"]


@pytest.mark.parametrize("text", ["", "{}", '{"passed": true}', "[]", '{"passed": true, "rules": 1}'])
def test_a_damaged_verdict_is_bad_input(tmp_path: Path, text: str) -> None:
    inputs = released(tmp_path / "a", "one")
    (inputs["gate"][0] / "gate.json").write_text(text)
    with pytest.raises(BadInput, match=r"gate\.json"):
        run(REGISTER, inputs, tmp_path)


def test_a_verdict_that_contradicts_its_rules_is_refused(tmp_path: Path) -> None:
    inputs = released(tmp_path / "a", "one", at_least=0.9)
    path = inputs["gate"][0] / "gate.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"passed": True}))
    assert not registered(inputs, tmp_path / "1")["registered"]


def test_mlflow_away_is_transient_and_unset_is_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = released(tmp_path / "a", "one")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter2@127.0.0.1:9")
    with pytest.raises(Transient, match="try the same again when it answers") as caught:
        run(REGISTER, inputs, tmp_path)
    assert "hunter2" not in str(caught.value)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(BadInput, match="MLFLOW_TRACKING_URI"):
        run(REGISTER, inputs, tmp_path)


def test_a_locked_database_is_transient_and_its_lock_is_waited_for(tmp_path: Path, uri: str) -> None:
    inputs = released(tmp_path / "a", "one")
    other = sqlite3.connect(uri.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(Transient, match="database is locked"):
        run(REGISTER, inputs, tmp_path)
    assert not (tmp_path / "registration.json").exists()
    soon = threading.Timer(1.0, other.execute, ["ROLLBACK"])
    soon.start()
    assert registered(inputs, tmp_path / "output")["version"] == "1"
    soon.join()
    other.close()


def test_a_server_that_never_answers_is_transient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = released(tmp_path / "a", "one")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(Transient, match="when it answers"):
            run(REGISTER, inputs, tmp_path)
    assert not (tmp_path / "registration.json").exists()


def check_history(uri: str, count: int) -> None:
    client = connect(uri)
    versions = {int(each.version): each for each in client.search_model_versions("name = 'expanse-mini'")}
    assert sorted(versions) == list(range(1, count + 1))
    aliases = client.get_registered_model("expanse-mini").aliases
    assert {alias: int(version) for alias, version in aliases.items()} == {"champion": count}
    assert [versions[number].tags["expanse.previous"] for number in range(2, count + 1)] == [
        str(number) for number in range(1, count)
    ]


def test_100_promotions_at_once_leave_one_alias_and_the_whole_history(tmp_path: Path, uri: str) -> None:
    """Of 50 models, each by two attempts of its step."""
    candidates = [released(tmp_path / str(index), f"weights {index}") for index in range(50)]
    with ThreadPoolExecutor(100) as pool:
        list(pool.map(lambda number: registered(candidates[number % 50], tmp_path / f"out-{number}"), range(100)))
    check_history(uri, 50)


def _promote(uri: str, inputs: dict[str, list[Path]], output: Path, barrier: Barrier) -> None:
    os.environ["MLFLOW_TRACKING_URI"] = uri
    barrier.wait()
    registered(inputs, output)


def test_processes_that_promote_at_once_leave_one_alias_and_the_whole_history(tmp_path: Path, uri: str) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    candidates = [released(tmp_path / str(index), f"weights {index // 2}") for index in range(3)]  # one model twice
    processes = [
        context.Process(target=_promote, args=(uri, inputs, tmp_path / f"out-{index}", barrier))
        for index, inputs in enumerate(candidates)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 3
    check_history(uri, 2)
