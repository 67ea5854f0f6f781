"""Runs a KFP shell as KFP's own executor runs it in a pod: inputs and outputs are files, metadata is JSON beside them."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kfp.dsl.executor import Executor

from components.common.artifacts import Provenance, Reference
from components.common.step import code_digest
from components.common.store import LocalStore


def commit(store: LocalStore, stage: str, folder: Path, name: str) -> Reference:
    """A folder as the artifact of some stage."""
    provenance = Provenance(stage, "code", name)
    return store.produce(provenance, lambda output: shutil.copytree(folder, output, dirs_exist_ok=True) and {})


def run_shell(
    shell: Any, stage: str, configuration: str, inputs: Mapping[str, Reference], folder: Path
) -> dict[str, dict[str, Any]]:
    """The shell's outputs by name, as KFP's launcher reads them: name, uri (a path here) and metadata."""
    for name, reference in inputs.items():
        reference.save(folder / "inputs" / name)
    definitions = shell.component_spec.outputs
    document = {
        "inputs": {
            "parameterValues": {"name": "a-step", "code": code_digest(stage), "configuration": configuration},
            "artifacts": {
                name: _artifact(shell.component_spec.inputs[name].type, folder / "inputs" / name) for name in inputs
            },
        },
        "outputs": {
            "outputFile": str(folder / "executor_output.json"),
            "artifacts": {name: _artifact(each.type, folder / "outputs" / name) for name, each in definitions.items()},
        },
    }
    Executor(document, shell.python_func).execute()
    written = json.loads((folder / "executor_output.json").read_text(encoding="utf-8"), parse_constant=_refuse)
    return {name: each["artifacts"][0] for name, each in written["artifacts"].items()}


def _artifact(kind: str, path: Path) -> dict[str, Any]:
    artifact = {"name": path.name, "uri": str(path), "metadata": {}, "type": {"schemaTitle": kind.split("@")[0]}}
    return {"artifacts": [artifact]}


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON, KFP's launcher refuses it")
