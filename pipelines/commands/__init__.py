"""The commands of ``expanse``, a file each; what several of them ask for stands here."""

import argparse
from pathlib import Path

CHAPTERS = ("sources", "arbitrage", "sft", "offline", "online", "evaluation", "release")


def add_recipe_options(command: argparse.ArgumentParser, default: str) -> None:
    """``--recipe`` and ``--set``."""
    command.add_argument(
        "--recipe", default=default, help="a shipped recipe (mini, 8b, 32b) or a YAML file (default: %(default)s)"
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="override a field, such as offline.dpo.beta=0.2",
    )


def add_reach_options(command: argparse.ArgumentParser) -> None:
    """``--host`` and ``--context``."""
    command.add_argument("--host", help="the address of the KFP API, such as http://localhost:8888")
    command.add_argument(
        "--context", help="a context of the kubeconfig (default: the pod's cluster, or the current one)"
    )


def add_registry_options(command: argparse.ArgumentParser) -> None:
    """``--model``, ``--alias``, where MLflow is, and the cluster whose runs promote the model too."""
    command.add_argument("--model", required=True, metavar="NAME", help="the registered model")
    command.add_argument("--alias", default="champion", help="the alias that says which version counts (%(default)s)")
    command.add_argument(
        "--tracking-uri",
        metavar="URI",
        help="MLflow (default: MLFLOW_TRACKING_URI, or the database of the run in --root)",
    )
    command.add_argument("--root", type=Path, default=Path("runs/mini"), help="a local run's folder (%(default)s)")
    command.add_argument(
        "--namespace", help="where the model is served and its runs live (EXPANSE_NAMESPACE, or the context's)"
    )
    command.add_argument("--context", help="a context of the kubeconfig (default: the current one)")


def add_change_options(command: argparse.ArgumentParser) -> None:
    """``--reason`` and ``--dry-run``."""
    command.add_argument("--reason", default="", metavar="TEXT", help="why; it is kept in the history")
    command.add_argument("--dry-run", action="store_true", help="say what would be done, and change nothing")


def add_reach_of_services(command: argparse.ArgumentParser) -> None:
    """``--address`` and ``--no-probes``."""
    command.add_argument(
        "--address", metavar="URL", help="where the service answers from here (default: its ingress; in a pod its own)"
    )
    command.add_argument("--no-probes", action="store_true", help="take KServe's word that the service is ready")
