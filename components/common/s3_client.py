"""How we speak to S3: one place that connects, tries again what may succeed, and turns refusals into sentences."""

import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import PurePosixPath
from typing import Any, TypeVar

from components.common.addresses import check_url
from components.common.errors import BadInput, ExpanseError, Transient
from components.common.retry import waiting_time

T = TypeVar("T")
SCHEME = "s3://"
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
LONGEST_KEY = 1024  # bytes of UTF-8, S3's own limit
CONNECTIONS = 16
CHUNK = (
    1 << 18
)  # bytes per read and write: larger buffers are mapped and unmapped each time, smaller ones cost more calls
ATTEMPTS, PAUSE = 8, 0.5
CONNECT_SECONDS, READ_SECONDS = 10, 60
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"})
UNKNOWN_CREDENTIALS = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidClientTokenId"})
ELSEWHERE = frozenset({"PermanentRedirect", "AuthorizationHeaderMalformed", "TemporaryRedirect", "301", "307"})
#: Answers with a status below 500 that another attempt may not get: slow or damaged transfers, and lost races.
PASSING = frozenset({
    "RequestTimeout", "IncompleteBody", "BadDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch", "SlowDown",
    "TooManyRequests", "Throttling", "ThrottlingException", "RequestLimitExceeded", "ConditionalRequestConflict",
    "OperationAborted", "408", "425", "429",
})  # fmt: skip
MISSING = frozenset({"NoSuchKey", "NoSuchUpload", "NoSuchVersion", "404"})


class MissingObjectError(BadInput):
    """There is no such object, or no such multipart upload."""


class DamagedError(Exception):
    """What arrived is not what was asked for; another attempt may bring it whole."""


class StoppedError(Exception):
    """Another transfer of the same artifact failed for good, so this one ends too."""


@dataclass(frozen=True)
class Location:
    """A bucket and a prefix without slashes at its ends; an empty prefix is the whole bucket."""

    bucket: str
    prefix: str = ""

    @classmethod
    def parse(cls, uri: str) -> "Location":
        """The location that ``s3://bucket/prefix`` names; raises BadInput for an address that is none."""
        bucket, _, prefix = uri.removeprefix(SCHEME).partition("/")
        if not uri.startswith(SCHEME) or not BUCKET.fullmatch(bucket) or ".." in bucket:
            raise BadInput(f"{uri!r} is not an S3 address; use s3://bucket/prefix, the bucket's name in lower case.")
        return cls(bucket, check_key(prefix.strip("/"), uri))

    def __truediv__(self, name: str) -> "Location":
        return Location(self.bucket, f"{self.prefix}/{name}".strip("/"))

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def key(self) -> str:
        """The location as the key of an object; raises BadInput when it is no key that S3 and a folder can hold."""
        return check_key(self.prefix, str(self))


def check_key(key: str, where: str) -> str:
    """Return ``key`` if it can be an object's key and a relative path; raises BadInput otherwise."""
    if key and (key.startswith("/") or not {"", ".", ".."}.isdisjoint(key.split("/")) or not key.isprintable()):
        raise BadInput(f"{where!r} has an empty part, '.', '..' or a control character in it; choose a plain name.")
    if len(key.encode()) > LONGEST_KEY or any(len(part.encode()) > 255 for part in PurePosixPath(key).parts):
        raise BadInput(f"{where!r} is longer than an object's name may be ({LONGEST_KEY} bytes, 255 between slashes).")
    return key


def connect(location: Location) -> Any:
    """A client for the service of AWS_ENDPOINT_URL, else for AWS; it makes one attempt, ``attempt`` makes the others.

    Credentials come from the environment, the pod's identity or the machine's, as boto3 finds them. Raises BadInput for
    a wrong endpoint or profile.
    """
    from botocore.exceptions import BotoCoreError

    endpoint = next(filter(None, map(os.environ.get, ENDPOINTS)), None)
    if endpoint:
        check_url(endpoint)
    try:
        settings = sorted(item for item in os.environ.items() if item[0].startswith("AWS_"))
        return _client(READ_SECONDS, os.getpid(), *settings)
    except (BotoCoreError, ValueError) as error:
        raise BadInput(
            f"No connection to {location}: {_one_line(error)}; correct AWS_ENDPOINT_URL, AWS_REGION or AWS_PROFILE."
        ) from error


@cache
def _client(read_seconds: float, *_: object) -> Any:
    """One client for a process and its settings: making one reads megabytes of service descriptions."""
    import boto3
    from botocore.config import Config

    config = Config(
        retries={"total_max_attempts": 1},
        max_pool_connections=CONNECTIONS,
        connect_timeout=CONNECT_SECONDS,
        read_timeout=read_seconds,
        tcp_keepalive=True,
        # Bodies carry a sha256 of ours in a signed header; hashing them once more for the signature would add nothing.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"payload_signing_enabled": False},
        user_agent_extra="expanse",
    )
    region = os.environ.get("AWS_REGION") or None  # other SDKs read it; boto3 knows AWS_DEFAULT_REGION only
    return boto3.session.Session().client("s3", region_name=region, config=config)


def attempt(location: Location, work: Callable[[], T], stop: threading.Event | None = None, patient: bool = False) -> T:
    """What ``work`` returns, after as many calls as it takes, with growing and jittered pauses between them.

    ``patient`` asks again for an object that is missing: some services show a new object late. Raises BadInput at once
    for what another attempt cannot change, Transient when the attempts are used up, StoppedError when ``stop`` is set.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    stop = stop or threading.Event()
    for number in range(ATTEMPTS):
        if stop.is_set():
            raise StoppedError
        try:
            return work()
        except (ClientError, BotoCoreError, ResponseParserError, DamagedError) as error:
            failure = explain(location, error)
            last = number + 1 == ATTEMPTS or not _may_pass(failure, patient)
            if last:
                raise failure from error
        stop.wait(waiting_time(PAUSE, number, None))
    raise AssertionError("the last attempt returns or raises")


def _may_pass(failure: ExpanseError, patient: bool) -> bool:
    return isinstance(failure, Transient) or (patient and isinstance(failure, MissingObjectError))


def explain(location: Location, error: Exception) -> ExpanseError:
    """The error that an exception of boto3 means for ``location``, with the service's own words and a remedy."""
    from botocore.exceptions import (
        ClientError,
        NoCredentialsError,
        ParamValidationError,
        PartialCredentialsError,
        SSLError,
        UnauthorizedSSOTokenError,
    )

    if isinstance(error, ClientError):
        return _explain_answer(location, error)
    if isinstance(error, NoCredentialsError | PartialCredentialsError | UnauthorizedSSOTokenError):
        return BadInput(
            f"There are no credentials for the bucket {location.bucket!r} ({_one_line(error)}); set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY from a Secret, or give the pod's service account an identity."
        )
    if isinstance(error, ParamValidationError):
        return BadInput(f"{location}: {_one_line(error)}; correct the address.")
    if isinstance(error, SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return BadInput(f"{location}: the service's certificate is not trusted; set AWS_CA_BUNDLE to its authority's.")
    return Transient(f"{location}: the transfer failed ({_one_line(error)}) {ATTEMPTS} times; try again.")


def _explain_answer(location: Location, error: Any) -> ExpanseError:
    """Sentences for what the service itself answered; HEAD has no body, so its codes are bare statuses."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    said = f"{code}: {_one_line(error.response.get('Error', {}).get('Message') or 'no reason given')}"
    bucket = f"the bucket {location.bucket!r}"
    if code == "NoSuchBucket":
        return BadInput(f"There is no bucket {location.bucket!r}; create it, or correct EXPANSE_STORE or the address.")
    if code in MISSING:
        return MissingObjectError(f"{location} is not there ({said}); run the step that makes it again.")
    if code in EXPIRED:
        return BadInput(f"The credentials for {bucket} have expired ({said}); renew the Secret or the pod's identity.")
    if code in UNKNOWN_CREDENTIALS:
        return BadInput(
            f"The credentials for {bucket} are not accepted ({said}); correct AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY "
            "and AWS_ENDPOINT_URL."
        )
    if code in ELSEWHERE:
        return BadInput(f"{bucket.capitalize()} is in another region ({said}); set AWS_REGION to the bucket's.")
    if code == "RequestTimeTooSkewed":
        return BadInput(f"The clock of this machine is wrong for {bucket} ({said}); set it.")
    if code in PASSING or (status >= 500 and status != 501):
        return Transient(f"{location}: the service answered {said} {ATTEMPTS} times; try again later.")
    if status == 403:
        return BadInput(
            f"{location}: access is denied ({said}); allow these credentials the actions on {bucket} that docs/storage.md "
            "lists."
        )
    return BadInput(f"{location}: the service refused the request ({said}); correct the bucket or its policy.")


def pages(location: Location, list_page: Callable[..., Any], **request: Any) -> Iterator[dict[str, Any]]:
    """The pages of a listing, each asked for with retries; ``request`` is the first page's."""
    while True:
        page: dict[str, Any] = attempt(location, partial(list_page, Bucket=location.bucket, **request))
        yield page
        if not page.get("IsTruncated"):
            return
        following = {
            "NextContinuationToken": "ContinuationToken",
            "NextPartNumberMarker": "PartNumberMarker",
            "NextKeyMarker": "KeyMarker",
            "NextUploadIdMarker": "UploadIdMarker",
        }
        request = request | {ours: page[theirs] for theirs, ours in following.items() if page.get(theirs)}


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:200].rstrip(".;")
