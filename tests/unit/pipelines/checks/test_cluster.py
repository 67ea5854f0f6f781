"""What the mini cluster's API does not have: access reviews, refusals, an API that is away."""

import json

import pytest
import yaml
from kubernetes import client

from components.common.errors import BadInput
from pipelines.checks.capacity import Wanted, look_at_quotas, look_for_nodes
from pipelines.checks.cluster import Cluster, Finding, find_cluster, look_at_permissions
from pipelines.checks.objects import object_checks
from pipelines.loading import load_recipe
from pipelines.resources import Machine

REVIEWS = "/apis/authorization.k8s.io/v1"


@pytest.fixture
def cluster(server):
    configuration = client.Configuration(host=server.url)
    configuration.retries = False
    return Cluster(client.ApiClient(configuration), "team")


def forbidden(what):
    return (403, {"Content-Type": "application/json"}, {"kind": "Status", "message": f"{what} is forbidden"})


def reviewing(server, path, denied=()):
    def answer(headers):
        spec = json.loads(server.bodies[-1])["spec"]
        asked = spec["resourceAttributes"]
        allowed = (asked["verb"], asked["resource"]) not in denied
        kind = "SelfSubjectAccessReview" if "user" not in spec else "LocalSubjectAccessReview"
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec, "status": {"allowed": allowed}}
        return 201, {"Content-Type": "application/json"}, body

    server.answers[REVIEWS + path] = answer


LOCAL, SELF = "/namespaces/team/localsubjectaccessreviews", "/selfsubjectaccessreviews"


def test_the_steps_service_account_is_asked_about(server, cluster):
    recipe = load_recipe("8b")
    reviewing(server, LOCAL)
    assert (
        look_at_permissions(recipe, cluster).sentence == "the service account expanse-pipeline may do what the steps do"
    )
    spec = json.loads(server.bodies[0])["spec"]
    assert spec["user"] == "system:serviceaccount:team:expanse-pipeline"
    assert spec["resourceAttributes"]["namespace"] == "team"
    reviewing(server, LOCAL, {("create", "trainjobs"), ("get", "pods")})
    with pytest.raises(
        BadInput, match=r"service account expanse-pipeline may not create trainjobs, get pods, .*in team"
    ):
        look_at_permissions(recipe, cluster)


def test_without_a_service_account_we_ask_about_ourselves(server, cluster):
    recipe = load_recipe("8b", ["platform.service_account=null"])
    reviewing(server, SELF, {("delete", "trainjobs")})
    with pytest.raises(BadInput, match="this user may not delete trainjobs in team; give it the role"):
        look_at_permissions(recipe, cluster)


def test_an_api_that_does_not_review_is_skipped(server, cluster):
    assert look_at_permissions(load_recipe("8b"), cluster).status == "skipped"
    server.answers[REVIEWS + LOCAL] = forbidden("localsubjectaccessreviews")
    assert look_at_permissions(load_recipe("8b"), cluster).status == "skipped"


def test_what_we_may_not_read_is_skipped_and_said(server, cluster):
    names = {
        "secrets/expanse-tokens": "Secret expanse-tokens",
        "configmaps/expanse-environment": "ConfigMap expanse-environment",
    }
    for path in names:
        server.answers[f"/api/v1/namespaces/team/{path}"] = forbidden(path)
    found = {check.object: check for check in object_checks(load_recipe("8b"), cluster)}
    for name in names.values():
        assert found[name].look().status == "skipped"
    server.answers["/api/v1/namespaces/team/resourcequotas"] = forbidden("resourcequotas")
    server.answers["/api/v1/nodes?labelSelector="] = forbidden("nodes")
    assert look_at_quotas(cluster, []).status == "skipped"
    assert look_for_nodes(cluster, Wanted.by_machine("resources.training", Machine(gpus=1))).status == "skipped"


@pytest.fixture
def configure(monkeypatch, tmp_path):
    """Writes a kubeconfig for a server, which the environment names."""

    def write(server):
        path = tmp_path / "config"
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1", "kind": "Config", "current-context": "here",
                    "clusters": [{"name": "here", "cluster": {"server": server}}],
                    "users": [{"name": "me", "user": {"token": "planted-token"}}],
                    "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me", "namespace": "team"}}],
                }
            )
        )  # fmt: skip
        monkeypatch.setenv("KUBECONFIG", str(path))

    return write


def test_an_api_that_is_away_may_come_back(configure, nobody):
    configure(nobody)
    found = find_cluster(None)
    assert isinstance(found, Finding) and found.status == "transient" and "cannot be reached" in found.sentence


def test_expired_credentials_are_named(configure, server):
    configure(server.url)
    server.answers["/version"] = (401, {"Content-Type": "application/json"}, {"message": "Unauthorized"})
    found = find_cluster(None)
    assert isinstance(found, Finding) and found.status == "failed"
    assert "renew the credentials" in found.sentence and "planted-token" not in found.words


def test_a_cluster_that_answers_is_looked_at_in_the_contexts_namespace(configure, server):
    configure(server.url)
    server.answers["/version"] = (200, {"Content-Type": "application/json"}, {"gitVersion": "v1.36.0"})
    found = find_cluster(None)
    assert isinstance(found, Cluster) and found.namespace == "team"
