"""Stands in for a Python interpreter under kfp.local: hands a task over to the process of pipelines/tasks.py.

It runs isolated and without site-packages, which takes some 30 ms instead of 300, so it imports the standard library only.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from components.common.forking import ask

KILLED = 137


def main(arguments: list[str]) -> int:
    """The exit code of ``-m kfp.dsl.executor_main ARGUMENT...``."""
    answer = ask(os.environ["EXPANSE_TASKS"], {"arguments": arguments[2:]})
    return KILLED if answer is None else int(answer["exit_code"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
