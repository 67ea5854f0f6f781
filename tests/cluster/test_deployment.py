"""A released model under KServe: the API is real, the status is the test's, and our predictor answers for the pods."""

import json

import pytest

from components.common.artifacts import Reference
from components.common.cluster import RUN
from components.common.endpoints import Served
from components.common.errors import BadInput, Transient
from components.common.inference import Patience
from components.common.inference.objects import RUN_LABEL
from components.common.inference.services import Services
from components.common.inputs import REFERENCE
from components.deployment.kserve import KServeBackend
from components.deployment.record import PREVIOUS, UNPROVEN
from components.deployment.task import Config, run
from serving.limits import Limits
from tests.chat_endpoint import Endpoint
from tests.cluster.kserve import READY, Controller, listed, not_ready
from tests.servers import NAME

PROBES = ({"language": "en", "prompt": "hello"}, {"language": "zh", "prompt": "你好"})
SERVED = Served(gpus=0, ready_minutes=0.5)
CONFIG = Config(mode="kserve", name=NAME, probes=PROBES, max_tokens=4, served=SERVED)
QUICK = Patience(poll=0.05, failing=0.2, gone=5)
FIRST, SECOND = "s3://models/expanse/merging/a/1", "s3://models/expanse/merging/b/2"


@pytest.fixture
def services(api, namespace, monkeypatch):
    monkeypatch.setenv(RUN, "run-7")
    return Services(api, namespace)


@pytest.fixture
def deploy(services, predictor, tmp_path):
    """Deploys the model at a URI; returns what the stage returned and wrote."""

    def deploy(uri, address=lambda service: predictor):
        folder = tmp_path / uri.rsplit("/", 1)[1]
        Reference("merging", "k", uri, f"digest of {uri}", 1).save(folder / "model" / REFERENCE)
        (folder / "output").mkdir(exist_ok=True)
        backend = KServeBackend(SERVED, services, address, QUICK)
        metrics = run(CONFIG, {"model": [folder / "model"]}, folder / "output", backend)
        return metrics, json.loads((folder / "output" / "deployment.json").read_text())

    return deploy


def served(services):
    (service,) = listed(services)
    annotations = service["metadata"]["annotations"]
    return service["spec"]["predictor"]["model"]["storageUri"], UNPROVEN in annotations or PREVIOUS in annotations


def refuses(uri):
    """A cluster in which the model at ``uri`` never gets ready."""
    failure = {"reason": "ModelLoadFailed", "message": "weights are cut", "exitCode": 1}
    bad = not_ready("x", transitionStatus="BlockedByFailedLoad", lastFailureInfo=failure)
    return lambda service: bad if service["spec"]["predictor"]["model"]["storageUri"] == uri else READY


def interrupted(service):
    raise KeyboardInterrupt  # what a kill leaves behind: nothing after this line runs


def test_a_model_is_deployed_probed_and_stays(services, deploy, predictor):
    with Controller(services):
        metrics, document = deploy(FIRST)
        (service,) = listed(services)
        assert served(services) == (FIRST, False)
        deploy(FIRST)
        (again,) = listed(services)
    assert metrics == {"deployed": 1, "exchanges": 5, "empty_answers": metrics["empty_answers"]}
    assert document["model"] == {"name": NAME, "digest": f"digest of {FIRST}"}
    assert document["url"] == f"{predictor}/openai/v1"
    assert RUN_LABEL not in service["metadata"]["labels"]  # the clean-up of the run must not take it
    rolling = {"maxUnavailable": 0, "maxSurge": 1}
    assert service["spec"]["predictor"]["deploymentStrategy"]["rollingUpdate"] == rolling
    assert service["spec"]["predictor"]["terminationGracePeriodSeconds"] > Limits().grace_seconds
    assert again["metadata"]["generation"] == service["metadata"]["generation"]


def test_another_model_takes_its_place(services, deploy):
    with Controller(services):
        deploy(FIRST)
        uid = listed(services)[0]["metadata"]["uid"]
        deploy(SECOND)
    assert served(services) == (SECOND, False)
    assert listed(services)[0]["metadata"]["uid"] == uid


def test_one_that_does_not_get_ready_is_rolled_back(services, deploy):
    with Controller(services, refuses(SECOND)):
        deploy(FIRST)
        with pytest.raises(Transient, match=f"weights are cut.*/{NAME} is rolled back to the model before"):
            deploy(SECOND)
    assert served(services) == (FIRST, False)


def test_one_that_fails_its_probes_is_rolled_back(services, deploy):
    broken = Endpoint()
    broken.models = [NAME]
    broken.cue.append((400, b"no such template", {}))
    with Controller(services):
        deploy(FIRST)
        with pytest.raises(BadInput, match=r"answers 400 .*no such template.* is rolled back to the model before"):
            deploy(SECOND, address=lambda service: broken.url.removesuffix("/v1"))
    broken.close()
    assert served(services) == (FIRST, False)


def test_a_first_one_that_fails_is_removed(services, deploy):
    with Controller(services, refuses(FIRST)), pytest.raises(Transient, match="is removed; there was none before"):
        deploy(FIRST)
    assert listed(services) == []


def test_after_a_kill_in_mid_deployment_the_proven_model_is_still_known(services, deploy):
    with Controller(services) as controller:
        deploy(FIRST)
        with pytest.raises(KeyboardInterrupt):
            deploy(SECOND, address=interrupted)
        assert served(services) == (SECOND, True)
        controller.verdict = refuses(SECOND + "-next")
        with pytest.raises(Transient, match="is rolled back"):
            deploy(SECOND + "-next")
    assert served(services) == (FIRST, False)


def test_a_service_of_somebody_else_is_left_alone(services, deploy):
    body = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": {"name": NAME},
            "spec": {"predictor": {"model": {"modelFormat": {"name": "x"}, "storageUri": "s3://theirs/model"}}}}  # fmt: skip
    services.create(body)
    with pytest.raises(BadInput, match=f"{NAME} is there and was not deployed by this platform.* is as it was"):
        deploy(SECOND)
    assert listed(services)[0]["spec"]["predictor"]["model"]["storageUri"] == "s3://theirs/model"
