"""``expanse plan``: what a recipe would take, before anything runs."""

import argparse
import json
from typing import TYPE_CHECKING

from pipelines.commands import CHAPTERS, add_reach_options, add_recipe_options

if TYPE_CHECKING:
    from pipelines.recipe import Recipe

HELP = "GPUs, hours, tokens, storage and cost of a recipe, with every assumption"


def configure(command: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_recipe_options(command, "8b")
    command.add_argument("--until", choices=CHAPTERS, default=CHAPTERS[-1], help="plan up to this chapter")
    command.add_argument("--check", action="store_true", help="look whether all that the run needs is there instead")
    add_reach_options(command)
    command.add_argument("--json", action="store_true", help="print JSON instead of tables")


def execute(options: argparse.Namespace) -> None:
    """Print the plan, or what the checks found: then it ends with 2 when one failed, 3 when it may pass by itself."""
    from pipelines.loading import load_recipe

    recipe = load_recipe(options.recipe, options.set)
    if options.check:
        from pipelines.checks.collecting import check_recipe
        from pipelines.checks.showing import report

        report(check_recipe(recipe, options.host, options.context), options.json)
    else:
        _print_plan(recipe, options)


def _print_plan(recipe: "Recipe", options: argparse.Namespace) -> None:
    from rich.console import Console

    from pipelines.planning.planner import plan
    from pipelines.planning.showing import as_json, show

    planned = plan(recipe, options.until)
    if options.json:
        print(json.dumps(as_json(planned), indent=1, ensure_ascii=False))
    else:
        show(planned, Console())
