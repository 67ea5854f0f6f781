"""From the options of ``promote``, ``rollback``, ``deploy`` and ``history`` to the registry that they speak to."""

import argparse
import os
from pathlib import Path

from components.common.cluster import NAMESPACE
from components.common.errors import BadInput
from components.promotion.lease import Where
from components.promotion.releasing import Registry


def registry_of(options: argparse.Namespace) -> Registry:
    """The registry of ``--model``; raises BadInput when no MLflow is named and no run has left its database."""
    namespace = options.namespace or os.environ.get(NAMESPACE)
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
