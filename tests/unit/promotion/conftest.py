"""Small committed artifacts: a model, its evaluation, and the gate that judged it."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from components.common.artifacts import Provenance, read_manifest, write_manifest
from components.promotion.task import Config, run

RESULTS: dict[str, Any] = {
    "name": "round-3",
    "judge": "nearest to the truth",
    "regressed": False,
    "reasons": [],
    "benchmarks": {
        "arena": {
            "kind": "pairwise",
            "metric": "win_rate",
            "opponent": "base",
            "value": 0.61,
            "low": 0.58,
            "high": 0.64,
            "n": 600,
            "languages": {
                "de": {"value": 0.7, "low": 0.6, "high": 0.8, "n": 26},
                "ar": {"value": 0.4, "low": 0.3, "high": 0.55, "n": 26},
            },
        },
        "facts": {
            "kind": "exact_match",
            "metric": "accuracy",
            "value": 0.3,
            "low": 0.27,
            "high": 0.33,
            "n": 600,
            "languages": {"hi": {"value": 0.2, "low": 0.1, "high": 0.3, "n": 26}},
        },
    },
    "behaviour": {"language_consistency": {"value": 0.97, "low": 0.95, "high": 0.99}},
}


@pytest.fixture
def uri(tmp_path: Path, schema: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    address = f"sqlite:///{shutil.copy(schema, tmp_path / 'mlflow.db')}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    for name in ("MLFLOW_RUN_ID", "EXPANSE_RUN", "EXPANSE_RUN_FOLDER", "EXPANSE_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    return address


@pytest.fixture
def results() -> dict[str, Any]:
    return copy.deepcopy(RESULTS)


def commit(folder: Path, stage: str, files: dict[str, str], inputs: dict[str, list[str]] | None = None) -> Path:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    write_manifest(folder, Provenance(stage, "c" * 64, "f" * 64, inputs or {}), {})
    return folder


def evaluation_of(folder: Path, results: dict[str, Any], model: Path | None = None) -> Path:
    inputs = {"model": [read_manifest(model).digest]} if model else {}
    return commit(folder, "evaluation", {"results.json": json.dumps(results)}, inputs)


def gate_of(folder: Path, evaluation: Path, at_least: float = 0.5) -> Path:
    folder.mkdir()
    rule = {"benchmark": "arena", "at_least_low": at_least}
    run(Config(action="gate", rules=[rule]), {"evaluation": [evaluation]}, folder)
    write_manifest(folder, Provenance("promotion", "c", "f", {"evaluation": [read_manifest(evaluation).digest]}), {})
    return folder


def released(folder: Path, weights: str, at_least: float = 0.5) -> dict[str, list[Path]]:
    """The inputs of a registration: a model with these weights, evaluated and judged."""
    model = commit(folder / "model", "merging", {"weights": weights}, {"models": ["d" * 64, "e" * 64]})
    evaluation = evaluation_of(folder / "evaluation", RESULTS, model)
    return {"model": [model], "evaluation": [evaluation], "gate": [gate_of(folder / "gate", evaluation, at_least)]}
