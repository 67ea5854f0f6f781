"""``expanse plan --check`` against a real API: what is there, what is missing, what is full."""

import base64
import json
import uuid

import pytest
from kubernetes import client

from components.common.endpoints import Served
from components.common.endpoints import Toleration as ServedToleration
from components.common.errors import BadInput, Transient
from pipelines.checks.capacity import Wanted, look_at_quotas, look_for_nodes
from pipelines.checks.cluster import TRAINER, Cluster, Kind, find_cluster, kind_checks, look_for_namespace, needed_kinds
from pipelines.checks.collecting import in_cluster
from pipelines.checks.objects import look_at_queue, look_for_serving_runtime, object_checks
from pipelines.cli import main
from pipelines.loading import load_recipe
from pipelines.resources import Machine, Toleration

SECRET = "planted-secret-value"
KUEUE = ("kueue.x-k8s.io", "v1beta2")


@pytest.fixture
def cluster(namespace):
    found = find_cluster(None)
    assert isinstance(found, Cluster) and found.namespace == namespace
    return found


@pytest.fixture
def core(api):
    return client.CoreV1Api(api)


@pytest.fixture
def custom(api):
    return client.CustomObjectsApi(api)


def objects(cluster, *overrides, recipe="mini"):
    return {check.object: check.look for check in object_checks(load_recipe(recipe, overrides), cluster)}


def test_the_kinds_that_a_run_needs_are_served(cluster):
    recipe = load_recipe("8b", ["platform.queue=team"])
    kinds = ["trainjobs", "clustertrainingruntimes", "inferenceservices", "localqueues"]
    assert [kind.plural for kind in needed_kinds(recipe)] == kinds
    assert needed_kinds(load_recipe("mini")) == []
    assert {check.look().status for check in kind_checks(cluster, needed_kinds(recipe))} == {"ok"}


@pytest.mark.parametrize(
    "kind",
    [
        Kind("no.such.group", "v1", "trainjobs", "Kubeflow Trainer v2"),
        Kind(TRAINER, "v9", "trainjobs", "Kubeflow Trainer v2"),
        Kind(TRAINER, "v1alpha1", "nothings", "Kubeflow Trainer v2"),
    ],
)
def test_a_kind_that_is_not_served_is_named_with_what_installs_it(cluster, kind):
    (check,) = kind_checks(cluster, [kind])
    with pytest.raises(
        BadInput, match=rf"does not serve {kind.plural}.{kind.group} {kind.version}; install .*Trainer v2"
    ):
        check.look()


def test_the_namespace_is_there_or_named(cluster):
    assert look_for_namespace(cluster).status == "ok"
    with pytest.raises(BadInput, match=r"Namespace no-such-namespace: .*not found; create it"):
        look_for_namespace(Cluster(cluster.api, "no-such-namespace"))


TOKENS = "platform.secrets={OPENAI_API_KEY: {secret: tokens, key: OPENAI_API_KEY}, HF_TOKEN: {secret: tokens, key: HF_TOKEN}}"


def test_secrets_must_have_their_keys_and_keep_their_values(cluster, core, namespace):
    look = objects(cluster, TOKENS)["Secret tokens"]
    with pytest.raises(BadInput, match=f"Secret tokens in {namespace}: .*not found; create it"):
        look()
    data = {"OPENAI_API_KEY": base64.b64encode(SECRET.encode()).decode()}
    core.create_namespaced_secret(namespace, {"metadata": {"name": "tokens"}, "data": data})
    with pytest.raises(
        BadInput, match="Secret tokens has no key 'HF_TOKEN', which the recipe's platform section names"
    ):
        look()
    core.patch_namespaced_secret("tokens", namespace, {"data": {"HF_TOKEN": ""}})
    with pytest.raises(BadInput, match="has nothing under the key 'HF_TOKEN'"):
        look()
    core.patch_namespaced_secret("tokens", namespace, {"data": {"HF_TOKEN": "eA=="}})
    found = look()
    assert found.status == "ok" and found.sentence == "has HF_TOKEN, OPENAI_API_KEY"


def test_keys_that_are_optional_may_be_away(cluster, core, namespace):
    maps = "platform.config_maps={A: {config_map: settings, key: A}, B: {config_map: settings, key: B, optional: true}}"
    look = objects(cluster, maps)["ConfigMap settings"]
    with pytest.raises(BadInput, match="not found"):
        look()
    core.create_namespaced_config_map(namespace, {"metadata": {"name": "settings"}, "data": {"A": "1"}})
    assert look().sentence == "has A, not B"
    only = "platform.secrets={C: {secret: absent, key: C, optional: true}}"
    assert objects(cluster, only)["Secret absent"]().status == "ok"


def test_an_image_is_pulled_with_a_secret_of_the_right_type(cluster, core, namespace):
    look = objects(cluster, "platform.image_pull_secrets=[pull]")["Secret pull"]
    core.create_namespaced_secret(namespace, {"metadata": {"name": "pull"}, "data": {"x": "eA=="}})
    with pytest.raises(BadInput, match="is of the type Opaque, with which no image is pulled"):
        look()


def test_accounts_and_claims_are_looked_for(cluster, core, namespace):
    changes = ("platform.service_account=steps", "platform.scratch={kind: pvc, claim: work}")
    found = objects(cluster, *changes)
    for name in ("ServiceAccount steps", "PersistentVolumeClaim work"):
        with pytest.raises(BadInput, match=f"{name} in {namespace}: .*not found"):
            found[name]()
    core.create_namespaced_service_account(namespace, {"metadata": {"name": "steps"}})
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    core.create_namespaced_persistent_volume_claim(namespace, {"metadata": {"name": "work"}, "spec": spec})
    assert found["ServiceAccount steps"]().status == "ok"
    assert found["PersistentVolumeClaim work"]().remedy.startswith("use ReadWriteMany")


def test_a_queue_must_be_there_and_take_work(cluster, custom, namespace):
    with pytest.raises(BadInput, match=f"LocalQueue team in {namespace}: .*not found"):
        look_at_queue(cluster, "team")
    queue = {
        "apiVersion": "/".join(KUEUE),
        "kind": "LocalQueue",
        "metadata": {"name": "team"},
        "spec": {"clusterQueue": "gpus"},
    }
    custom.create_namespaced_custom_object(*KUEUE, namespace, "localqueues", queue)
    assert look_at_queue(cluster, "team").sentence == "is there, behind it the ClusterQueue gpus"
    condition = {
        "type": "Active", "status": "False", "reason": "ClusterQueueIsInactive",
        "message": "Can't submit new workloads to clusterQueue", "lastTransitionTime": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    custom.patch_namespaced_custom_object_status(
        *KUEUE, namespace, "localqueues", "team", {"status": {"conditions": [condition]}}
    )
    with pytest.raises(
        BadInput, match="takes no work: Can't submit new workloads to clusterQueue; see to the ClusterQueue gpus"
    ):
        look_at_queue(cluster, "team")


def test_runtimes_are_looked_for_where_they_may_be(cluster, custom, namespace):
    name = f"runtime-{uuid.uuid4().hex[:8]}"
    look = objects(cluster, f"platform.training_runtime={name}", recipe="8b")[f"ClusterTrainingRuntime {name}"]
    with pytest.raises(BadInput, match=f"ClusterTrainingRuntime {name}: .*not found"):
        look()
    with pytest.raises(BadInput, match="ServingRuntime vllm"):
        look_for_serving_runtime(cluster, "vllm")
    container = {"name": "kserve-container", "image": "example.com/vllm:1"}
    runtime = {
        "apiVersion": "serving.kserve.io/v1alpha1", "kind": "ServingRuntime", "metadata": {"name": "vllm"},
        "spec": {"containers": [container], "supportedModelFormats": [{"name": "huggingface"}]},
    }  # fmt: skip
    custom.create_namespaced_custom_object("serving.kserve.io", "v1alpha1", namespace, "servingruntimes", runtime)
    assert look_for_serving_runtime(cluster, "vllm").status == "ok"


def quota(core, namespace, hard, used, **spec):
    """The API of the mini cluster counts nothing, so the test writes what is used."""
    body = {"metadata": {"name": "team"}, "spec": {"hard": hard, **spec}}
    core.create_namespaced_resource_quota(namespace, body)
    core.patch_namespaced_resource_quota_status("team", namespace, {"status": {"hard": hard, "used": used}})


TRAINING = [Wanted.by_machine("resources.training", Machine(cpu="32", memory="256Gi", gpus=8, nodes=2))]


def test_a_namespace_without_quotas_has_room(cluster):
    assert look_at_quotas(cluster, TRAINING).sentence == "there is none"


def test_a_quota_that_holds_the_largest_step(cluster, core, namespace):
    quota(
        core, namespace, {"requests.nvidia.com/gpu": "16", "requests.memory": "1Ti"}, {"requests.nvidia.com/gpu": "0"}
    )
    assert look_at_quotas(cluster, TRAINING).sentence == "every step fits into team"


def test_a_quota_that_is_too_small_for_ever(cluster, core, namespace):
    quota(core, namespace, {"requests.nvidia.com/gpu": "8"}, {"requests.nvidia.com/gpu": "0"})
    with pytest.raises(
        BadInput, match=r"quota team of .* allows 8 requests.nvidia.com/gpu and resources.training asks for 16"
    ):
        look_at_quotas(cluster, TRAINING)


def test_a_quota_that_is_used_up_for_now(cluster, core, namespace):
    quota(core, namespace, {"limits.memory": "1Ti"}, {"limits.memory": "600Gi"})
    with pytest.raises(
        Transient, match=r"limits.memory left and resources.training asks for .*wait for other work to end"
    ):
        look_at_quotas(cluster, TRAINING)


def test_a_quota_for_other_pods_does_not_count(cluster, core, namespace):
    quota(core, namespace, {"pods": "1", "requests.memory": "1Gi"}, {}, scopes=["BestEffort"])
    assert look_at_quotas(cluster, TRAINING).status == "ok"


@pytest.fixture
def node(core):
    """A node with 8 GPUs, a label of its own and a taint."""
    name = f"node-{uuid.uuid4().hex[:8]}"
    taint = {"key": "team", "value": "other", "effect": "NoSchedule"}
    core.create_node({"metadata": {"name": name, "labels": {"pool": name}}, "spec": {"taints": [taint]}})
    core.patch_node_status(
        name, {"status": {"allocatable": {"nvidia.com/gpu": "8"}, "capacity": {"nvidia.com/gpu": "8"}}}
    )
    yield name
    core.delete_node(name)


def test_nodes_are_there_large_enough_and_open(cluster, node):
    bears = (Toleration(key="team", operator="Equal", value="other"),)
    fitting = Machine(gpus=8, node_selector={"pool": node}, tolerations=bears)

    def look(**changes):
        return look_for_nodes(cluster, Wanted.by_machine("resources.training", fitting.model_copy(update=changes)))

    assert look().status == "ok"
    with pytest.raises(
        BadInput, match=r"carry the taint team=other:NoSchedule, .* add it to resources.training.tolerations"
    ):
        look(tolerations=())
    for too_much in ({"gpus": 9}, {"nodes": 2}, {"node_selector": {"pool": "elsewhere"}}):
        assert look(**too_much).status == "warning" and "autoscaler" in look(**too_much).remedy


def test_replicas_of_a_served_model_share_a_node(cluster, node):
    served = Served(gpus=4, replicas=2, node_selector={"pool": node}, tolerations=(ServedToleration(),))
    assert "there is room for 2" in look_for_nodes(cluster, Wanted.by_served("teachers.a.served", served)).sentence


def test_the_whole_command_says_everything_at_once(cluster, core, namespace, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("EXPANSE_GITHUB_RAW", "http://127.0.0.1:9")
    monkeypatch.setenv("EXPANSE_STORE", tmp_path.as_uri())
    for name in ("OPENAI_API_KEY", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    encoded = base64.b64encode(SECRET.encode()).decode()
    body = {"metadata": {"name": "expanse-tokens"}, "data": {"HF_TOKEN": encoded}}
    core.create_namespaced_secret(namespace, body)
    core.create_namespaced_service_account(namespace, {"metadata": {"name": "expanse-pipeline"}})
    image = "platform.images={cpu: 'localhost:9/a:1', train: 'localhost:9/a:1', serve: 'localhost:9/a:1'}"
    judge = "evaluation.judge.url=http://127.0.0.1:9/v1"
    code = main(["plan", "--recipe", "8b", "--check", "--json", "--set", image, "--set", judge])
    out, err = capsys.readouterr()
    found = {each["object"]: each for each in json.loads(out)}
    assert code == 2 and "checks failed" in err and SECRET not in out + err and encoded not in out + err
    assert found["Kubernetes API"]["status"] == found["ServiceAccount expanse-pipeline"]["status"] == "ok"
    assert found["CRD trainjobs.trainer.kubeflow.org"]["status"] == "ok"
    assert "has no key 'OPENAI_API_KEY'" in found["Secret expanse-tokens"]["sentence"]
    assert "not found" in found["ConfigMap expanse-environment"]["sentence"]
    assert found["base"]["status"] == found["image cpu"]["status"] == "transient"
    assert found["permissions"]["status"] == "skipped"  # this API reviews no access


def test_every_check_of_the_cluster_has_a_name_of_its_own(cluster):
    changes = ["platform.queue=team", "platform.image_pull_secrets=[pull]", "resources.training.priority_class=high"]
    names = [check.object for check in in_cluster(load_recipe("32b", changes), cluster)]
    assert len(set(names)) == len(names)


def test_doctor_looks_at_the_cluster(cluster, capsys):
    assert main(["doctor", "--json"]) == 0
    found = {each["object"]: each for each in json.loads(capsys.readouterr().out)}
    assert "is Kubernetes v1." in found["Kubernetes API"]["sentence"]
    assert found["CRD inferenceservices.serving.kserve.io"]["status"] == "ok"
