import os
import socket

import pytest

from tests.site import site


@pytest.fixture
def server():
    with site() as running:
        yield running


@pytest.fixture
def nobody():
    """An address where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return f"http://127.0.0.1:{port}"


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """No service, key or cluster of the machine that the tests run on."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "EXPANSE_", "MLFLOW_", "HF_", "OPENAI_", "KFP_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
