"""Artifacts: directories that are committed as a whole, or do not exist for readers.

A committed directory carries ``manifest.json``: the size and sha256 of every file and where the artifact came from.
It is written last. The sha256 of the manifest itself is the artifact's digest, so one short string vouches for
every byte.
"""

import json
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from components.common.canonical import canonical_json, digest, file_digest, file_digests
from components.common.errors import BadInput, storage_error

MANIFEST = "manifest.json"
LONGEST_NAME = 255  # bytes, in the usual file systems
Scalar = float | int | str
#: What reading JSON and taking fields out of it may raise when it is not what it should be.
UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True)
class Provenance:
    """Where an artifact comes from; its hash is the key under which finished work is found again.

    ``code`` and ``configuration`` are sha256 digests, ``inputs`` maps an input's name to the digests of its artifacts.
    """

    stage: str
    code: str
    configuration: str
    inputs: Mapping[str, list[str]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The name of the artifact in a store."""
        return digest(asdict(self))[:32]


@dataclass(frozen=True)
class Reference:
    """The few bytes that travel in place of an artifact: where it is and the digest that it must have."""

    stage: str
    key: str
    uri: str
    digest: str
    size: int
    metadata: Mapping[str, Scalar] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the reference file by rename, with the folders above it; raises Transient or BadInput where that fails."""
        temporary = path.with_name(f".{path.name}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(asdict(self), indent=1, sort_keys=True) + "\n", encoding="utf-8")
            temporary.replace(path)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink()
            raise storage_error(OSError(error.errno, error.strerror, str(path)), path.parent) from error

    @classmethod
    def load(cls, path: Path) -> "Reference":
        """Read a reference file; raises BadInput when it is missing or is not one."""
        try:
            reference = cls(**json.loads(path.read_text(encoding="utf-8")))
            texts = (reference.stage, reference.key, reference.uri, reference.digest)
            if not all(isinstance(each, str) for each in texts) or not isinstance(reference.metadata, dict):
                raise ValueError("a field has another type")
            return reference
        except UNREADABLE as error:
            raise BadInput(
                f"{path} is not an artifact reference ({error}); give the file that a step wrote."
            ) from error


def write_manifest(
    folder: Path, provenance: Provenance, metadata: Mapping[str, Scalar], durable: bool = True
) -> Reference:
    """Hash and sync every file below ``folder``, then write its manifest by rename.

    A folder that is verified again before anyone relies on it needs no sync: then ``durable`` is False. Raises BadInput
    for a symbolic link and for a name that readers would refuse.
    """
    paths = sorted(folder.rglob("*"))
    link = next((path for path in paths if path.is_symlink()), None)
    if link is not None:
        raise BadInput(f"{link} is a symbolic link; put the file itself there.")
    written = [path for path in paths if path.is_file() and path != folder / MANIFEST]
    files = {path.relative_to(folder).as_posix(): path for path in written}
    _check_names(folder, files)
    entries = {
        name: {"sha256": sha256, "size": files[name].stat().st_size}
        for name, sha256 in zip(files, file_digests(list(files.values())), strict=True)
    }
    for path in paths if durable else ():  # folders too: they hold the names
        sync(path)
    document = {"provenance": asdict(provenance), "metadata": dict(metadata), "files": entries}
    temporary = folder / f".{MANIFEST}"
    temporary.write_text(canonical_json(document), encoding="utf-8")
    if durable:
        sync(temporary)
    temporary.rename(folder / MANIFEST)
    if durable:
        sync(folder)
    return read_manifest(folder)


def read_manifest(folder: Path) -> Reference:
    """The reference of a committed directory, without looking at its files; raises BadInput when there is none."""
    path = folder / MANIFEST
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        made, metadata = Provenance(**document["provenance"]), dict(document["metadata"])
        size = sum(int(entry["size"]) for entry in document["files"].values())
        return Reference(made.stage, made.key, folder.resolve().as_uri(), file_digest(path), size, metadata)
    except UNREADABLE as error:
        raise BadInput(f"{folder} is not a committed artifact: {MANIFEST} is missing or damaged ({error}).") from error


def verify(folder: Path, expected: str | None = None) -> None:
    """Check every file of a committed directory against its manifest; raises BadInput naming the first that differs."""
    if expected is not None and file_digest(folder / MANIFEST) != expected:
        raise BadInput(f"{folder / MANIFEST} is not the manifest that was asked for (sha256 {expected}).")
    entries = read_entries(folder)
    planted = (
        {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
        - set(entries)
        - {MANIFEST}
    )
    if planted:
        raise BadInput(
            f"{folder / min(planted)} is not in the manifest of its folder; remove it, or run the step again."
        )
    for name, entry in entries.items():
        path = folder / name
        if not path.is_file() or path.is_symlink():
            raise BadInput(f"{path} is in the manifest but not on disk; run the step again.")
        if path.stat().st_size != entry["size"]:
            raise BadInput(f"{path} differs from its manifest; run the step again.")
    digests = file_digests([folder / name for name in entries])
    for (name, entry), sha256 in zip(entries.items(), digests, strict=True):
        if sha256 != entry["sha256"]:
            raise BadInput(f"{folder / name} differs from its manifest; run the step again.")


def read_entries(folder: Path) -> dict[str, Any]:
    """The size and sha256 of each file in a folder's manifest; raises BadInput for a name that leaves the folder."""
    path = folder / MANIFEST
    try:
        entries: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["files"]
        whole = all(isinstance(each["size"], int) and isinstance(each["sha256"], str) for each in entries.values())
    except UNREADABLE as error:
        raise BadInput(f"{path} is missing or damaged ({error}); run the step again.") from error
    if not whole:
        raise BadInput(f"{path} lists files without their size and sha256; run the step again.")
    _check_names(path, entries)
    return entries


def _check_names(where: Path, names: Collection[str]) -> None:
    above = {parent.as_posix() for name in names for parent in PurePosixPath(name).parents}
    for name in names:
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or not name.isprintable() or name in above:
            raise BadInput(f"{where} lists the file name {name!r}, which leaves its folder or is no file's.")
        if any(len(part.encode()) > LONGEST_NAME for part in parts):
            raise BadInput(f"{where} lists a file name longer than {LONGEST_NAME} bytes: {name[:40]!r}...; shorten it.")


def sync(path: Path) -> None:
    """Have the disk keep a file's bytes, or the names in a folder, through a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
