"""What a job's state means, without an API: failures, waiting, logs, refusals, names."""

import json
from types import SimpleNamespace

import pytest
from kubernetes.client import ApiException

from components.common.errors import BadInput, ExpanseError, Transient
from components.common.step import Step
from components.common.trainjobs import SecretKey, TrainJobSpec
from components.common.trainjobs.jobs import Jobs
from components.common.trainjobs.launching import Log
from components.common.trainjobs.manifest import job_name, train_job
from components.common.trainjobs.observing import State, Words, failure, observe
from components.common.trainjobs.spec import read_spec

SPEC = TrainJobSpec(image="i", nodes=2, gpus=8)
KEY = "0123456789abcdef" * 2


def job(*conditions: tuple[str, str, str]) -> dict:
    return {
        "status": {"conditions": [{"type": t, "status": "True", "reason": r, "message": m} for t, r, m in conditions]}
    }


def pod(**status) -> dict:
    return {"metadata": {"name": "p-0", "labels": {}}, "status": {"phase": "Running", **status}}


def failed(*words: Words, says: str = "JobsFailed: jobset failed", attempt: int = 0) -> ExpanseError:
    return failure("TrainJob a/b", State("failed", says, None, attempt, words), SPEC)


def test_a_refusal_counts_more_than_what_it_brought_about():
    error = failed(Words("p-0", "lost another process", 3), Words("p-1", "Refused.", 2))
    assert (type(error), str(error)) == (BadInput, "Refused.")


def test_a_defect_is_neither_bad_input_nor_transient():
    error = failed(Words("p-0", "KeyError: 'a'", 1))
    assert (type(error), error.exit_code) == (ExpanseError, 1)


def test_what_may_pass_names_the_job_the_pod_and_the_checkpoint():
    error = failed(Words("p-0", "Evicted: The node was low on resource.", 0))
    assert isinstance(error, Transient)
    assert str(error) == (
        "TrainJob a/b failed: JobsFailed: jobset failed (pod p-0: Evicted: The node was low on resource); "
        "it goes on from its last checkpoint when the step is run again."
    )


def test_a_deadline_names_the_field_to_raise():
    assert "timeout_hours (72)" in str(failed(says="DeadlineExceeded: it ran too long"))


def test_restarts_that_the_runtime_gave_up_on_are_told_as_such():
    error = failed(Words("p-0", "Preempted: by another", 0), attempt=10)
    assert "stopped and started again 10 times (the last time pod p-0: Preempted: by another)" in str(error)


def test_words_that_are_not_ours_do_not_hide_the_exit_code():
    ended = {"name": "node", "image": "i", "state": {"terminated": {"exitCode": 139, "message": "Segmentation fault"}}}
    state = observe(job(("Failed", "JobsFailed", "m")), [pod(phase="Failed", containerStatuses=[ended])], "", SPEC)
    assert "exit code 139" in str(failure("j", state, SPEC))


@pytest.mark.parametrize(
    "document, pods, phase, words",
    [
        ({}, [], "waiting", "waits for its pods (none is there yet)"),
        (job(("Suspended", "Suspended", "m")), [], "waiting", "waits for somebody to resume it: it is suspended"),
        ({}, [pod()], "waiting", "1 of 2 pods run"),
        ({}, [pod(), pod(phase="Succeeded")], "running", "runs on 2 x 8 nvidia.com/gpu"),
        ({}, [pod(), pod(phase="Pending")], "waiting", "1 of 2 pods run (not scheduled yet)"),
    ],
)
def test_a_state_is_told(document, pods, phase, words):
    state = observe(document, pods, "", SPEC)
    assert (state.phase, state.says.startswith(words)) == (phase, True), state.says


def lines(text: str):
    return SimpleNamespace(log=lambda pod, container, seconds: text)


def test_each_line_of_a_log_is_printed_once_also_where_times_lose_their_zeros(capfd):
    log = Log(lines("2026-01-01T00:00:00.1Z first\n2026-01-01T00:00:00.12Z second\n"))
    log.follow("p")
    log.jobs = lines("2026-01-01T00:00:00.12Z second\n2026-01-01T00:00:01Z third with  spaces\n")
    log.follow("p")
    assert capfd.readouterr().out == "first\nsecond\nthird with  spaces\n"


def test_the_log_of_another_pod_begins_anew(capfd):
    log = Log(lines("2026-01-01T00:00:05Z one\n"))
    log.follow("p")
    log.jobs = lines("2026-01-01T00:00:04Z two\n")
    log.follow("q")
    assert capfd.readouterr().out == "one\ntwo\n"


def refusing(status: int, message: str) -> Jobs:
    """Jobs of an API that answers everything so."""
    jobs = object.__new__(Jobs)

    def refuse(*_: object, **__: object) -> None:
        error = ApiException(status=status)
        error.body = json.dumps({"message": message})
        raise error

    jobs.namespace = "team"
    jobs.objects = SimpleNamespace(create_namespaced_custom_object=refuse, get_cluster_custom_object=refuse)
    return jobs


BODY = {"metadata": {"name": "sft-0", "annotations": {"expanse.dev/key": KEY}}}


@pytest.mark.parametrize(
    "status, message, kind, remedy",
    [
        (403, 'trainjobs is forbidden: User "x" cannot create resource', BadInput, "give the service account the role"),
        (403, 'exceeded quota: jobs, requested: "count/trainjobs"=1', Transient, "wait for other work to end"),
        (403, 'admission webhook "v" denied the request: bad queue', BadInput, "correct what the cluster's own checks"),
        (404, "the server could not find the requested resource", BadInput, "install the custom resource definition"),
        (422, "spec.trainer.numNodes: Invalid value", BadInput, "correct the field"),
        (503, "etcd is away", Transient, "try again"),
    ],
)
def test_what_the_api_refuses_is_one_sentence_with_the_job_and_the_remedy(status, message, kind, remedy):
    with pytest.raises(kind) as caught:
        refusing(status, message).create(BODY)
    assert str(caught.value).startswith("TrainJob team/sft-0: ") and remedy in str(caught.value)


def test_a_runtime_that_one_may_not_look_at_is_left_to_the_creation_of_the_job():
    refusing(403, "clustertrainingruntimes is forbidden").require_runtime("expanse-torch")


@pytest.mark.parametrize("name", ["sft-romance", "DPO Round 2/Ähm", "9lives", "x" * 80])
def test_a_jobs_name_is_a_label_that_leaves_room_for_its_pods(name):
    made = job_name(Step(name, "sft", "{}", {}), KEY)
    assert len(made + "-node-0-255") <= 63 and made[0].isalpha() and made.replace("-", "").isalnum() and made.isascii()
    assert made == job_name(Step(name, "sft", "{}", {}), KEY)


def test_secrets_travel_by_reference_only(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret")
    monkeypatch.setenv("EXPANSE_STORE", "s3://bucket/prefix")
    spec = TrainJobSpec(image="i", secrets={"TOKEN": SecretKey(secret="s", key="k")})
    text = json.dumps(train_job(Step("sft", "sft", "{}", {}), KEY, spec, None))
    assert "planted-secret" not in text and "s3://bucket/prefix" in text and "secretKeyRef" in text


def test_only_the_job_stands_in_the_queue_not_each_of_its_pods():
    spec = TrainJobSpec(image="i", queue="research", labels={"team": "a"})
    made = train_job(Step("sft", "sft", "{}", {}), KEY, spec, None)
    assert made["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "research"
    (patched,) = made["spec"]["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    labels = patched["template"]["spec"]["template"]["metadata"]["labels"]
    assert "kueue.x-k8s.io/queue-name" not in labels
    assert (labels["team"], labels["expanse.dev/step"]) == ("a", "sft")


def test_a_wrong_field_of_the_launchers_variable_is_named():
    with pytest.raises(BadInput, match="EXPANSE_TRAINJOB: gpu: Extra inputs"):
        read_spec('{"image": "i", "gpu": 8}')
