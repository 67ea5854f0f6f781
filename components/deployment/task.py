"""Deploy the registered model, probe it in every language, and keep the transcript."""

import json
import os
import re
import uuid
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from components.common import cluster
from components.common.artifacts import MANIFEST, Reference, read_manifest
from components.common.endpoints import Served
from components.common.errors import BadInput, ExpanseError
from components.common.inputs import REFERENCE, Inputs, one, optional
from components.common.mlflow_client import connect
from components.common.releases.versions import explained, note_deployed, read
from components.deployment.backend import Backend, LocalBackend
from components.deployment.probes import Probe, probe
from components.deployment.record import PROBES

Registration = dict[str, Any]
RESULT = "deployment.json"
SERVICE = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")


class Config(BaseModel):
    """Where and how the model is served.

    ``mode`` "local" is the predictor on this machine's loopback, up for the probes only; "kserve" is the InferenceService
    ``name`` of the namespace, which stays, on the hardware that ``served`` names. Times are in seconds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["local", "kserve"] = "local"
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")] = "aya"
    probes: Annotated[tuple[Probe, ...], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] = 64
    ready_seconds: Annotated[float, Field(gt=0)] = 300.0
    answer_seconds: Annotated[float, Field(gt=0)] = 120.0
    served: Served | None = None

    @model_validator(mode="after")
    def _mode_has_its_fields(self) -> "Config":
        if (self.mode == "kserve") != (self.served is not None):
            raise ValueError("mode 'kserve' needs the section served, and no other mode has one")
        if self.served and self.served.source:
            raise ValueError("served.source: what is deployed is the released model; remove the field")
        if self.mode == "kserve" and not SERVICE.fullmatch(self.name):
            raise ValueError(f"name: {self.name!r} is no name of a service; use at most 40 of a-z, 0-9 and -")
        return self


def outside(config: Config) -> dict[str, list[str]]:
    """A service can be changed or removed by others, so its deployment is never finished work: it is looked at again."""
    return {"attempt": [uuid.uuid4().hex]} if config.mode == "kserve" else {}


def effects(config: Config) -> bool:
    """What is deployed answers others."""
    return True


def by_reference(config: Config) -> frozenset[str]:
    """A model that the cluster's pods load is not fetched to this machine."""
    return frozenset({"model"}) if config.mode == "kserve" else frozenset()


def run(config: Config, inputs: Inputs, output: Path, backend: Backend | None = None) -> dict[str, float | int | str]:
    """Write deployment.json: the transcript of the probes, or why nothing was deployed.

    Raises BadInput when the predictor refuses the model or answers wrongly, Transient when it does not come up in time.
    """
    registration = _registration(optional(inputs, "registration"))
    refusal = _refusal(registration) or (_superseded(registration) if config.mode == "kserve" else None)
    if refusal is not None:
        _write(output, {"deployed": False, "reason": refusal})
        return {"deployed": 0, "reason": refusal}
    model = one(inputs, "model")
    with (backend or _backend(config, registration)).deployed(model, config.name) as url:
        transcript = probe(url, config.name, config.probes, config.max_tokens, config.answer_seconds)
    if config.mode == "kserve":
        _note(registration, config.name)
    served = {"name": config.name, "digest": _digest(model)}
    where = {} if config.mode == "local" else {"url": url}
    _write(output, {"deployed": True, "mode": config.mode, "model": served, "transcript": transcript, **where})
    empty = sum(not entry["answer"].strip() for entry in transcript)
    return {"deployed": 1, "exchanges": len(transcript), "empty_answers": empty}


def notes(config: Config) -> dict[str, str]:
    """How the service is probed, as an annotation of it: a rollback asks the same without knowing the recipe."""
    asked = config.model_dump(mode="json", include={"probes", "max_tokens", "answer_seconds"})
    return {PROBES: json.dumps(asked, ensure_ascii=False)}


def _backend(config: Config, registration: Registration) -> Backend:
    if config.served is None:
        return LocalBackend(config.ready_seconds)
    from components.deployment.kserve import KServeBackend

    version = f"{registration['name']}/{registration['version']}" if registration.get("version") else ""
    return KServeBackend(config.served, version=version, notes=notes(config))


def _digest(model: Path) -> str | None:
    """The digest of the model's artifact; None for a plain folder."""
    if (model / REFERENCE).is_file():
        return Reference.load(model / REFERENCE).digest
    return read_manifest(model).digest if (model / MANIFEST).exists() else None


def _registration(folder: Path | None) -> Registration:
    """What the registry said of the model; empty where it was not asked."""
    if folder is None:
        return {}
    path = folder / "registration.json"
    try:
        document: Registration = json.loads(path.read_text(encoding="utf-8"))
        registered = document["registered"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{path} does not say whether the model is registered ({error}); run the promotion again."
        ) from error
    if not isinstance(registered, bool):
        raise BadInput(f"{path}: registered must be true or false, it is {registered!r}; run the promotion again.")
    return document


def _refusal(registration: Registration) -> str | None:
    """Why the registry did not take the model, or None when it did or was not asked."""
    if registration.get("registered", True):
        return None
    return f"The model is not registered: {registration.get('reason') or 'the registry gave no reason'}"


def _superseded(registration: Registration) -> str | None:
    """Why a registered model is not to be deployed any more: somebody has rolled back from it, or promoted another."""
    uri, version = os.environ.get("MLFLOW_TRACKING_URI"), registration.get("version")
    if not uri or not version:
        return None
    name, alias = registration["name"], registration["alias"]
    with explained(uri, f"The versions of {name} cannot be read"):
        current = read(connect(uri), name, alias).current
    if current in ("", version):
        return None
    return f"{alias} of {name} is on version {current} and no longer on version {version}; that one is not deployed."


def _note(registration: Registration, service: str) -> None:
    """A line in the history; a deployment that has succeeded does not fail for it."""
    uri, version = os.environ.get("MLFLOW_TRACKING_URI"), registration.get("version")
    if not uri or not version:
        return
    try:
        where = f"{cluster.namespace()}/{service}"
        note_deployed(uri, registration["name"], where, version, "by its run")
    except ExpanseError as error:
        print(f"deployed, but not noted in the history: {error}", flush=True)


def _write(output: Path, document: dict[str, Any]) -> None:
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False)
    (output / RESULT).write_text(text + "\n", encoding="utf-8")
