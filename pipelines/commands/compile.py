"""``expanse compile``: a recipe's graph as a file for Kubeflow Pipelines."""

import argparse
import sys
from pathlib import Path

from pipelines.commands import add_recipe_options

HELP = "write a recipe's graph as KFP pipeline YAML"


def configure(command: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_recipe_options(command, "mini")
    command.add_argument(
        "--output",
        type=Path,
        default=Path("pipeline.yaml"),
        metavar="FILE",
        help="where to write (default: %(default)s)",
    )


def execute(options: argparse.Namespace) -> None:
    """Compile and say where the file lies."""
    from pipelines.compiling import compile_recipe
    from pipelines.images import stale_images
    from pipelines.loading import load_recipe

    compile_recipe(load_recipe(options.recipe, options.set), options.output)
    if stale := stale_images():
        print(f"expanse: {stale}", file=sys.stderr)
    print(f"{options.output}: upload it to Kubeflow Pipelines, or run it with `expanse submit`.")
