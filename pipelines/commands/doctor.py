"""``expanse doctor``: whether this machine or pod is fit to run steps, and what it reaches."""

import argparse

from pipelines.commands import add_reach_options

HELP = "look at this machine or pod: packages, GPUs, disks, store, services, cluster"


def configure(command: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_reach_options(command)
    command.add_argument("--json", action="store_true", help="print JSON instead of a table")


def execute(options: argparse.Namespace) -> None:
    """Print what was found; ends with 2 when something is wrong, 3 when it may pass by itself."""
    from pipelines.checks.collecting import check_machine
    from pipelines.checks.showing import report

    report(check_machine(options.host, options.context), options.json)
