"""The account of the steps may do what the steps' code calls, and nothing beyond."""

import ast
import re

import pytest

from pipelines.checks.cluster import needed_rights
from pipelines.loading import load_recipe
from tests.charts import ROOT, VALUE_SETS, every_value_set, find, render

VERBS = {
    "create": "create",
    "read": "get",
    "get": "get",
    "list": "list",
    "replace": "update",
    "patch": "patch",
    "delete": "delete",
}
CALL = re.compile(rf"({'|'.join(VERBS)})_(namespaced|cluster)_(\w+)")
CORE, TRAINER, KSERVE, ARGO, LEASES = (
    "",
    "trainer.kubeflow.org",
    "serving.kserve.io",
    "argoproj.io",
    "coordination.k8s.io",
)
BUILT_IN = {
    "pod": (CORE, "pods"),
    "pod_log": (CORE, "pods/log"),
    "config_map": (CORE, "configmaps"),
    "event": (CORE, "events"),
    "lease": (LEASES, "leases"),
}
JOBS, SERVICES = (TRAINER, "trainjobs"), (KSERVE, "inferenceservices")
#: Which custom resources the code of a folder speaks of, in a namespace and in the cluster.
CUSTOM = {
    "components/common/trainjobs": {"namespaced": [JOBS], "cluster": [(TRAINER, "clustertrainingruntimes")]},
    "components/common/inference": {"namespaced": [SERVICES]},
    "components/cleanup": {"namespaced": [JOBS, SERVICES]},
}
#: What KFP's driver and Argo's executor do under the same account.
ENGINE = {
    (CORE, "pods", "get"),
    (CORE, "pods", "list"),
    (CORE, "configmaps", "get"),
    (CORE, "secrets", "get"),
    (ARGO, "workflowtaskresults", "create"),
    (ARGO, "workflowtaskresults", "patch"),
    (ARGO, "workflowtasksets", "list"),
    (ARGO, "workflowtasksets", "watch"),
    (ARGO, "workflowtasksets/status", "patch"),
}


def called():
    """Every right that a call to the Kubernetes client in the code of the steps needs."""
    for path in sorted((ROOT / "components").rglob("*.py")):
        folder, text = str(path.parent.relative_to(ROOT)), path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            name = node.attr if isinstance(node, ast.Attribute) else ""
            if match := CALL.fullmatch(name):
                verb, scope, what = VERBS[match[1]], match[2], match[3]
                known = CUSTOM.get(folder, {}).get(scope, []) if what == "custom_object" else [BUILT_IN.get(what)]
                assert known and all(known), f"{path}: {name} is not known here; say which resource it means"
                for resource in known:
                    yield (*resource, verb)
                    if verb == "list" and "Watch(" in text:
                        yield (*resource, "watch")


def rights(role):
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def granted():
    objects = render()
    return rights(find(objects, "Role", "expanse-pipeline")) | rights(
        find(objects, "ClusterRole", "expanse-runtime-reader")
    )


def test_every_call_is_allowed():
    needed = set(called())
    assert (LEASES, "leases", "update") in needed
    assert needed <= granted(), needed - granted()


def test_nothing_is_allowed_that_nobody_calls():
    beyond = granted() - set(called()) - ENGINE
    assert not beyond, beyond


def test_a_check_before_a_run_asks_for_these_rights():
    """``expanse plan --check`` on a cluster with the chart says yes, and no where one of the calls would be refused."""
    asked = {(group, what, verb) for group, what, verbs in needed_rights(load_recipe("8b")) for verb in verbs}
    assert asked == {right for right in called() if right[1] != "clustertrainingruntimes"}


@every_value_set
def test_no_role_has_wildcards_or_reads_other_secrets(values):
    for each in render(values):
        for rule in each.get("rules", []) if each["kind"] in ("Role", "ClusterRole") else []:
            words = [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert "*" not in words
            assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])
            assert "pods/exec" not in rule["resources"]
            if "secrets" in rule["resources"] or each["kind"] == "ClusterRole":
                assert rule["resourceNames"] and rule["verbs"] == ["get"]


@every_value_set
def test_bindings_bind_what_is_there(values):
    objects = render(values, "team-a")
    names = {(each["kind"], each["metadata"]["name"]) for each in objects}
    for each in objects:
        if each["kind"] in ("RoleBinding", "ClusterRoleBinding"):
            assert (each["roleRef"]["kind"], each["roleRef"]["name"]) in names
            for subject in each["subjects"]:
                assert (subject["kind"], subject["name"]) in names
                assert subject["namespace"] == "team-a"


def test_models_and_mlflow_have_no_rights():
    bound = {subject["name"] for each in render() for subject in each.get("subjects", [])}
    assert bound == {"expanse-pipeline"}


@pytest.mark.parametrize(
    ("values", "secrets"), [({}, ["expanse-s3", "expanse-tokens"]), (VALUE_SETS["pod-identity"], [])]
)
def test_models_name_the_secrets_that_kserve_mounts_for_them(values, secrets):
    account = find(render(values), "ServiceAccount", "expanse-serving")
    assert [each["name"] for each in account.get("secrets", [])] == secrets
