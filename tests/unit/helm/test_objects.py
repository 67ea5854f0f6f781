"""What the chart renders is what Kubernetes takes, over every value set."""

import pytest
import yaml

from pipelines.images import locked_images
from tests.charts import CHART, CRDS, VALUE_SETS, canonical, every_value_set, find, render, rendered, strict_schema

NEWEST, OLDEST = "1.37", "1.29"
CUSTOM = ("serving.kserve.io", "trainer.kubeflow.org", "kueue.x-k8s.io")
#: Not among the definitions at hand: held to its fields by a test of its own below.
UNCHECKED = ("monitoring.coreos.com",)


def group(document):
    return document["apiVersion"].rpartition("/")[0]


@every_value_set
def test_helm_lints_without_a_word_of_warning(values):
    helm = pytest.importorskip("helm_python", reason="helm-python-sdk (real Helm) is not installed on this machine")
    report = helm.lint(CHART, values, strict=True)
    assert not report["errors"]
    assert [each for each in report["messages"] if each["severity"] > 1] == []


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_built_in_kinds_pass_the_schemas_of_kubernetes(version):
    validate = pytest.importorskip("kubernetes_validate")
    every = (each for values in VALUE_SETS.values() for each in render(values))
    different = {canonical(each): each for each in every if group(each) not in CUSTOM + UNCHECKED}
    assert len(different) > 50
    for document in different.values():
        validate.validate(document, version, strict=True)


def test_custom_kinds_pass_their_definitions():
    jsonschema = pytest.importorskip("jsonschema")
    if not CRDS.is_dir():
        pytest.skip(f"the custom resource definitions are not at hand: there is no {CRDS}")
    documents = [each for values in VALUE_SETS.values() for each in render(values) if group(each) in CUSTOM]
    assert {each["kind"] for each in documents} >= {"ServingRuntime", "LocalQueue", "WorkloadPriorityClass"}
    validators = {}
    for document in documents:
        kind, version = document["kind"], document["apiVersion"].rpartition("/")[2]
        if kind not in validators:
            validators[kind] = jsonschema.Draft202012Validator(strict_schema(kind, version))
        validators[kind].validate(document)


def test_a_field_that_a_definition_does_not_know_is_found():
    jsonschema = pytest.importorskip("jsonschema")
    if not CRDS.is_dir():
        pytest.skip(f"the custom resource definitions are not at hand: there is no {CRDS}")
    runtime = find(render(), "ServingRuntime", "expanse-vllm")
    runtime["spec"]["containers"][0]["imagePulPolicy"] = "Always"
    with pytest.raises(jsonschema.ValidationError, match="imagePulPolicy"):
        jsonschema.validate(runtime, strict_schema("ServingRuntime", "v1alpha1"))


def test_the_service_monitor_has_the_fields_of_the_operator():
    spec = find(render(VALUE_SETS["gpu"]), "ServiceMonitor", "expanse-predictors")["spec"]
    assert set(spec) == {"selector", "endpoints"}
    assert set(spec["endpoints"][0]) == {"targetPort", "path", "interval", "relabelings"}


@every_value_set
def test_names_are_unique_and_namespaces_set(values):
    objects = render(values, namespace="team-a")
    names = [(each["apiVersion"], each["kind"], each["metadata"]["name"]) for each in objects]
    assert len(set(names)) == len(names)
    cluster_wide = {
        "ClusterRole",
        "ClusterRoleBinding",
        "ClusterTrainingRuntime",
        "PriorityClass",
        "WorkloadPriorityClass",
    }
    for each in objects:
        expected = None if each["kind"] in cluster_wide else "team-a"
        assert each["metadata"].get("namespace") == expected, each["metadata"]["name"]


@every_value_set
def test_every_object_says_what_it_belongs_to(values):
    for each in render(values):
        labels = each["metadata"]["labels"]
        assert labels["app.kubernetes.io/part-of"] == "expanse"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"


def test_two_teams_can_install_it_beside_each_other():
    """Nothing outside a namespace has the same name twice, but what values can leave out."""
    alone = {"runtimes": {"training": False}}
    names = [
        {
            (each["kind"], each["metadata"]["name"])
            for each in render(alone, team)
            if "namespace" not in each["metadata"]
        }
        for team in ("team-a", "team-b")
    ]
    assert names[0] and not names[0] & names[1]


def test_images_are_those_of_the_lock():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert {role: values["images"][role] for role in locked_images()} == dict(locked_images())


def test_images_of_values_reach_every_container():
    images = {
        name: f"mirror.example.com/{name}@sha256:{'a' * 64}" for name in ("cpu", "train", "serve", "vllm", "mlflow")
    }
    text = "\n".join(rendered({"images": images}).values())
    used = {line.partition("image:")[2].strip() for line in text.splitlines() if line.strip().startswith("image:")}
    assert used <= set(images.values())
    assert used >= {images["cpu"], images["serve"], images["vllm"], images["mlflow"]}


def test_the_package_holds_the_runtimes(tmp_path):
    """They are links in the repository; a packaged chart must hold their contents."""
    helm = pytest.importorskip("helm_python", reason="helm-python-sdk (real Helm) is not installed on this machine")
    archive = helm.package(CHART, destination=tmp_path)
    unpacked = helm.Chart.load(archive).render({}, name="expanse", namespace="expanse")
    assert unpacked["expanse/templates/runtimes.yaml"] == rendered()["expanse/templates/runtimes.yaml"]
    assert "expanse-vllm" in unpacked["expanse/templates/runtimes.yaml"]


def test_the_upload_runs_again_when_it_would_do_something_else():
    def job(values):
        (name,) = (each["metadata"]["name"] for each in render(values) if each["kind"] == "Job")
        return name

    base = job({})
    assert job({"quota": {"hard": {"pods": "3"}}}) == base
    different = [
        job({"pipelines": {"recipes": ["mini"]}}),
        job({"images": {"cpu": "ghcr.io/expanse-platform/expanse-cpu:0.1.1"}}),
        job({"pipelines": {"ownRecipes": {"a": {"extends": "8b"}}}}),
        job({"pipelines": {"ownRecipes": {"a": {"extends": "8b", "seed": 3}}}}),
    ]
    assert len({base, *different}) == 5


def test_own_recipes_are_recipes(tmp_path):
    from pipelines.loading import load_recipe

    text = find(render(VALUE_SETS["multi-user-kfp"]), "ConfigMap", "expanse-recipes")["data"]["ours-8b.yaml"]
    path = tmp_path / "ours-8b.yaml"
    path.write_text(text, encoding="utf-8")
    recipe = load_recipe(str(path))
    assert (recipe.name, recipe.seed) == ("ours-8b", 3)
    assert recipe.description == "ours: with {{ braces }} and\ttabs"


def test_the_arguments_of_the_upload_are_those_of_the_command(tmp_path):
    from pipelines.cli import parser

    job = next(each for each in render(VALUE_SETS["multi-user-kfp"]) if each["kind"] == "Job")
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["command"] == ["python", "-m", "pipelines.cli", "upload"]
    options = parser().parse_args(["upload", *container["args"]])
    assert options.recipe == ["8b", "/recipes/ours-8b.yaml"]
    assert options.host == "https://kfp.example.com/pipeline"


def test_a_namespace_sets_only_what_kfp_lets_it_set():
    """KFP refuses the whole ConfigMap for one unknown field of the plugin."""
    data = find(render(VALUE_SETS["multi-user-kfp"]), "ConfigMap", "kfp-launcher")["data"]
    assert set(data) == {"defaultPipelineRoot", "providers", "plugins.mlflow"}
    plugin = yaml.safe_load(data["plugins.mlflow"])
    assert set(plugin) == {"settings"}
    allowed = {"experimentDescription", "defaultExperimentName", "injectUserEnvVars", "credentialSecretRef"}
    assert set(plugin["settings"]) <= allowed
    assert plugin["settings"]["injectUserEnvVars"] is True
    assert yaml.safe_load(data["providers"])["s3"]["default"]["region"] == "eu-central-1"


@every_value_set
def test_the_notes_name_what_is_left_to_do(values):
    notes = rendered(values)["expanse/templates/NOTES.txt"]
    assert "pod-security.kubernetes.io/enforce=restricted" in notes
    assert ("expanse-s3" in notes) == (values.get("storage", {}).get("secret") != "")
    assert ("authType" in notes) == values.get("mlflow", {}).get("enabled", True)
    assert "<no value>" not in notes and "%!" not in notes
