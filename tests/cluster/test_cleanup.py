"""The last task of a run against a real API: everything with its label goes, nothing else does."""

import json
import threading

import pytest
from kubernetes import client

from components.cleanup.task import Config, run
from components.common.cluster import RUN
from components.common.endpoints import Served
from components.common.errors import Transient
from components.common.inference.objects import RUN_LABEL, inference_service
from components.common.inference.services import Services
from components.common.step import Step, run_step
from components.common.store import LocalStore

TRAINER = ("trainer.kubeflow.org", "v1alpha1")


@pytest.fixture
def services(api, namespace, monkeypatch):
    monkeypatch.setenv(RUN, "run-7")
    return Services(api, namespace)


def make_service(services, name, run, finalizers=()):
    body = inference_service(name, "s3://bucket/model", Served(), {RUN_LABEL: run} if run else {})
    body["metadata"]["finalizers"] = list(finalizers)
    return services.create(body)


def make_job(api, namespace, name, run):
    body = {
        "apiVersion": "/".join(TRAINER), "kind": "TrainJob", "metadata": {"name": name, "labels": {RUN_LABEL: run}},
        "spec": {"runtimeRef": {"name": "expanse-torch"}},
    }  # fmt: skip
    client.CustomObjectsApi(api).create_namespaced_custom_object(*TRAINER, namespace, "trainjobs", body)


def left(api, namespace):
    custom = client.CustomObjectsApi(api)
    kinds = (("serving.kserve.io", "v1beta1", "inferenceservices"), (*TRAINER, "trainjobs"))
    return sorted(
        item["metadata"]["name"]
        for group, version, plural in kinds
        for item in custom.list_namespaced_custom_object(group, version, namespace, plural)["items"]
    )


def test_what_a_failed_run_has_left_goes_and_the_rest_stays(api, namespace, services, tmp_path):
    make_service(services, "teacher", "run-7")
    make_service(services, "other", "run-8")
    make_service(services, "released", None)
    make_job(api, namespace, "sft", "run-7")
    make_job(api, namespace, "sft-other", "run-8")
    assert run(Config(), {}, tmp_path) == {"removed": 2}
    assert left(api, namespace) == ["other", "released", "sft-other"]
    names = [f"InferenceService {namespace}/teacher", f"TrainJob {namespace}/sft"]
    assert json.loads((tmp_path / "removed.json").read_text()) == names
    assert run(Config(), {}, tmp_path) == {"removed": 0}


def test_it_is_never_found_as_finished_work(namespace, services, tmp_path):
    store, step = LocalStore(tmp_path / "store"), Step("clean-up", "cleanup", "{}", {})
    first = run_step(step, store)
    make_service(services, "late", "run-7")
    second = run_step(step, store)
    assert (first.reference.metadata, second.reference.metadata) == ({"removed": 0}, {"removed": 1})
    assert not second.cached


def test_an_object_that_is_held_is_waited_for(services, namespace, tmp_path):
    made = make_service(services, "held", "run-7", ["test.example/hold"])
    release = threading.Timer(1.0, lambda: services._custom.patch_namespaced_custom_object(
        **services._where, name="held", body={"metadata": {"finalizers": []}}
    ))  # fmt: skip
    release.start()
    assert run(Config(), {}, tmp_path) == {"removed": 1}
    release.join()
    assert services.read(made["metadata"]["name"]) is None


def test_one_that_does_not_go_is_named(services, namespace, tmp_path):
    make_service(services, "stuck", "run-7", ["test.example/hold"])
    with pytest.raises(Transient, match=f"InferenceService {namespace}/stuck will not go; see which finalizer"):
        run(Config(gone_seconds=0.5), {}, tmp_path)
    body = {"metadata": {"finalizers": []}}
    services._custom.patch_namespaced_custom_object(**services._where, name="stuck", body=body)
