"""Endpoints on loopback: the model is listed, the key works, and everything else is one sentence."""

import json

import pytest

from components.common.errors import BadInput, Transient
from pipelines.checks.endpoints import Target, endpoint_checks, look
from pipelines.loading import load_recipe

KEY = "sk-planted-secret"
LISTED = (200, {}, {"object": "list", "data": [{"id": "judge"}, {"id": "other"}]})


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("8b", ["platform.secrets={JUDGE_KEY: {secret: tokens, key: JUDGE_KEY}}"])


def target(url, model="judge", variable=None):
    return Target("evaluation.judge", f"{url}/v1", model, variable)


def test_a_model_that_is_served_is_fine(server, recipe):
    server.answers["/v1/models"] = LISTED
    found = look(target(server.url), recipe)
    assert found.status == "ok" and "serves judge" in found.sentence
    assert "authorization" not in server.asked[0][2]


def test_a_model_that_is_not_served_is_named_beside_what_there_is(server, recipe):
    server.answers["/v1/models"] = LISTED
    with pytest.raises(BadInput, match=r"does not serve aya, it lists judge, other; correct the model"):
        look(target(server.url, "aya"), recipe)


def test_the_key_goes_along_and_into_no_message(server, recipe, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", KEY)
    server.answers["/v1/models"] = lambda headers: (
        LISTED if headers.get("authorization") == f"Bearer {KEY}" else (401, {}, {"error": f"{KEY} is no key"})
    )
    assert look(target(server.url, variable="JUDGE_KEY"), recipe).status == "ok"
    monkeypatch.setenv("JUDGE_KEY", f"{KEY}-expired")
    with pytest.raises(BadInput, match=r"refuses the key in JUDGE_KEY \(status 401\); renew it") as refused:
        look(target(server.url, variable="JUDGE_KEY"), recipe)
    assert KEY not in str(refused.value)


def test_a_key_that_only_the_cluster_has_is_skipped_and_one_that_nobody_has_is_not(server, recipe):
    found = look(target(server.url, variable="JUDGE_KEY"), recipe)
    assert found.status == "skipped" and "JUDGE_KEY is not set here" in found.sentence
    with pytest.raises(BadInput, match=r"OTHER_KEY is neither set here nor among platform.secrets"):
        look(target(server.url, variable="OTHER_KEY"), recipe)
    assert not server.asked


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, {}, {"data": []}), "it lists no model at all"),
        ((200, {}, "<html>welcome</html>"), "it lists no model at all"),
        ((200, {}, {"data": "x"}), "it lists no model at all"),
        ((418, {}, {}), "answered with status 418; correct the url"),
        ((403, {}, {}), "refuses a request without a key"),
    ],
)
def test_what_is_no_endpoint_is_bad_input(server, recipe, answer, words):
    server.answers["/v1/models"] = answer
    with pytest.raises(BadInput, match=words):
        look(target(server.url), recipe)


def test_an_endpoint_without_a_list_is_a_warning(server, recipe):
    assert look(target(server.url), recipe).status == "warning"


def test_one_that_is_down_or_overloaded_may_come_back(server, nobody, recipe):
    server.answers["/v1/models"] = (503, {}, {})
    with pytest.raises(Transient, match="status 503"):
        look(target(server.url), recipe)
    with pytest.raises(Transient, match="cannot be reached"):
        look(target(nobody), recipe)


def test_a_metadata_service_is_refused(recipe):
    with pytest.raises(BadInput, match=r"metadata service|no endpoint may have"):
        look(target("http://169.254.169.254"), recipe)


def test_what_only_pods_can_reach_is_skipped(recipe):
    found = look(target("http://teacher.no-such-namespace.svc.cluster.local/openai"), recipe)
    assert found.status == "skipped" and "in a pod" in found.remedy


def test_teachers_and_judges_are_asked_once_each(recipe):
    assert [check.object for check in endpoint_checks(recipe)] == ["endpoint online.check.judge"]
    pool = "teachers=[{name: a, license: MIT, endpoint: {url: 'http://a/v1', model: m}}]"
    names = [check.object for check in endpoint_checks(load_recipe("8b", [pool]))]
    assert names == ["endpoint teachers.a", "endpoint online.check.judge"]
    assert endpoint_checks(load_recipe("mini")) == []


def echoed(*values):
    return (200, {}, {"choices": [{"text": "x", "logprobs": {"token_logprobs": list(values)}}]})


def test_a_baseline_gives_the_likelihoods_of_multiple_choice(server, recipe):
    server.answers |= {"/v1/models": LISTED, "/v1/completions": echoed(None, -1.5, -2, -0.1)}
    found = look(Target("baselines.0", f"{server.url}/v1", "judge", None, scored=True), recipe)
    assert found.status == "ok" and "gives the likelihoods" in found.sentence
    assert json.loads(server.bodies[-1])["echo"] is True


@pytest.mark.parametrize(
    "answer", [(404, {}, {}), (400, {}, {"error": "echo"}), echoed(-0.1), echoed(None, None, -1.0), (200, {}, {"choices": []}),
               (200, {}, {"choices": [{"text": "x", "logprobs": None}]})],
)  # fmt: skip
def test_one_that_gives_none_is_found_before_the_run(server, recipe, answer):
    server.answers |= {"/v1/models": LISTED, "/v1/completions": answer}
    with pytest.raises(BadInput, match=r"does not give the log-probabilities of a prompt"):
        look(Target("baselines.0", f"{server.url}/v1", "judge", None, scored=True), recipe)


def test_likelihoods_are_asked_of_baselines_alone(server):
    endpoint = f"{{url: '{server.url}/v1', model: judge}}"
    changes = [
        f"teachers=[{{name: t, license: L, endpoint: {endpoint}}}]",
        f"baselines=[{{name: x, license: L, tokenizer: 'hf://a/b', endpoint: {endpoint}}}]",
    ]
    server.answers |= {"/v1/models": LISTED, "/v1/completions": echoed(None, -1, -1)}
    names = {check.object for check in endpoint_checks(load_recipe("8b", changes))}
    assert names >= {"endpoint baselines.x"} and "endpoint teachers.t" not in names
    plain = endpoint_checks(load_recipe("8b", changes[:1]))
    assert all(check.look().status in ("ok", "skipped") for check in plain if "teachers" in check.object)
    assert not any(path == "/v1/completions" for _, path, _ in server.asked)
