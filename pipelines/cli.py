"""The command ``expanse``."""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from components.common.errors import BadInput, ExpanseError

CHAPTERS = ("sources", "arbitrage", "sft", "offline", "online", "evaluation", "release")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns 0, 2 for bad input or a refusal, 3 for what may pass by itself, 130 when interrupted."""
    options = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        check_packages()
        options.command(options)
    except ExpanseError as error:
        if options.debug:
            raise
        print(f"expanse: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nexpanse: interrupted; finished work is kept, the same command goes on from here.", file=sys.stderr)
        return 130
    return 0


def check_packages() -> None:
    """Refuse to run when another distribution's ``components`` shadows ours."""
    import components

    if getattr(components, "PRODUCT", None) != "expanse":
        raise BadInput(f"{components.__path__} is not ours; run Expanse in an environment of its own.")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(
        prog="expanse", description="Multilingual post-training, from prompts to an endpoint."
    )
    options.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = options.add_subparsers(title="commands", required=True, metavar="COMMAND")

    command = _command(commands, "run", run, "the whole recipe on this machine; resumes by itself")
    _recipe(command, "mini")
    command.add_argument("--root", type=Path, help="the run's folder (default: runs/RECIPE)")
    command.add_argument("--until", choices=CHAPTERS, default=CHAPTERS[-1], help="stop after this chapter")
    command.add_argument("--fresh", action="store_true", help="discard finished work first")

    command = _command(commands, "compile", compile_pipeline, "write a recipe's graph as KFP pipeline YAML")
    _recipe(command, "mini")
    command.add_argument("--output", type=Path, default=Path("pipeline.yaml"))

    command = _command(commands, "recipe", show_recipe, "print a recipe with every default, or the schema")
    _recipe(command, "mini")
    command.add_argument("--schema", action="store_true", help="print the JSON schema instead")

    from components.common.standalone import add_options

    command = _command(commands, "step", step, "one stage alone")
    command.add_argument("stage")
    add_options(command)
    for stage, name, words in (("merging", "merge", "merge models"), ("evaluation", "evaluate", "evaluate a model")):
        command = _command(commands, name, step, f"{words}: short for 'step {stage}'")
        command.set_defaults(stage=stage)
        add_options(command)

    command = _command(commands, "serve", serve, "the KServe predictor on this machine")
    command.add_argument("model", type=Path)
    command.add_argument("--port", type=int, default=8080)
    command.add_argument("--host", default="127.0.0.1")
    command.add_argument("--name", default="expanse")

    command = _command(commands, "report", report, "print a run's table and where its report lies")
    command.add_argument("--root", type=Path, default=Path("runs/mini"))
    return options


def run(options: argparse.Namespace) -> None:
    """``expanse run``."""
    from rich.console import Console

    from pipelines.expanse import count_steps
    from pipelines.loading import load_recipe
    from pipelines.local import LocalRun
    from pipelines.progress import show_all
    from pipelines.summary import show, summarise

    recipe = load_recipe(options.recipe, options.set)
    started, console = time.monotonic(), Console()
    root = options.root or Path("runs") / recipe.name
    with LocalRun(recipe, root, options.until) as local:
        if options.fresh:
            local.discard_finished_work()
        console.print(f"Recipe {recipe.name} ({recipe.digest[:12]}) in {local.root}", highlight=False, soft_wrap=True)
        finished = show_all(local.follow(), count_steps(recipe, options.until), console)
        summary = summarise(recipe, finished, time.monotonic() - started, local.root, local.tracking_uri)
        local.finish(summary, [local.root / "report.html"] if summary["report"] else [])
    show(summary, console)
    console.print(f"done in {summary['seconds']:.0f} s", highlight=False)


def compile_pipeline(options: argparse.Namespace) -> None:
    """``expanse compile``."""
    from pipelines.compiling import compile_recipe
    from pipelines.loading import load_recipe

    compile_recipe(load_recipe(options.recipe, options.set), options.output)
    print(f"{options.output}: upload it to Kubeflow Pipelines, or run it with `expanse submit`.")


def show_recipe(options: argparse.Namespace) -> None:
    """``expanse recipe``."""
    from pipelines.loading import load_recipe
    from pipelines.recipe import Recipe

    if options.schema:
        print(json.dumps(Recipe.model_json_schema(), indent=1))
    else:
        print(load_recipe(options.recipe, options.set).model_dump_json(indent=1))


def step(options: argparse.Namespace) -> None:
    """``expanse step STAGE``, ``expanse merge``, ``expanse evaluate``."""
    from components.common.standalone import run_alone

    run_alone(options.stage, options)


def serve(options: argparse.Namespace) -> None:
    """``expanse serve``."""
    from serving.predictor import serve as start

    start(options.model, options.name, options.host, options.port)


def report(options: argparse.Namespace) -> None:
    """``expanse report``."""
    from rich.console import Console

    from pipelines.summary import read, show

    show(read(options.root), Console())


def _command(
    commands: Any, name: str, function: Callable[[argparse.Namespace], None], help_text: str
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=help_text, description=help_text)
    command.set_defaults(command=function)
    return command


def _recipe(command: argparse.ArgumentParser, default: str) -> None:
    command.add_argument(
        "--recipe", default=default, help="a shipped recipe (mini, 8b, 32b) or a YAML file (default: %(default)s)"
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="override a field, such as offline.dpo.beta=0.2",
    )


if __name__ == "__main__":
    raise SystemExit(main())
