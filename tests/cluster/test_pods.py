"""The pods that KFP makes of a compiled recipe, taken by a real API."""

import yaml
from kubernetes import client

from pipelines.compiling import compile_recipe
from pipelines.loading import load_recipe
from tests.kfp_pods import pod

SETTINGS = (
    "platform.queue=team",
    "platform.image_pull_secrets=[registry]",
    "platform.scratch={kind: ephemeral, storage_class: fast}",
    "resources.scoring={gpus: 1, memory: 48Gi, node_selector: {gpu: h100}, tolerations: [{key: gpu}], priority_class: urgent}",
)


def test_the_pods_of_every_step_are_taken(api, namespace, tmp_path):
    compile_recipe(load_recipe("8b", SETTINGS), tmp_path / "pipeline.yaml")
    with (tmp_path / "pipeline.yaml").open(encoding="utf-8") as file:
        spec, platforms = yaml.load_all(file, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    settings = platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    core = client.CoreV1Api(api)
    for label, executor in spec["deploymentSpec"]["executors"].items():
        wanted = pod(label, executor["container"], settings[label])
        made = core.create_namespaced_pod(namespace, wanted, field_validation="Strict")
        assert made.spec.security_context.seccomp_profile.type == "RuntimeDefault"
    of_a_step = core.list_namespaced_pod(namespace, label_selector="expanse.dev/step=score-teachers").items
    (scoring,) = of_a_step
    assert scoring.metadata.labels["kueue.x-k8s.io/queue-name"] == "team"
    assert scoring.spec.containers[0].resources.limits["nvidia.com/gpu"] == "1"
