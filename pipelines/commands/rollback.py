"""``expanse rollback``: the alias and the services back to the version before."""

import argparse

from pipelines.commands import add_change_options, add_reach_of_services, add_registry_options

HELP = "put a model and its services back to the version before"


def configure(command: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_registry_options(command)
    command.add_argument("--to", type=int, metavar="N", help="this version (default: the one before, by the history)")
    command.add_argument("--alias-only", action="store_true", help="leave the services as they are")
    add_reach_of_services(command)
    add_change_options(command)


def execute(options: argparse.Namespace) -> None:
    """Say what is done, do it, and end with what answers."""
    from pipelines.releasing.rolling_back import roll_back

    for line in roll_back(options):
        print(line, flush=True)
