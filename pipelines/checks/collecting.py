"""Which checks belong to a recipe, and which to a machine."""

from pipelines.checks.capacity import capacity_checks
from pipelines.checks.cluster import KINDS, Cluster, api_check, cluster_checks, find_cluster, kind_checks
from pipelines.checks.endpoints import endpoint_checks
from pipelines.checks.finding import Check, Finding, run_checks
from pipelines.checks.github import github_checks
from pipelines.checks.hub import hub_checks
from pipelines.checks.images import image_checks
from pipelines.checks.licences import licence_checks
from pipelines.checks.machine import machine_checks
from pipelines.checks.objects import object_checks
from pipelines.checks.services import service_checks
from pipelines.checks.storage import environment_store_checks, store_checks
from pipelines.recipe import Recipe


def check_recipe(recipe: Recipe, host: str | None, context: str | None) -> list[Finding]:
    """Everything that the recipe's run needs from the world; see docs/planning.md. Raises BadInput for an unknown context."""
    cluster = find_cluster(context)
    checks = [
        *store_checks(recipe),
        *endpoint_checks(recipe),
        *hub_checks(recipe),
        *github_checks(recipe),
        *licence_checks(recipe),
        *image_checks(recipe),
        *service_checks(host),
    ]
    if isinstance(cluster, Cluster):
        return run_checks([*checks, *in_cluster(recipe, cluster)])
    return [*run_checks(checks), cluster]


def in_cluster(recipe: Recipe, cluster: Cluster) -> list[Check]:
    """What is looked at in a cluster that answers."""
    return [*cluster_checks(recipe, cluster), *object_checks(recipe, cluster), *capacity_checks(recipe, cluster)]


def check_machine(host: str | None, context: str | None) -> list[Finding]:
    """This machine or pod and what it can reach, without any recipe."""
    cluster = find_cluster(context)
    checks = [*machine_checks(), *environment_store_checks(), *service_checks(host)]
    if isinstance(cluster, Cluster):
        return run_checks([*checks, api_check(cluster), *kind_checks(cluster, KINDS)])
    return [*run_checks(checks), cluster]
