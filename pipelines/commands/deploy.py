"""``expanse deploy``: a registered version on a service, outside of a run."""

import argparse

from pipelines.commands import add_change_options, add_reach_of_services, add_registry_options

HELP = "deploy a registered version"


def configure(command: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_registry_options(command)
    command.add_argument("--version", type=int, metavar="N", help="default: the version that the alias is on")
    command.add_argument(
        "--name", metavar="SERVICE", help="the service (default: the recipe's, or the model's only one)"
    )
    command.add_argument(
        "--recipe", help="whose deployment says hardware and probes (default: the service keeps its own)"
    )
    command.add_argument("--force", default="", metavar="REASON", help="deploy what did not pass; kept in the history")
    add_reach_of_services(command)
    add_change_options(command)


def execute(options: argparse.Namespace) -> None:
    """Say what is done, do it, and end with what answers."""
    from pipelines.releasing.deploying import deploy

    for line in deploy(options):
        print(line, flush=True)
