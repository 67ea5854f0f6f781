"""``expanse plan``: what a recipe would take, before anything runs."""

import argparse
import json

from pipelines.commands import CHAPTERS, add_recipe_options

HELP = "GPUs, hours, tokens, storage and cost of a recipe, with every assumption"


def configure(command: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_recipe_options(command, "8b")
    command.add_argument("--until", choices=CHAPTERS, default=CHAPTERS[-1], help="plan up to this chapter")
    command.add_argument("--json", action="store_true", help="print JSON instead of tables")


def execute(options: argparse.Namespace) -> None:
    """Print the plan."""
    from rich.console import Console

    from pipelines.loading import load_recipe
    from pipelines.planning.planner import plan
    from pipelines.planning.showing import as_json, show

    planned = plan(load_recipe(options.recipe, options.set), options.until)
    if options.json:
        print(json.dumps(as_json(planned), indent=1, ensure_ascii=False))
    else:
        show(planned, Console())
