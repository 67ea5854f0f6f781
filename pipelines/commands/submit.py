"""``expanse submit``: a recipe as a run of Kubeflow Pipelines."""

import argparse
import sys
from pathlib import Path

from pipelines.commands import add_recipe_options

HELP = "run a recipe on Kubeflow Pipelines"


def configure(command: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_recipe_options(command, "8b")
    command.add_argument("--host", required=True, metavar="URL", help="the address of Kubeflow Pipelines")
    command.add_argument("--namespace", help="the namespace of the run, where KFP has several users")
    command.add_argument("--experiment", metavar="NAME", help="default: the recipe's; made if it is not there")
    command.add_argument("--run-name", metavar="NAME", help="default: the recipe's name and digest")
    command.add_argument(
        "--service-account",
        metavar="NAME",
        help="the pods' service account (default: the recipe's platform.service_account)",
    )
    command.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="a token for KFP (default: the variable KFP_TOKEN, else the pod's own)",
    )
    command.add_argument("--wait", action="store_true", help="show what happens until the run ends")
    command.add_argument(
        "--cache",
        action=argparse.BooleanOptionalAction,
        help="let KFP skip tasks that it has seen (default: where their image is pinned by digest)",
    )
    command.add_argument("--dry-run", action="store_true", help="compile and check, but ask nobody and start nothing")


def execute(options: argparse.Namespace) -> None:
    """Submit, say where the run is to be seen, and wait for its end if asked to."""
    from pipelines.following import follow
    from pipelines.loading import load_recipe
    from pipelines.submitting import Request, rehearse, submit

    recipe = load_recipe(options.recipe, options.set)
    names = ("host", "namespace", "experiment", "run_name", "service_account", "token_file", "cache")
    request = Request(**{name: getattr(options, name) for name in names})
    if options.dry_run:
        print(rehearse(recipe, request))
        return
    run = submit(recipe, request)
    print(f"run {run.run_id}: {run.link}", flush=True)
    if options.wait:
        try:
            for change in follow(run):
                print(change, flush=True)
        except KeyboardInterrupt:  # the same command again would start a second run
            print(f"\nexpanse: no longer waiting; the run goes on: {run.link}", file=sys.stderr)
            raise SystemExit(130) from None
        print(f"done: {run.link}")
