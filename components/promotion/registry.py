"""The registry: one version for each model that a gate has judged, one alias on the newest that passed."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.common.artifacts import MANIFEST, Reference, read_manifest
from components.common.canonical import file_digest
from components.common.errors import BadInput, ExpanseError
from components.common.mlflow_client import LONGEST, connect, plain, shown
from components.common.releases import history
from components.common.releases.versions import MODEL, PASSED, PREVIOUS, VERDICT, Released, explained, move, read
from components.common.store import files_of, uri_of
from components.promotion.gate import GATE, read_results
from components.promotion.lease import held

if TYPE_CHECKING:
    from mlflow import MlflowClient

REGISTRATION = "registration.json"


@dataclass(frozen=True)
class Registration:
    """What the registry holds now: ``previous`` is the version that the alias was on when this one was made.

    A model that did not pass is not ``registered``; where the registry could be asked it has a ``version`` all the same, with
    the reason and without the alias.
    """

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
    model: Path,
    gate: Path,
    evaluation: Path | None,
    name: str,
    alias: str,
    output: Path,
    origins: Sequence[str] = (),
) -> dict[str, float | int | str]:
    """Record the model, and move the alias to it if its gate passed; write registration.json either way.

    ``origins`` are the commits on the hub that it comes from. Raises Transient when MLflow (``MLFLOW_TRACKING_URI``) cannot
    be reached, BadInput when it is not set.
    """
    reference = replace(read_manifest(model), uri=uri_of(model))
    verdict, uri = verdict_of(gate), os.environ.get("MLFLOW_TRACKING_URI", "")
    if reason := mismatch(reference, gate, evaluation):
        registration = Registration(False, reason, name, alias, digest=reference.digest)
    elif verdict != PASSED:
        tags = lineage(model, gate, evaluation, origins)
        registration = _noted(uri, reference, tags | {VERDICT: verdict}, name, alias)
    elif not uri:
        raise BadInput("MLFLOW_TRACKING_URI is not set; set it to the MLflow server that keeps the models.")
    else:
        tags = lineage(model, gate, evaluation, origins)
        registration = promote(uri, reference, tags | {VERDICT: PASSED}, name, alias)
    text = json.dumps(asdict(registration), ensure_ascii=False, indent=1)
    (output / REGISTRATION).write_text(text + "\n", encoding="utf-8")
    return {"registered": int(registration.registered), "version": registration.version, "reason": registration.reason}


def still_registered(made: Reference) -> bool:
    """Whether the version that a finished registration names is still in the registry (``MLFLOW_TRACKING_URI``).

    Raises Transient when the registry cannot be asked.
    """
    from mlflow.exceptions import MlflowException

    document = json.loads(files_of(made, (REGISTRATION,))[REGISTRATION].read_text(encoding="utf-8"))
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not document["registered"] or not uri:
        return True
    with explained(uri, f"Version {document['version']} of {document['name']} cannot be looked up"):
        try:
            version = connect(uri).get_model_version(document["name"], document["version"])
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False
    return bool(version.tags.get(MODEL) == document["digest"])


def verdict_of(gate: Path) -> str:
    """What the gate said, for the registry: "passed", or why not; raises BadInput for what is no verdict."""
    try:
        verdict = json.loads((gate / GATE).read_text(encoding="utf-8"))
        failed = [rule["sentence"] for rule in verdict["rules"] if rule["passed"] is not True]
        passed = verdict["passed"] is True and not failed
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{gate / GATE} cannot be read as a gate's verdict ({error}); run the gate again.") from error
    reasons = " ".join(map(str, failed)) or "no rule was applied."
    return PASSED if passed else f"The gate did not pass: {reasons}"[:LONGEST]


def mismatch(model: Reference, gate: Path, evaluation: Path | None) -> str:
    """Why the gate's verdict is not about this very model, or an empty string."""
    if evaluation is not None:
        judged = _inputs(gate).get("evaluation", [])
        if judged != [file_digest(evaluation / MANIFEST)]:
            return "The gate judged another evaluation than the one given; run the gate on this evaluation."
        if _inputs(evaluation).get("model", []) != [model.digest]:
            return "The evaluation is of another model than the one given; evaluate this model and judge it again."
    return ""


def lineage(model: Path, gate: Path, evaluation: Path | None, origins: Sequence[str] = ()) -> dict[str, str]:
    """The tags of a version: digests of the code, the configuration and the inputs, and what it was promoted for."""
    provenance = json.loads((model / MANIFEST).read_text(encoding="utf-8"))["provenance"]
    tags = {f"expanse.{field}": str(provenance[field]) for field in ("stage", "code", "configuration")}
    tags |= {f"expanse.input.{name}": " ".join(digests) for name, digests in provenance["inputs"].items()}
    tags |= {"expanse.origins": " ".join(origins)} if origins else {}
    tags["expanse.gate"] = file_digest(gate / MANIFEST) if (gate / MANIFEST).is_file() else file_digest(gate / GATE)
    if evaluation is not None:
        benchmarks = read_results(evaluation)["benchmarks"]
        tags["expanse.evaluation"] = file_digest(evaluation / MANIFEST)
        tags |= {plain(f"{name}/{each.get('metric')}"): _interval(each) for name, each in benchmarks.items()}
    return tags


def promote(tracking_uri: str, model: Reference, tags: Mapping[str, str], name: str, alias: str) -> Registration:
    """One version per model digest, under the lease; the alias only ever moves to a newer version, and to each one once.

    So a repeated step undoes neither a later promotion nor a rollback. A version whose verdict is not "passed" is recorded.
    """
    with explained(tracking_uri, f"{name} cannot be registered"), held(tracking_uri, name):
        client = connect(tracking_uri)
        _make_registered_model(client, name)
        released = read(client, name, alias)
        number, previous = _entered(client, released, model, tags)
        passed = tags[VERDICT] == PASSED
        reason = _moved(client, released, number) if passed else tags[VERDICT]
        return Registration(
            passed, reason, name, alias, number, previous, model.uri, model.digest, shown(tracking_uri)
        )  # fmt: skip


def _noted(uri: str, model: Reference, tags: Mapping[str, str], name: str, alias: str) -> Registration:
    """A candidate that did not pass, in the registry if that can be asked: nothing depends on it."""
    try:
        if uri:
            return promote(uri, model, tags, name, alias)
        note = ""
    except ExpanseError as error:
        note = f" It is not recorded either: {error}"
    return Registration(False, tags[VERDICT] + note, name, alias, digest=model.digest)


def _entered(
    client: "MlflowClient", released: Released, model: Reference, tags: Mapping[str, str]
) -> tuple[str, str]:  # fmt: skip
    """The number of the model's version, made if need be, and the version before it; the latest verdict counts."""
    known = [each for each in released.versions.values() if each.digest == model.digest]
    if not known:
        all_tags = {**tags, MODEL: model.digest, PREVIOUS: released.current}
        run_id = os.environ.get("MLFLOW_RUN_ID")
        made = client.create_model_version(released.model, model.uri, run_id, all_tags, await_creation_for=0)
        return str(made.version), released.current
    version = known[0]
    if version.verdict != tags[VERDICT]:
        for tag, value in tags.items():
            client.set_model_version_tag(released.model, version.number, tag, value)
    return version.number, version.previous


def _moved(client: "MlflowClient", released: Released, number: str) -> str:
    """Move the alias to a version that passed, if it never was there; the sentence that says what it is on."""
    alias, current = released.alias, released.current
    if current == number:
        return f"{alias} already was version {number}."
    if current and int(current) > int(number):
        return f"{alias} stays on the newer version {current}."
    if current and any(each.version == number for each in history.moves(released.history, alias)):
        return (
            f"{alias} stays on version {current}: version {number} was promoted before and is no longer wanted there."
        )
    move(client, released, "promoted", number, "it passed its gate")
    return f"{alias} is now version {number}."


def _make_registered_model(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _inputs(folder: Path) -> dict[str, Any]:
    read_manifest(folder)
    inputs: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["provenance"]["inputs"]
    return inputs


def _interval(benchmark: Mapping[str, Any]) -> str:
    return "{} ({} to {})".format(*(benchmark.get(key) for key in ("value", "low", "high")))
