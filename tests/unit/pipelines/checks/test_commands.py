"""``expanse plan --check`` and ``expanse doctor`` as a user runs them, without network or cluster."""

import json

import pytest

from pipelines.cli import main

SECRET = "planted-secret-value"


def run(capsys, *arguments):
    code = main(arguments)
    out, err = capsys.readouterr()
    assert SECRET not in out + err and "Traceback" not in err
    return code, out, err


@pytest.fixture
def registry(server):
    """All three images, by digest."""
    digest = f"sha256:{'cd' * 32}"
    server.answers[f"/v2/app/manifests/{digest}"] = (200, {}, "")
    reference = f"{server.host}/app@{digest}"
    return server, f"platform.images={{cpu: '{reference}', train: '{reference}', serve: '{reference}'}}"


def test_doctor_works_without_network_or_cluster(capsys):
    code, out, _ = run(capsys, "doctor", "--json")
    found = {each["object"]: each for each in json.loads(out)}
    assert code == 0
    for name in ("store", "Kubeflow Pipelines", "MLflow", "Kubernetes API"):
        assert found[name]["status"] == "skipped" and found[name]["sentence"] == "not configured"
    assert found["Python"]["status"] == "ok"


def test_doctor_says_what_it_reaches(capsys, server, monkeypatch, tmp_path):
    server.answers["/apis/v2beta1/healthz"] = (200, {}, {"tag_name": "2.17.0"})
    server.answers["/version"] = (200, {}, "3.17.2")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
    monkeypatch.setenv("EXPANSE_STORE", tmp_path.as_uri())
    code, out, _ = run(capsys, "doctor", "--host", server.url)
    text = " ".join(out.split())
    assert code == 0 and "is version 2.17.0" in text and "is version 3.17.2" in text


def test_an_unknown_context_is_bad_input(capsys):
    code, _, err = run(capsys, "doctor", "--context", "nowhere")
    assert code == 2 and "No Kubernetes cluster is configured" in err and err.count("\n") == 1


def test_the_mini_recipe_needs_next_to_nothing(capsys, registry):
    code, out, _ = run(capsys, "plan", "--recipe", "mini", "--check", "--json", "--set", registry[1])
    found = json.loads(out)
    assert code == 0 and {each["status"] for each in found} <= {"ok", "skipped"}


def test_what_fails_is_in_the_table_and_the_exit_code(capsys, registry, monkeypatch):
    server, images = registry
    monkeypatch.setenv("JUDGE", SECRET)
    server.answers["/v1/models"] = (401, {}, {"error": f"wrong key {SECRET}"})
    judge = f"evaluation.judge={{kind: endpoint, url: '{server.url}/v1', model: j, api_key_variable: JUDGE}}"
    code, out, err = run(capsys, "plan", "--recipe", "mini", "--check", "--set", images, "--set", judge)
    assert code == 2 and "refuses the key in JUDGE" in " ".join(out.split())
    assert err.startswith("expanse: 1 of ") and "(endpoint evaluation.judge)" in err and err.count("\n") == 1


def test_what_is_away_is_exit_3(capsys, registry, nobody):
    code, _, err = run(capsys, "plan", "--recipe", "mini", "--check", "--set", registry[1], "--host", nobody)
    assert code == 3 and "could not be passed now (Kubeflow Pipelines)" in err
