"""``expanse merge``: short for ``expanse step merging``."""

import argparse

from components.common.standalone import add_options, run_alone

HELP = "merge models: short for 'step merging'"


def configure(command: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_options(command)


def execute(options: argparse.Namespace) -> None:
    """Run the stage and print its reference."""
    run_alone("merging", options)
