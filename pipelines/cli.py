"""The command ``expanse``: one file in ``pipelines/commands`` for each of its commands."""

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence

from components.common.errors import BadInput, ExpanseError

#: In the order in which a person meets them; each names a file in ``pipelines/commands``.
COMMANDS = (
    "run",
    "compile",
    "upload",
    "submit",
    "recipe",
    "plan",
    "step",
    "merge",
    "evaluate",
    "serve",
    "report",
    "promote",
    "rollback",
    "deploy",
    "history",
    "doctor",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns 0, 2 for bad input or a refusal, 3 for what may pass by itself, 130 when interrupted,
    141 when nobody reads its output any more.
    """
    options = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        check_packages()
        options.execute(options)
        sys.stdout.flush()
    except ExpanseError as error:
        if options.debug:
            raise
        print(f"expanse: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nexpanse: interrupted; finished work is kept, the same command goes on from here.", file=sys.stderr)
        return 130
    except (
        BrokenPipeError
    ):  # whoever read our output, such as `head`, has what it wanted; nothing more can be said there
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return 0


def check_packages() -> None:
    """Refuse to run when another distribution's ``components`` shadows ours."""
    import components

    if getattr(components, "PRODUCT", None) != "expanse":
        raise BadInput(f"{components.__path__} is not ours; run Expanse in an environment of its own.")


def parser() -> argparse.ArgumentParser:
    """The command line. A command's file has HELP, ``configure(parser)`` and ``execute(options)``."""
    options = argparse.ArgumentParser(
        prog="expanse", description="Multilingual post-training, from prompts to an endpoint."
    )
    options.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = options.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = importlib.import_module(f"pipelines.commands.{name}")
        command = commands.add_parser(name, help=module.HELP, description=module.HELP)
        module.configure(command)
        command.set_defaults(execute=module.execute)
    return options


if __name__ == "__main__":
    raise SystemExit(main())
