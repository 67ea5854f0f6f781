import asyncio
import sys
from typing import Any

import httpx
import numpy as np
import pytest

from tests.servers import NAME, Server

SETTINGS = {"max_tokens": 12, "temperature": 0}


@pytest.fixture(scope="module")
def kserve() -> Any:
    arguments, sys.argv = sys.argv, sys.argv[:1]  # kserve parses the command line when it is imported
    import kserve

    sys.argv = arguments
    return kserve


def ask(kserve: Any, server: Server, protocol: str, data: Any) -> Any:
    async def call() -> Any:
        client = kserve.InferenceRESTClient(kserve.RESTConfig(protocol=protocol, retries=0))
        try:
            assert await client.is_server_live(server.url)
            assert await client.is_model_ready(server.url, NAME)
            return await client.infer(server.url, data, model_name=NAME)
        finally:
            await client.close()

    return asyncio.run(call())


def chat(http: httpx.Client, text: str) -> str:
    body = {"model": NAME, "messages": [{"role": "user", "content": text}], **SETTINGS}
    return http.post("/openai/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"]


def test_v1_answers_prompts_and_objects(kserve: Any, server: Server, http: httpx.Client) -> None:
    request = {"instances": ["hello", {"prompt": "Guten Tag"}], "parameters": SETTINGS}
    assert ask(kserve, server, "v1", request) == {"predictions": [chat(http, "hello"), chat(http, "Guten Tag")]}


@pytest.mark.parametrize("binary", [False, True])
def test_v2_answers_a_tensor_of_texts(kserve: Any, server: Server, http: httpx.Client, binary: bool) -> None:
    tensor = kserve.InferInput("input", [2], "BYTES")
    tensor.set_data_from_numpy(np.array([b"hello", "你好".encode()], dtype=np.object_), binary_data=binary)
    answer = ask(kserve, server, "v2", kserve.InferRequest(NAME, [tensor], request_id="42", parameters=SETTINGS))
    assert answer.id == "42" and answer.outputs[0].data == [chat(http, "hello"), chat(http, "你好")]


def test_health_and_metadata(http: httpx.Client) -> None:
    assert http.get("/").json() == {"status": "alive"}
    assert http.get("/v2/health/live").json() == {"live": True}
    assert http.get("/v2/health/ready").json() == {"ready": True}
    assert http.get(f"/v1/models/{NAME}").json() == {"name": NAME, "ready": True}
    assert http.get(f"/v2/models/{NAME}").json()["inputs"][0]["datatype"] == "BYTES"


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("v1/models/tiny:predict", {"instances": []}, "1 to 32 prompts"),
        ("v1/models/tiny:predict", {"instances": ["x"] * 33}, "1 to 32 prompts"),
        ("v1/models/tiny:predict", {"instances": "hello"}, "to be a list"),
        ("v1/models/tiny:predict", {"instances": [{"text": "hello"}]}, "instances[0]"),
        ("v1/models/tiny:predict", {"instances": ["x"], "n": 10**6}, "nothing else"),
        ("v1/models/tiny:predict", {"instances": ["x"], "parameters": {"temperature": -1}}, "temperature"),
        ("v1/models/tiny:predict", {"instances": ["x"], "parameters": {"max_tokens": 10**6}}, "max_tokens"),
        ("v2/models/tiny/infer", {}, "inputs"),
        ("v2/models/tiny/infer", {"inputs": []}, "exactly one"),
        ("v2/models/tiny/infer", {"inputs": [{"name": "a", "shape": [1], "datatype": "FP32", "data": [1]}]}, "BYTES"),
        (
            "v2/models/tiny/infer",
            {"inputs": [{"name": "a", "shape": [2], "datatype": "BYTES", "data": ["x"]}]},
            "shape",
        ),
        ("v2/models/tiny/infer", {"inputs": [{"name": "a", "shape": [1], "datatype": "BYTES", "data": [1]}]}, "string"),
    ],
)
def test_wrong_requests_are_refused_in_kserves_shape(http: httpx.Client, path: str, body: dict, words: str) -> None:
    answer = http.post(path, json=body)
    assert answer.status_code == 400 and words in answer.json()["error"]


@pytest.mark.parametrize(
    "path", ["v1/models/other:predict", "v2/models/other/infer", "v2/repository/models/tiny/unload"]
)
def test_unknown_models_and_model_management_are_not_found(http: httpx.Client, path: str) -> None:
    tensor = {"name": "a", "shape": [1], "datatype": "BYTES", "data": ["x"]}
    assert http.post(path, json={"instances": ["x"]} if "v1" in path else {"inputs": [tensor]}).status_code == 404


@pytest.mark.parametrize("head", [b'{"inputs": [{"name": "a"}]}', b'{"inputs": 5}', b'{"a": 1}'])
def test_binary_requests_that_make_no_sense_are_refused(http: httpx.Client, head: bytes) -> None:
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(head))}
    answer = http.post(f"/v2/models/{NAME}/infer", content=head + b"\x05\0\0\0hello", headers=headers)
    assert answer.status_code == 400
    headers["inference-header-content-length"] = "99999"
    assert http.post(f"/v2/models/{NAME}/infer", content=head, headers=headers).status_code == 400
