"""What all three Dockerfiles hold to."""

import re

import pytest

from images.build import BASE, ROOT
from images.lock import FOLDER
from pipelines.images import ROLES


def lines(role):
    text = (ROOT / "images" / role / "Dockerfile").read_text("utf-8")
    return [line for line in text.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]


def starting(role, word):
    return [line.removeprefix(f"{word} ") for line in lines(role) if line.startswith(f"{word} ")]


@pytest.mark.parametrize("role", ROLES)
def test_two_stages_on_the_base_that_the_build_gives(role):
    assert starting(role, "FROM") == ["${BASE} AS build", "${BASE}"]
    assert starting(role, "ARG")[0] == f"BASE={BASE}"


@pytest.mark.parametrize("role", ROLES)
def test_the_final_stage_runs_as_a_numeric_user_that_kubernetes_can_check(role):
    assert starting(role, "USER") == ["65532:65532"]


@pytest.mark.parametrize("role", ROLES)
def test_the_final_stage_installs_no_compiler_and_takes_only_what_was_built(role):
    final = lines(role)[max(index for index, line in enumerate(lines(role)) if line.startswith("FROM")) :]
    packages = (
        next(line for line in final if "apt-get install" in line).split("--no-install-recommends")[1].split("&&")[0]
    )
    assert not set(packages.split()) & {"gcc", "g++", "build-essential", "python3-dev", "python3-pip"}
    assert [line.split()[1:] for line in final if line.startswith("COPY")] == [
        ["--from=build", "/opt/expanse/venv", "/opt/expanse/venv"],
        ["--from=build", "/opt/expanse/code", "/opt/expanse/code"],
    ]


@pytest.mark.parametrize("role", ROLES)
def test_commands_are_in_exec_form_under_an_init(role):
    assert starting(role, "ENTRYPOINT") == ['["tini", "--"]']
    assert starting(role, "CMD")[0].startswith('["')


@pytest.mark.parametrize("role", ROLES)
def test_every_copied_file_exists_and_reaches_the_builder(role):
    ignore = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    allowed = {line[1:] for line in ignore if line.startswith("!")}
    for copy in starting(role, "COPY"):
        for source in [part for part in copy.split()[:-1] if "--from" not in copy]:
            path = source.replace("${TORCH}", "cpu")
            assert (ROOT / path).exists(), path
            assert any(re.match(pattern.replace("*", ".*"), path) for pattern in allowed), path


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_its_own_lock_and_title(role):
    text = "\n".join(lines(role))
    assert f"images/requirements/{role}.lock" in text and (FOLDER / f"{role}.lock").is_file()
    assert f'org.opencontainers.image.title="expanse-{role}"' in text and f'dev.expanse.role="{role}"' in text


def test_labels_that_tell_where_an_image_is_from():
    labels = {"licenses", "version", "revision", "base.name"}
    for role in ROLES:
        assert labels <= set(re.findall(r"org\.opencontainers\.image\.([\w.]+)=", "\n".join(lines(role))))
