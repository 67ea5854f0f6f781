"""Programs on a disk that is small: a tmpfs that only they see, in a mount namespace of their own."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
ALONE = ["unshare", "--map-root-user", "--mount"]
MOUNT = 'mount -t tmpfs -o size="$1" none "$2" && shift 2 && exec "$@"'


@cache
def _possible() -> bool:
    try:
        command = [*ALONE, "mount", "-t", "tmpfs", "none", "/mnt"]
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def on_small_disk(folder: Path, size: str, program: str, *arguments: object) -> subprocess.CompletedProcess:
    """Run ``program`` with a disk of ``size`` (as mount takes it) at ``folder``; its first argument is the folder."""
    if not _possible():
        pytest.skip("no file system can be mounted here: needs util-linux's unshare and user namespaces, or root")
    folder.mkdir(parents=True, exist_ok=True)
    python = [sys.executable, "-c", program, str(folder), *map(str, arguments)]
    command = [*ALONE, "sh", "-c", MOUNT, "sh", size, str(folder), *python]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)


def result(done: subprocess.CompletedProcess) -> Any:
    """What the program printed last, as JSON."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
