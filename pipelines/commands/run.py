"""``expanse run``: the whole recipe on this machine."""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from components.common.errors import BadInput
from pipelines.commands import CHAPTERS, add_recipe_options

if TYPE_CHECKING:
    from pipelines.recipe import Recipe

HELP = "the whole recipe on this machine; resumes by itself"


def configure(command: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_recipe_options(command, "mini")
    command.add_argument("--root", type=Path, help="the run's folder (default: runs/RECIPE)")
    command.add_argument("--until", choices=CHAPTERS, default=CHAPTERS[-1], help="stop after this chapter")
    command.add_argument(
        "--jobs", type=int, metavar="N", help="run N steps at a time (default: one a core in the miniature, else 1)"
    )
    command.add_argument("--fresh", action="store_true", help="discard finished work first")


def execute(options: argparse.Namespace) -> None:
    """Run, show progress, and end with the table of gains."""
    from rich.console import Console

    from pipelines.expanse import count_steps
    from pipelines.loading import load_recipe
    from pipelines.local import LocalRun
    from pipelines.progress import show_all
    from pipelines.summary import show, summarise

    if options.jobs is not None and options.jobs < 1:
        raise BadInput(f"--jobs {options.jobs}: at least one step must run at a time; give 1 or more.")
    recipe = load_recipe(options.recipe, options.set)
    refuse_without_gpus(recipe, options.until)
    started, console = time.monotonic(), Console()
    root = options.root or Path("runs") / recipe.name
    with LocalRun(recipe, root, options.until, options.jobs) as local:
        if options.fresh:
            local.discard_finished_work()
        console.print(f"Recipe {recipe.name} ({recipe.digest[:12]}) in {local.root}", highlight=False, soft_wrap=True)
        finished = show_all(local.follow(), count_steps(recipe, options.until), console)
        summary = summarise(recipe, finished, time.monotonic() - started, local.root, local.tracking_uri)
        local.finish(summary, [local.root / "report.html"] if summary["report"] else [])
    show(summary, console)
    console.print(f"done in {summary['seconds']:.0f} s", highlight=False)


def refuse_without_gpus(recipe: "Recipe", until: str) -> None:
    """Raise BadInput when a step up to the chapter ``until`` asks for a GPU and torch sees none.

    Found out here, it costs a second; found out by the step, the downloads before it.
    """
    from pipelines.planning.walking import walk

    if recipe.miniature:
        return
    step = next((step for step in walk(recipe, until) if step.machine.gpus), None)
    if step is None:
        return
    import torch

    if not torch.cuda.is_available():
        raise BadInput(
            f"{step.name} of recipe {recipe.name} asks for GPUs ({step.machine.gpus}) and torch sees none here; run it on a "
            "cluster with `expanse submit`, or set the gpus of its machine under resources to 0."
        )
