"""Room: quotas leave what the largest step asks for, and there are nodes that can run it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from components.common.cluster import explained
from components.common.endpoints import Served
from components.common.endpoints import Toleration as ServedToleration
from components.common.errors import BadInput, Transient
from pipelines.checks.cluster import SECONDS, Cluster
from pipelines.checks.finding import Check, Finding, ok, skipped
from pipelines.parts import find_all
from pipelines.recipe import Recipe
from pipelines.resources import Machine, Toleration

Amounts = dict[str, Decimal]
Tolerations = Sequence[Toleration | ServedToleration]


@dataclass(frozen=True)
class Wanted:
    """What one part of the recipe (``field``) asks of the cluster at once: so many ``pods``, the amounts for each of them."""

    field: str
    pods: int
    amounts: Mapping[str, str]
    gpus: int
    accelerator: str
    node_selector: Mapping[str, str]
    tolerations: Tolerations

    @classmethod
    def by_machine(cls, field: str, machine: Machine) -> "Wanted":
        """A step's pods: one, or those of its TrainJob."""
        amounts = {"cpu": machine.cpu, "memory": machine.memory, "ephemeral-storage": machine.storage}
        place = machine.gpus, machine.accelerator, machine.node_selector, machine.tolerations
        return cls(field, machine.nodes, amounts, *place)

    @classmethod
    def by_served(cls, field: str, served: Served) -> "Wanted":
        """The replicas of a model that a step serves."""
        place = served.gpus, served.accelerator, served.node_selector, served.tolerations
        return cls(field, served.replicas, {"cpu": served.cpu, "memory": served.memory}, *place)


def capacity_checks(recipe: Recipe, cluster: Cluster) -> list[Check]:
    """The namespace's quotas, and nodes for everything that asks for GPUs."""
    wanted = list(_wanted(recipe))
    checks = [Check("ResourceQuota", lambda: look_at_quotas(cluster, wanted))]
    return checks + [_nodes(cluster, each) for each in wanted if each.gpus]


def _wanted(recipe: Recipe) -> Iterator[Wanted]:
    for role in type(recipe.resources).model_fields:
        yield Wanted.by_machine(f"resources.{role}", getattr(recipe.resources, role))
    for path, served in find_all(recipe, Served):
        yield Wanted.by_served(path, served)


def look_at_quotas(cluster: Cluster, wanted: Sequence[Wanted]) -> Finding:
    """Every quota against the largest request of each resource; quotas with scopes count only some pods and are left out."""
    from kubernetes import client
    from kubernetes.client import ApiException

    try:
        found = client.CoreV1Api(cluster.api).list_namespaced_resource_quota(
            cluster.namespace, _request_timeout=SECONDS
        )
    except ApiException as error:
        if error.status == 403:
            return skipped("ResourceQuota", "we may not list quotas", "check with an account that may")
        with explained(f"ResourceQuotas of {cluster.namespace}"):
            raise
    quotas = [quota for quota in found.items if not (quota.spec.scopes or quota.spec.scope_selector)]
    for quota in quotas:
        _judge(quota, wanted, cluster)
    names = ", ".join(sorted(quota.metadata.name for quota in quotas)) or "there is none"
    return ok("ResourceQuota", f"every step fits into {names}" if quotas else names)


def _judge(quota: Any, wanted: Sequence[Wanted], cluster: Cluster) -> None:
    """Raise BadInput for a step that never fits, Transient for one that does not fit beside what runs now."""
    hard = _amounts((quota.status and quota.status.hard) or quota.spec.hard or {})
    used = _amounts((quota.status and quota.status.used) or {})
    where = f"The quota {quota.metadata.name} of {cluster.namespace}"
    for each in wanted:
        for resource, amount in needs(each).items():
            if resource not in hard:
                continue
            limit, free = hard[resource], hard[resource] - used.get(resource, Decimal(0))
            asked = f"{each.field} asks for {amount.normalize():f}"
            if amount > limit:
                raise BadInput(
                    f"{where} allows {limit.normalize():f} {resource} and {asked}; have it raised, or ask for less."
                )
            if amount > free:
                raise Transient(
                    f"{where} has {free.normalize():f} of {limit.normalize():f} {resource} left and {asked}; wait for other "
                    "work to end, or have it raised."
                )


def needs(wanted: Wanted) -> Amounts:
    """What it takes of a quota, under the names that quotas know; requests equal limits."""
    amounts = {name: value * wanted.pods for name, value in _amounts(wanted.amounts).items()}
    made = {f"{kind}.{name}": value for name, value in amounts.items() for kind in ("requests", "limits")} | amounts
    if wanted.gpus:
        gpus = Decimal(wanted.gpus * wanted.pods)
        made |= {f"{kind}.{wanted.accelerator}": gpus for kind in ("requests", "limits")}
    return made | {"pods": Decimal(wanted.pods)}


def _amounts(quantities: Mapping[str, str]) -> Amounts:
    from kubernetes.utils.quantity import parse_quantity

    return {name: parse_quantity(quantity) for name, quantity in quantities.items()}


def _nodes(cluster: Cluster, wanted: Wanted) -> Check:
    return Check(f"nodes for {wanted.field}", lambda: look_for_nodes(cluster, wanted))


def look_for_nodes(cluster: Cluster, wanted: Wanted) -> Finding:
    """Nodes with the selector's labels and room for the pods, without a taint that the pods do not bear."""
    from kubernetes import client
    from kubernetes.client import ApiException

    what, selector = (
        f"nodes for {wanted.field}",
        ",".join(f"{key}={value}" for key, value in wanted.node_selector.items()),
    )
    try:
        listed = client.CoreV1Api(cluster.api).list_node(label_selector=selector, _request_timeout=SECONDS).items
    except ApiException as error:
        if error.status == 403:
            return skipped(what, "we may not list nodes", "check with an account that may")
        with explained("Nodes"):
            raise
    return _room(what, listed, wanted, f" on {selector}" if selector else "")


def _room(what: str, nodes: Sequence[Any], wanted: Wanted, where: str) -> Finding:
    asked = f"{wanted.pods} x {wanted.gpus} {wanted.accelerator}{where}"
    there = sum(_fitting(node, wanted) for node in nodes)
    if there < wanted.pods:
        remedy = f"correct {wanted.field}, unless an autoscaler adds nodes on demand"
        return Finding("warning", what, f"{asked} are asked for and there is room for {there}", remedy)
    open_to_us = sum(_fitting(node, wanted) for node in nodes if not _keeps_out(node, wanted))
    if open_to_us >= wanted.pods:
        return ok(what, f"{asked} are asked for and there is room for {open_to_us}")
    taint = next(taint for node in nodes if _fitting(node, wanted) and (taint := _keeps_out(node, wanted)))
    sentence, remedy = (
        f"Nodes carry the taint {taint}, which the pods do not bear",
        f"add it to {wanted.field}.tolerations",
    )
    if taint.startswith((f"{wanted.accelerator}:", f"{wanted.accelerator}=")):
        return Finding("warning", what, sentence, f"{remedy}, unless the cluster adds it to pods with GPUs")
    raise BadInput(f"{sentence}; {remedy}.")


def _fitting(node: Any, wanted: Wanted) -> int:
    """How many of the pods have their GPUs on this node, whoever holds them now."""
    return int((node.status.allocatable or {}).get(wanted.accelerator, "0")) // wanted.gpus


def _keeps_out(node: Any, wanted: Wanted) -> str:
    """The first taint of a node that the tolerations do not cover."""
    for taint in node.spec.taints or []:
        covered = any(
            each.key in (None, taint.key)
            and (each.operator == "Exists" or each.value == taint.value)
            and each.effect in (None, taint.effect)
            for each in wanted.tolerations
        )
        if taint.effect in ("NoSchedule", "NoExecute") and not covered:
            return f"{taint.key}={taint.value}:{taint.effect}" if taint.value else f"{taint.key}:{taint.effect}"
    return ""
