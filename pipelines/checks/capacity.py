"""Room: quotas leave what the largest step asks for, and there are nodes that can run it."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from components.common.cluster import explained
from components.common.errors import BadInput, Transient
from pipelines.checks.cluster import SECONDS, Cluster
from pipelines.checks.finding import Check, Finding, ok, skipped
from pipelines.recipe import Recipe
from pipelines.resources import Machine

Amounts = dict[str, Decimal]


def capacity_checks(recipe: Recipe, cluster: Cluster) -> list[Check]:
    """The namespace's quotas, and nodes for every role that asks for GPUs."""
    machines = dict(_machines(recipe))
    checks = [Check("ResourceQuota", lambda: look_at_quotas(cluster, machines))]
    return checks + [_nodes(cluster, role, machine) for role, machine in machines.items() if machine.gpus]


def _machines(recipe: Recipe) -> Iterator[tuple[str, Machine]]:
    for role in type(recipe.resources).model_fields:
        yield role, getattr(recipe.resources, role)


def look_at_quotas(cluster: Cluster, machines: dict[str, Machine]) -> Finding:
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
        _judge(quota, machines, cluster)
    names = ", ".join(sorted(quota.metadata.name for quota in quotas)) or "there is none"
    return ok("ResourceQuota", f"every step fits into {names}" if quotas else names)


def _judge(quota: Any, machines: dict[str, Machine], cluster: Cluster) -> None:
    """Raise BadInput for a step that never fits, Transient for one that does not fit beside what runs now."""
    hard = _amounts((quota.status and quota.status.hard) or quota.spec.hard or {})
    used = _amounts((quota.status and quota.status.used) or {})
    where = f"The quota {quota.metadata.name} of {cluster.namespace}"
    for role, machine in machines.items():
        for resource, wanted in needs(machine).items():
            if resource not in hard:
                continue
            limit, free = hard[resource], hard[resource] - used.get(resource, Decimal(0))
            asked = f"resources.{role} asks for {wanted.normalize():f}"
            if wanted > limit:
                raise BadInput(
                    f"{where} allows {limit.normalize():f} {resource} and {asked}; have it raised, or ask for less."
                )
            if wanted > free:
                raise Transient(
                    f"{where} has {free.normalize():f} of {limit.normalize():f} {resource} left and {asked}; wait for other "
                    "work to end, or have it raised."
                )


def needs(machine: Machine) -> Amounts:
    """What a step takes of a quota, under the names that quotas know; requests equal limits."""
    plain = {"cpu": machine.cpu, "memory": machine.memory, "ephemeral-storage": machine.storage}
    amounts = {name: value * machine.nodes for name, value in _amounts(plain).items()}
    made = {f"{kind}.{name}": value for name, value in amounts.items() for kind in ("requests", "limits")} | amounts
    if machine.gpus:
        gpus = Decimal(machine.total_gpus)
        made |= {f"{kind}.{machine.accelerator}": gpus for kind in ("requests", "limits")}
    return made


def _amounts(quantities: dict[str, str]) -> Amounts:
    from kubernetes.utils.quantity import parse_quantity

    return {name: parse_quantity(quantity) for name, quantity in quantities.items()}


def _nodes(cluster: Cluster, role: str, machine: Machine) -> Check:
    return Check(f"nodes for {role}", lambda: look_for_nodes(cluster, role, machine))


def look_for_nodes(cluster: Cluster, role: str, machine: Machine) -> Finding:
    """Nodes with the selector's labels, enough GPUs each, and no taint that the machine does not bear."""
    from kubernetes import client
    from kubernetes.client import ApiException

    what, selector = f"nodes for {role}", ",".join(f"{key}={value}" for key, value in machine.node_selector.items())
    try:
        listed = client.CoreV1Api(cluster.api).list_node(label_selector=selector, _request_timeout=SECONDS).items
    except ApiException as error:
        if error.status == 403:
            return skipped(what, "we may not list nodes", "check with an account that may")
        with explained("Nodes"):
            raise
    wanted = f"{machine.nodes} with {machine.gpus} {machine.accelerator}" + (f" and {selector}" if selector else "")
    large = [node for node in listed if _has_gpus(node, machine)]
    if len(large) < machine.nodes:
        return Finding(
            "warning", what, f"{wanted} are asked for and {len(large)} are there",
            "correct resources." + role + ", unless an autoscaler adds nodes on demand",
        )  # fmt: skip
    open_ones = [node for node in large if not _keeps_out(node, machine)]
    if len(open_ones) >= machine.nodes:
        return ok(what, f"{wanted} are asked for and {len(open_ones)} are there")
    taint = next(taint for node in large if (taint := _keeps_out(node, machine)))
    remedy = f"add it to resources.{role}.tolerations"
    sentence = f"Nodes for resources.{role} carry the taint {taint}, which its pods do not bear"
    if taint.startswith((f"{machine.accelerator}:", f"{machine.accelerator}=")):
        return Finding("warning", what, sentence, f"{remedy}, unless the cluster adds it to pods with GPUs")
    raise BadInput(f"{sentence}; {remedy}.")


def _has_gpus(node: Any, machine: Machine) -> bool:
    return int((node.status.allocatable or {}).get(machine.accelerator, "0")) >= machine.gpus


def _keeps_out(node: Any, machine: Machine) -> str:
    """The first taint of a node that the machine's tolerations do not cover."""
    for taint in node.spec.taints or []:
        covered = any(
            each.key == taint.key
            and (each.operator == "Exists" or each.value == taint.value)
            and each.effect in (None, taint.effect)
            for each in machine.tolerations
        )
        if taint.effect in ("NoSchedule", "NoExecute") and not covered:
            return f"{taint.key}={taint.value}:{taint.effect}" if taint.value else f"{taint.key}:{taint.effect}"
    return ""
