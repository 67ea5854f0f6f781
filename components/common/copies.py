"""The copies of artifacts in a scratch, evicted when room is needed; several processes and pods may share the scratch.

A process holds each copy that it was given until it ends, by a shared lock that the kernel or the file server drops with
it. What nobody holds goes first where it was used last the longest ago: it can always be fetched again.
"""

import errno
import fcntl
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from components.common.artifacts import MANIFEST
from components.common.errors import NoRoomError, storage_error
from components.common.store import locked, storage_explained

T = TypeVar("T")
SCRATCH = "EXPANSE_SCRATCH"
#: Of each copy that this process holds: the open file whose shared lock says so.
_HELD: dict[Path, int] = {}


def scratch_folder() -> Path:
    """Where attempts and copies lie: EXPANSE_SCRATCH, else a folder among the temporary ones."""
    return Path(os.environ.get(SCRATCH) or Path(tempfile.gettempdir(), "expanse")).absolute()


def require_space(folder: Path, needed: int) -> None:
    """Raise NoRoomError when ``needed`` bytes do not fit below ``folder``, once the copies on its disk have made room."""

    def check() -> None:
        if shutil.disk_usage(folder).free < needed:
            raise storage_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), folder, needed)

    copies = Copies(scratch_folder())
    beside = copies.folder.is_dir() and copies.folder.stat().st_dev == folder.stat().st_dev
    copies.with_room(check) if beside else check()


class Copies:
    """The copies below ``<scratch>/artifacts``, each named by its digest, with its address and its unfinished transfer."""

    def __init__(self, scratch: Path) -> None:
        self.folder, self._locks, self._attempts = scratch / "artifacts", scratch / "locks", scratch / "attempts"

    def path(self, sha256: str) -> Path:
        """Where the copy of the artifact with this digest lies, or would."""
        return self.folder / sha256

    @contextmanager
    def held(self, sha256: str) -> Iterator[Path]:
        """The copy's path, for one process at a time to fill or look at; from here on nobody may evict it."""
        with locked(self._locks / sha256):
            use = self._locks / sha256 / "use"
            if use not in _HELD:
                descriptor = os.open(use, os.O_CREAT | os.O_RDWR)
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                _HELD[use] = descriptor
            yield self.path(sha256)

    def with_room(self, work: Callable[[], T]) -> T:
        """What ``work`` returns; where it finds too little room copies go, and it is called again.

        Raises NoRoomError once there is no copy left that could go.
        """
        freed = 1
        while True:
            try:
                with storage_explained(self.folder):
                    return work()
            except NoRoomError as error:
                before, freed = freed, self.evict(error.lacking)
                if not before and not freed:  # twice, since another process may just have made room
                    raise

    def evict(self, wanted: float) -> int:
        """Remove copies that nobody holds, those first that were not used the longest, until ``wanted`` bytes are free.

        Before them goes what killed attempts had half written. Returns how many bytes became free, and says on standard
        error what they were.
        """
        with locked(self._locks / "evicting"):
            freed = sum(self._remove_torn(output) for output in self._attempts.glob("*/*/output"))
            for used, sha256 in self._by_last_use():
                if freed >= wanted:
                    break
                freed += self._remove(sha256, used)
        return freed

    def _by_last_use(self) -> list[tuple[float, str]]:
        """When each of what is here was used last, also what a killed transfer has left, and its digest; oldest first."""
        used: dict[str, float] = {}
        for path in self.folder.glob("*"):
            name = path.name.lstrip(".").partition(".")[0]
            used[name] = max(used.get(name, 0.0), _modified(path))
        return sorted((seconds, name) for name, seconds in used.items())

    def _remove(self, sha256: str, used: float) -> int:
        with ExitStack() as stack:
            if not all(stack.enter_context(_alone(self._locks / sha256 / name)) for name in ("lock", "use")):
                return 0
            last = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(used))
            return _delete(list(self.folder.glob(f"*{sha256}*")), f"{self.path(sha256)}, last used {last}")

    def _remove_torn(self, output: Path) -> int:
        """A finished output waits to be sent, and checkpoints beside it for the next attempt: those stay."""
        with _alone(output.parent / "lock") as alone:
            torn = alone and not (output / MANIFEST).is_file()
            return _delete([output], f"{output}, which an attempt that was killed has left") if torn else 0


def _delete(paths: list[Path], what: str) -> int:
    """Remove files and folders as far as that is allowed; returns and says how many bytes became free."""
    before = sum(map(_allocated, paths))
    for path in paths:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    freed = before - sum(map(_allocated, paths))
    if freed:
        print(f"Evicted {what} ({freed:,} bytes) to make room.", file=sys.stderr, flush=True)
    return freed


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Whether nobody else has a lock on this file; held alone while the block runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)


def _modified(path: Path) -> float:
    """When a file changed last; 0 where there is none, or no longer."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _allocated(path: Path) -> int:
    """The bytes that a file, or all files below a folder, take on the disk."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(each.stat().st_blocks * 512 for each in files if each.is_file())
