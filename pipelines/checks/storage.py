"""The store: it is there, may be written, and keeps its word that a conditional write succeeds once."""

import os
import uuid
from pathlib import Path
from typing import Any

from components.common.errors import BadInput, ExpanseError, Transient, storage_error
from components.common.s3_client import SCHEME, Location, connect, explain
from components.common.step import STORE
from components.common.store import folder_of
from pipelines.checks.finding import Check, Finding, ok, skipped
from pipelines.recipe import Recipe

KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
TAKEN = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict"})


def store_checks(recipe: Recipe) -> list[Check]:
    """The recipe's store, else the one of this environment."""
    platform = recipe.platform
    uri = platform.store or os.environ.get(STORE)
    if not uri and (source := platform.config_maps.get(STORE)):
        reason = f"its address comes from the ConfigMap {source.config_map} of the cluster, {STORE} is not set here"
        return [Check("store", lambda: skipped("store", reason, f"set {STORE} and AWS_* to check it from here"))]
    return [_check(uri, in_cluster=bool(set(KEYS) & set(platform.secrets)))]


def environment_store_checks() -> list[Check]:
    """The store of this environment."""
    return [_check(os.environ.get(STORE), in_cluster=False)]


def _check(uri: str | None, in_cluster: bool) -> Check:
    if not uri:
        return Check("store", lambda: skipped("store", "not configured", f"set {STORE} to check it from here"))
    return Check("store", lambda: look(uri, in_cluster))


def look(uri: str, in_cluster: bool = False) -> Finding:
    """Write a small object or file into the store and take it away again."""
    return _bucket(uri, in_cluster) if uri.startswith(SCHEME) else _folder(folder_of(uri))


def _bucket(uri: str, in_cluster: bool) -> Finding:
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    location = Location.parse(uri)
    client, key = connect(location), f"{location.prefix}/.check-{uuid.uuid4().hex}".lstrip("/")
    try:
        client.head_bucket(Bucket=location.bucket)
        client.put_object(Bucket=location.bucket, Key=key, Body=b"", IfNoneMatch="*")
        try:
            exclusive = _is_refused(client, location.bucket, key)
        finally:
            client.delete_object(Bucket=location.bucket, Key=key)
    except NoCredentialsError as error:
        if in_cluster:
            reason = f"the credentials for {uri} come from a Secret of the cluster"
            return skipped("store", reason, f"set {' and '.join(KEYS)} to check it from here")
        raise explain(location, error) from error
    except (ClientError, BotoCoreError) as error:
        raise _explained(location, error) from error
    if not exclusive:
        raise BadInput(
            f"{uri}: the service lets a conditional write (If-None-Match) replace an object, so two attempts at one step "
            "could both count; use a service that honours it."
        )
    return ok("store", f"{uri} is there, can be written, and honours conditional writes")


def _is_refused(client: Any, bucket: str, key: str) -> bool:
    from botocore.exceptions import ClientError

    try:
        client.put_object(Bucket=bucket, Key=key, Body=b"", IfNoneMatch="*")
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in TAKEN:
            return True
        raise
    return False


def _explained(location: Location, error: Any) -> ExpanseError:
    """The error's meaning; only one attempt was made, unlike in a step."""
    if getattr(error, "operation_name", "") == "HeadBucket" and error.response["Error"]["Code"] == "404":
        return BadInput(f"There is no bucket {location.bucket!r}; create it, or correct {STORE} or platform.store.")
    failure = explain(location, error)
    if not isinstance(failure, Transient):
        return failure
    reason = " ".join(str(error).split())[:200].rstrip(".")
    return Transient(f"{location} cannot be reached ({reason}); check AWS_ENDPOINT_URL and the network, try again.")


def _folder(folder: Path) -> Finding:
    probe = folder / f".check-{uuid.uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise storage_error(error, folder) from error
    return ok("store", f"{folder} can be written")
