"""From the options of ``promote``, ``rollback``, ``deploy`` and ``history`` to the registry and the services they speak to."""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components.common import cluster
from components.common.errors import BadInput, ExpanseError
from components.common.inference.waiting import PATIENCE
from components.common.releases.versions import Version, note_deployed
from components.promotion.lease import Where
from components.promotion.releasing import Registry

if TYPE_CHECKING:
    from components.deployment.releasing import Outlet
    from components.deployment.task import Config

DRY = "Nothing was changed (--dry-run)."


def registry_of(options: argparse.Namespace) -> Registry:
    """The registry of ``--model``; raises BadInput when no MLflow is named and no run has left its database."""
    namespace = options.namespace or os.environ.get(cluster.NAMESPACE)
    where = Where(namespace, options.context) if namespace else None
    uri = options.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or _database(options.root)
    return Registry(uri, options.model, options.alias, where)


def _database(root: Path) -> str:
    path = root.absolute() / "mlflow.db"
    if not path.is_file():
        raise BadInput(
            f"{path} is not there; give --tracking-uri or MLFLOW_TRACKING_URI, or the run's folder as --root."
        )
    return f"sqlite:///{path}"


def outlet_of(options: argparse.Namespace) -> "Outlet":
    """The cluster's services, and how this machine reaches them."""
    from components.common.inference.services import Services
    from components.deployment.releasing import Outlet, from_here

    services = Services(cluster.connect(options.context), options.namespace or cluster.namespace(options.context))
    address = (lambda _: options.address.rstrip("/")) if options.address else from_here
    return Outlet(services, None if options.no_probes else address, PATIENCE)


def is_local(version: Version) -> bool:
    """Whether the version's weights lie on this machine, where no cluster can read them."""
    return version.source.startswith("file:")


def tried(version: Version, model: str, config: "Config | None" = None) -> Iterator[str]:
    """Serve a local version for as long as its probes take; what was seen."""
    from components.deployment.releasing import Questions, try_locally

    fields = config.model_dump(include={*Questions.model_fields}) if config else {}
    name, seconds = (config.name, config.ready_seconds) if config else (model, 300.0)
    yield from try_locally(version, name, Questions(**fields), seconds)


def noted(registry: Registry, where: str, version: Version, why: str) -> Iterator[str]:
    """A line in the history; what serves does not fail for it."""
    try:
        note_deployed(registry.tracking_uri, registry.model, where, version.number, why)
    except ExpanseError as error:
        yield f"Not noted in the history: {error}"
