"""The process that runs the graph under kfp.local: ``python -m pipelines.engine RUN_FOLDER CHAPTER JOBS``."""

import os
import signal
import sys
import threading
from pathlib import Path

from kfp import local

from pipelines import tasks
from pipelines.ahead import working_ahead
from pipelines.expanse import build
from pipelines.planning.walking import walk
from pipelines.recipe import Recipe


def main(folder: Path, until: str, jobs: int) -> None:
    """Build the recipe's graph and run it, ``jobs`` steps at a time; raises RuntimeError when a step fails."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.executable = tasks.command()  # kfp.local 2.17 pastes it into a shell command
    recipe = Recipe.model_validate_json((folder / "recipe.json").read_text(encoding="utf-8"))
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(folder / "kfp"), raise_on_error=True)
    with working_ahead(walk(recipe, until), jobs, folder):
        build(recipe, lambda *_: None, until)()


def _end_with_parent() -> None:
    """Wait until the run that started us is gone, then end with every step that is still at work."""
    sys.stdin.read()
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
