"""The predictor serves with nothing but the packages of its image."""

import os
import re
import subprocess
import sys
import time
from importlib.metadata import distribution
from pathlib import Path

import httpx
import pytest

from images.lock import ROOT, read_lock
from pipelines.images import code_version
from tests.servers import START_SECONDS, save_chat_model


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> Path:
    """A folder of links to the packages of the serve image, as this environment has them."""
    folder = tmp_path_factory.mktemp("packages")
    for name in {*read_lock("serve"), *read_lock("torch-cpu")}:
        for file in distribution(name).files or ():
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (folder / top).exists():
                (folder / top).symlink_to(distribution(name).locate_file(top))
    return folder


def python(packages: Path, *arguments: str, **options) -> "subprocess.Popen[str]":
    # -S: without the packages of this environment
    environment = {**os.environ, "PYTHONPATH": f"{packages}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-S", *arguments]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, **options)


def test_the_folder_stands_for_the_image(packages):
    program = "import importlib.util as u; print([m for m in ('kfp', 'mlflow', 'trl', 'kserve') if u.find_spec(m)])"
    assert python(packages, "-c", program).communicate(timeout=60)[0] == "['kserve']\n"


def test_the_build_can_check_the_code_in_it(packages):
    program = "from pipelines.images import code_version; print(code_version())"
    assert python(packages, "-c", program).communicate(timeout=60)[0].strip() == code_version()


def test_the_predictor_answers(packages, tmp_path):
    model, log = save_chat_model(tmp_path / "model"), tmp_path / "log"
    with log.open("w") as errors:
        process = python(packages, "-m", "serving", str(model), "--port", "0", "--name", "tiny", stderr=errors)
    try:
        url = _address(process, log)
        question = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
        answer = httpx.post(f"{url}/openai/v1/chat/completions", json=question, timeout=60).raise_for_status().json()
        assert answer["usage"]["completion_tokens"] > 0
    finally:
        process.terminate()
        process.communicate(timeout=60)


def _address(process, log) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        line = process.stdout.readline()
        if found := re.search(r"at (http://\S+)/openai/v1$", line):
            return found[1]
        if not line and process.poll() is not None:
            break
    raise AssertionError(f"the predictor did not start: {log.read_text()}")
