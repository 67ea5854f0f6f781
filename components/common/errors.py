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


STORAGE_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO})


def storage_error(error: OSError, folder: Path, needed: int | None = None) -> Transient:
    """Turn a failed write below ``folder`` into one sentence with the needed and the free bytes."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    wanted = "" if needed is None else f"{needed:,} bytes are needed, "
    reason = os.strerror(error.errno or 0)
    return Transient(
        f"Cannot write to {existing}: {reason} ({wanted}{free:,} bytes are free); "
        "free some space or make the folder writable, then run the same command again."
    )
