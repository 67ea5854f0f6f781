"""The registry: one version for each model that passed the gate, one alias on the newest."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.common.artifacts import MANIFEST, Reference, read_manifest
from components.common.canonical import file_digest
from components.common.errors import BadInput, ExpanseError, Transient
from components.common.mlflow_client import connect, one_line, plain, shown
from components.common.store import uri_of
from components.promotion.gate import GATE, read_results
from components.promotion.lease import held

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

REGISTRATION = "registration.json"
MODEL_TAG, PREVIOUS_TAG = "expanse.model", "expanse.previous"
REFUSALS = {"INVALID_PARAMETER_VALUE", "PERMISSION_DENIED", "UNAUTHENTICATED", "BAD_REQUEST"}


@dataclass(frozen=True)
class Registration:
    """What the registry holds now: ``previous`` is the version that the alias was on when this one was made."""

    registered: bool
    reason: str
    name: str
    alias: str
    version: str = ""
    previous: str = ""
    source: str = ""
    digest: str = ""
    tracking_uri: str = ""


def register(
    model: Path, gate: Path, evaluation: Path | None, name: str, alias: str, output: Path
) -> dict[str, float | int | str]:
    """Register the model and move the alias to it if its gate passed; write registration.json either way.

    Raises Transient when MLflow (``MLFLOW_TRACKING_URI``) cannot be reached, BadInput when it is not set.
    """
    reference = replace(read_manifest(model), uri=uri_of(model))
    if reason := refusal(reference, gate, evaluation):
        registration = Registration(False, reason, name, alias, digest=reference.digest)
    else:
        uri = os.environ.get("MLFLOW_TRACKING_URI", "")
        if not uri:
            raise BadInput("MLFLOW_TRACKING_URI is not set; set it to the MLflow server that keeps the models.")
        registration = promote(uri, reference, lineage(model, gate, evaluation), name, alias)
    text = json.dumps(asdict(registration), ensure_ascii=False, indent=1)
    (output / REGISTRATION).write_text(text + "\n", encoding="utf-8")
    return {"registered": int(registration.registered), "version": registration.version, "reason": registration.reason}


def refusal(model: Reference, gate: Path, evaluation: Path | None) -> str:
    """Why this model may not be registered, or an empty string: the gate must have passed, on this very model."""
    try:
        verdict = json.loads((gate / GATE).read_text(encoding="utf-8"))
        failed = [rule["sentence"] for rule in verdict["rules"] if rule["passed"] is not True]
        passed = verdict["passed"] is True and not failed
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{gate / GATE} cannot be read as a gate's verdict ({error}); run the gate again.") from error
    if not passed:
        return f"The gate did not pass: {' '.join(map(str, failed)) or 'no rule was applied.'}"
    if evaluation is not None:
        judged = _inputs(gate).get("evaluation", [])
        if judged != [file_digest(evaluation / MANIFEST)]:
            return "The gate judged another evaluation than the one given; run the gate on this evaluation."
        if _inputs(evaluation).get("model", []) != [model.digest]:
            return "The evaluation is of another model than the one given; evaluate this model and judge it again."
    return ""


def lineage(model: Path, gate: Path, evaluation: Path | None) -> dict[str, str]:
    """The tags of a version: digests of the code, the configuration and the inputs, and what it was promoted for."""
    provenance = json.loads((model / MANIFEST).read_text(encoding="utf-8"))["provenance"]
    tags = {f"expanse.{field}": str(provenance[field]) for field in ("stage", "code", "configuration")}
    tags |= {f"expanse.input.{name}": " ".join(digests) for name, digests in provenance["inputs"].items()}
    tags["expanse.gate"] = file_digest(gate / MANIFEST) if (gate / MANIFEST).is_file() else file_digest(gate / GATE)
    if evaluation is not None:
        benchmarks = read_results(evaluation)["benchmarks"]
        tags["expanse.evaluation"] = file_digest(evaluation / MANIFEST)
        tags |= {plain(f"{name}/{each.get('metric')}"): _interval(each) for name, each in benchmarks.items()}
    return tags


def promote(tracking_uri: str, model: Reference, tags: Mapping[str, str], name: str, alias: str) -> Registration:
    """One version per model digest, under the lease; the alias only ever moves to a newer version.

    Going back to an older one is a rollback, not a promotion: a repeated step never undoes a later promotion.
    """
    try:
        with held(tracking_uri, name):
            client = connect(tracking_uri)
            return _promote(client, tracking_uri, model, tags, name, alias)
    except ExpanseError:
        raise
    except Exception as error:  # MLflow, SQLAlchemy, Kubernetes and the network each raise their own kinds
        kind = BadInput if getattr(error, "error_code", "") in REFUSALS else Transient
        remedy = "correct the request" if kind is BadInput else "nothing was promoted, try again when it answers"
        raise kind(f"{name} cannot be registered at {shown(tracking_uri)} ({one_line(error)}); {remedy}.") from error


def _promote(
    client: "MlflowClient", tracking_uri: str, model: Reference, tags: Mapping[str, str], name: str, alias: str
) -> Registration:
    _make_registered_model(client, name)
    current = str(client.get_registered_model(name).aliases.get(alias, ""))  # an int from SQLite, a str from a server
    version = _find(client, name, model.digest)
    if version is None:
        known = {**tags, MODEL_TAG: model.digest, PREVIOUS_TAG: current}
        run_id = os.environ.get("MLFLOW_RUN_ID")
        version = client.create_model_version(name, model.uri, run_id, known, await_creation_for=0)
    number, previous = str(version.version), version.tags.get(PREVIOUS_TAG, current)
    if not current or int(current) < int(number):
        client.set_registered_model_alias(name, alias, number)
        reason = f"{alias} is now version {number}."
    elif current == number:
        reason = f"{alias} already was version {number}."
    else:
        reason = f"{alias} stays on the newer version {current}."
    return Registration(
        True, reason, name, alias, number, previous, str(version.source), model.digest, shown(tracking_uri)
    )


def _make_registered_model(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _find(client: "MlflowClient", name: str, digest: str) -> "ModelVersion | None":
    versions = client.search_model_versions(f"name = '{name}' and tags.`{MODEL_TAG}` = '{digest}'")
    return min(versions, key=lambda version: int(version.version), default=None)


def _inputs(folder: Path) -> dict[str, Any]:
    read_manifest(folder)
    inputs: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["provenance"]["inputs"]
    return inputs


def _interval(benchmark: Mapping[str, Any]) -> str:
    return "{} ({} to {})".format(*(benchmark.get(key) for key in ("value", "low", "high")))
