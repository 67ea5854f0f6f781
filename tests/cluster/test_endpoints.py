"""Endpoints that a step brings up, against a real Kubernetes API whose InferenceServices the tests give their status."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml
from kubernetes import client

from components.common.cluster import RUN
from components.common.endpoints import Served
from components.common.errors import BadInput, Transient
from components.common.inference import Patience, brought_up, preflight
from components.common.inference.objects import RUN_LABEL, SPECIFICATION, USER, inference_service, service_name
from components.common.inference.services import Services
from components.common.run import working_at
from tests.chat_endpoint import Endpoint
from tests.cluster.kserve import READY, Controller, listed, make_pod, not_ready, until, waiting, write_status

ROOT = Path(__file__).parents[2]
URI = "s3://models/expanse/weights/abc/0123"
SERVED = Served(gpus=2, max_model_len=4096, tuning={"enforce-eager": True}, queue="team", ready_minutes=1)
QUICK = Patience(poll=0.05, failing=0.3, gone=10)
NAME = service_name("policy-1", "run-7", URI, SERVED)


@pytest.fixture
def services(api, namespace, monkeypatch):
    monkeypatch.setenv(RUN, "run-7")
    return Services(api, namespace)


@pytest.fixture
def chat():
    """What answers in place of the pods."""
    made = Endpoint()
    made.models = [NAME]
    yield made
    made.close()


def up(services, chat=None, served=SERVED, **patience):
    return brought_up(
        served, URI, "policy-1", services,
        address=lambda service: chat.url.removesuffix("/v1"), patience=Patience(**{**vars(QUICK), **patience}),
    )  # fmt: skip


def soon(minutes):
    return SERVED.model_copy(update={"ready_minutes": minutes / 60})


def test_a_model_is_served_while_it_is_needed_and_removed_after(services, chat, capsys):
    with Controller(services) as controller, working_at("sample-1"), up(services, chat) as endpoint:
        assert (endpoint.url, endpoint.model, endpoint.concurrency) == (chat.url, NAME, 64)
        (service,) = listed(services)
    assert listed(services) == []
    assert len(controller.seen) == 1
    metadata, predictor = service["metadata"], service["spec"]["predictor"]
    assert metadata["labels"][RUN_LABEL] == "run-7"
    assert metadata["labels"]["kueue.x-k8s.io/queue-name"] == "team"
    assert metadata["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"
    assert f"{USER}sample-1" in metadata["annotations"]
    assert predictor["model"]["storageUri"] == URI
    assert predictor["model"]["runtime"] == "expanse-vllm"
    assert predictor["model"]["args"] == ["--max-model-len=4096", "--tensor-parallel-size=2", "--enforce-eager"]
    assert predictor["model"]["resources"]["limits"] == {"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": "2"}
    assert f"waiting for InferenceService {services.namespace}/{NAME}: no status yet" in capsys.readouterr().out


def test_it_goes_when_the_step_fails(services, chat):
    with Controller(services), pytest.raises(ZeroDivisionError), up(services, chat):
        raise ZeroDivisionError
    assert listed(services) == []


def test_a_retried_step_adopts_what_its_predecessor_left(services, chat):
    program = step_program("while True: time.sleep(1)")
    with Controller(services) as controller:
        with started(program, services, chat) as child:
            until(lambda: child.stdout.readline().strip() == "up")
            child.send_signal(signal.SIGKILL)
        (left,) = listed(services)
        with working_at("sample-1"), up(services, chat):
            (adopted,) = listed(services)
        assert adopted["metadata"]["uid"] == left["metadata"]["uid"]
        assert len(controller.seen) == 1
    assert listed(services) == []


def test_a_step_that_is_cancelled_takes_its_model_down(services, chat):
    program = step_program("while True: time.sleep(1)")
    with Controller(services), started(program, services, chat) as child:
        until(lambda: child.stdout.readline().strip() == "up")
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 143
    assert listed(services) == []


def test_steps_of_a_run_share_a_model_and_the_last_takes_it_down(services, chat):
    leave = {name: threading.Event() for name in "ab"}
    inside = {name: threading.Event() for name in "ab"}

    def work(name):
        with working_at(name), up(services, chat):
            inside[name].set()
            leave[name].wait(30)

    threads = {name: threading.Thread(target=work, args=(name,)) for name in "ab"}
    with Controller(services) as controller:
        for thread in threads.values():
            thread.start()
        assert all(event.wait(30) for event in inside.values())
        (shared,) = listed(services)
        assert sum(key.startswith(USER) for key in shared["metadata"]["annotations"]) == 2
        leave["a"].set()
        threads["a"].join(30)
        assert [each["metadata"]["uid"] for each in listed(services)] == [shared["metadata"]["uid"]]
        leave["b"].set()
        threads["b"].join(30)
    assert listed(services) == []
    assert len(controller.seen) == 1


@pytest.mark.parametrize("foreign", [{RUN_LABEL: "another"}, {SPECIFICATION: "another"}])
def test_an_object_of_somebody_else_is_refused_and_left_alone(services, chat, foreign):
    body = inference_service(NAME, URI, SERVED, {RUN_LABEL: "run-7"})
    for part in ("labels", "annotations"):
        body["metadata"][part] |= {key: value for key, value in foreign.items() if key in body["metadata"][part]}
    services.create(body)
    with pytest.raises(BadInput, match=f"InferenceService {services.namespace}/{NAME} is there and is not of this run"):
        up(services, chat).__enter__()
    assert len(listed(services)) == 1


def test_one_that_is_being_deleted_is_waited_for_and_made_anew(services, chat):
    body = inference_service(NAME, URI, SERVED, {RUN_LABEL: "run-7"})
    body["metadata"]["finalizers"] = ["test.example/hold"]
    old = services.create(body)
    services.delete(old)
    release = threading.Timer(0.5, lambda: services._custom.patch_namespaced_custom_object(
        **services._where, name=NAME, body={"metadata": {"finalizers": []}}
    ))  # fmt: skip
    release.start()
    with Controller(services), up(services, chat):
        (new,) = listed(services)
    release.join()
    assert new["metadata"]["uid"] != old["metadata"]["uid"]


FAILURES = {
    "no runtime": (
        not_ready("x", transitionStatus="InvalidSpec", lastFailureInfo={
            "reason": "NoSupportingRuntime", "message": "No runtime found to support predictor"}),
        None, BadInput, "NoSupportingRuntime: No runtime found to support predictor; install the serving runtime",
    ),
    "image": (
        not_ready("MinimumReplicasUnavailable"), waiting("ImagePullBackOff", "Back-off pulling image"),
        BadInput, r"container kserve-container \(image registry.example.test/vllm:1\): ImagePullBackOff: Back-off pulling",
    ),
    "crash": (
        not_ready("MinimumReplicasUnavailable"),
        waiting("CrashLoopBackOff", "back-off 40s", {"exitCode": 1, "reason": "Error", "message": "CUDA out of memory"}),
        Transient, "CrashLoopBackOff: Error: CUDA out of memory; see the container's log",
    ),
    "load": (
        not_ready("x", transitionStatus="BlockedByFailedLoad", lastFailureInfo={
            "reason": "ModelLoadFailed", "message": "weights are cut", "exitCode": 1}),
        None, Transient, "ModelLoadFailed: weights are cut",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FAILURES)
def test_what_cannot_get_ready_is_told_with_its_reason_and_removed(services, chat, case):
    status, pod, kind, words = FAILURES[case]
    if pod:
        make_pod(services, NAME, **pod)
    with (
        Controller(services, lambda service: status),
        pytest.raises(kind, match=rf"{NAME} cannot get ready: .*{words}"),
        up(services, chat),
    ):
        pass
    assert listed(services) == []


def test_a_failure_that_passes_is_no_failure(services, chat):
    make_pod(services, NAME, **waiting("ErrImagePull", "connection refused"))
    with Controller(services, lambda service: not_ready("MinimumReplicasUnavailable")) as controller:

        def recover():
            until(lambda: controller.seen)
            services._core.delete_namespaced_pod(f"{NAME}-predictor-0", services.namespace)
            write_status(services, NAME, READY)

        thread = threading.Thread(target=recover)
        thread.start()
        with up(services, chat, failing=20):
            pass
        thread.join()
    assert listed(services) == []


UNSCHEDULED = {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                               "message": "0/5 nodes are available: 5 Insufficient nvidia.com/gpu."}]}  # fmt: skip


def test_one_that_never_gets_ready_says_what_was_seen_last(services, chat):
    make_pod(services, NAME, **UNSCHEDULED)
    words = r"was not ready within .* minutes; last seen: pod .*-predictor-0 has no node: Unschedulable: 0/5 nodes are "
    with (
        Controller(services, lambda service: not_ready("MinimumReplicasUnavailable")),
        pytest.raises(Transient, match=words + "available: 5 Insufficient nvidia.com/gpu; see that its GPUs"),
        up(services, chat, soon(1)),
    ):
        pass
    assert listed(services) == []


def test_a_quota_that_is_used_up_is_what_was_seen_last(services, chat):
    where = {"namespace": services.namespace}
    event = {"metadata": {"name": "event-1", **where}, "reason": "FailedCreate", "type": "Warning",
             "message": "exceeded quota: gpus, used: 8",
             "involvedObject": {"kind": "ReplicaSet", "name": f"{NAME}-predictor-5d", **where}}  # fmt: skip
    services._core.create_namespaced_event(services.namespace, event)
    with pytest.raises(Transient, match="last seen: exceeded quota: gpus, used: 8;"), up(services, chat, soon(1)):
        pass


def test_one_that_lists_another_model_is_not_ours(services, chat):
    chat.models = ["another"]
    words = rf"is ready but lists no model '{NAME}' \(/v1/models: another; /openai/v1/models: status 404\)"
    with Controller(services), pytest.raises(Transient, match=words), up(services, chat, soon(1)):
        pass


def test_one_that_is_deleted_in_mid_run_is_told_of(services, chat):
    with (
        Controller(services),
        pytest.raises(Transient, match="was deleted while it was used; try again"),
        up(services, chat),
    ):
        services.delete(services.read(NAME))
        raise Transient("no answer in 7 attempts")
    assert listed(services) == []


def test_one_that_is_deleted_while_it_is_awaited_is_made_again(services, chat):
    with Controller(services, lambda service: not_ready("Loading")) as controller:

        def interfere():
            until(lambda: controller.seen)
            services._custom.delete_namespaced_custom_object(**services._where, name=NAME)
            controller.verdict = lambda service: READY

        thread = threading.Thread(target=interfere)
        thread.start()
        with up(services, chat):
            assert controller.seen[0]["metadata"]["uid"] != listed(services)[0]["metadata"]["uid"]
        thread.join()


def test_the_preflight_makes_nothing_and_knows_a_bad_object(services):
    preflight(SERVED, URI, "policy-1", services)
    assert listed(services) == []
    with pytest.raises(BadInput, match=r"InferenceService .*: .*tolerations.*correct"):
        broken = SERVED.model_copy(update={"tolerations": ({"key": 5},)})
        body = inference_service(NAME, URI, SERVED, {})
        body["spec"]["predictor"]["tolerations"] = broken.tolerations
        services.create(body, dry_run=True)
    with pytest.raises(BadInput, match="nowhere"):
        preflight(SERVED, URI, "policy-1", Services(services._core.api_client, "nowhere"))


def test_the_runtimes_are_valid(api, namespace):
    custom, where = client.CustomObjectsApi(api), ("serving.kserve.io", "v1alpha1", namespace, "servingruntimes")
    for body in yaml.safe_load_all((ROOT / "manifests/base/runtimes/serving-runtimes.yaml").read_text()):
        custom.create_namespaced_custom_object(*where, body, field_validation="Strict")
    stored = custom.list_namespaced_custom_object(*where)["items"]
    assert {each["metadata"]["name"] for each in stored} == {"expanse-vllm", "expanse-predictor"}


def step_program(work):
    return f"""
import sys, time
from tests.cluster.test_endpoints import QUICK, SERVED, URI, Services
from components.common.inference import brought_up
from components.common.run import working_at
services = Services(namespace=sys.argv[1])
with working_at("sample-1"):
    with brought_up(SERVED, URI, "policy-1", services, lambda _: sys.argv[2], QUICK):
        print("up", flush=True)
        {work}
"""


def started(program, services, chat):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program, services.namespace, chat.url.removesuffix("/v1")]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
