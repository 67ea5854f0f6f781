"""Tasks as Kubernetes will see them: settings that parse strictly, in the place where KFP's driver looks for them."""

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp.components import load_component_from_text
from kfp.kubernetes import kubernetes_executor_config_pb2 as kubernetes_pb2
from kfp.pipeline_spec import pipeline_spec_pb2

from components.common.step import load_stage, stages
from components.common.trainjobs import TrainJobSpec
from pipelines.compiling import compile_recipe
from pipelines.images import locked_images
from pipelines.loading import load_recipe
from pipelines.platform import READERS, WORLDLY
from tests.kfp_pods import pod
from tests.pod_security import violations

RECIPES = ("mini", "8b", "32b")
PINNED = "registry.example/expanse@sha256:" + "0" * 64
FILES = "prompts.files=[/mnt/prompts/prompts.jsonl]"
#: Every field of the platform section and of a machine, with a value that no default has.
EVERYTHING = (
    "platform.store=s3://bucket/prefix",
    "platform.config_maps={MLFLOW_TRACKING_URI: {config_map: settings, key: tracking, optional: true}}",
    "platform.secrets={HF_TOKEN: {secret: team-tokens, key: hub}, HUGGING_FACE_TOKEN: {secret: team-tokens, key: hub},"
    " OPENAI_API_KEY: {secret: team-tokens, key: judge}}",
    "platform.image_pull_secrets=[registry-a, registry-b]",
    "platform.queue=team-queue",
    "platform.labels={cost-centre: research}",
    "platform.scratch={kind: ephemeral, storage_class: fast-disk}",
    "platform.data={claim: team-data, folder: /mnt/prompts}",
    FILES,
    "platform.shared_memory=3Gi",
    "platform.user=1234",
    f"platform.images={{cpu: '{PINNED}', train: 'registry.example/expanse-train:0.1.0'}}",
    "platform.training_runtime=our-torch",
    "platform.service_account=runner",
    "resources.scoring={cpu: '6', memory: 48Gi, storage: 70Gi, gpus: 2, accelerator: amd.com/gpu, timeout_hours: 5, retries: 4,"
    " node_selector: {gpu: mi300x}, tolerations: [{key: gpu, operator: Equal, value: yes-please, effect: NoSchedule}],"
    " priority_class: urgent}",
    "resources.training={cpu: '16', memory: 96Gi, storage: 90Gi, gpus: 4, nodes: 2, timeout_hours: 30,"
    " node_selector: {gpu: h100}, tolerations: [{key: gpu}], priority_class: patient}",
)


class Compiled:
    """The two documents of a compiled recipe, by the names of the steps."""

    def __init__(self, path: Path) -> None:
        self.text = path.read_text(encoding="utf-8")
        self.spec, self.platforms = yaml.safe_load_all(self.text)
        self.settings = self.platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        self.dags = [self.spec["root"]["dag"], *(c["dag"] for c in self.spec["components"].values() if "dag" in c)]
        self.tasks = {
            parameters["name"]["runtimeValue"]["constant"]: task
            for dag in self.dags
            for task in dag["tasks"].values()
            if "configuration" in (parameters := task.get("inputs", {}).get("parameters", {}))
        }

    def executor(self, step: str) -> str:
        return self.spec["components"][self.tasks[step]["componentRef"]["name"]]["executorLabel"]

    def container(self, step: str) -> dict[str, Any]:
        return self.spec["deploymentSpec"]["executors"][self.executor(step)]["container"]

    def pod(self, step: str) -> dict[str, Any]:
        return self.settings[self.executor(step)]

    def manifest(self, step: str) -> dict[str, Any]:
        return pod(f"p-{step}", self.container(step), self.pod(step))

    def environment(self, step: str) -> dict[str, str]:
        return {each["name"]: each["value"] for each in self.container(step)["env"]}

    def parameters(self) -> dict[str, dict[str, Any]]:
        return {name: task["inputs"]["parameters"] for name, task in self.tasks.items()}


@functools.cache
def compiled(folder: Path, name: str, *overrides: str) -> Compiled:
    path = folder / f"{hashlib.sha256(repr((name, overrides)).encode()).hexdigest()}.yaml"
    compile_recipe(load_recipe(name, overrides), path)
    return Compiled(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module")
def full(folder):
    return compiled(folder, "8b", *EVERYTHING)


@pytest.mark.parametrize("name", RECIPES)
def test_the_settings_parse_strictly_and_every_step_has_its_own(name, folder):
    made = compiled(folder, name)
    json_format.ParseDict(made.platforms, pipeline_spec_pb2.PlatformSpec(), ignore_unknown_fields=False)
    for settings in made.settings.values():
        json_format.ParseDict(settings, kubernetes_pb2.KubernetesExecutorConfig(), ignore_unknown_fields=False)
    executors = [made.executor(step) for step in made.tasks]
    assert len(set(executors)) == len(executors) == len(made.tasks)
    assert set(executors) == set(made.settings) == set(made.spec["deploymentSpec"]["executors"])
    assert {made.pod(step)["podMetadata"]["labels"]["expanse.dev/step"] for step in made.tasks} == set(made.tasks)


def test_kfp_reads_the_file_with_both_its_documents(folder):
    made = compiled(folder, "8b")
    read = load_component_from_text(made.text)
    assert set(read.platform_spec.platforms["kubernetes"].deployment_spec.executors) == set(made.settings)
    assert set(read.pipeline_spec.components) == set(made.spec["components"])


def test_the_full_settings_parse_strictly(full):
    for settings in full.settings.values():
        json_format.ParseDict(settings, kubernetes_pb2.KubernetesExecutorConfig(), ignore_unknown_fields=False)


@pytest.mark.parametrize("name", RECIPES)
def test_pods_meet_the_restricted_standard(name, folder, full):
    for made in (compiled(folder, name), full):
        assert {step: found for step in made.tasks if (found := violations(made.manifest(step)["spec"]))} == {}


@pytest.mark.parametrize("scratch", ["{kind: empty}", "{kind: pvc, claim: big}", "{kind: ephemeral}"])
def test_pods_pass_the_schema_of_kubernetes(folder, full, scratch):
    validate = pytest.importorskip("kubernetes_validate")
    for made in (compiled(folder, "8b", f"platform.scratch={scratch}"), full):
        for step in ("prompts", "score-teachers", "sft-common", "merge-sft"):
            validate.validate(made.manifest(step), "1.36", strict=True)


def test_resources_are_requested_and_limited(full):
    resources = full.container("score-teachers")["resources"]
    assert {key: value for key, value in resources.items() if key.startswith("resource")} == {
        "resourceCpuRequest": "6", "resourceCpuLimit": "6", "resourceMemoryRequest": "48Gi", "resourceMemoryLimit": "48Gi",
    }  # fmt: skip
    assert resources["accelerator"] == {
        "resourceType": "amd.com/gpu", "resourceCount": "2", "type": "amd.com/gpu", "count": "2",
    }  # fmt: skip
    assert "accelerator" not in full.container("route")["resources"]


def test_a_pod_has_its_place_its_queue_and_its_labels(full):
    pod = full.pod("score-teachers")
    assert pod["nodeSelector"] == {"labels": {"gpu": "mi300x"}}
    assert pod["tolerations"] == [
        {"key": "gpu", "operator": "Equal", "value": "yes-please", "effect": "NoSchedule"},
    ]
    assert pod["podMetadata"]["labels"] == {
        "cost-centre": "research",
        "app.kubernetes.io/part-of": "expanse",
        "expanse.dev/step": "score-teachers",
        "kueue.x-k8s.io/queue-name": "team-queue",
        "kueue.x-k8s.io/priority-class": "urgent",
    }


def test_a_pod_runs_as_somebody_and_knows_its_run(full):
    pod = full.pod("route")
    assert pod["securityContext"] == {"runAsUser": "1234", "runAsGroup": "1234", "runAsNonRoot": True}
    assert {each["name"]: each["fieldPath"] for each in pod["fieldPathAsEnv"]} == {
        "EXPANSE_RUN": "metadata.labels['pipeline/runid']",
        "EXPANSE_NAMESPACE": "metadata.namespace",
    }
    told = {"EXPANSE_STORE": "s3://bucket/prefix", "EXPANSE_SCRATCH": "/scratch", "EXPANSE_QUEUE": "team-queue"}
    told["MLFLOW_EXPERIMENT_NAME"] = "expanse"
    assert full.environment("route") == told
    assert [each["secretName"] for each in pod["imagePullSecret"]] == ["registry-a", "registry-b"]


def test_secrets_and_settings_reach_the_environment_by_reference(full):
    pod = full.pod("route")
    keys = [(each["secretName"], each["optional"], key) for each in pod["secretAsEnv"] for key in each["keyToEnv"]]
    assert sorted((name, optional, key["secretKey"], key["envVar"]) for name, optional, key in keys) == [
        ("team-tokens", False, "hub", "HF_TOKEN"),
        ("team-tokens", False, "hub", "HUGGING_FACE_TOKEN"),
        ("team-tokens", False, "judge", "OPENAI_API_KEY"),
    ]
    settings = [(each["configMapName"], each["optional"], each["keyToEnv"]) for each in pod["configMapAsEnv"]]
    assert settings == [("settings", True, [{"configMapKey": "tracking", "envVar": "MLFLOW_TRACKING_URI"}])]


def test_scratch_shared_memory_and_data_are_mounted_where_they_are_needed(full):
    pod = full.pod("score-teachers")
    assert pod["genericEphemeralVolume"] == [
        {"volumeName": "scratch", "mountPath": "/scratch", "accessModes": ["ReadWriteOnce"], "size": "70Gi",
         "storageClassName": "fast-disk"},
    ]  # fmt: skip
    memory = {"volumeName": "shared-memory", "mountPath": "/dev/shm", "medium": "Memory", "sizeLimit": "3Gi"}
    assert pod["emptyDirMounts"] == [memory]
    assert "emptyDirMounts" not in full.pod("route") and "pvcMount" not in full.pod("route")
    for step in ("prompts", "base"):
        mount = full.pod(step)["pvcMount"][0]
        assert (mount["constant"], mount["mountPath"]) == ("team-data", "/mnt/prompts")


@pytest.mark.parametrize(
    ("scratch", "field", "expected"),
    [
        ("{kind: empty}", "emptyDirMounts", {"volumeName": "scratch", "mountPath": "/scratch", "sizeLimit": "50Gi"}),
        ("{size: 7Gi}", "emptyDirMounts", {"volumeName": "scratch", "mountPath": "/scratch", "sizeLimit": "7Gi"}),
        ("{kind: pvc, claim: big}", "pvcMount", {"constant": "big", "mountPath": "/scratch"}),
        ("{kind: ephemeral}", "genericEphemeralVolume", {"size": "50Gi", "defaultStorageClass": True}),
    ],
)
def test_scratch_is_what_the_recipe_says(folder, scratch, field, expected):
    (mounted,) = compiled(folder, "8b", f"platform.scratch={scratch}").pod("route")[field]
    assert {key: mounted[key] for key in expected} == expected


def test_a_timeout_bounds_an_attempt_and_the_retries_outlast_every_attempt(full):
    assert full.pod("score-teachers")["activeDeadlineSeconds"] == str(5 * 3600)
    policy = full.tasks["score-teachers"]["retryPolicy"]
    assert (policy["maxRetryCount"], policy["backoffFactor"], policy["backoffDuration"]) == (4, 2.0, "30s")
    # Argo counts from the start of the first attempt and ends even a running attempt by it
    assert int(policy["backoffMaxDuration"].removesuffix("s")) > (4 + 1) * 5 * 3600


def test_training_on_several_gpus_is_a_launcher_that_holds_no_gpu_and_waits_in_no_queue(full):
    for step in ("sft-common", "dpo-offline-slavic"):
        assert "accelerator" not in full.container(step)["resources"]
        assert full.container(step)["image"] == PINNED
        assert "kueue.x-k8s.io/queue-name" not in full.pod(step)["podMetadata"]["labels"]
        assert not {"activeDeadlineSeconds", "nodeSelector", "tolerations", "genericEphemeralVolume"} & set(
            full.pod(step)
        )
        spec = TrainJobSpec.model_validate_json(full.environment(step)["EXPANSE_TRAINJOB"])
        machine = load_recipe("8b", EVERYTHING).resources.training
        for field in ("cpu", "memory", "storage", "gpus", "nodes", "accelerator", "timeout_hours", "node_selector"):
            assert getattr(spec, field) == getattr(machine, field), field
        assert (spec.queue, spec.priority_class, spec.runtime) == ("team-queue", "patient", "our-torch")
        assert (spec.scratch.kind, spec.scratch.size, spec.scratch.storage_class) == ("ephemeral", "90Gi", "fast-disk")
        assert (spec.service_account, spec.shared_memory) == ("runner", "3Gi")
        assert spec.tolerations[0].key == "gpu" and spec.tolerations[0].operator == "Exists"
        assert spec.image_pull_secrets == ["registry-a", "registry-b"]
        assert spec.secrets["OPENAI_API_KEY"].model_dump(exclude_defaults=True) == {
            "secret": "team-tokens",
            "key": "judge",
        }
        assert spec.environment == {"EXPANSE_STORE": "s3://bucket/prefix"}
        assert spec.image.endswith("expanse-train:0.1.0")


def test_training_on_one_gpu_is_a_pod(folder):
    made = compiled(folder, "8b", "resources.training={gpus: 1, memory: 64Gi}")
    assert made.container("sft-common")["resources"]["accelerator"]["resourceCount"] == "1"
    assert "EXPANSE_TRAINJOB" not in made.environment("sft-common")


def test_images_follow_the_roles(folder):
    made, images = compiled(folder, "8b"), locked_images()
    assert made.container("score-teachers")["image"] == images["train"]
    for step in ("prompts", "merge-sft", "report", "sft-common"):
        assert made.container(step)["image"] == images["cpu"]


def test_caching_is_on_where_the_image_is_pinned_and_kfp_sees_every_input(full, folder):
    cached = {step for step, task in full.tasks.items() if task["cachingOptions"].get("enableCache")}
    assert {"route", "merge-sft", "sft-common", "report", "gate"} <= cached
    assert not cached & {
        "prompts",
        "base",
        "register",
        "deploy",
        "score-teachers",
    }  # the last one's image is not pinned
    tags = compiled(
        folder, "8b", "platform.images={cpu: 'registry.example/expanse-cpu:0.1.0', train: 'registry.example/t:1'}"
    )
    assert not any(task["cachingOptions"].get("enableCache") for task in tags.tasks.values())


def test_the_stages_that_read_files_of_their_own_are_the_ones_that_kfp_must_not_cache():
    outside = {
        stage for stage in stages() if hasattr(__import__(load_stage(stage)[0].__module__, fromlist=["x"]), "outside")
    }
    changing = {"cleanup", "deployment"}  # the world may have changed since they last looked
    assert outside == READERS | changing and changing <= WORLDLY


def test_nothing_of_the_platform_enters_a_key(full, folder):
    assert full.parameters() == compiled(folder, "8b", FILES, "platform.data={claim: other, folder: /mnt}").parameters()


def test_secrets_are_no_parameters_and_their_values_are_nowhere(folder, monkeypatch):
    for variable in ("HF_TOKEN", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, f"planted-{variable}")
    compile_recipe(load_recipe("8b", EVERYTHING), folder / "planted.yaml")
    made = Compiled(folder / "planted.yaml")
    assert "planted-" not in made.text
    constants = json.dumps(made.parameters())
    assert "team-tokens" not in constants and "HUGGING_FACE_TOKEN" not in constants


@pytest.mark.parametrize("name", RECIPES)
def test_argo_can_hold_the_workflow(name, folder):
    """KFP keeps one argument per distinct container and its component, per nested graph, and per step's settings, and
    each task once more as an argument of its own; etcd takes about 1.5 MB, the status of the run included."""
    made = compiled(folder, name, *(EVERYTHING if name != "mini" else ()))
    components = made.spec["components"]
    containers = {json.dumps(made.container(step)): components[f"comp-{step}"] for step in made.tasks}
    parts = [*containers, *map(json.dumps, containers.values()), json.dumps(made.spec["root"])]
    parts += [json.dumps(component) for component in components.values() if "dag" in component]
    parts += [json.dumps(settings) for settings in made.settings.values()]
    parts += [json.dumps(task) for dag in made.dags for task in dag["tasks"].values()]
    assert sum(len(json.dumps(part)) for part in parts) < 700_000
