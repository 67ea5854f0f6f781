"""Deploy and roll back on this machine: a real registry, real artifacts, the real predictor."""

from pathlib import Path

import pytest

from components.common.artifacts import Provenance, Reference, write_manifest
from components.common.mlflow_client import connect
from components.common.releases.versions import MODEL, VERDICT
from components.deployment.record import PROBES, SERVED, served, with_model
from components.deployment.releasing import from_here, questions_of
from pipelines.cli import main
from tests.servers import save_chat_model

REGISTERED = "expanse-mini"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with two released versions."""
    folder = tmp_path_factory.mktemp("a run")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    client = connect(uri)
    client.create_registered_model(REGISTERED)
    for number in (1, 2):
        made = model(folder / f"model-{number}")
        tags = {MODEL: made.digest, VERDICT: "passed"}
        client.create_model_version(REGISTERED, made.uri, None, tags, await_creation_for=0)
    return folder


def model(folder: Path) -> Reference:
    save_chat_model(folder, context=256)
    return write_manifest(folder, Provenance("merging", folder.name, "f"), {}, durable=False)


def champion(root: Path) -> int:
    client = connect(f"sqlite:///{root / 'mlflow.db'}")
    return int(client.get_registered_model(REGISTERED).aliases["champion"])


def test_a_version_is_tried_and_a_rollback_ends_with_one_that_answers(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    where = ["--model", REGISTERED, "--root", str(root)]
    assert main(["promote", *where, "--version", "1"]) == 0 and main(["promote", *where]) == 0
    assert main(["deploy", *where, "--dry-run"]) == 0 and main(["deploy", *where]) == 0
    assert "Version 2 answers (5 exchanges): Hello! Who are you? - " in capsys.readouterr().out
    assert main(["rollback", *where, "--dry-run"]) == 0 and champion(root) == 2
    assert main(["rollback", *where]) == 0 and champion(root) == 1
    told = capsys.readouterr().out
    assert "champion of expanse-mini is back on version 1." in told and "Version 1 answers (5 exchanges)" in told
    assert str(root / "model-1") in told

    weights = root / "model-1" / "model.safetensors"
    assert main(["promote", *where, "--version", "2"]) == 0
    weights.write_bytes(weights.read_bytes()[:-1])
    assert main(["rollback", *where]) == 2 and champion(root) == 2
    assert f"{weights} differs from its manifest" in capsys.readouterr().err
    assert main(["rollback", *where, "--alias-only"]) == 2


@pytest.mark.parametrize(
    ("outer", "expected"),
    [
        ("http://aya-team.example.com/", "http://aya-team.example.com"),
        ("http://aya-team.svc.cluster.local", "http://aya.team.svc"),
        ("", "http://aya.team.svc"),
    ],
)
def test_from_outside_a_service_is_reached_by_its_ingress(outer: str, expected: str) -> None:
    assert from_here({"status": {"url": outer, "address": {"url": "http://aya.team.svc/"}}}) == expected


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"probes": []}', '[{"uri": 1}]'])
def test_damaged_notes_on_a_service_count_for_nothing(note: str) -> None:
    spec = {"predictor": {"model": {"storageUri": "s3://models/2", "args": ["--x"]}}}
    service = {"metadata": {"name": "aya", "annotations": {PROBES: note, SERVED: note}}, "spec": spec}
    assert len(questions_of(service).probes) == 2
    assert served(service) == []
    assert with_model(service, "s3://models/1")["spec"]["predictor"]["model"] == {
        "storageUri": "s3://models/1",
        "args": ["--x"],
    }
