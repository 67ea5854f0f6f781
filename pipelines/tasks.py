"""The process that KFP's tasks are forked from on this machine: it has imported kfp and the stages' configurations once.

kfp.local starts ``<python> -m kfp.dsl.executor_main ...`` for each task, a third of a second before anything of ours
runs. ``command()`` is what it starts instead: pipelines/launcher.py, which hands its arguments over to this process.
A step that runs ahead of its place (pipelines/ahead.py) is a child of this process too, with the shell but without kfp.local.
"""

import gc
import importlib
import shlex
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace

from components.common import forking

ADDRESS = "EXPANSE_TASKS"
EXECUTOR = "kfp.dsl.executor_main"


def command() -> str:
    """What kfp.local pastes into its shell command in the place of a Python interpreter."""
    launcher = Path(__file__).with_name("launcher.py")
    return f"{shlex.quote(sys.executable)} -I -S {shlex.quote(str(launcher))}"


def preload() -> None:
    """The imports that every task needs, and the digests of the stages' code."""
    from components.common.step import code_digest, load_stage, stages

    for module in (EXECUTOR, "components.common.execution"):
        importlib.import_module(module)
    for stage in stages():
        load_stage(stage)
        importlib.import_module(f"components.{stage}.component")
        code_digest(stage)
    gc.freeze()


def run(message: forking.Message) -> forking.Message:
    """Run KFP's executor with these arguments, or one shell; the exit code as plain data."""
    try:
        _run_shell(message) if "shell" in message else _execute(message["arguments"])
    except SystemExit as exit_:
        code = exit_.code
        return {"exit_code": code if isinstance(code, int) else 0 if code is None else 1}
    except BaseException:
        traceback.print_exc()
        return {"exit_code": 1}
    return {"exit_code": 0}


def _execute(arguments: list[str]) -> None:
    """Do what ``python -m kfp.dsl.executor_main`` does with these arguments."""
    from kfp.dsl import executor_main

    sys.argv = [EXECUTOR, *arguments]
    executor_main.executor_main()


def _run_shell(message: forking.Message) -> None:
    """Call a shell as KFP's executor would; ``artifacts`` maps the names of its inputs and outputs to files."""
    shell = getattr(importlib.import_module(f"components.{message['stage']}.component"), message["shell"])
    artifacts = {name: SimpleNamespace(path=path, metadata={}) for name, path in message["artifacts"].items()}
    shell.python_func(**message["parameters"], **artifacts)


if __name__ == "__main__":
    forking.serve(int(sys.argv[1]), preload, run)
