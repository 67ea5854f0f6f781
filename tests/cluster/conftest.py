"""A real Kubernetes API: the one that KUBECONFIG names, else the mini cluster beside the project, else a visible skip."""

import os
import shlex
import shutil
import subprocess
import uuid
from pathlib import Path

import pytest

from components.common.cluster import NAMESPACE, connect
from tests.servers import save_chat_model, start_server

ROOT = Path(__file__).parents[2]
MINICLUSTER = Path(os.environ.get("EXPANSE_MINICLUSTER", ROOT.parent / "shared" / "minicluster"))
UNAVAILABLE = 3


@pytest.fixture(scope="session")
def kubeconfig():
    """The path of a kubeconfig; a mini cluster that was started for it is stopped at the end."""
    if given := os.environ.get("KUBECONFIG"):
        yield given
        return
    if not (MINICLUSTER / "up").is_file():
        pytest.skip(f"no Kubernetes API: KUBECONFIG is not set and {MINICLUSTER} is not there")
    environment = {**os.environ, "MINICLUSTER_NAME": f"expanse-tests-{os.getpid()}"}
    started = subprocess.run([MINICLUSTER / "up"], stdout=subprocess.PIPE, text=True, env=environment)
    if started.returncode == UNAVAILABLE:
        pytest.skip("the mini cluster cannot start here (its reason is on the error output)")
    started.check_returncode()
    os.environ["KUBECONFIG"] = shlex.split(started.stdout)[1].partition("=")[2]
    yield os.environ["KUBECONFIG"]
    del os.environ["KUBECONFIG"]
    subprocess.run([MINICLUSTER / "down"], env=environment, check=False)


@pytest.fixture(scope="session")
def kubectl(kubeconfig):
    """A kubectl, which brings kustomize: the mini cluster's, else the machine's."""
    beside = Path(kubeconfig.split(os.pathsep)[0]).parent / "kubectl"
    found = str(beside) if beside.is_file() else shutil.which("kubectl")
    if not found:
        pytest.skip("no kubectl on this machine: its commands cannot run")
    return found


@pytest.fixture(scope="session")
def api(kubeconfig):
    """A client of the API."""
    return connect()


@pytest.fixture
def namespace(api, monkeypatch):
    """A namespace of the test's own, which the code under test takes for its own too."""
    from kubernetes import client

    core, name = client.CoreV1Api(api), f"expanse-test-{uuid.uuid4().hex[:8]}"
    core.create_namespace({"metadata": {"name": name}})
    monkeypatch.setenv(NAMESPACE, name)
    yield name
    core.delete_namespace(name)


@pytest.fixture
def apply_strictly(api):
    """Have the API judge objects as an apply that changes nothing; returns the kinds that it does not serve."""
    from kubernetes.dynamic import DynamicClient
    from kubernetes.dynamic.exceptions import ResourceNotFoundError

    dynamic = DynamicClient(api)

    def apply(objects, namespace):
        unserved = []
        for each in objects:
            try:
                resource = dynamic.resources.get(api_version=each["apiVersion"], kind=each["kind"])
            except ResourceNotFoundError:
                unserved.append(each["kind"])
                continue
            place = {"namespace": namespace} if resource.namespaced else {}
            strict = [("fieldValidation", "Strict")]
            resource.server_side_apply(
                each, field_manager="test", force_conflicts=True, dry_run="All", query_params=strict, **place
            )
        return unserved

    return apply


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    """The address of our own predictor with a tiny chat model."""
    folder = tmp_path_factory.mktemp("predictor")
    server = start_server(save_chat_model(folder / "model", context=256), folder / "log")
    yield server.url
    server.stop()
