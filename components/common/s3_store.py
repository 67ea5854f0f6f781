"""The store on S3: artifacts under ``<prefix>/<stage>/<key>/``, committed by one conditional write.

An attempt's files lie under the first digits of its digest, the manifest last. ``commit.json`` beside them names the one
attempt that counts; it is written only if it is not there, so that of attempts alive at once one commits and the others
find it.
"""

import hashlib
import json
import math
import re
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any

from components.common.artifacts import (
    MANIFEST,
    UNREADABLE,
    Provenance,
    Reference,
    read_entries,
    read_manifest,
    verify,
    write_manifest,
)
from components.common.canonical import canonical_json, digest
from components.common.copies import Copies, scratch_folder
from components.common.errors import BadInput, ExpanseError, NoRoomError
from components.common.s3_client import SCHEME, Location, MissingObjectError, attempt, connect
from components.common.s3_download import download_folder, get_object, get_verified
from components.common.s3_parallel import run_all
from components.common.s3_upload import list_objects, list_uploads, put_object, upload_folder
from components.common.store import Produce, fetch_local, locked, origin, scratch, storage_explained

COMMIT, KEPT, PROBE = "commit.json", ".kept", ".conditional"
SHORT = 16  # hexadecimal digits of a digest that name an attempt's folder
DIGEST = re.compile(r"[0-9a-f]{64}")


class S3Store:
    """Artifacts below ``uri`` (``s3://bucket/prefix``); attempts and fetched copies lie in the folder ``scratch``.

    Several processes of one machine share the scratch: each artifact is fetched once, under a lock that the kernel drops
    when a process dies. Where it is full, copies that nobody uses go.
    """

    def __init__(self, uri: str, scratch: Path | None = None) -> None:
        self.root = Location.parse(uri)
        self.scratch = scratch.absolute() if scratch else scratch_folder()
        self._copies = Copies(self.scratch)
        self._conditional = False

    @cached_property
    def client(self) -> Any:
        """The connection, made when it is first needed."""
        return connect(self.root)

    def find(self, stage: str, key: str) -> Reference | None:
        """See Store.find; one request. Raises BadInput when the commit is not one of ours."""
        with suppress(MissingObjectError):
            return self._committed(stage, key)
        return None

    def fetch(self, reference: Reference) -> Path:
        """See Store.fetch; a copy in the scratch, verified again each time. Raises Transient when the disk is full."""
        if not reference.uri.startswith(SCHEME):
            return fetch_local(reference)
        with storage_explained(self.scratch), self._copies.held(_digest_of(reference)) as target:
            if not _is_whole(target, reference.digest):
                shutil.rmtree(target, ignore_errors=True)
                source = Location.parse(reference.uri)
                self._copies.with_room(partial(download_folder, self.client, source, reference.digest, target))
            origin(target).write_text(reference.uri, encoding="utf-8")
        return target

    def files(self, reference: Reference, names: Sequence[str]) -> dict[str, Path]:
        """Those of the named small files that the artifact has, by name; nothing else of it is fetched."""
        folder = self.scratch / "files" / reference.digest
        with storage_explained(folder), self._copies.held(_digest_of(reference)) as copy:
            if (copy / MANIFEST).is_file():
                return {name: copy / name for name in names if (copy / name).is_file()}
            self._copies.with_room(partial(self._bring_files, reference, names, folder))
        return {name: folder / name for name in names if (folder / name).is_file()}

    def _bring_files(self, reference: Reference, names: Sequence[str], folder: Path) -> None:
        source = Location.parse(reference.uri)
        _write(folder / MANIFEST, get_verified(self.client, source, MANIFEST, reference.digest))
        entries = read_entries(folder)
        for name in entries.keys() & set(names):
            _write(folder / name, get_verified(self.client, source, name, entries[name]["sha256"]))

    def produce(self, provenance: Provenance, produce: Produce) -> Reference:
        """See Store.produce.

        What an earlier attempt had finished and not yet sent is sent, not made again. On a full disk unused copies go, for
        the next attempt. Raises BadInput for a bucket that may not be written or cannot write conditionally, before
        ``produce`` is called.
        """
        attempts = self.scratch / "attempts" / digest(str(self.root))[:8] / f"{provenance.stage}-{provenance.key}"
        output = attempts / "output"
        try:
            with storage_explained(attempts, output), locked(attempts):
                found = self.find(provenance.stage, provenance.key)
                return found or self._attempt(provenance, produce, output)
        except NoRoomError:
            self._copies.evict(math.inf)  # nobody knows how much the next attempt will need
            raise
        finally:
            if not (output / MANIFEST).is_file():
                shutil.rmtree(output, ignore_errors=True)

    def _attempt(self, provenance: Provenance, produce: Produce, output: Path) -> Reference:
        self._require_conditional_writes()
        if not _is_finished(output, provenance):
            shutil.rmtree(output, ignore_errors=True)
            output.mkdir()
            write_manifest(output, provenance, produce(output), durable=False)
        reference = self._publish(output)
        self._keep_copy(output, reference)
        shutil.rmtree(scratch(output), ignore_errors=True)
        return reference

    def _publish(self, output: Path) -> Reference:
        made = read_manifest(output)
        place = self.root / made.stage / made.key
        upload_folder(self.client, output, place / made.digest[:SHORT])
        fields = {"stage": made.stage, "key": made.key, "digest": made.digest, "size": made.size}
        commit = canonical_json({**fields, "metadata": dict(made.metadata)}).encode()
        put_object(self.client, place / COMMIT, commit, only_if_absent=True)
        # Ours or a rival's: the answer cannot tell, since a repeated request meets its own first attempt.
        reference = self._committed(made.stage, made.key, patient=True)
        with suppress(ExpanseError):  # tidying needs permissions that not everyone grants
            self._sweep(place, reference.digest[:SHORT])
            self.forget(f"{made.stage}-{made.key}")
        return reference

    def _committed(self, stage: str, key: str, patient: bool = False) -> Reference:
        place = self.root / stage / key
        data = get_object(self.client, place / COMMIT, patient=patient)
        try:
            fields = json.loads(data)
            if (fields["stage"], fields["key"]) != (stage, key) or not DIGEST.fullmatch(fields["digest"]):
                raise ValueError("it is of another artifact")
            return Reference(uri=str(place / fields["digest"][:SHORT]), **fields)
        except UNREADABLE as error:
            raise BadInput(
                f"{place / COMMIT} is no commit ({error}); remove it, then run the step that makes it again."
            ) from error

    def _require_conditional_writes(self) -> None:
        """Two attempts cannot interleave only because the second commit is refused: see that this service does refuse."""
        if self._conditional:
            return
        tries = (put_object(self.client, self.root / PROBE, b"", only_if_absent=True) for _ in range(2))
        if all(tries):
            raise BadInput(
                f"The service of the bucket {self.root.bucket!r} ignores If-None-Match, so two attempts could overwrite each "
                "other; use one with conditional writes (docs/storage.md)."
            )
        self._conditional = True

    def _keep_copy(self, output: Path, reference: Reference) -> None:
        """What was just made here is the next step's input: no need to fetch it."""
        with self._copies.held(reference.digest) as target:
            if read_manifest(output).digest == reference.digest and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                output.rename(target)
                origin(target).write_text(reference.uri, encoding="utf-8")
        shutil.rmtree(output, ignore_errors=True)

    def _sweep(self, place: Location, kept: str) -> None:
        """Remove what attempts that did not count have left beside the one that did."""
        stay = (f"{(place / kept).key}/", (place / COMMIT).key)
        self._delete(each["Key"] for each in list_objects(self.client, place) if not each["Key"].startswith(stay))
        for key, upload in list_uploads(self.client, place):
            request = {"Bucket": place.bucket, "Key": key, "UploadId": upload}
            with suppress(MissingObjectError):
                attempt(place, partial(self.client.abort_multipart_upload, **request))

    def _delete(self, keys: Iterator[str]) -> None:
        def delete(key: str, stop: Any) -> None:
            location = Location(self.root.bucket, key)
            attempt(location, partial(self.client.delete_object, Bucket=location.bucket, Key=key), stop)

        run_all(partial(delete, key) for key in keys)

    def keep(self, group: str, name: str, folder: Path) -> None:
        """See Store.keep."""
        place = self.root / KEPT / group / name / read_manifest(folder).digest[:SHORT]
        with storage_explained(folder):
            upload_folder(self.client, folder, place)

    def kept(self, group: str) -> list[str]:
        """See Store.kept."""
        return sorted({each[0] for each in self._manifests(group)})

    def restore(self, group: str, name: str, folder: Path) -> bool:
        """See Store.restore; of several that were kept under one name, the newest whole one."""
        with storage_explained(folder), locked(self.scratch / "locks" / digest(str(folder))):
            for _, short in self._manifests(group, name):
                place = self.root / KEPT / group / name / short
                with suppress(BadInput):  # damaged, or forgotten in the meantime
                    sha256 = hashlib.sha256(get_object(self.client, place / MANIFEST)).hexdigest()
                    if sha256.startswith(short):
                        self._copies.with_room(partial(download_folder, self.client, place, sha256, folder))
                        return True
        return False

    def forget(self, group: str, names: Collection[str] | None = None) -> None:
        """See Store.forget."""
        place = self.root / KEPT / group
        for folder in [place] if names is None else [place / name for name in names]:
            self._delete(each["Key"] for each in list_objects(self.client, folder))

    def _manifests(self, group: str, name: str = "") -> list[tuple[str, str]]:
        """Name and short digest of everything that was kept whole, or of what has this name, newest first."""
        place = self.root / KEPT / group
        objects = list_objects(self.client, place / name)
        found = sorted(objects, key=lambda each: each["LastModified"], reverse=True)
        parts = [PurePosixPath(each["Key"]).relative_to(place.key).parts for each in found]
        return [(name, short) for name, short, file in (each for each in parts if len(each) == 3) if file == MANIFEST]


def _digest_of(reference: Reference) -> str:
    if not DIGEST.fullmatch(reference.digest):
        raise BadInput(f"{reference.uri} has the digest {reference.digest!r}, which is no sha256; make it again.")
    return reference.digest


def _is_whole(folder: Path, sha256: str) -> bool:
    if (folder / MANIFEST).is_file():
        with suppress(BadInput):
            verify(folder, sha256)
            return True
    return False


def _is_finished(output: Path, provenance: Provenance) -> bool:
    """Whether an earlier attempt ended between its manifest and its commit."""
    if (output / MANIFEST).is_file():
        with suppress(BadInput):
            verify(output)
            return read_manifest(output).key == provenance.key
    return False


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    temporary.write_bytes(data)
    temporary.rename(path)
