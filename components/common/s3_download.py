"""Folders from S3: ranged requests side by side into preallocated files, each part noted, every byte verified."""

import errno
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from components.common.artifacts import MANIFEST, read_entries
from components.common.errors import STORAGE_ERRORS, BadInput, NoRoomError, storage_error
from components.common.s3_client import CHUNK, DamagedError, Location, StoppedError, attempt
from components.common.s3_parallel import run_all

PART = 32 << 20
ROUNDS = 3


def get_object(client: Any, location: Location, patient: bool = False) -> bytes:
    """The bytes of one small object; see ``attempt`` for ``patient`` and the errors."""

    def work() -> bytes:
        answer = client.get_object(Bucket=location.bucket, Key=location.key)
        with closing(answer["Body"]) as body:
            data: bytes = body.read()
        if len(data) != answer["ContentLength"]:
            raise DamagedError(f"{len(data):,} of {answer['ContentLength']:,} bytes arrived")
        return data

    return attempt(location, work, patient=patient)


def get_verified(client: Any, folder: Location, name: str, sha256: str) -> bytes:
    """The bytes of a small file of an artifact; raises BadInput when they keep having another digest."""
    for _ in range(ROUNDS):
        data = get_object(client, folder / name, patient=True)
        if hashlib.sha256(data).hexdigest() == sha256:
            return data
    raise _damaged(folder, name, f"does not have the sha256 {sha256}")


def download_folder(client: Any, source: Location, sha256: str, target: Path) -> None:
    """Make ``target`` the folder at ``source`` whose manifest has this digest.

    What is on its way lies beside ``target`` under a name with a dot, parts that arrived are noted in a journal: a
    killed download goes on with them. ``target`` appears by rename once all files have their digests. Raises NoRoomError
    when the disk is too small, before anything is transferred, BadInput when a stored file is damaged.
    """
    manifest = get_verified(client, source, MANIFEST, sha256)
    arriving = target.with_name(f".{target.name}.partial")
    needed = None
    try:
        journal = Journal(target.with_name(f".{target.name}.journal"), sha256)
        if journal.fresh:
            shutil.rmtree(arriving, ignore_errors=True)
        arriving.mkdir(parents=True, exist_ok=True)
        (arriving / MANIFEST).write_bytes(manifest)
        entries = read_entries(arriving)
        needed = _check_space(arriving, entries)
        files = [Arriving(arriving, name, entry["size"], entry["sha256"], journal) for name, entry in entries.items()]
        _fetch_all(client, source, files)
        shutil.rmtree(target, ignore_errors=True)
        arriving.rename(target)
        journal.path.unlink(missing_ok=True)
    except OSError as error:
        if error.errno not in STORAGE_ERRORS:
            raise
        raise storage_error(error, target.parent, needed) from error


def _fetch_all(client: Any, source: Location, files: list["Arriving"]) -> None:
    """Fetch what is missing, and files that then have another digest from their start, a few times."""
    for _ in range(ROUNDS):
        waiting = [file for file in files if not file.whole()]
        if not waiting:
            return
        run_all(partial(_fetch_part, client, source, file, part) for file in waiting for part in file.missing())
    damaged = next((file for file in files if not file.whole()), None)
    if damaged is not None:
        raise _damaged(source, damaged.name, "differs from its manifest")


def _damaged(folder: Location, name: str, how: str) -> BadInput:
    """While its commit is there a step counts as finished, and a file with the right name and checksum as sent."""
    artifact = str(folder).rpartition("/")[0]
    return BadInput(f"{folder / name} {how}; remove {artifact}/ whole, then run the step that makes it again.")


def _check_space(arriving: Path, entries: Mapping[str, Any]) -> int:
    """The bytes that are still to be allocated; raises NoRoomError before the transfer when the disk cannot hold them."""
    files = [arriving / name for name in entries]
    present = sum(path.stat().st_blocks * 512 for path in files if path.is_file())
    needed: int = sum(entry["size"] for entry in entries.values()) - present
    free = shutil.disk_usage(arriving).free
    if needed > free:
        raise NoRoomError(
            f"{arriving.parent} has too little space: {needed:,} bytes are needed, {free:,} bytes are free; give the "
            "step more scratch storage (EXPANSE_SCRATCH), then run it again.",
            needed - free,
        )
    return needed


class Journal:
    """Which parts of which files lie on disk: one line for each, after its last byte was handed to the kernel.

    It is a hint and no proof: a file counts when its digest is right.
    """

    def __init__(self, path: Path, sha256: str) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._title = f"{sha256} {PART}"
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        self._noted = {line for line in lines[1:] if line.startswith("[")} if lines[:1] == [self._title] else set()
        self.fresh = not self._noted
        if self.fresh:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{self._title}\n", encoding="utf-8")

    def parts(self, name: str, count: int) -> set[int]:
        """The parts of a file that were noted."""
        return {part for part in range(count) if self._line(name, part) in self._noted}

    def note(self, name: str, part: int) -> None:
        """Remember that a part is on disk."""
        with self._lock, self.path.open("a", encoding="utf-8") as file:
            file.write(self._line(name, part) + "\n")

    @staticmethod
    def _line(name: str, part: int) -> str:
        return json.dumps([name, part])


class Arriving:
    """One file on its way: preallocated, written part by part in any order, hashed in order behind the writers."""

    def __init__(self, folder: Path, name: str, size: int, sha256: str, journal: Journal) -> None:
        self.name, self.size, self._expected, self._journal = name, size, sha256, journal
        self._path = folder / name
        self._lock = threading.Lock()
        self._count = -(-size // PART)
        self._done = journal.parts(name, self._count) if self._allocate() else set()
        self._restart_hash()

    def _restart_hash(self) -> None:
        self._hash, self._hashed, self._hashing = hashlib.sha256(), 0, False

    def _allocate(self) -> bool:
        """Reserve the space; True if the file was there with its full size."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            if os.fstat(file.fileno()).st_size == self.size:
                return True
            file.truncate(self.size)
            if self.size:
                try:
                    os.posix_fallocate(file.fileno(), 0, self.size)
                except OSError as error:
                    if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                        raise
        return False

    def span(self, part: int) -> tuple[int, int]:
        """The first and the last byte of a part."""
        return part * PART, min((part + 1) * PART, self.size) - 1

    def missing(self) -> list[int]:
        """The parts that have not arrived."""
        return [part for part in range(self._count) if part not in self._done]

    def write(self, offset: int, data: bytes) -> None:
        """Put bytes in their place."""
        with self._path.open("r+b", buffering=0) as file:
            while data:
                written = os.pwrite(file.fileno(), data, offset)
                data, offset = data[written:], offset + written

    def arrived(self, part: int) -> None:
        """Note a part, and hash as far as the file is whole from its start, unless another thread is at that."""
        self._journal.note(self.name, part)
        with self._lock:
            self._done.add(part)
        self._advance()

    def _advance(self) -> None:
        while True:
            with self._lock:
                if self._hashing or self._hashed not in self._done:
                    return
                self._hashing = True
            first, last = self.span(self._hashed)
            with self._path.open("rb", buffering=0) as file:
                for offset in range(first, last + 1, CHUNK):
                    self._hash.update(os.pread(file.fileno(), min(CHUNK, last + 1 - offset), offset))
            with self._lock:
                self._hashed, self._hashing = self._hashed + 1, False

    def whole(self) -> bool:
        """Whether all parts are here with the right digest; if the digest is wrong the file starts anew."""
        if len(self._done) < self._count:
            return False
        self._advance()
        if self._hash.hexdigest() == self._expected:
            return True
        self._done.clear()
        self._restart_hash()
        return False


def _fetch_part(client: Any, source: Location, file: Arriving, part: int, stop: threading.Event) -> None:
    location = source / file.name
    attempt(location, partial(_receive, client, location, file, part, stop), stop, patient=True)
    file.arrived(part)


def _receive(client: Any, location: Location, file: Arriving, part: int, stop: threading.Event) -> None:
    first, last = file.span(part)
    answer = client.get_object(Bucket=location.bucket, Key=location.key, Range=f"bytes={first}-{last}")
    with closing(answer["Body"]) as body:
        if answer["ContentLength"] != last + 1 - first:
            raise DamagedError(f"{answer['ContentLength']:,} instead of {last + 1 - first:,} bytes were announced")
        while first <= last:
            if stop.is_set():
                raise StoppedError
            data = body.read(min(CHUNK, last + 1 - first))
            if not data:
                raise DamagedError(f"{last + 1 - first:,} bytes did not arrive")
            file.write(first, data)
            first += len(data)
