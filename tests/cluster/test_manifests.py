"""kustomize over a real API: each overlay is the chart under the example of its name, and all of it is accepted strictly."""

import os
import subprocess

import pytest
import yaml

from tests.charts import EXAMPLES, ROOT, canonical, render

MANIFESTS = ROOT / "manifests"
HELM_LABELS = ("app.kubernetes.io/managed-by", "helm.sh/chart")
SERVING = ("8b", "32b", "8b-canary", "32b-canary")
FOLDERS = ["base", *(f"overlays/{name}" for name in EXAMPLES), *(f"serving/{name}" for name in SERVING)]


@pytest.fixture
def build(kubectl, tmp_path):
    """What a folder of manifests comes to, as a user's own kustomization around it would have it."""

    def run(folder, **kustomization):
        relative = os.path.relpath(MANIFESTS / folder, tmp_path)
        document = {"resources": [relative], **kustomization}
        (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(document))
        done = subprocess.run([kubectl, "kustomize", str(tmp_path)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return [each for each in yaml.safe_load_all(done.stdout) if each]

    return run


def comparable(objects):
    """Objects by kind and name, without what only Helm puts on them and without what only one of the two has."""
    found = {}
    for each in objects:
        metadata = each["metadata"]
        for label in HELM_LABELS:
            metadata.get("labels", {}).pop(label, None)
        metadata.get("annotations", {}).pop("helm.sh/resource-policy", None)
        if not metadata.get("annotations", True):
            del metadata["annotations"]
        if each["kind"] != "Namespace" and "helm.sh/hook" not in metadata.get("annotations", {}):
            found[each["kind"], metadata["name"]] = canonical(each)
    return found


@pytest.mark.parametrize("name", ["base", *EXAMPLES])
def test_an_overlay_is_the_chart_under_its_example(build, name):
    folder = "base" if name == "base" else f"overlays/{name}"
    chart, kustomize = comparable(render(EXAMPLES.get(name))), comparable(build(folder))
    assert sorted(chart) == sorted(kustomize)
    for key, text in chart.items():
        assert kustomize[key] == text, key


def test_every_overlay_has_its_example():
    assert {path.name for path in (MANIFESTS / "overlays").iterdir()} == set(EXAMPLES)


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_api_takes_every_object_strictly(build, apply_strictly, namespace, folder):
    objects = [each for each in build(folder, namespace=namespace) if each["kind"] != "Namespace"]
    left_out = apply_strictly(objects, namespace)
    assert left_out == (["ServiceMonitor"] if folder == "overlays/gpu" else [])


def test_another_namespace_reaches_every_object_and_binding(build):
    for each in build("base", namespace="team-a"):
        if each["kind"] == "Namespace":
            assert each["metadata"]["name"] == "team-a"
        for subject in each.get("subjects", []):
            assert subject["namespace"] == "team-a"
        if each["kind"] in ("Role", "Deployment", "ServingRuntime", "NetworkPolicy"):
            assert each["metadata"]["namespace"] == "team-a"


@pytest.mark.parametrize("size", ["8b", "32b"])
def test_the_address_of_the_weights_is_one_parameter(build, size):
    (service,) = (each for each in build(f"serving/{size}") if each["kind"] == "InferenceService")
    address = (MANIFESTS / "serving" / size / "model.env").read_text().strip().partition("=")[2]
    assert service["spec"]["predictor"]["model"]["storageUri"] == address
    assert not [each for each in build(f"serving/{size}") if each["kind"] == "ConfigMap"]


@pytest.mark.parametrize("size", ["8b", "32b"])
def test_the_canary_stands_beside_the_service_and_gets_a_share(build, size):
    stable = {(each["kind"], each["metadata"]["name"]) for each in build(f"serving/{size}")}
    canary = {(each["kind"], each["metadata"]["name"]): each for each in build(f"serving/{size}-canary")}
    assert not stable & set(canary)
    name = f"aya-expanse-{size}"
    service, route = canary["InferenceService", f"{name}-canary"], canary["HTTPRoute", name]
    term = service["spec"]["predictor"]["affinity"]["podAntiAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ][0]
    labels = term["podAffinityTerm"]["labelSelector"]["matchLabels"]
    assert labels == {"serving.kserve.io/inferenceservice": f"{name}-canary"}
    assert "DIGEST-OF-THE-CANDIDATE" in service["spec"]["predictor"]["model"]["storageUri"]
    weights = {each["name"]: each["weight"] for each in route["spec"]["rules"][0]["backendRefs"]}
    assert weights == {f"{name}-predictor": 90, f"{name}-canary-predictor": 10}


def test_scaling_by_the_queue_asks_for_the_queue_of_this_service(build, apply_strictly, namespace, tmp_path):
    component = os.path.relpath(MANIFESTS / "serving" / "queue-scaling", tmp_path)
    objects = build("serving/32b", components=[component], namespace=namespace)
    apply_strictly(objects, namespace)
    (service,) = (each for each in objects if each["kind"] == "InferenceService")
    assert service["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "keda"
    (metric,) = service["spec"]["predictor"]["autoScaling"]["metrics"]
    assert metric["external"]["metric"]["query"] == 'sum(vllm:num_requests_waiting{inferenceservice="aya-expanse-32b"})'


def test_a_field_that_no_definition_knows_is_refused(apply_strictly, namespace):
    from kubernetes.dynamic.exceptions import DynamicApiError

    (service,) = yaml.safe_load_all((MANIFESTS / "serving" / "8b" / "inference-service.yaml").read_text())
    service["spec"]["predictor"]["minReplica"] = 1
    with pytest.raises(DynamicApiError, match="minReplica"):
        apply_strictly([service], namespace)
