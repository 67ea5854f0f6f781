"""The images with CUDA, as far as a machine without a GPU can tell: gigabytes of downloads, so only those that are asked for.

``make image-test ROLES="train serve"`` asks for both.
"""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from components.common.canonical import canonical_json
from components.common.standalone import adopt
from components.common.step import Step, code_digest, find_step
from components.common.store import LocalStore
from images import lock
from pipelines.images import code_version
from tests.servers import save_chat_model
from tests.trainable import example, save_examples, save_trainable

pytestmark = pytest.mark.timeout(3600)  # the first test of a role builds its image
ASKED_FOR = os.environ.get("EXPANSE_IMAGE_ROLES", "").split()
#: Waits for the predictor beside it, then prints what it answers.
ASK = """
import json, time, urllib.request
def ask(path, body=None):
    data = body and json.dumps(body).encode()
    request = urllib.request.Request("http://127.0.0.1:8080" + path, data, {"content-type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=60))
for _ in range(240):
    try:
        ask("/v2/health/ready")
        break
    except OSError:
        time.sleep(0.5)
body = {"model": "model", "max_tokens": 4, "messages": [{"role": "user", "content": "Hello"}]}
print(json.dumps(ask("/openai/v1/chat/completions", body)))
"""


@pytest.fixture(scope="module", params=["train", "serve"])
def role(request):
    if request.param not in ASKED_FOR:
        pytest.skip(f'{request.param}: gigabytes of downloads; `make image-test ROLES="train serve"` builds it')
    return request.param


@pytest.fixture(scope="module")
def image(build_image, role):
    return build_image(role)


def only(role):
    return pytest.mark.parametrize("role", [role], indirect=True, scope="module")


def test_the_labels_say_what_it_is_and_of_which_code(podman, image, role):
    found = json.loads(podman.run("image", "inspect", "--format", "{{json .Labels}}", image))
    assert (found["dev.expanse.role"], found["dev.expanse.code"]) == (role, code_version())


def test_packages_are_the_locked_ones_and_no_others(inside, role):
    listing = (
        "import importlib.metadata as m, json; print(json.dumps([(d.name, d.version) for d in m.distributions()]))"
    )
    found = {
        lock.canonicalize_name(name): version.split("+")[0]
        for name, version in json.loads(inside("python", "-c", listing).stdout)
    }
    found.pop("expanse-platform")
    assert found == {name: pin.version for each in (role, "torch-cuda") for name, pin in lock.read_lock(each).items()}


def test_torch_is_built_for_cuda_and_works_without(inside):
    done = inside("python", "-c", "import torch; print(torch.version.cuda, torch.ones(2, 2).matmul(torch.ones(2)))")
    assert done.stdout.startswith("13.") and "[2., 2.]" in done.stdout, done.stderr


def test_every_package_that_its_code_needs_can_be_imported(inside, role):
    needed = {
        "train": "accelerate, datasets, kfp, mlflow, torch, transformers, trl",
        "serve": "kserve, torch, transformers",
    }
    done = inside("python", "-c", f"import {needed[role]}; print('imported')", user="12345")
    assert done.stdout == "imported\n", done.stderr


def test_it_runs_as_its_user_without_compiler_or_installer(inside):
    done = inside("sh", "-c", "id -u; for name in gcc cc ld make pip; do command -v $name; done; true")
    assert done.stdout.split() == ["65532"]


@only("train")
def test_two_processes_train_a_step_and_commit_it(inside, tmp_path, monkeypatch):
    monkeypatch.setenv("EXPANSE_STORE", (inside.shared / "store").as_uri())
    folders = {
        "model": save_trainable(tmp_path / "model"),
        "examples": save_examples(tmp_path / "data", [example(i) for i in range(40)]),
    }
    inputs = {name: [_as_seen_inside(adopt(folder), inside.shared)] for name, folder in folders.items()}
    _open(inside.shared)
    settings = {"learning_rate": 1e-3, "global_batch_size": 8, "device_batch_size": 4, "steps": 3}
    step = Step("sft", "sft", canonical_json(settings), inputs)
    environment = {
        "EXPANSE_STORE": "file:///shared/store",
        "EXPANSE_STEP": step.to_json(),
        "EXPANSE_CODE": code_digest("sft"),
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
    }
    arguments = ("--standalone", "--nproc-per-node=2")
    done = inside("python", "-m", "components.common.distributed", *arguments, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert find_step(step, LocalStore(inside.shared / "store")) is not None


@only("serve")
def test_the_predictor_answers_on_a_read_only_root(inside):
    _open(save_chat_model(inside.shared / "model"))
    both = 'python -m serving /shared/model --host 127.0.0.1 --port 8080 & exec python -c "$ASK"'
    done = inside("sh", "-c", both, environment={"ASK": ASK})
    answer = json.loads(done.stdout.splitlines()[-1]) if done.stdout else pytest.fail(done.stderr)
    assert answer["usage"]["completion_tokens"] in range(1, 5)


def _as_seen_inside(reference, shared):
    """A reference to an artifact under ``shared`` at the address that the container knows."""
    return replace(reference, uri=reference.uri.replace(shared.as_uri(), "file:///shared"))


def _open(folder: Path):
    for path in (folder, *folder.rglob("*")):
        os.chown(path, 65532, 65532)
