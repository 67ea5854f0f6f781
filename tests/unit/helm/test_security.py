"""The restricted pod security standard, and what else an auditor asks of a chart."""

import copy
import re

import pytest

from tests.charts import VALUE_SETS, every_value_set, find, pods, render
from tests.pod_security import violations

IMAGE = re.compile(r".+(:[\w.-]+|@sha256:[0-9a-f]{64})$")
SECRET = re.compile(r"password|secret_access_key|token$|api_key", re.I)


def containers(pod):
    return [*pod.get("initContainers", []), *pod["containers"]]


@every_value_set
def test_pods_meet_the_restricted_standard(values):
    found = 0
    for each in render(values):
        for pod in pods(each):
            found += 1
            assert violations(pod) == [], each["metadata"]["name"]
    assert found


def good():
    (pod,) = pods(find(render(), "Deployment", "expanse-mlflow"))
    return pod


def _set(path, value):
    def change(pod):
        *parents, last = path
        for key in parents:
            pod = pod[key] if isinstance(key, int) else pod.setdefault(key, {})
        pod[last] = value

    return change


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        (("hostNetwork",), True, "hostNetwork"),
        (("volumes",), [{"name": "x", "hostPath": {"path": "/"}}], "hostPath"),
        (("securityContext", "sysctls"), [{"name": "kernel.msgmax", "value": "1"}], "sysctl"),
        (("securityContext", "runAsUser"), 0, "runAsUser"),
        (("securityContext", "runAsNonRoot"), False, "runAsNonRoot"),
        (("securityContext", "seccompProfile"), {"type": "Unconfined"}, "seccompProfile"),
        (("containers", 0, "securityContext", "runAsUser"), 0, "runAsUser"),
        (("containers", 0, "securityContext", "runAsNonRoot"), False, "runAsNonRoot"),
        (("containers", 0, "securityContext", "privileged"), True, "privileged"),
        (("containers", 0, "securityContext", "allowPrivilegeEscalation"), True, "allowPrivilegeEscalation"),
        (("containers", 0, "securityContext", "capabilities"), {"drop": ["NET_RAW"]}, "not all dropped"),
        (("containers", 0, "securityContext", "capabilities", "add"), ["SYS_ADMIN"], "added"),
        (("containers", 0, "securityContext", "procMount"), "Unmasked", "procMount"),
        (("containers", 0, "ports"), [{"containerPort": 1, "hostPort": 1}], "hostPort"),
        (("initContainers", 0, "securityContext"), {}, "migrate"),
        (("containers", 0, "livenessProbe", "httpGet", "host"), "169.254.169.254", "names a host"),
    ],
)
def test_the_check_finds_what_the_standard_refuses(path, value, word):
    pod = copy.deepcopy(good())
    assert violations(pod) == []
    _set(path, value)(pod)
    assert word in " ".join(violations(pod))


@every_value_set
def test_containers_bound_their_resources_and_write_nowhere_but_volumes(values):
    for each in render(values):
        for pod in pods(each):
            for container in containers(pod):
                resources = container["resources"]
                assert {"cpu", "memory"} <= resources["requests"].keys(), container["name"]
                assert {"cpu", "memory"} <= resources["limits"].keys(), container["name"]
                assert container["securityContext"]["readOnlyRootFilesystem"] is True
            for volume in pod.get("volumes", []):
                assert "emptyDir" not in volume or volume["emptyDir"].get("sizeLimit"), volume


@every_value_set
def test_images_are_pinned(values):
    for each in render(values):
        for pod in pods(each):
            for container in containers(pod):
                image = container.get("image")
                if image is None and each["kind"] == "ClusterTrainingRuntime":
                    continue  # the training job brings its own
                assert IMAGE.fullmatch(image) and not image.endswith(":latest"), image


@every_value_set
def test_servers_have_probes(values):
    for each in render(values):
        if each["kind"] in ("Deployment", "ServingRuntime"):
            for pod in pods(each):
                for container in pod["containers"]:
                    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()


@every_value_set
def test_no_secret_is_ever_rendered(values):
    for each in render(values):
        assert each["kind"] != "Secret"
        for pod in pods(each):
            for container in containers(pod):
                for variable in container.get("env", []):
                    if SECRET.search(variable["name"]):
                        assert "secretKeyRef" in variable["valueFrom"], variable["name"]
                assert "@" not in " ".join(container.get("args", []))


@every_value_set
def test_only_what_speaks_to_kubernetes_gets_a_token(values):
    objects = render(values)
    accounts = {
        each["metadata"]["name"]: each.get("automountServiceAccountToken", True)
        for each in objects
        if each["kind"] == "ServiceAccount"
    }
    assert [name for name, mounted in accounts.items() if mounted] == ["expanse-pipeline"]
    for each in objects:
        if each["kind"] in ("Deployment", "Job", "Pod"):
            for pod in pods(each):
                assert pod["automountServiceAccountToken"] is False


def test_the_upload_shows_kfp_a_short_lived_token_only_where_asked():
    job = next(each for each in render(VALUE_SETS["multi-user-kfp"]) if each["kind"] == "Job")
    (pod,) = pods(job)
    (token,) = (volume for volume in pod["volumes"] if volume["name"] == "token")
    (source,) = token["projected"]["sources"]
    assert source["serviceAccountToken"]["audience"] == "pipelines.kubeflow.org"
    assert source["serviceAccountToken"]["expirationSeconds"] <= 3600
    assert "token" not in str(next(each for each in render() if each["kind"] == "Job"))


def test_the_password_of_the_database_travels_outside_the_url():
    pod = next(pods(find(render(VALUE_SETS["gpu"]), "Deployment", "expanse-mlflow")))
    for container in containers(pod):
        environment = {each["name"]: each for each in container["env"]}
        assert ":" not in environment["MLFLOW_BACKEND_STORE_URI"]["value"].partition("@")[0].removeprefix(
            "postgresql://"
        )
        assert environment["PGPASSWORD"]["valueFrom"]["secretKeyRef"]["name"] == "expanse-mlflow-database"
        assert environment["PGSSLMODE"]["value"] == "verify-full"
