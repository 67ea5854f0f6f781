"""A recipe as a run of Kubeflow Pipelines."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.common.errors import BadInput
from pipelines.compiling import compile_recipe
from pipelines.images import stale_images
from pipelines.kfp_api import UI, check_server, connect, explained, named
from pipelines.recipe import Recipe
from pipelines.uploading import put, require_store, version_name

if TYPE_CHECKING:
    from kfp_server_api import ApiClient


@dataclass(frozen=True)
class Request:
    """What a person asks for beyond the recipe; ``cache`` True and False go over what the images allow."""

    host: str
    namespace: str | None = None
    experiment: str | None = None
    run_name: str | None = None
    service_account: str | None = None
    token_file: Path | None = None
    cache: bool | None = None


@dataclass(frozen=True)
class Submission:
    """What will run under which names."""

    experiment: str
    run_name: str
    service_account: str | None
    version: str


@dataclass(frozen=True)
class Run:
    """A run that KFP has accepted; ``chapters`` maps each step to the chapter that it belongs to."""

    client: "ApiClient"
    host: str
    run_id: str
    chapters: Mapping[str, str]

    @property
    def link(self) -> str:
        """The run's page in KFP's UI."""
        return f"{os.environ.get(UI, self.host).rstrip('/')}/#/runs/details/{self.run_id}"


def plan_submission(recipe: Recipe, request: Request, package: Path) -> tuple[Submission, dict[str, str]]:
    """Compile the recipe to ``package``; what would be submitted, and the chapter of each step.

    Raises BadInput for a recipe that cannot run on a cluster. Talks to nobody.
    """
    require_store(recipe)
    stale = stale_images()
    if stale and not {"cpu", "train"} <= set(recipe.platform.images):
        raise BadInput(stale)
    chapters = compile_recipe(recipe, package, request.cache)
    submission = Submission(
        request.experiment or recipe.experiment,
        request.run_name or f"{recipe.name}-{recipe.digest[:12]}",
        request.service_account or recipe.platform.service_account,
        version_name(package),
    )
    return submission, chapters


def rehearse(recipe: Recipe, request: Request) -> str:
    """What ``submit`` would do, in words; raises BadInput for a recipe that cannot run on a cluster."""
    with tempfile.TemporaryDirectory() as folder:
        planned, chapters = plan_submission(recipe, request, Path(folder, "pipeline.yaml"))
    where = f" in the namespace {request.namespace}" if request.namespace else ""
    return (
        f"would run pipeline expanse-{recipe.name}, version {planned.version}, as {planned.run_name!r} in experiment "
        f"{planned.experiment!r}{where} under the service account {planned.service_account or 'that KFP gives'}: "
        f"{len(chapters)} steps in {len(set(chapters.values()))} chapters; nothing was sent to {request.host}"
    )


def submit(recipe: Recipe, request: Request) -> Run:
    """Upload the recipe's pipeline and start a run of that version.

    Not from the file alone: a run of a version stands under its pipeline in the UI, beside the earlier runs of the recipe,
    and can be started again there. Raises BadInput when KFP refuses, Transient when it cannot be reached.
    """
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "pipeline.yaml")
        submission, chapters = plan_submission(recipe, request, package)
        client = connect(request.host, request.token_file)
        _check_namespace(client, request)
        with explained(request.host, f"pipeline 'expanse-{recipe.name}'"):
            uploaded = put(client, recipe, package, request.namespace)
        with explained(request.host, f"experiment {submission.experiment!r}"):
            experiment = _experiment(client, submission.experiment, request.namespace)
        with explained(request.host, f"run {submission.run_name!r}"):
            run_id = _start(client, submission, experiment, uploaded.pipeline_id, uploaded.version_id)
    return Run(client, request.host, run_id, chapters)


def _check_namespace(client: "ApiClient", request: Request) -> None:
    server = check_server(client, request.host)
    if server.multi_user and not request.namespace:
        raise BadInput(f"{request.host} has several users: give the namespace of the run with --namespace.")
    if not server.multi_user and request.namespace:
        raise BadInput(f"{request.host} has one user, and its own namespace for all runs; leave --namespace out.")


def _experiment(client: "ApiClient", name: str, namespace: str | None) -> str:
    """The id of the experiment of this name, made if it is not there."""
    from kfp_server_api import ExperimentServiceApi, V2beta1Experiment

    api = ExperimentServiceApi(client)
    scope = {"namespace": namespace} if namespace else {}
    found = api.experiment_service_list_experiments(filter=named(name), **scope).experiments
    made = (
        found[0] if found else api.experiment_service_create_experiment(V2beta1Experiment(display_name=name, **scope))
    )
    return str(made.experiment_id)


def _start(client: "ApiClient", submission: Submission, experiment: str, pipeline: str, version: str) -> str:
    """Create the run, once: an answer that is lost on the way must not make two runs."""
    from kfp_server_api import RunServiceApi, V2beta1PipelineVersionReference, V2beta1Run

    body = V2beta1Run(
        display_name=submission.run_name,
        experiment_id=experiment,
        pipeline_version_reference=V2beta1PipelineVersionReference(pipeline_id=pipeline, pipeline_version_id=version),
        service_account=submission.service_account,
    )
    return str(RunServiceApi(client).run_service_create_run(body).run_id)
