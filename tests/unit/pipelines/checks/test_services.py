"""Kubeflow Pipelines and MLflow on loopback."""

import pytest

from components.common.errors import BadInput, Transient
from pipelines.checks.services import look_at_kfp, look_at_mlflow, release, service_checks

HEALTH = "/apis/v2beta1/healthz"


def test_the_api_and_the_ui_before_it_say_their_version(server):
    server.answers[HEALTH] = (200, {}, {"commit_sha": "c0ffee", "tag_name": "2.17.0", "multi_user": True})
    assert look_at_kfp(server.url).sentence.endswith("is version 2.17.0")
    server.answers[HEALTH] = (200, {}, {"apiServerTagName": "2.18.1", "apiServerReady": True})
    assert look_at_kfp(f"{server.url}/").status == "ok"


def test_an_old_version_is_refused(server):
    server.answers[HEALTH] = (200, {}, {"tag_name": "2.16.1"})
    with pytest.raises(BadInput, match=r"is KFP 2.16.1, older than 2.17; update it"):
        look_at_kfp(server.url)


def test_a_version_that_is_not_told_is_a_warning(server):
    server.answers[HEALTH] = (200, {}, {"tag_name": "unknown", "multi_user": False})
    assert look_at_kfp(server.url).status == "warning"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((302, {"Location": "/dex/auth"}, ""), "wants a login"),
        ((401, {}, ""), "wants a login"),
        ((200, {}, "<html>"), "is not the KFP v2beta1 API"),
        ((404, {}, ""), "is not the KFP v2beta1 API"),
    ],
)
def test_what_is_no_open_kfp_says_so(server, answer, words):
    server.answers[HEALTH] = answer
    server.answers["/dex/auth"] = (302, {"Location": "/dex/auth"}, "")
    with pytest.raises(BadInput, match=words):
        look_at_kfp(server.url)


def test_the_token_goes_along(server, monkeypatch):
    monkeypatch.setenv("KFP_TOKEN", "t0k")
    server.answers[HEALTH] = lambda headers: (
        (200, {}, {"tag_name": "2.17.0"}) if headers.get("authorization") == "Bearer t0k" else (401, {}, {})
    )
    assert look_at_kfp(server.url).status == "ok"


@pytest.mark.parametrize("host", ["localhost:8888", "ftp://host", "http://"])
def test_an_address_that_is_none(host):
    with pytest.raises(BadInput, match="is not an address"):
        look_at_kfp(host)


def test_services_that_are_down_may_come_back(nobody):
    with pytest.raises(Transient, match="cannot be reached"):
        look_at_kfp(nobody)
    with pytest.raises(Transient, match="cannot be reached"):
        look_at_mlflow(nobody)


def test_mlflow_says_its_version(server):
    server.answers["/version"] = (200, {}, "3.17.2")
    assert look_at_mlflow(server.url).sentence.endswith("is version 3.17.2")
    server.answers["/version"] = (200, {}, "2.9.0")
    with pytest.raises(BadInput, match=r"is MLflow 2.9.0, older than 3.0"):
        look_at_mlflow(server.url)


def test_an_mlflow_that_does_not_know_its_own_name(server):
    server.answers["/version"] = (403, {}, "Invalid Host header - possible DNS rebinding attack detected")
    with pytest.raises(BadInput, match="--allowed-hosts"):
        look_at_mlflow(server.url)
    server.answers["/version"] = (401, {}, "no")
    with pytest.raises(BadInput, match="refuses these credentials"):
        look_at_mlflow(server.url)


def test_a_database_needs_a_folder_that_can_be_written(tmp_path):
    assert look_at_mlflow(f"sqlite:///{tmp_path}/mlflow.db").status == "ok"
    with pytest.raises(BadInput, match="/nowhere cannot be written"):
        look_at_mlflow("sqlite:////nowhere/mlflow.db")
    assert look_at_mlflow("databricks").status == "skipped"


def test_what_is_not_configured_is_skipped():
    assert [check.look().status for check in service_checks(None)] == ["skipped", "skipped"]


@pytest.mark.parametrize(
    ("text", "expected"), [("2.17.0", (2, 17)), ("v2.5.1-rc.0", (2, 5)), ("main", None), ("", None)]
)
def test_versions(text, expected):
    assert release(text) == expected
