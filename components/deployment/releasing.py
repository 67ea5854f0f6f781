"""Versions of a registered model on services that are there: which serve it, and another version in its place."""

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, ValidationError

from components.common.artifacts import Reference
from components.common.cluster import SERVICE_ACCOUNT
from components.common.endpoints import Served
from components.common.errors import BadInput, Transient
from components.common.inference.bring_up import Address
from components.common.inference.health import address, state_of
from components.common.inference.objects import Object, storage_uri
from components.common.inference.probing import base_url
from components.common.inference.services import Services
from components.common.inference.waiting import PATIENCE, Patience
from components.common.inputs import REFERENCE
from components.common.releases.versions import Version
from components.common.store import fetch_local, folder_of
from components.deployment.backend import LocalBackend
from components.deployment.kserve import KServeBackend
from components.deployment.probes import Probe, probe
from components.deployment.record import PROBES, annotations_of, uri_of
from components.deployment.task import Config, notes

#: What a service is asked that does not say how it is probed.
ANYTHING = (Probe(language="en", prompt="Hello! Who are you?"), Probe(language="fr", prompt="Bonjour ! Qui es-tu ?"))


class Questions(BaseModel):
    """How a service is probed; see Config of the stage."""

    probes: Annotated[tuple[Probe, ...], Field(min_length=1)] = ANYTHING
    max_tokens: int = 64
    answer_seconds: float = 120.0


@dataclass(frozen=True)
class Outlet:
    """The services of a namespace and how they are reached from here; ``address`` None: they are not asked anything."""

    services: Services
    address: Address | None
    patience: Patience = PATIENCE

    def serving(self, sources: Mapping[str, str]) -> dict[str, tuple[Object, str]]:
        """The services that serve one of these addresses, by name, each with the version that the address is of."""
        found = {each["metadata"]["name"]: each for each in self.services.released() if uri_of(each) in sources}
        return {name: (found[name], sources[uri_of(found[name])]) for name in sorted(found)}

    def check(self, service: Object, version: Version) -> None:
        """Refuse, before anything is changed, weights that no pod can read and a ready service that we cannot ask."""
        storage_uri(Served(), Reference("", "", version.source, version.digest, 0))
        if self.address is None or not state_of(service, [], []).ready:
            return
        name = service["metadata"]["name"]
        try:
            base_url(self.address(service), name, self.patience.poll, 0)
        except Transient as error:
            raise BadInput(
                f"{self.services.called(name)} cannot be probed from this machine ({str(error).rstrip('.')}); give its "
                "--address, run the command in the cluster, or take KServe's word that it is ready with --no-probes."
            ) from error

    def put(self, service: Object, model: str, version: Version) -> str:
        """Have ``service`` serve this version with the settings that it had for it, else with its present ones."""
        backend = self._backend(Served(), model, version, {})
        deployed = backend.replaced(service, version.source)
        return self._asked(deployed, service["metadata"]["name"], version, questions_of(service))

    def deploy(self, config: Config, model: str, version: Version) -> str:
        """Serve this version as the configuration of the stage says."""
        if config.served is None:
            raise BadInput("The recipe's deployment has no section served; name one whose mode is kserve.")
        backend = self._backend(config.served, model, version, notes(config))
        with TemporaryDirectory() as folder:
            Reference("", "", version.source, version.digest, 0).save(Path(folder) / REFERENCE)
            deployed = backend.deployed(Path(folder), config.name)
            return self._asked(deployed, config.name, version, Questions(**config.model_dump(include=_ASKED)))

    def _backend(self, served: Served, model: str, version: Version, more: Mapping[str, str]) -> KServeBackend:
        name = f"{model}/{version.number}"
        return KServeBackend(served, self.services, self.address, self.patience, name, more)

    def _asked(
        self, deployed: AbstractContextManager[str], name: str, version: Version, questions: Questions
    ) -> str:  # fmt: skip
        with deployed as url:
            if url:
                asked = probe(url, name, questions.probes, questions.max_tokens, questions.answer_seconds)
        called = self.services.called(name)
        if not url:
            return f"{called} is ready with version {version.number}; it was not asked anything."
        return f"{called} answers as version {version.number} at {url} ({len(asked)} exchanges)."


_ASKED = set(Questions.model_fields)


def questions_of(service: Object) -> Questions:
    """How the service is probed; by anything where it does not say."""
    try:
        return Questions(**json.loads(annotations_of(service).get(PROBES, "{}")))
    except (ValueError, TypeError, ValidationError):
        return Questions()


def local_model(version: Version) -> Path:
    """The folder of a version of this machine's store, verified; raises BadInput when it is gone or damaged."""
    reference = Reference("", "", version.source, version.digest, 0)
    return fetch_local(reference) if version.digest else folder_of(version.source)


def try_locally(version: Version, name: str, asked: Questions, ready_seconds: float) -> Sequence[str]:
    """Serve a version of this machine's store on loopback for as long as the probes take; what was seen, in two lines."""
    model = local_model(version)
    with LocalBackend(ready_seconds).deployed(model, name) as url:
        answers = probe(url, name, asked.probes, asked.max_tokens, asked.answer_seconds)
    return (
        f"Version {version.number} answers ({len(answers)} exchanges): {answers[0]['prompt']} - {answers[0]['answer']}",
        f'Nothing is left running; serve it with: {sys.executable} -m pipelines.cli serve "{model}"',
    )


def from_here(service: Object) -> str:
    """The address of a ready service: the cluster's own for a pod, the one of its ingress for everybody else."""
    outer = str((service.get("status") or {}).get("url") or "").rstrip("/")
    host = urlsplit(outer).hostname or ""
    inside = (SERVICE_ACCOUNT / "token").is_file() or host.endswith((".svc", ".cluster.local"))
    return address(service) if inside or not host else outer
