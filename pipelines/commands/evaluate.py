"""``expanse evaluate``: short for ``expanse step evaluation``."""

import argparse

from components.common.standalone import add_options, run_alone

HELP = "evaluate a model: short for 'step evaluation'"


def configure(command: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_options(command)


def execute(options: argparse.Namespace) -> None:
    """Run the stage and print its reference."""
    run_alone("evaluation", options)
