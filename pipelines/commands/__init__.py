"""The commands of ``expanse``, a file each; what several of them ask for stands here."""

import argparse

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
