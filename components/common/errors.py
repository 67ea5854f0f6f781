"""What can go wrong, in the two classes a caller acts on: fix the input, or try again."""

import errno
import os
import shutil
from pathlib import Path


class ExpanseError(Exception):
    """One sentence that names the file, line, field or object, and what to do about it."""

    exit_code = 1


class BadInput(ExpanseError):
    """The input is wrong or the request is refused: retrying cannot help."""

    exit_code = 2


class Transient(ExpanseError):
    """The world got in the way (disk, network, memory): retrying may help."""

    exit_code = 3


def error_of(exit_code: int, words: str) -> ExpanseError:
    """The error that another process ended with, of the class that its exit code stands for."""
    kinds: dict[int, type[ExpanseError]] = {2: BadInput, 3: Transient}
    return kinds.get(exit_code, ExpanseError)(words)


class NoRoomError(Transient):
    """A disk or a quota is full; ``lacking`` more free bytes would have been enough, as far as is known."""

    def __init__(self, sentence: str, lacking: int) -> None:
        super().__init__(sentence)
        self.lacking = lacking


FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
#: The path is of another kind than what should be written there: no disk, and no second attempt, changes that.
WRONG_PATH = frozenset({errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP})
STORAGE_ERRORS = FULL | {errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG}


def storage_error(
    error: OSError, folder: Path, needed: int | None = None, at_least: bool = False
) -> BadInput | Transient:
    """Turn a failed write below ``folder`` into one sentence: with the needed and the free bytes, or the path that is wrong.

    ``at_least`` says that ``needed`` is no more than what had been written by then.
    """
    if error.errno in WRONG_PATH:
        return BadInput(f"{error.filename or folder} cannot be written: {os.strerror(error.errno)}; give another path.")
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    wanted = "" if needed is None else f"{'more than ' if at_least else ''}{needed:,} bytes are needed, "
    reason = os.strerror(error.errno or 0)
    sentence = (
        f"Cannot write to {existing}: {reason} ({wanted}{free:,} bytes are free); "
        "free some space or make the folder writable, then run the same command again."
    )
    if error.errno not in FULL:
        return Transient(sentence)
    # A quota is full while the disk is not: then all that is needed is lacking.
    return NoRoomError(sentence, needed - free if needed and needed > free else needed or 1)
