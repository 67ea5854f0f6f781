"""Compiled recipes in Kubeflow Pipelines' list: one pipeline a recipe, one version for each content it has had."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.common.canonical import file_digest
from components.common.errors import BadInput
from components.common.step import STORE
from pipelines.kfp_api import ALREADY_THERE, connect, explained, named
from pipelines.recipe import Recipe

if TYPE_CHECKING:
    from kfp_server_api import ApiClient, V2beta1PipelineVersion

VERSION_DIGITS = 12


@dataclass(frozen=True)
class Uploaded:
    """A version in KFP's list, by its names and ids; ``fresh`` says that it was not there before."""

    pipeline: str
    version: str
    pipeline_id: str
    version_id: str
    fresh: bool


def upload(host: str, recipe: Recipe, namespace: str | None = None) -> Uploaded:
    """Compile a recipe and put it into the list of the KFP at ``host``, unless a version of the same content is there.

    Raises BadInput when KFP refuses, Transient when it cannot be reached.
    """
    from pipelines.compiling import compile_recipe

    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "pipeline.yaml")
        compile_recipe(recipe, package)
        with explained(host, repr(recipe.name)):
            return put(connect(host), recipe, package, namespace)


def require_store(recipe: Recipe) -> None:
    """Raise BadInput for a recipe whose steps would find no store on a cluster."""
    if recipe.platform.store is None and STORE not in {*recipe.platform.secrets, *recipe.platform.config_maps}:
        raise BadInput(
            f"{recipe.name}: platform.store: a run on a cluster needs a store that all pods reach; "
            f"set it to s3://bucket/prefix, or take {STORE} from a ConfigMap in platform.config_maps."
        )


def put(client: "ApiClient", recipe: Recipe, package: Path, namespace: str | None) -> Uploaded:
    """Put a compiled recipe into the list, unless it is there.

    The version's name is the beginning of the compiled file's sha256, so that the same upload twice, or twice at once, makes
    one version.
    """
    name, version = f"expanse-{recipe.name}", version_name(package)
    pipeline = _pipeline(client, name, recipe.description, namespace)
    known = _version(client, pipeline, version)
    made = None if known else _upload_version(client, package, version, pipeline)
    found = known or made or _version(client, pipeline, version)
    return Uploaded(name, version, pipeline, str(found and found.pipeline_version_id), made is not None)


def version_name(package: Path) -> str:
    """What the version of a compiled file is called."""
    return file_digest(package)[:VERSION_DIGITS]


def _pipeline(client: "ApiClient", name: str, description: str, namespace: str | None) -> str:
    """The id of the pipeline of this name, made if it is not there."""
    from kfp_server_api import ApiException, PipelineServiceApi, V2beta1Pipeline

    api = PipelineServiceApi(client)
    for attempt in (1, 2):
        scope = {"namespace": namespace} if namespace else {}
        found = api.pipeline_service_list_pipelines(filter=named(name), **scope).pipelines
        if found:
            return str(found[0].pipeline_id)
        body = V2beta1Pipeline(display_name=name, name=name, description=description, **scope)
        try:
            return str(api.pipeline_service_create_pipeline(body).pipeline_id)
        except ApiException as error:
            if error.status != ALREADY_THERE or attempt == 2:  # another upload was quicker: take its pipeline
                raise
    raise AssertionError("unreachable")


def _version(client: "ApiClient", pipeline: str, version: str) -> "V2beta1PipelineVersion | None":
    from kfp_server_api import PipelineServiceApi

    found = PipelineServiceApi(client).pipeline_service_list_pipeline_versions(pipeline, filter=named(version))
    return found.pipeline_versions[0] if found.pipeline_versions else None


def _upload_version(client: "ApiClient", package: Path, version: str, pipeline: str) -> "V2beta1PipelineVersion | None":
    """The version that this call made; None when another one made it at the same time."""
    from kfp_server_api import ApiException, PipelineUploadServiceApi

    try:
        api = PipelineUploadServiceApi(client)
        return api.upload_pipeline_version(str(package), name=version, pipelineid=pipeline)
    except ApiException as error:
        if error.status != ALREADY_THERE:
            raise
        return None
