"""Pushing to a registry on loopback pins what it holds."""

import shutil
import socket
import subprocess
import tarfile
import time
import urllib.request

import pytest

from components.common.errors import Transient
from images.build import publish
from pipelines.images import LOCK, ROLES, built_from, code_version, is_pinned, locked_images

CONFIGURATION = """\
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@pytest.fixture
def registry(tmp_path):
    if not shutil.which("docker-registry"):
        pytest.skip("docker-registry missing; `make image-tools` installs it on Debian, as root")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    configuration = tmp_path / "registry.yaml"
    configuration.write_text(CONFIGURATION.format(folder=tmp_path / "registry", port=port))
    server = subprocess.Popen(
        ["docker-registry", "serve", configuration], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _await(f"http://127.0.0.1:{port}/v2/")
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


def _await(url):
    end = time.monotonic() + 30
    while True:
        try:
            return urllib.request.urlopen(url, timeout=5).status
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


@pytest.fixture
def built(podman, registry, tmp_path):
    """An image of one file for each role: what is pushed does not matter here."""
    references = {}
    for role in ROLES:
        (tmp_path / role).write_text(role)
        with tarfile.open(tmp_path / f"{role}.tar", "w") as archive:
            archive.add(tmp_path / role, role)
        references[role] = f"{registry}/expanse-{role}:0.1.0"
        podman.run("import", "--quiet", str(tmp_path / f"{role}.tar"), references[role])
    return references


@pytest.fixture
def pinned(tmp_path):
    path = tmp_path / "images.lock"
    shutil.copy(LOCK, path)
    return path


def test_the_lock_names_what_the_registry_holds(podman, built, pinned):
    publish(podman, built, pinned, ["--tls-verify=false"])
    references = locked_images(pinned)
    assert all(is_pinned(each) for each in references.values()) and built_from(pinned) == code_version()
    podman.run("rmi", *built.values())
    for role, reference in references.items():
        name, _, digest = reference.partition("@")
        podman.run("pull", "--quiet", "--tls-verify=false", f"{name.rpartition(':')[0]}@{digest}")
        assert role in reference


def test_a_push_that_fails_pins_nothing(podman, built, pinned):
    before = pinned.read_text()
    nowhere = "127.0.0.1:1/expanse-train:0.1.0"
    podman.run("tag", built["train"], nowhere)
    with pytest.raises(Transient, match=f"`podman push` of {nowhere} ended with exit code"):
        publish(podman, built | {"train": nowhere}, pinned, ["--tls-verify=false"])
    assert pinned.read_text() == before
