"""Compiled recipes in Kubeflow Pipelines' list: one pipeline a recipe, one version for each content it has had."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from components.common.canonical import file_digest
from components.common.errors import BadInput, Transient
from pipelines.recipe import Recipe

if TYPE_CHECKING:
    from kfp_server_api import ApiClient

TOKEN = "KF_PIPELINES_SA_TOKEN_PATH"
VERSION_DIGITS = 12
ALREADY_THERE = 409


@dataclass(frozen=True)
class Uploaded:
    """A version in KFP's list; ``fresh`` says that it was not there before."""

    pipeline: str
    version: str
    fresh: bool


def connect(host: str) -> "ApiClient":
    """A client of KFP's API; it shows the service account's token that KF_PIPELINES_SA_TOKEN_PATH names, if any.

    Not kfp.Client: that one asks for the server's health first, and where there is none prints tracebacks for half a minute.
    """
    import kfp_server_api

    parts = urlsplit(host)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise BadInput("--host must be an address such as http://ml-pipeline.kubeflow:8888, without a password in it.")
    configuration = kfp_server_api.Configuration()
    configuration.host = host.rstrip("/")
    configuration.retries = False  # the job that uploads, or a person, tries again
    if path := os.environ.get(TOKEN):
        configuration.api_key["authorization"] = _token(Path(path))
        configuration.api_key_prefix["authorization"] = "Bearer"
    return kfp_server_api.ApiClient(configuration)


def _token(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{TOKEN} names {path}, which cannot be read ({error}); mount the token or unset it.") from error


def upload(host: str, recipe: Recipe, namespace: str | None = None) -> Uploaded:
    """Compile a recipe and put it into the list of the KFP at ``host``, unless a version of the same content is there.

    The version's name is the beginning of the compiled file's sha256, so that the same upload twice, or twice at once, makes
    one version. Raises BadInput when KFP refuses, Transient when it cannot be reached.
    """
    from kfp_server_api import PipelineServiceApi

    from pipelines.compiling import compile_recipe

    with tempfile.TemporaryDirectory() as folder, _explained(host, recipe.name):
        package = Path(folder, "pipeline.yaml")
        compile_recipe(recipe, package)
        name, version = f"expanse-{recipe.name}", file_digest(package)[:VERSION_DIGITS]
        client = connect(host)
        pipeline = _pipeline(client, name, recipe.description, namespace)
        known = PipelineServiceApi(client).pipeline_service_list_pipeline_versions(pipeline, filter=_named(version))
        fresh = not known.pipeline_versions and _upload_version(client, package, version, pipeline)
    return Uploaded(name, version, fresh)


def _pipeline(client: "ApiClient", name: str, description: str, namespace: str | None) -> str:
    """The id of the pipeline of this name, made if it is not there."""
    from kfp_server_api import ApiException, PipelineServiceApi, V2beta1Pipeline

    api = PipelineServiceApi(client)
    for attempt in (1, 2):
        found = api.pipeline_service_list_pipelines(filter=_named(name), namespace=namespace).pipelines
        if found:
            return str(found[0].pipeline_id)
        body = V2beta1Pipeline(display_name=name, name=name, description=description, namespace=namespace)
        try:
            return str(api.pipeline_service_create_pipeline(body).pipeline_id)
        except ApiException as error:
            if error.status != ALREADY_THERE or attempt == 2:  # another upload was quicker: take its pipeline
                raise
    raise AssertionError("unreachable")


def _upload_version(client: "ApiClient", package: Path, version: str, pipeline: str) -> bool:
    """Whether this call made the version; False when another one did at the same time."""
    from kfp_server_api import ApiException, PipelineUploadServiceApi

    try:
        PipelineUploadServiceApi(client).upload_pipeline_version(str(package), name=version, pipelineid=pipeline)
    except ApiException as error:
        if error.status != ALREADY_THERE:
            raise
        return False
    return True


def _named(name: str) -> str:
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]})


@contextmanager
def _explained(host: str, name: str) -> Iterator[None]:
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        reason = _reason(error)
        if error.status in (401, 403):
            raise BadInput(
                f"Kubeflow Pipelines at {host} refuses {name!r} ({error.status}: {reason}); "
                "give the account the role for pipelines there (pipelines.token in the chart), or another token."
            ) from error
        if error.status in (404, 501):
            raise BadInput(
                f"{host} does not answer as Kubeflow Pipelines 2.17 ({error.status}: {reason}); check the address."
            ) from error
        if error.status and error.status < 500 and error.status not in (408, 429):
            raise BadInput(f"Kubeflow Pipelines at {host} refuses {name!r}: {reason}.") from error
        raise Transient(f"Kubeflow Pipelines at {host} answered {error.status}: {reason}; try again.") from error
    except (HTTPError, TimeoutError) as error:
        reason = " ".join(str(getattr(error, "reason", error)).split())[:200]
        raise Transient(f"Kubeflow Pipelines at {host} cannot be reached ({reason}); try again.") from error


def _reason(error: Any) -> str:
    try:
        text = json.loads(error.body)["message"]
    except (ValueError, KeyError, TypeError):
        text = error.body or error.reason or "no reason given"
    return " ".join(str(text).split())[:300].rstrip(".")
