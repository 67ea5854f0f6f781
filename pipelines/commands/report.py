"""``expanse report``: a run's table once more."""

import argparse
from pathlib import Path

HELP = "print a run's table and where its report lies"


def configure(command: argparse.ArgumentParser) -> None:
    """The options of the command."""
    command.add_argument("--root", type=Path, default=Path("runs/mini"), help="the run's folder (default: %(default)s)")


def execute(options: argparse.Namespace) -> None:
    """Print the table."""
    from rich.console import Console

    from pipelines.summary import read, show

    show(read(options.root), Console())
