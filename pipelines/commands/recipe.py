"""``expanse recipe``: a recipe with every default, or the schema of recipes."""

import argparse
import json

from pipelines.commands import add_recipe_options

HELP = "print a recipe with every default, or the schema"


def configure(command: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_recipe_options(command, "mini")
    command.add_argument("--schema", action="store_true", help="print the JSON schema instead")


def execute(options: argparse.Namespace) -> None:
    """Print JSON."""
    from pipelines.loading import load_recipe
    from pipelines.recipe import Recipe

    if options.schema:
        print(json.dumps(Recipe.model_json_schema(), indent=1))
    else:
        print(load_recipe(options.recipe, options.set).model_dump_json(indent=1))
