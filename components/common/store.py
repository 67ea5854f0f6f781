"""Stores: where artifacts live. ``file://`` here; any other scheme implements the same small interface."""

import errno
import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from components.common.artifacts import (
    MANIFEST,
    Provenance,
    Reference,
    Scalar,
    read_manifest,
    sync,
    verify,
    write_manifest,
)
from components.common.errors import FULL, STORAGE_ERRORS, BadInput, ExpanseError, storage_error

ATTEMPTS = ".attempts"
Produce = Callable[[Path], Mapping[str, Scalar]]


class Store(Protocol):
    """Finds, fetches and commits artifacts by key."""

    def find(self, stage: str, key: str) -> Reference | None:
        """The committed artifact under this key, or None."""

    def fetch(self, reference: Reference) -> Path:
        """A local folder with the artifact's files, every byte verified against the manifest."""

    def produce(self, provenance: Provenance, produce: Produce) -> Reference:
        """Call ``produce`` with an empty folder and commit what it leaves there; find it if another attempt was first."""

    def keep(self, group: str, name: str, folder: Path) -> None:
        """Make a folder with a manifest outlive this machine: a checkpoint, a finished shard of an unfinished step.

        ``group`` is ``<stage>-<key>/<what it belongs to>``; the commit of that stage and key forgets it. A store whose
        scratch is durable has nothing to do.
        """

    def kept(self, group: str) -> list[str]:
        """The names of what is kept whole in a group, sorted."""

    def restore(self, group: str, name: str, folder: Path) -> bool:
        """Make ``folder`` what was kept under this name, verified; False if it is not there or not whole."""

    def forget(self, group: str, names: Collection[str] | None = None) -> None:
        """Remove what is kept in a group: these names, or everything."""


class LocalStore:
    """Artifacts under ``<root>/<stage>/<key>``, committed by one rename.

    Attempts work in ``<root>/.attempts/<stage>-<key>/``, under a lock that the kernel drops when a process dies: a second
    attempt at the same key waits for the first and then finds its result.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def find(self, stage: str, key: str) -> Reference | None:
        """See Store.find; a folder whose manifest cannot be read does not count."""
        folder = self.root / stage / key
        if not (folder / MANIFEST).is_file():
            return None
        try:
            return read_manifest(folder)
        except BadInput:
            return None

    def fetch(self, reference: Reference) -> Path:
        """See Store.fetch; the folder is the artifact's own, nothing is copied.

        One that is damaged is refused and from then on not found, so that running its step again makes it anew.
        """
        if not _is_local(reference.uri):
            return open_store(reference.uri).fetch(reference)
        try:
            return fetch_local(reference)
        except BadInput:
            self._disown(folder_of(reference.uri))
            raise

    def _disown(self, folder: Path) -> None:
        """Take the manifest from a folder of this store that no longer is what its manifest says."""
        if folder.parent.parent != self.root.resolve() or not (folder / MANIFEST).is_file():
            return
        with suppress(OSError), locked(self.root / ATTEMPTS / f"{folder.parent.name}-{folder.name}"):
            try:
                verify(folder)
            except BadInput:
                (folder / MANIFEST).rename(folder / f"damaged-{MANIFEST}")

    def produce(self, provenance: Provenance, produce: Produce) -> Reference:
        """See Store.produce; raises Transient when the disk is full or read-only."""
        final = self.root / provenance.stage / provenance.key
        attempts = self.root / ATTEMPTS / f"{provenance.stage}-{provenance.key}"
        output = attempts / f"output-{uuid.uuid4().hex[:8]}"
        try:
            with storage_explained(attempts, output), locked(attempts):
                return self.find(provenance.stage, provenance.key) or self._attempt(provenance, produce, output, final)
        finally:
            shutil.rmtree(output, ignore_errors=True)

    def _attempt(self, provenance: Provenance, produce: Produce, output: Path, final: Path) -> Reference:
        for leftover in output.parent.glob("output-*"):
            shutil.rmtree(leftover)
        output.mkdir()
        write_manifest(output, provenance, produce(output))
        if final.exists():  # a directory without a readable manifest: damage, since the lock excludes a rival
            shutil.rmtree(final)
        final.parent.mkdir(parents=True, exist_ok=True)
        output.rename(final)
        sync(final.parent)
        shutil.rmtree(scratch(output), ignore_errors=True)
        return read_manifest(final)

    def keep(self, group: str, name: str, folder: Path) -> None:
        """Nothing: the scratch lies beside the artifacts."""

    def kept(self, group: str) -> list[str]:
        """Nothing is kept."""
        return []

    def restore(self, group: str, name: str, folder: Path) -> bool:
        """Nothing is kept."""
        return False

    def forget(self, group: str, names: Collection[str] | None = None) -> None:
        """Nothing is kept."""


def scratch(output: Path) -> Path:
    """A folder beside a stage's output that outlives a failed attempt: for checkpoints and finished shards."""
    folder = output.parent / "scratch"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def open_store(uri: str) -> Store:
    """The store at ``uri``; raises BadInput for a scheme that is not known."""
    if uri.startswith("s3://"):
        from components.common.s3_store import S3Store

        return S3Store(uri)
    if _is_local(uri):
        return LocalStore(folder_of(uri))
    raise BadInput(f"The store {uri!r} has an unknown scheme; use file:///absolute/folder or s3://bucket/prefix.")


def fetch_local(reference: Reference) -> Path:
    """The folder of an artifact on this machine, verified; raises BadInput when it is not there or damaged."""
    folder = folder_of(reference.uri)
    if not (folder / MANIFEST).is_file():
        raise BadInput(f"{folder} holds no committed artifact; run the step that makes it again.")
    verify(folder, reference.digest)
    return folder


def files_of(reference: Reference, names: Sequence[str]) -> dict[str, Path]:
    """Those of the named small files that an artifact has, as files of this machine; nothing else of it is fetched."""
    if _is_local(reference.uri):
        folder = folder_of(reference.uri)
        return {name: folder / name for name in names if (folder / name).is_file()}
    from components.common.s3_store import S3Store

    return S3Store(reference.uri).files(reference, names)


def uri_of(folder: Path) -> str:
    """The address by which other machines know a fetched artifact; that of the folder itself where it is its own."""
    known = origin(folder)
    return known.read_text(encoding="utf-8") if known.is_file() else folder.resolve().as_uri()


def origin(copy: Path) -> Path:
    """The file beside a fetched copy that holds the artifact's address."""
    return copy.with_name(f"{copy.name}.uri")


def _is_local(uri: str) -> bool:
    return urlsplit(uri).scheme == "file"


def folder_of(uri: str) -> Path:
    """The local folder that a ``file://`` address names."""
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        raise BadInput(f"{uri!r} is not a local file:// address.")
    return Path(unquote(parts.path))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold ``folder`` alone, waiting for others; the kernel lets go when the process dies."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, folder) from error
    descriptor = os.open(folder / "lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def storage_explained(folder: Path, output: Path | None = None) -> Iterator[None]:
    """Turn failed writes below ``folder`` into Transient; ``output`` is what was being written, as far as it came."""
    try:
        yield
    except Exception as error:
        failed = _failed_write(error)
        if failed is None:
            raise
        raise storage_error(failed, folder, size_of(output) if output else None, at_least=True) from error


def _failed_write(error: Exception) -> OSError | None:
    """The failure of the disk in an error; libraries in other languages have classes of their own and the system's words."""
    if isinstance(error, OSError) and error.errno is not None:
        return error if error.errno in STORAGE_ERRORS else None
    if isinstance(error, ExpanseError):
        return None
    number = next((each for each in (*FULL, errno.EROFS, errno.EIO) if os.strerror(each) in str(error)), None)
    return OSError(number, os.strerror(number)) if number else None


def size_of(folder: Path) -> int | None:
    """The bytes of all files below a folder, None if there are none."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()] if folder.exists() else []
    return sum(sizes) or None
