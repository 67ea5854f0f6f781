"""The base is the chart's rendering, the runtimes are the chart's very files, and no file is forgotten."""

import importlib.util

import pytest
import yaml

from pipelines.images import locked_images
from tests.charts import CHART, ROOT, pods
from tests.pod_security import violations

MANIFESTS = ROOT / "manifests"
FILES = sorted(MANIFESTS.rglob("*.yaml"))
FOLDERS = {str(path.parent.relative_to(MANIFESTS)): path for path in FILES if path.name == "kustomization.yaml"}


@pytest.fixture(scope="module")
def wanted():
    pytest.importorskip("helm_python", reason="helm-python-sdk (real Helm) is not installed on this machine")
    specification = importlib.util.spec_from_file_location("render", MANIFESTS / "render.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.wanted()


def documents(path):
    return [each for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if each]


def test_the_files_are_what_the_chart_renders(wanted):
    for path, text in wanted.items():
        assert path.read_text(encoding="utf-8") == text, f"{path} is not the chart's rendering; run make manifests"
    header = "# Made from helm/expanse"
    made = {path for path in FILES if path.read_text(encoding="utf-8").startswith(header)}
    assert made == {path for path in wanted if path.name != "kustomization.yaml"}
    assert len(made) >= 6


def test_no_word_of_helm_is_left(wanted):
    for text in (text for path, text in wanted.items() if "base" in path.parts):
        assert "managed-by" not in text and "helm.sh" not in text


def test_the_chart_reads_the_runtimes_here():
    assert (CHART / "files" / "runtimes").resolve() == MANIFESTS / "base" / "runtimes"


@pytest.mark.parametrize("path", FOLDERS.values(), ids=FOLDERS)
def test_a_kustomization_names_every_file_beside_it(path):
    (document,) = documents(path)
    named = {
        *document.get("resources", []),
        *(patch["path"] for patch in document.get("patches", []) if "path" in patch),
        *(name for each in document.get("configMapGenerator", []) for name in each.get("envs", [])),
    }
    beside = {each.name for each in path.parent.iterdir() if each.suffix in (".yaml", ".env")} - {path.name}
    if path == FOLDERS["base/runtimes"]:
        named.add("training-runtime.yaml")  # of the cluster, so the base itself names it
    assert beside <= named, f"{path} leaves out {beside - named}"
    assert all((path.parent / name).exists() for name in named)


def test_images_are_those_of_the_lock():
    images = {
        container["image"]
        for path in FILES
        if "overlays" not in path.parts
        for document in documents(path)
        for pod in pods(document)
        for container in pod["containers"]
        if "image" in container
    }
    ours = {image for image in images if "expanse-platform" in image}
    assert ours and ours <= set(locked_images().values())


def test_the_models_have_no_secret_and_no_token():
    for size, gpus in (("8b", "1"), ("32b", "4")):
        (service,) = documents(MANIFESTS / "serving" / size / "inference-service.yaml")
        predictor = service["spec"]["predictor"]
        assert predictor["serviceAccountName"] == "expanse-serving"
        assert predictor["automountServiceAccountToken"] is False
        assert predictor["model"]["runtime"] == "expanse-vllm"
        assert predictor["model"]["resources"]["limits"]["nvidia.com/gpu"] == gpus
        parallel = f"--tensor-parallel-size={gpus}" in predictor["model"]["args"]
        assert parallel == (gpus != "1")


def test_the_runtime_gives_the_models_the_restricted_standard():
    """A predictor's pod is the runtime's containers in the service's pod."""
    runtimes = {
        each["metadata"]["name"]: each for each in documents(MANIFESTS / "base" / "runtimes" / "serving-runtimes.yaml")
    }
    for size in ("8b", "32b"):
        (service,) = documents(MANIFESTS / "serving" / size / "inference-service.yaml")
        predictor = service["spec"]["predictor"]
        runtime = runtimes[predictor["model"]["runtime"]]["spec"]
        pod = {**predictor, "containers": runtime["containers"], "volumes": runtime["volumes"]}
        assert violations(pod) == []


def test_the_sample_of_an_address_is_one_that_steps_write():
    for path in MANIFESTS.rglob("model.env"):
        key, _, address = path.read_text(encoding="utf-8").strip().partition("=")
        assert key == "storageUri"
        assert address.startswith("s3://expanse/artifacts/")
