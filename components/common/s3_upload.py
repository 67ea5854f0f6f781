"""Folders to S3: parts side by side, each with its sha256; what an earlier attempt has sent is not sent again."""

import base64
import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from components.common.artifacts import MANIFEST, read_entries
from components.common.errors import Transient
from components.common.s3_client import CHUNK, DamagedError, Location, MissingObjectError, attempt, pages
from components.common.s3_parallel import run_all

PART = 32 << 20
MOST_PARTS = 10_000  # of one object, S3's own limit
ROUNDS = 3
#: The object's sha256 in its metadata: every service keeps that, only some keep checksums.
SHA256 = "sha256"
#: Answers to the completion of an upload that sending what is missing once more can cure.
INCOMPLETE = frozenset({"NoSuchUpload", "InvalidPart", "InvalidPartOrder"})


def put_object(client: Any, location: Location, data: bytes, only_if_absent: bool = False) -> bool:
    """Write one small object; False if ``only_if_absent`` and there is one already."""
    from botocore.exceptions import ClientError

    request = {"Bucket": location.bucket, "Key": location.key, **_checksum(_base64(hashlib.sha256(data).digest()))}
    condition = {"IfNoneMatch": "*"} if only_if_absent else {}

    def work() -> bool:
        try:
            client.put_object(Body=data, **request, **condition)
        except ClientError as error:
            if only_if_absent and error.response["ResponseMetadata"]["HTTPStatusCode"] == 412:
                return False
            raise
        return True

    return attempt(location, work, patient=only_if_absent)  # "not found" answers a race with a deletion


def list_objects(client: Any, folder: Location) -> list[dict[str, Any]]:
    """What S3 lists below a folder: Key, Size and LastModified of each object."""
    found = pages(folder, client.list_objects_v2, Prefix=f"{folder.key}/")
    return [each for page in found for each in page.get("Contents", [])]


def list_uploads(client: Any, folder: Location) -> list[tuple[str, str]]:
    """Key and id of the multipart uploads below a folder that were neither completed nor aborted, oldest first."""
    found = pages(folder, client.list_multipart_uploads, Prefix=f"{folder.key}/")
    uploads = [each for page in found for each in page.get("Uploads", [])]
    return [(each["Key"], each["UploadId"]) for each in sorted(uploads, key=lambda each: each["Initiated"])]


def upload_folder(client: Any, folder: Path, target: Location) -> None:
    """Send a folder with a manifest to ``target``, the manifest last.

    Files and parts that are there already, with the right checksum, are not sent again. Raises BadInput for a name that no
    object can have, before anything is sent.
    """
    entries = read_entries(folder)
    files = [
        Leaving(client, folder / name, target / name, each["size"], each["sha256"]) for name, each in entries.items()
    ]
    for _ in range(ROUNDS):
        leaving = [file for file in files if not file.whole]
        if not leaving:
            break
        sizes = {each["Key"]: each["Size"] for each in list_objects(client, target)}
        uploads = dict(list_uploads(client, target)) if any(file.count > 1 for file in leaving) else {}
        run_all(partial(file.begin, sizes, uploads) for file in leaving)
        run_all(partial(file.send, part) for file in leaving if not file.whole for part in range(1, file.count + 1))
    unfinished = next((file for file in files if not file.whole), None)
    if unfinished is not None:
        raise Transient(f"{unfinished.target} could not be completed in {ROUNDS} rounds; try again.")
    put_object(client, target / MANIFEST, (folder / MANIFEST).read_bytes())


class Leaving:
    """One file on its way: a single object when it is small, else a multipart upload, a new one or an earlier attempt's."""

    def __init__(self, client: Any, path: Path, target: Location, size: int, sha256: str) -> None:
        self.target, self.whole = target, False
        self._client, self._path, self._size, self._sha256 = client, path, size, sha256
        self._object = {"Bucket": target.bucket, "Key": target.key}
        self._part = max(PART, -(-size // MOST_PARTS))
        self.count = max(1, -(-size // self._part))
        self._lock = threading.Lock()

    def begin(self, sizes: Mapping[str, int], uploads: Mapping[str, str], stop: threading.Event) -> None:
        """See what an earlier attempt has left: the whole object, or an upload and its parts."""
        self._sent: dict[int, dict[str, Any]] = {}
        self._known: dict[int, dict[str, Any]] = {}
        if sizes.get(self.target.key) == self._size and self._is_there(stop):
            self.whole = True
        elif self.count > 1:
            self._upload = uploads.get(self.target.key, "")
            if not self._upload or not self._list_parts():
                self._upload = attempt(self.target, self._create, stop)

    def send(self, part: int, stop: threading.Event) -> None:
        """Send one part (the first is 1) unless it is there; with the last of them the object appears."""
        if self.count == 1:
            attempt(self.target, self._put, stop)
            self.whole = True
            return
        # A rival may complete the upload, and a rule of the bucket abort it: the next round sees what is there.
        with suppress(MissingObjectError):
            sent = self._sent_part(part, stop)
            with self._lock:
                self._sent[part] = sent
                last = len(self._sent) == self.count
            if last:
                self.whole = attempt(self.target, self._complete, stop)

    def _sent_part(self, part: int, stop: threading.Event) -> dict[str, Any]:
        start = (part - 1) * self._part
        with Slice(self._path, start, min(self._part, self._size - start)) as body:
            sha256 = _base64(body.digest(hashlib.sha256))
            known = self._known.get(part)
            etag = known["ETag"] if known and _is_same(known, body, sha256) else None
            etag = etag or attempt(self.target, partial(self._send, part, body, sha256), stop)
        return {"PartNumber": part, "ETag": etag, "ChecksumSHA256": sha256}

    def _is_there(self, stop: threading.Event) -> bool:
        try:
            answer = attempt(self.target, lambda: self._client.head_object(**self._object), stop)
        except MissingObjectError:
            return False
        found: bool = answer["ContentLength"] == self._size and answer["Metadata"].get(SHA256) == self._sha256
        return found

    def _create(self) -> str:
        answer = self._client.create_multipart_upload(
            **self._object, ChecksumAlgorithm="SHA256", Metadata={SHA256: self._sha256}
        )
        upload: str = answer["UploadId"]
        return upload

    def _list_parts(self) -> bool:
        """Learn which parts the upload has; False if it is gone."""
        try:
            found = list(pages(self.target, self._client.list_parts, Key=self.target.key, UploadId=self._upload))
        except MissingObjectError:
            return False
        self._known = {each["PartNumber"]: each for page in found for each in page.get("Parts", [])}
        return True

    def _put(self) -> None:
        with Slice(self._path, 0, self._size) as body:
            self._client.put_object(
                **self._object,
                Body=body,
                ContentLength=self._size,
                **_checksum(_base64(bytes.fromhex(self._sha256))),
                Metadata={SHA256: self._sha256},
            )

    def _send(self, part: int, body: "Slice", sha256: str) -> str:
        body.seek(0)
        answer = self._client.upload_part(
            **self._object,
            UploadId=self._upload,
            PartNumber=part,
            Body=body,
            ContentLength=len(body),
            **_checksum(sha256),
        )
        if answer.get("ChecksumSHA256", sha256) != sha256:
            raise DamagedError(f"part {part} was stored with another checksum")
        etag: str = answer["ETag"]
        return etag

    def _complete(self) -> bool:
        from botocore.exceptions import ClientError

        parts = [self._sent[part] for part in sorted(self._sent)]
        try:
            self._client.complete_multipart_upload(
                **self._object, UploadId=self._upload, MultipartUpload={"Parts": parts}
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in INCOMPLETE:
                return False
            raise
        return True


class Slice:
    """Some bytes of a file as a body that can be read again; each read gives a chunk, however little is asked for.

    HTTP libraries ask for 16 KiB at a time, and the system calls for that cost more than the transfer.
    """

    def __init__(self, path: Path, start: int, size: int) -> None:
        self._file, self._start, self._size, self._at = path.open("rb", buffering=0), start, size, 0

    def __enter__(self) -> "Slice":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._size

    def read(self, amount: int = CHUNK) -> bytes:
        """The next chunk, empty at the end."""
        data = os.pread(self._file.fileno(), min(CHUNK, self._size - self._at), self._start + self._at)
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a place in the slice."""
        self._at = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence] + offset
        return self._at

    def tell(self) -> int:
        """The place of the next byte."""
        return self._at

    def digest(self, kind: Callable[..., Any]) -> bytes:
        """The hash of the whole slice."""
        self.seek(0)
        value = kind(usedforsecurity=False)
        while data := self.read():
            value.update(data)
        digest: bytes = value.digest()
        return digest


def _is_same(known: Mapping[str, Any], body: Slice, sha256: str) -> bool:
    """Whether a listed part holds these bytes: by its sha256, or by the MD5 that its ETag is where services keep no other."""
    if known["Size"] != len(body):
        return False
    if "ChecksumSHA256" in known:
        return bool(known["ChecksumSHA256"] == sha256)
    return bool(known["ETag"].strip('"') == body.digest(hashlib.md5).hex())


def _checksum(sha256: str) -> dict[str, str]:
    return {"ChecksumAlgorithm": "SHA256", "ChecksumSHA256": sha256}


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
