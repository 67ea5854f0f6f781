"""A training step against the real Kubernetes API. Nothing runs there: the test writes what Trainer and the kubelet would."""

import os
import re
import subprocess
import threading
import time
from pathlib import Path

import pytest
import yaml
from kubernetes import client

from components.common.artifacts import Reference
from components.common.errors import BadInput, ExpanseError, Transient
from components.common.execution import perform
from components.common.standalone import adopt
from components.common.step import Step, code_digest, default_store, load_stage, parse_configuration, provenance_of
from components.common.trainjobs import TRAINJOB, SecretKey, TrainJobSpec, launch
from components.common.trainjobs.manifest import job_name
from tests.cluster.conftest import MINICLUSTER

ROOT = Path(__file__).parents[2]
TRAINJOBS = ("trainer.kubeflow.org", "v1alpha1")
RUNTIMES = (*TRAINJOBS, "clustertrainingruntimes")
RUNTIME = ROOT / "manifests" / "base" / "runtimes" / "training-runtime.yaml"
SPEC = TrainJobSpec(image="registry.test/expanse-train:1", nodes=2, gpus=8, restarts=10)
PAUSE = 0.05


@pytest.fixture(scope="session")
def runtime(api):
    """The runtime of manifests/, as a cluster takes it: strictly. One that is there already, with a chart, stays."""
    objects, body = client.CustomObjectsApi(api), yaml.safe_load(RUNTIME.read_text())
    there = [each["metadata"]["name"] for each in objects.list_cluster_custom_object(*RUNTIMES)["items"]]
    if "expanse-torch" not in there:
        objects.create_cluster_custom_object(*RUNTIMES, body, field_validation="Strict")
    yield "expanse-torch"
    if "expanse-torch" not in there:
        objects.delete_cluster_custom_object(*RUNTIMES, "expanse-torch")


@pytest.fixture
def step(tmp_path, monkeypatch) -> Step:
    monkeypatch.setenv("EXPANSE_STORE", (tmp_path / "store").as_uri())
    monkeypatch.setenv("EXPANSE_RUN", "run-1")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows").write_text("some")
    data = adopt(tmp_path / "data")
    return Step("sft-romance", "sft", '{"learning_rate": 1e-5, "steps": 2}', {"model": [data], "examples": [data]})


class Cluster:
    """The job of one step, seen and changed from the side of its controllers."""

    def __init__(self, api, namespace: str, step: Step) -> None:
        self.objects, self.core, self.namespace = client.CustomObjectsApi(api), client.CoreV1Api(api), namespace
        self.provenance = provenance_of(step, parse_configuration(step, load_stage(step.stage)[0]))
        self.name = job_name(step, self.provenance.key)

    def job(self) -> dict:
        return self.objects.get_namespaced_custom_object(*TRAINJOBS, self.namespace, "trainjobs", self.name)

    def exists(self) -> bool:
        try:
            return bool(self.job())
        except client.ApiException as error:
            assert error.status == 404
            return False

    def end(self, kind: str, reason: str = "JobsCompleted", message: str = "done", status: str = "True") -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        condition = {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": now}
        arguments = (*TRAINJOBS, self.namespace, "trainjobs", self.name)
        self.objects.patch_namespaced_custom_object_status(*arguments, {"status": {"conditions": [condition]}})

    def patch(self, change: dict) -> None:
        self.objects.patch_namespaced_custom_object(*TRAINJOBS, self.namespace, "trainjobs", self.name, change)

    def delete(self) -> None:
        self.objects.delete_namespaced_custom_object(*TRAINJOBS, self.namespace, "trainjobs", self.name)

    def pod(self, index: int, status: dict, attempt: int = 0) -> None:
        """A pod of the job, in the place of the one that it had before at this index."""
        name = f"{self.name}-node-0-{index}"
        labels = {
            "jobset.sigs.k8s.io/jobset-name": self.name,
            "jobset.sigs.k8s.io/restart-attempt": str(attempt),
            "batch.kubernetes.io/job-completion-index": str(index),
        }
        spec = {"containers": [{"name": "node", "image": SPEC.image}], "restartPolicy": "Never"}
        if attempt:
            self.core.delete_namespaced_pod(name, self.namespace)
        self.core.create_namespaced_pod(self.namespace, {"metadata": {"name": name, "labels": labels}, "spec": spec})
        self.core.patch_namespaced_pod_status(name, self.namespace, {"status": status})

    def commit(self) -> Reference:
        """What rank 0 does at the end."""
        return default_store().produce(self.provenance, lambda output: {"loss_last": 0.5})


class Launcher(threading.Thread):
    """A launcher that can be watched while it follows."""

    def __init__(self, step: Step, spec: TrainJobSpec = SPEC) -> None:
        super().__init__(daemon=True)
        self.step, self.spec = step, spec
        self.outcome, self.error = None, None
        self.start()

    def run(self) -> None:
        try:
            self.outcome = launch(self.step, self.spec, PAUSE)
        except ExpanseError as error:
            self.error = error

    def ended(self) -> ExpanseError | None:
        self.join(60)
        assert not self.is_alive()
        return self.error


@pytest.fixture
def cluster(api, namespace, runtime, step) -> Cluster:
    return Cluster(api, namespace, step)


def wait(condition, *arguments) -> None:
    limit = time.monotonic() + 60
    while not condition(*arguments):
        assert time.monotonic() < limit
        time.sleep(0.02)


def said(capfd, words: str) -> None:
    """Wait until the launcher has said this."""
    text = ""
    limit = time.monotonic() + 60
    while words not in text:
        assert time.monotonic() < limit, text
        text += capfd.readouterr().out
        time.sleep(0.02)


def terminated(code: int, **fields) -> dict:
    ended = {"terminated": {"exitCode": code, **fields}}
    status = {"name": "node", "image": SPEC.image, "imageID": "", "ready": False, "restartCount": 0, "state": ended}
    return {"phase": "Failed", "containerStatuses": [status]}


def waiting(reason: str, message: str) -> dict:
    state = {"waiting": {"reason": reason, "message": message}}
    status = {"name": "node", "image": SPEC.image, "imageID": "", "ready": False, "restartCount": 0, "state": state}
    return {"phase": "Pending", "containerStatuses": [status]}


EVICTED = {
    "phase": "Failed",
    "conditions": [
        {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "PreemptionByScheduler",
            "message": "a more urgent pod",
        }
    ],
}


def test_a_job_is_created_followed_to_its_end_and_deleted(cluster, step, monkeypatch, capfd):
    monkeypatch.setenv(TRAINJOB, SPEC.model_dump_json())
    monkeypatch.setattr("components.common.trainjobs.launching.PAUSE", PAUSE)
    result = []
    launcher = threading.Thread(target=lambda: result.append(perform(step, code_digest("sft"))), daemon=True)
    launcher.start()
    wait(cluster.exists)
    labels = cluster.job()["metadata"]["labels"]
    assert (labels["expanse.dev/run"], labels["expanse.dev/step"]) == ("run-1", "sft-romance")
    said(capfd, "waits for its pods")
    for index in range(2):
        cluster.pod(index, {"phase": "Running"})
    said(capfd, "runs on 2 x 8 nvidia.com/gpu")
    reference = cluster.commit()
    cluster.end("Complete")
    launcher.join(60)
    assert (result[0].reference, result[0].cached) == (reference, False)
    wait(lambda: not cluster.exists())
    monkeypatch.setenv("KUBECONFIG", "/nowhere")  # finished work is found without a cluster
    assert perform(step, code_digest("sft")).cached


def test_the_fake_controllers_of_the_mini_cluster_end_a_job_too(cluster, step, kubeconfig, kubectl):
    if not (MINICLUSTER / "fake-controllers").is_file():
        pytest.skip(f"{MINICLUSTER} is not there to play the controllers")
    launcher = Launcher(step)
    wait(cluster.exists)
    cluster.commit()
    command = [MINICLUSTER / "fake-controllers", "--once", "-n", cluster.namespace]
    subprocess.run(command, check=True, env={**os.environ, "KUBECONFIG": kubeconfig, "KUBECTL": kubectl})
    assert launcher.ended() is None


def test_what_a_rank_said_last_is_the_error_of_the_step(cluster, step):
    launcher = Launcher(step)
    wait(cluster.exists)
    cluster.pod(0, terminated(3, message='{"error": "Rank 0 lost another process.", "exit_code": 3}'))
    cluster.pod(1, terminated(2, message='{"error": "Training diverged (loss nan at step 7).", "exit_code": 2}'))
    error = launcher.ended()
    assert isinstance(error, BadInput) and str(error) == "Training diverged (loss nan at step 7)."
    assert not cluster.exists(), "a job that nothing can mend goes on"


def test_a_failed_job_without_words_is_told_with_trainers_reason(cluster, step):
    launcher = Launcher(step)
    wait(cluster.exists)
    cluster.pod(0, terminated(137, reason="OOMKilled"))
    cluster.end("Failed", "JobsFailed", "jobset failed")
    error = launcher.ended()
    assert isinstance(error, Transient)
    assert re.search(
        rf"TrainJob {cluster.namespace}/{cluster.name} failed: JobsFailed: jobset failed .*OOMKilled", str(error)
    )
    assert not cluster.exists()


def test_a_second_launcher_adopts_the_job_of_the_first(cluster, step, capfd):
    first = Launcher(step)
    wait(cluster.exists)
    uid = cluster.job()["metadata"]["uid"]
    second = Launcher(step)
    said(capfd, "adopted from an earlier attempt")
    assert cluster.job()["metadata"]["uid"] == uid
    cluster.commit()
    cluster.end("Complete")
    assert (first.ended(), second.ended()) == (None, None)
    assert first.outcome.reference == second.outcome.reference


def test_a_job_that_is_being_deleted_is_waited_for_and_made_anew(cluster, step, capfd):
    first = Launcher(step)
    wait(cluster.exists)
    old = cluster.job()["metadata"]["uid"]
    cluster.patch({"metadata": {"finalizers": ["test.expanse.dev/slow"]}})
    cluster.delete()
    first.ended()
    second = Launcher(step)
    said(capfd, "is being deleted")
    cluster.patch({"metadata": {"finalizers": None}})
    wait(lambda: cluster.exists() and cluster.job()["metadata"]["uid"] != old)
    cluster.commit()
    cluster.end("Complete")
    assert second.ended() is None


def test_a_job_of_the_same_name_for_other_work_is_not_touched(cluster, step):
    annotations = {"expanse.dev/key": "another"}
    body = {
        "apiVersion": "/".join(TRAINJOBS), "kind": "TrainJob",
        "metadata": {"name": cluster.name, "annotations": annotations}, "spec": {"runtimeRef": {"name": "expanse-torch"}},
    }  # fmt: skip
    cluster.objects.create_namespaced_custom_object(*TRAINJOBS, cluster.namespace, "trainjobs", body)
    with pytest.raises(BadInput, match="is not this step's"):
        launch(step, SPEC, PAUSE)
    assert cluster.exists()


def test_a_job_that_somebody_deletes_can_be_run_again(cluster, step, capfd):
    launcher = Launcher(step)
    said(capfd, "waits for its pods")
    cluster.delete()
    error = launcher.ended()
    assert isinstance(error, Transient) and "was deleted while it ran" in str(error)


def test_a_suspended_job_waits_for_its_queue_and_says_so(cluster, step, capfd):
    launcher = Launcher(step, SPEC.model_copy(update={"queue": "research", "priority_class": "low"}))
    wait(cluster.exists)
    labels = cluster.job()["metadata"]["labels"]
    assert (labels["kueue.x-k8s.io/queue-name"], labels["kueue.x-k8s.io/priority-class"]) == ("research", "low")
    cluster.end("Suspended", "Suspended", "TrainJob is suspended")
    said(capfd, "waits for its turn in the queue research (Suspended: TrainJob is suspended)")
    cluster.commit()
    cluster.end("Complete")
    assert launcher.ended() is None


def test_a_pod_without_a_node_waits_and_says_why(cluster, step, capfd):
    launcher = Launcher(step)
    wait(cluster.exists)
    reason = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/3 nodes: Insufficient GPU",
    }
    cluster.pod(0, {"phase": "Running"})
    cluster.pod(1, {"phase": "Pending", "conditions": [reason]})
    said(capfd, "1 of 2 pods run (Unschedulable: 0/3 nodes: Insufficient GPU)")
    cluster.delete()
    assert isinstance(launcher.ended(), Transient)


def test_pods_that_the_cluster_refuses_to_make_are_explained_by_the_event(cluster, step, capfd):
    launcher = Launcher(step)
    wait(cluster.exists)
    involved = {"kind": "Job", "name": f"{cluster.name}-node-0", "namespace": cluster.namespace}
    event = {
        "metadata": {"generateName": "e-"}, "involvedObject": involved, "type": "Warning", "reason": "FailedCreate",
        "message": "exceeded quota: gpus, requested: nvidia.com/gpu=8", "lastTimestamp": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    cluster.core.create_namespaced_event(cluster.namespace, event)
    said(capfd, "waits for its pods (FailedCreate: exceeded quota: gpus")
    cluster.delete()
    assert isinstance(launcher.ended(), Transient)


@pytest.mark.parametrize(
    "reason, message, sentence",
    [
        ("ImagePullBackOff", "not found", "The image registry.test/expanse-train:1 cannot be pulled"),
        ("CreateContainerConfigError", 'secret "expanse-s3" not found', 'cannot start .*secret "expanse-s3" not found'),
    ],
)
def test_what_never_starts_is_refused_with_its_name(cluster, step, reason, message, sentence):
    launcher = Launcher(step)
    wait(cluster.exists)
    cluster.pod(0, waiting(reason, message))
    error = launcher.ended()
    assert isinstance(error, BadInput) and re.search(sentence, str(error)), error
    assert not cluster.exists()


def test_a_job_evicted_too_often_is_given_up_in_one_sentence(cluster, step, capfd):
    launcher = Launcher(step, SPEC.model_copy(update={"restarts": 3}))
    wait(cluster.exists)
    for attempt in range(5):
        cluster.pod(0, EVICTED, attempt)
        if attempt < 4:
            said(capfd, f"({attempt} of 3)" if attempt else "pods run")
    error = launcher.ended()
    assert isinstance(error, Transient)
    assert "was stopped and started again 4 times (the last time pod" in str(error)
    assert "PreemptionByScheduler: a more urgent pod" in str(error)
    assert not cluster.exists()


def test_a_missing_runtime_is_named(api, namespace, step):
    with pytest.raises(BadInput, match=r"ClusterTrainingRuntime other-torch: .*not found; create it"):
        launch(step, SPEC.model_copy(update={"runtime": "other-torch"}), PAUSE)


def test_everything_that_a_job_can_ask_for_passes_strict_validation(cluster, step, capfd):
    spec = TrainJobSpec(
        image="registry.test/train@sha256:0", nodes=4, gpus=8, cpu="32", memory="512Gi", storage="1Ti", queue="q",
        service_account="expanse-pipeline", priority_class="high", node_selector={"gpu": "h100"},
        tolerations=[{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}], image_pull_secrets=["pull"],
        secrets={"AWS_SECRET_ACCESS_KEY": SecretKey(secret="expanse-s3", key="secret")},
        config_maps={"AWS_ENDPOINT_URL": {"config_map": "expanse-environment", "key": "endpoint", "optional": True}},
        environment={"NCCL_DEBUG": "WARN"}, labels={"team": "llm"},
        scratch={"kind": "ephemeral", "size": "2Ti", "storage_class": "fast"},
    )  # fmt: skip
    large = Step(
        step.name, step.stage, step.configuration, {**step.inputs, "examples": [*step.inputs["examples"]] * 200}
    )
    other = Cluster(cluster.objects.api_client, cluster.namespace, large)
    launcher = Launcher(large, spec)
    wait(other.exists)
    job = other.job()
    environment = {each["name"]: each for each in job["spec"]["trainer"]["env"]}
    assert environment["AWS_ENDPOINT_URL"]["valueFrom"]["configMapKeyRef"]["key"] == "endpoint"
    assert environment["AWS_SECRET_ACCESS_KEY"]["valueFrom"]["secretKeyRef"]["key"] == "secret"
    assert "EXPANSE_STEP" not in environment
    trainer = job["spec"]["trainer"]
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (4, 8)
    assert trainer["resourcesPerNode"]["limits"]["nvidia.com/gpu"] == "8"
    said(capfd, "waits for its pods")
    kept = cluster.core.read_namespaced_config_map(other.name, cluster.namespace)
    assert Step.from_json(kept.data["step.json"]) == large
    assert kept.metadata.owner_references[0].uid == job["metadata"]["uid"]
    other.delete()
    launcher.ended()


@pytest.mark.filterwarnings("ignore:Support for class-based:DeprecationWarning")  # kubeflow 0.5's own
def test_people_with_the_kubeflow_sdk_see_and_end_our_jobs(cluster, step, kubeconfig, capfd):
    from kubeflow.common.types import KubernetesBackendConfig
    from kubeflow.trainer import TrainerClient

    sdk = TrainerClient(KubernetesBackendConfig(namespace=cluster.namespace, config_file=kubeconfig))
    launcher = Launcher(step)
    said(capfd, "waits for its pods")
    (found,) = sdk.list_jobs()
    assert (found.name, found.num_nodes, found.runtime.name) == (cluster.name, 2, "expanse-torch")
    sdk.delete_job(found.name)
    assert "was deleted while it ran" in str(launcher.ended())
