"""``expanse upload``: recipes in the list of Kubeflow Pipelines, for people to start from its UI."""

import argparse

from components.common.errors import BadInput

HELP = "put compiled recipes into the list of Kubeflow Pipelines"


def configure(command: argparse.ArgumentParser) -> None:
    """The options of the command."""
    command.add_argument("--host", required=True, metavar="URL", help="the address of Kubeflow Pipelines")
    command.add_argument(
        "--recipe",
        action="append",
        required=True,
        metavar="RECIPE",
        help="a shipped recipe (mini, 8b, 32b) or a YAML file; may be given several times",
    )
    command.add_argument("--namespace", help="the namespace that owns the pipelines, where KFP has several users")


def execute(options: argparse.Namespace) -> None:
    """Check every recipe before the first upload, then upload each and say what is there now."""
    from pipelines.loading import load_recipe
    from pipelines.uploading import require_store, upload

    recipes = [load_recipe(name) for name in options.recipe]
    names = [recipe.name for recipe in recipes]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise BadInput(
            f"Two recipes have the name {twice!r}; give each its own, for their pipelines are named after them."
        )
    for recipe in recipes:
        require_store(recipe)
    for recipe in recipes:
        done = upload(options.host, recipe, options.namespace)
        print(f"{done.pipeline}: version {done.version} {'uploaded' if done.fresh else 'is there already'}", flush=True)
