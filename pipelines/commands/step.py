"""``expanse step STAGE``: one stage alone."""

import argparse

from components.common.standalone import add_options, run_alone
from components.common.step import stages

HELP = "one stage alone"


def configure(command: argparse.ArgumentParser) -> None:
    """The options of the command."""
    command.add_argument("stage", help=f"{', '.join(stages())}; components/STAGE/README.md is its contract")
    add_options(command)


def execute(options: argparse.Namespace) -> None:
    """Run the stage and print its reference."""
    run_alone(options.stage, options)
