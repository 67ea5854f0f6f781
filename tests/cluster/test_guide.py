"""docs/kubernetes.md, executed: every block that says so, as it stands there."""

import os
import re
import shutil
import subprocess
import sys
import uuid

import pytest

from tests.cluster.conftest import ROOT

GUIDE = ROOT / "docs" / "kubernetes.md"
BLOCK = re.compile(r"^```sh (?P<how>[a-z ]+)\n(?P<commands>.*?)^```$", re.MULTILINE | re.DOTALL)
HOWS = {"run", "run fails", "full"}


def blocks() -> list[tuple[str, str]]:
    return [(found["how"], found["commands"]) for found in BLOCK.finditer(GUIDE.read_text(encoding="utf-8"))]


def test_every_block_says_where_it_has_been_run():
    text = GUIDE.read_text(encoding="utf-8")
    assert {how for how, _ in blocks()} == HOWS
    assert text.count("```sh") == len(blocks())


def test_the_links_of_the_guide_lead_somewhere():
    for link in re.findall(r"\]\(([^)#]+)\)", GUIDE.read_text(encoding="utf-8")):
        assert (GUIDE.parent / link).exists(), link


@pytest.fixture
def clone(tmp_path, kubectl):
    """A folder as the guide's reader sits in it, with the three commands on the path."""
    for name in ("helm", "manifests"):
        shutil.copytree(ROOT / name, tmp_path / name)
    tools = tmp_path / "tools"
    tools.mkdir()
    commands = {
        "kubectl": kubectl,
        "helm": f"{sys.executable}' '{ROOT / 'tests' / 'cluster' / 'helm.py'}",
        "expanse": f"{sys.executable}' '-m' 'pipelines.cli",
    }
    for name, command in commands.items():
        (tools / name).write_text(f"#!/bin/sh\nexec '{command}' \"$@\"\n")
        (tools / name).chmod(0o755)
    return tmp_path


@pytest.fixture
def environment(kubeconfig, clone):
    namespace = f"expanse-guide-{uuid.uuid4().hex[:8]}"
    path = f"{clone / 'tools'}:{os.environ['PATH']}"
    return {
        **os.environ,
        "KUBECONFIG": kubeconfig,
        "NAMESPACE": namespace,
        "PYTHONPATH": str(ROOT),
        "PATH": path,
    }


@pytest.mark.skipif(
    bool(os.environ.get("KUBECONFIG")), reason="the guide makes objects for the whole cluster: not in somebody's"
)
def test_the_commands_of_the_guide_work_in_their_order(clone, environment):
    pytest.importorskip("helm_python", reason="helm-python-sdk (real Helm) is not installed here")
    for how, commands in blocks():
        if how == "full":
            continue
        script = ["bash", "-euo", "pipefail", "-c", commands]
        done = subprocess.run(script, cwd=clone, env=environment, capture_output=True, text=True, timeout=300)
        expected = 2 if how == "run fails" else 0
        assert done.returncode == expected, f"{commands}\n{done.stdout}\n{done.stderr}"
