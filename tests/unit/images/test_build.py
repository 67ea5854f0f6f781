"""The build's command line, and docker, which stands here as a script that answers as docker does."""

import subprocess
import sys
from pathlib import Path

import pytest

from components.common.errors import BadInput, Transient
from images.build import Engine, build, find_engine, push
from images.lock import ROOT
from pipelines.images import LOCK, code_version

DIGEST = "sha256:" + "ef" * 32
DOCKER = f"""\
#!/bin/sh
echo "$@" >> "${{0%/*}}/calls"
case "$*" in
  "image inspect"*) echo '["other.example/x@sha256:00","registry.example:5000/ml/expanse-cpu@{DIGEST}"]' ;;
  *refused*) echo "denied: no rights" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def docker(tmp_path, monkeypatch):
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(DOCKER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    return Engine(str(program), flags=["--no-cache"])


def calls(docker):
    return Path(docker.program).with_name("calls").read_text().splitlines()


def images_build(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "images.build", *arguments], cwd=ROOT, capture_output=True, text=True, env=environment
    )


def test_a_build_names_role_platform_code_and_base(docker):
    reference = build(docker, "cpu", "registry.example:5000/ml", "debian@sha256:1")
    assert reference == "registry.example:5000/ml/expanse-cpu:0.1.0"
    command = calls(docker)[0]
    assert command.startswith("build --platform linux/amd64 --file images/cpu/Dockerfile --tag " + reference)
    assert f"--build-arg CODE={code_version()}" in command and "--build-arg BASE=debian@sha256:1" in command
    assert command.endswith("--no-cache .")


def test_docker_is_asked_for_the_digest_of_the_repository_that_was_pushed_to(docker):
    reference = "registry.example:5000/ml/expanse-cpu:0.1.0"
    assert push(docker, reference) == f"{reference}@{DIGEST}"


def test_a_repository_that_docker_knows_no_digest_of_is_said(docker):
    with pytest.raises(Transient, match=r"no digest of registry\.example/expanse-serve:1"):
        push(docker, "registry.example/expanse-serve:1")


def test_a_refused_push_is_one_sentence(docker):
    with pytest.raises(Transient, match="`docker push` of refused/expanse-cpu:1 ended with exit code 1"):
        push(docker, "refused/expanse-cpu:1")


def test_without_an_engine_the_remedy_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInput, match="make image-tools"):
        find_engine()


def test_an_unknown_role_is_refused_before_anything_is_built(docker):
    done = images_build("gpu", PATH=str(docker.program))
    assert (done.returncode, done.stderr) == (2, "images: There is no image 'gpu'; the roles are cpu, train, serve.\n")


def test_pushing_one_role_beside_images_of_other_code_is_refused(docker):
    done = images_build("cpu", "--push", PATH=str(docker.program))
    assert done.returncode == 2 and "push all roles together" in done.stderr


def test_a_build_without_a_push_pins_nothing_and_says_so(docker):
    before = LOCK.read_text()
    done = images_build("cpu", "--registry", "registry.example", PATH=str(Path(docker.program).parent))
    assert done.returncode == 0, done.stderr
    assert "registry.example/expanse-cpu:0.1.0\nNothing was pushed" in done.stdout
    assert LOCK.read_text() == before
