"""Refusals of the Kubernetes API on the way to a served model, from an API on loopback that answers as the test says."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from kubernetes import client

from components.common.artifacts import Reference
from components.common.endpoints import Served
from components.common.errors import BadInput, Transient
from components.common.inference.health import state_of
from components.common.inference.objects import inference_service, service_name, storage_uri
from components.common.inference.services import Services

BODY = inference_service("model", "s3://bucket/model", Served(), {})
FORBIDDEN = 'inferenceservices.serving.kserve.io is forbidden: User "runner" cannot create resource "inferenceservices"'


@pytest.fixture
def api():
    """Services of an API that gives every request the answer ``api.answer``: a status and a body."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = services.answer
            text = body if isinstance(body, str) else json.dumps(body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def do_GET(self):
            self.do_POST()

        def do_PUT(self):
            self.do_POST()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    configuration = client.Configuration(host=f"http://127.0.0.1:{server.server_port}")
    configuration.retries = False
    with client.ApiClient(configuration) as connection:
        services = Services(connection, "team")
        yield services
    server.shutdown()
    thread.join()
    server.server_close()


def refusal(message):
    return {"kind": "Status", "status": "Failure", "message": message}


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ((404, "404 page not found\n"), BadInput, "this cluster does not know InferenceServices; install KServe"),
        ((403, refusal(FORBIDDEN)), BadInput, "cannot create .*; give the service account the role"),
        ((403, refusal("exceeded quota: services, used: 5, limited: 5")), Transient, "exceeded quota: .*have the quota raised"),
        ((404, refusal('namespaces "team" not found')), BadInput, 'namespaces "team" not found; create it'),
        ((422, refusal("spec.predictor.model: Required value")), BadInput, "Required value; correct the field"),
        ((401, refusal("Unauthorized")), BadInput, "renew the credentials"),
        ((503, "upstream is away"), Transient, "upstream is away; try again"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_object_and_the_remedy(api, answer, kind, words):
    api.answer = answer
    with pytest.raises(kind, match=f"^InferenceService team/model: .*{words}"):
        api.create(BODY)


def test_what_is_not_there_is_none_and_what_is_there_already_too(api):
    api.answer = (404, refusal('inferenceservices "model" not found'))
    assert api.read("model") is None
    assert api.replace(BODY) is None
    api.answer = (409, refusal("already exists"))
    assert api.create(BODY) is None
    api.answer = (404, "404 page not found\n")
    with pytest.raises(BadInput, match="install KServe"):
        api.read("model")


def test_only_the_bucket_and_the_hub_can_be_served_from():
    model = Reference("merging", "k", "file:///store/merging/k", "d", 1)
    with pytest.raises(BadInput, match=r"file:///store/merging/k cannot be read by a pod .*; use an s3:// store"):
        storage_uri(Served(), model)
    with pytest.raises(BadInput, match="no model to serve"):
        storage_uri(Served(), None)
    assert storage_uri(Served(source="hf://org/name@abc"), model) == "hf://org/name:abc"


def test_a_name_is_that_of_the_run_the_model_and_the_hardware_and_fits_into_a_label():
    base = ("A very long name: of a model / with everything", "run", "s3://b/m", Served())
    name = service_name(*base)
    assert service_name(*base) == name and len(name) <= 40 and name.startswith("expanse-a-very-long-name-of")
    others = [
        ("x", *base[1:]),
        (base[0], "other", *base[2:]),
        (*base[:2], "s3://b/n", base[3]),
        (*base[:3], Served(gpus=2)),
    ]
    assert len({name, *(service_name(*other) for other in others)}) == 5
    assert service_name("数", "run", "s3://b/m", Served()).startswith("expanse-model-")


def test_flags_of_vllm_are_said_only_where_they_differ_from_its_defaults():
    def arguments(**fields):
        return inference_service("m", "s3://b/m", Served(**fields), {})["spec"]["predictor"]["model"]["args"]

    assert arguments() == arguments(gpus=0) == []
    assert arguments(gpus=8) == ["--tensor-parallel-size=8"]
    assert arguments(gpus=8, tensor_parallel=4) == ["--tensor-parallel-size=4"]
    assert arguments(dtype="float16", quantization="fp8", tuning={"enable-prefix-caching": False}) == [
        "--dtype=float16", "--quantization=fp8", "--no-enable-prefix-caching",
    ]  # fmt: skip


def test_a_failure_of_the_specification_before_is_none_of_this_one():
    failed = {"transitionStatus": "InvalidSpec", "lastFailureInfo": {"reason": "NoSupportingRuntime"}}
    service = {"metadata": {"generation": 2}, "status": {"modelStatus": failed, "observedGeneration": 1}}
    assert state_of(service, [], []).failure is None
    assert state_of({**service, "metadata": {"generation": 1}}, [], []).final


def test_a_status_of_the_specification_before_is_not_ready():
    status = {
        "conditions": [{"type": "Ready", "status": "True"}],
        "address": {"url": "http://m"},
        "observedGeneration": 1,
    }
    service = {"metadata": {"generation": 2}, "status": status}
    assert not state_of(service, [], []).ready
    assert state_of({**service, "metadata": {"generation": 1}}, [], []).ready
    assert not state_of({"metadata": {"generation": 1}, "status": {**status, "address": {}}}, [], []).ready
