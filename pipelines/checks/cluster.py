"""The cluster as such: its API answers, has the kinds that a run creates, and lets the steps create them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.common.cluster import NAMESPACE, connect, explained, namespace
from components.common.endpoints import Served
from components.common.errors import BadInput, Transient
from pipelines.checks.finding import Check, Finding, ok, skipped
from pipelines.parts import find_all
from pipelines.recipe import Recipe

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

API = "Kubernetes API"
SECONDS = 10
TRAINER, KSERVE, KUEUE = "trainer.kubeflow.org", "serving.kserve.io", "kueue.x-k8s.io"
#: The version of Kueue's kinds that the chart writes; Kueue is about to serve v1beta1 no more.
QUEUES = "v1beta2"


@dataclass(frozen=True)
class Kind:
    """A custom resource that a run needs; ``chart`` says what installs it."""

    group: str
    version: str
    plural: str
    chart: str


TRAINJOBS = Kind(TRAINER, "v1alpha1", "trainjobs", "Kubeflow Trainer v2")
TRAINING_RUNTIMES = Kind(TRAINER, "v1alpha1", "clustertrainingruntimes", "Kubeflow Trainer v2")
INFERENCE_SERVICES = Kind(KSERVE, "v1beta1", "inferenceservices", "KServe 0.15 or newer")
LOCAL_QUEUES = Kind(KUEUE, QUEUES, "localqueues", "Kueue 0.15 or newer")
KINDS = [TRAINJOBS, TRAINING_RUNTIMES, INFERENCE_SERVICES, LOCAL_QUEUES]
#: What the steps do with the API: with a custom resource, with what belongs to its pods, and in every run (a promotion holds
#: a lease). The role of the chart allows this and no more, and a test compares the two.
Rights = tuple[str, str, tuple[str, ...]]
VERBS = {
    TRAINJOBS: ("create", "get", "list", "delete"),
    INFERENCE_SERVICES: ("create", "get", "list", "update", "delete"),
}
BESIDE: list[Rights] = [
    ("", "pods", ("get", "list")),
    ("", "pods/log", ("get",)),
    ("", "events", ("list",)),
    ("", "configmaps", ("create",)),
]
ALWAYS: list[Rights] = [("coordination.k8s.io", "leases", ("create", "get", "update"))]


@dataclass(frozen=True)
class Cluster:
    """A connection and the namespace of the run."""

    api: "ApiClient"
    namespace: str


def find_cluster(context: str | None) -> Cluster | Finding:
    """The configured cluster, or the finding that says why there is none to look at."""
    try:
        api = connect(context)
    except BadInput as error:
        if context:
            raise
        return skipped(API, "not configured", str(error).partition("; ")[2].rstrip("."))
    api.configuration.retries = False
    cluster = Cluster(api, namespace(context))
    try:
        version(cluster)
    except (BadInput, Transient) as error:
        return Finding("failed" if isinstance(error, BadInput) else "transient", API, str(error))
    return cluster


def version(cluster: Cluster) -> str:
    """The server's version; the first request to a cluster."""
    with explained(API):
        found = cluster.api.call_api(
            "/version",
            "GET",
            auth_settings=["BearerToken"],
            response_type="object",
            _return_http_data_only=True,
            _request_timeout=SECONDS,
        )
    return str(found.get("gitVersion", "of an unknown version")) if isinstance(found, dict) else "of an unknown version"


def trains_in_jobs(recipe: Recipe) -> bool:
    """Whether SFT and DPO become TrainJobs."""
    return recipe.resources.training.total_gpus > 1


def serves(recipe: Recipe) -> bool:
    """Whether the run creates InferenceServices: to deploy its result, or to sample from a model."""
    return recipe.deployment.mode != "local" or any(find_all(recipe, Served))


def queues(recipe: Recipe) -> list[str]:
    """The LocalQueues that the recipe names."""
    served = {part.queue for _, part in find_all(recipe, Served)}
    return sorted(name for name in {recipe.platform.queue, *served} if name)


def needed_kinds(recipe: Recipe) -> list[Kind]:
    """The custom resources that this recipe's run needs."""
    kinds = [TRAINJOBS, TRAINING_RUNTIMES] if trains_in_jobs(recipe) else []
    kinds += [INFERENCE_SERVICES] if serves(recipe) else []
    return kinds + ([LOCAL_QUEUES] if queues(recipe) else [])


def cluster_checks(recipe: Recipe, cluster: Cluster) -> list[Check]:
    """Version, namespace, kinds, permissions."""
    return [
        api_check(cluster),
        Check(f"namespace {cluster.namespace}", lambda: look_for_namespace(cluster)),
        *kind_checks(cluster, needed_kinds(recipe)),
        Check("permissions", lambda: look_at_permissions(recipe, cluster)),
    ]


def api_check(cluster: Cluster) -> Check:
    """The API's address and version."""
    return Check(API, lambda: ok(API, f"{cluster.api.configuration.host} is Kubernetes {version(cluster)}"))


def kind_checks(cluster: Cluster, kinds: list[Kind]) -> list[Check]:
    """One check per custom resource."""

    def looker(kind: Kind) -> Callable[[], Finding]:
        return lambda: look_for_kind(cluster, kind)

    return [Check(f"CRD {kind.plural}.{kind.group}", looker(kind)) for kind in kinds]


def look_for_namespace(cluster: Cluster) -> Finding:
    """The namespace is there and not being deleted."""
    from kubernetes import client

    what = f"namespace {cluster.namespace}"
    with explained(f"Namespace {cluster.namespace}"):
        found = client.CoreV1Api(cluster.api).read_namespace(cluster.namespace, _request_timeout=SECONDS)
    if found.status and found.status.phase == "Terminating":
        raise BadInput(f"The namespace {cluster.namespace} is being deleted; set {NAMESPACE} to another one.")
    return ok(what, "is there")


def look_for_kind(cluster: Cluster, kind: Kind) -> Finding:
    """Discovery shows what is served to anyone, so reading definitions is not asked for."""
    from kubernetes import client

    what, name = f"CRD {kind.plural}.{kind.group}", f"{kind.plural}.{kind.group}"
    try:
        with explained(what):
            listed = client.CustomObjectsApi(cluster.api).get_api_resources(
                kind.group, kind.version, _request_timeout=SECONDS
            )
    except BadInput as error:
        raise BadInput(f"The cluster does not serve {name} {kind.version}; install {kind.chart}.") from error
    if kind.plural not in {resource.name for resource in listed.resources}:
        raise BadInput(f"The cluster does not serve {name} {kind.version}; install or update {kind.chart}.")
    return ok(what, f"is served as {kind.version}")


def look_at_permissions(recipe: Recipe, cluster: Cluster) -> Finding:
    """Whether the steps' service account, else we ourselves, may do what the steps do."""
    account = recipe.platform.service_account
    subject = f"service account {account}" if account else "this user"
    denied = []
    for group, resource, verbs in needed_rights(recipe):
        for verb in verbs:
            allowed = _may(cluster, account, group, resource, verb)
            if allowed is None:
                return skipped("permissions", "the API does not review access, or not for us", "see the chart's role")
            if not allowed:
                denied.append(f"{verb} {resource}")
    if denied:
        raise BadInput(
            f"The {subject} may not {', '.join(denied[:4])}{' and more' if len(denied) > 4 else ''} in {cluster.namespace}; "
            "give it the role expanse-pipeline of the chart."
        )
    return ok("permissions", f"the {subject} may do what the steps do")


def needed_rights(recipe: Recipe) -> list[Rights]:
    """What the run's steps do with the API of their namespace: group, resource and verbs."""
    kinds = [(kind.group, kind.plural, VERBS[kind]) for kind in needed_kinds(recipe) if kind in VERBS]
    return [*kinds, *(BESIDE if kinds else []), *ALWAYS]


def _may(cluster: Cluster, account: str | None, group: str, resource: str, verb: str) -> bool | None:
    """The API's word; None where it gives none."""
    from kubernetes import client

    name, _, part = resource.partition("/")
    attributes = {
        "namespace": cluster.namespace, "group": group, "resource": name, "verb": verb, "subresource": part,
    }  # fmt: skip
    reviews = client.AuthorizationV1Api(cluster.api)
    try:
        with explained("access review"):
            if account is None:
                own = {"spec": {"resourceAttributes": attributes}}
                review = reviews.create_self_subject_access_review(own, _request_timeout=SECONDS)
            else:
                body = {"metadata": {"namespace": cluster.namespace}, "spec": _subject(cluster, account, attributes)}
                review = reviews.create_namespaced_local_subject_access_review(
                    cluster.namespace, body, _request_timeout=SECONDS
                )
    except BadInput:
        return None
    return bool(review.status.allowed)


def _subject(cluster: Cluster, account: str, attributes: dict[str, str]) -> dict[str, Any]:
    accounts = "system:serviceaccounts"
    return {
        "user": f"system:serviceaccount:{cluster.namespace}:{account}",
        "groups": [accounts, f"{accounts}:{cluster.namespace}", "system:authenticated"],
        "resourceAttributes": attributes,
    }
