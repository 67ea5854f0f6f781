"""What the recipe names in its namespace: accounts, Secrets and ConfigMaps with their keys, claims, queues, runtimes."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from components.common.cluster import explained
from components.common.endpoints import Served
from components.common.errors import BadInput
from pipelines.checks.cluster import KSERVE, KUEUE, QUEUES, SECONDS, TRAINER, Cluster, queues, serves, trains_in_jobs
from pipelines.checks.finding import Check, Finding, ok, skipped
from pipelines.parts import find_all
from pipelines.recipe import Recipe

PULL_TYPES = frozenset({"kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg"})


def object_checks(recipe: Recipe, cluster: Cluster) -> list[Check]:
    """One check per object that the recipe's ``platform`` and machines name."""
    platform = recipe.platform
    checks: list[Check] = []

    def add(kind: str, name: str, look: Callable[[str], Finding]) -> None:
        what = f"{kind} {name}"
        checks.append(Check(what, lambda: look(what)))

    if account := platform.service_account:
        add(
            "ServiceAccount",
            account,
            lambda what: _there(what, _core(cluster).read_namespaced_service_account, account, cluster),
        )
    for name, keys in _keys((each.secret, each.key, each.optional) for each in platform.secrets.values()).items():
        add("Secret", name, _secret(cluster, name, keys))
    for name, keys in _keys(
        (each.config_map, each.key, each.optional) for each in platform.config_maps.values()
    ).items():
        add("ConfigMap", name, _config_map(cluster, name, keys))
    for name in platform.image_pull_secrets:
        add("Secret", name, _pull_secret(cluster, name))
    for claim in (platform.scratch.claim, platform.data.claim if platform.data else None):
        if claim:
            add("PersistentVolumeClaim", claim, _claim(cluster, claim))
    if storage := platform.scratch.storage_class:
        add("StorageClass", storage, _storage_class(cluster, storage))
    return checks + _custom_checks(recipe, cluster)


def _custom_checks(recipe: Recipe, cluster: Cluster) -> list[Check]:
    platform = recipe.platform
    checks = [_queue(cluster, name) for name in queues(recipe)]
    for name in sorted({each for each in _priorities(recipe) if each}):
        checks.append(_cluster_object("WorkloadPriorityClass", KUEUE, QUEUES, "workloadpriorityclasses", name, cluster))
    if trains_in_jobs(recipe):
        runtime, plural = platform.training_runtime, "clustertrainingruntimes"
        checks.append(_cluster_object("ClusterTrainingRuntime", TRAINER, "v1alpha1", plural, runtime, cluster))
    if serves(recipe):
        named = {part.runtime or platform.serving_runtime for _, part in find_all(recipe, Served)}
        checks += [_serving_runtime(cluster, name) for name in sorted(named or {platform.serving_runtime})]
    return checks


def _queue(cluster: Cluster, name: str) -> Check:
    return Check(f"LocalQueue {name}", lambda: look_at_queue(cluster, name))


def _serving_runtime(cluster: Cluster, name: str) -> Check:
    return Check(f"ServingRuntime {name}", lambda: look_for_serving_runtime(cluster, name))


def _priorities(recipe: Recipe) -> list[str | None]:
    resources = recipe.resources
    return [getattr(resources, role).priority_class for role in type(resources).model_fields]


def _core(cluster: Cluster) -> Any:
    from kubernetes import client

    return client.CoreV1Api(cluster.api)


def _read(what: str, read: Callable[..., Any], *arguments: str) -> Any:
    """An object, or None where we may not look; raises BadInput for one that is not there."""
    from kubernetes.client import ApiException

    try:
        return read(*arguments, _request_timeout=SECONDS)
    except ApiException as error:
        if error.status == 403:
            return None
        with explained(what):
            raise
    except Exception:
        with explained(what):
            raise


def _there(what: str, read: Callable[..., Any], name: str, cluster: Cluster) -> Finding:
    found = _read(f"{what} in {cluster.namespace}", read, name, cluster.namespace)
    return ok(what, "is there") if found is not None else _hidden(what)


def _hidden(what: str) -> Finding:
    return skipped(what, "we may not read it", "check with an account that may")


@dataclass
class Keys:
    """What is wanted of a Secret or ConfigMap: a pod does not start without the ``required`` keys."""

    required: set[str] = field(default_factory=set)
    optional: set[str] = field(default_factory=set)


def _keys(entries: Iterable[tuple[str, str, bool]]) -> dict[str, Keys]:
    """By the object's name, from (name, key, optional)."""
    wanted: dict[str, Keys] = defaultdict(Keys)
    for name, key, optional in entries:
        (wanted[name].optional if optional else wanted[name].required).add(key)
    return wanted


def _secret(cluster: Cluster, name: str, keys: Keys) -> Callable[[str], Finding]:
    return lambda what: _with_keys(what, _core(cluster).read_namespaced_secret, name, cluster, keys)


def _config_map(cluster: Cluster, name: str, keys: Keys) -> Callable[[str], Finding]:
    return lambda what: _with_keys(what, _core(cluster).read_namespaced_config_map, name, cluster, keys)


def _with_keys(what: str, read: Callable[..., Any], name: str, cluster: Cluster, keys: Keys) -> Finding:
    """The keys are there and hold something; their values are neither decoded nor shown."""
    try:
        found = _read(f"{what} in {cluster.namespace}", read, name, cluster.namespace)
    except BadInput:
        if keys.required:
            raise
        return ok(what, f"is not there; {', '.join(sorted(keys.optional))} of it is optional")
    if found is None:
        return _hidden(what)
    data = {**(found.data or {}), **(getattr(found, "binary_data", None) or {})}
    missing, empty = (
        sorted(keys.required - set(data)),
        sorted(key for key in keys.required & set(data) if not data[key]),
    )
    if missing or empty:
        problem = f"has no key {missing[0]!r}" if missing else f"has nothing under the key {empty[0]!r}"
        raise BadInput(f"{what} {problem}, which the recipe's platform section names; add it, or correct the section.")
    there = sorted((keys.required | keys.optional) & set(data))
    left_out = sorted(keys.optional - set(data))
    return ok(
        what, f"has {', '.join(there) or 'none of the keys'}" + (f", not {', '.join(left_out)}" if left_out else "")
    )


def _pull_secret(cluster: Cluster, name: str) -> Callable[[str], Finding]:
    def look(what: str) -> Finding:
        found = _read(f"{what} in {cluster.namespace}", _core(cluster).read_namespaced_secret, name, cluster.namespace)
        if found is None:
            return _hidden(what)
        if found.type not in PULL_TYPES:
            raise BadInput(
                f"{what} is of the type {found.type}, with which no image is pulled; make it a docker-registry one."
            )
        return ok(what, "can be pulled with")

    return look


def _claim(cluster: Cluster, name: str) -> Callable[[str], Finding]:
    def look(what: str) -> Finding:
        read = _core(cluster).read_namespaced_persistent_volume_claim
        found = _read(f"{what} in {cluster.namespace}", read, name, cluster.namespace)
        if found is None:
            return _hidden(what)
        phase = found.status.phase if found.status else None
        if phase == "Lost":
            raise BadInput(f"{what} has lost its volume; make it anew.")
        if "ReadWriteMany" not in (found.spec.access_modes or []):
            return Finding(
                "warning", what, "is mounted on one node at a time", "use ReadWriteMany, steps run side by side"
            )
        return ok(what, "is there" if phase == "Bound" else "is there and bound when it is first used")

    return look


def _storage_class(cluster: Cluster, name: str) -> Callable[[str], Finding]:
    def look(what: str) -> Finding:
        from kubernetes import client

        found = _read(what, client.StorageV1Api(cluster.api).read_storage_class, name)
        return ok(what, "is there") if found is not None else _hidden(what)

    return look


def _cluster_object(kind: str, group: str, version: str, plural: str, name: str, cluster: Cluster) -> Check:
    from kubernetes import client

    what = f"{kind} {name}"

    def look() -> Finding:
        found = _read(
            what, client.CustomObjectsApi(cluster.api).get_cluster_custom_object, group, version, plural, name
        )
        return ok(what, "is there") if found is not None else _hidden(what)

    return Check(what, look)


def look_at_queue(cluster: Cluster, name: str) -> Finding:
    """The LocalQueue is there and its cluster queue takes work."""
    from kubernetes import client

    what = f"LocalQueue {name}"
    read = client.CustomObjectsApi(cluster.api).get_namespaced_custom_object
    found = _read(f"{what} in {cluster.namespace}", read, KUEUE, QUEUES, cluster.namespace, "localqueues", name)
    if found is None:
        return _hidden(what)
    behind = found.get("spec", {}).get("clusterQueue", "?")
    for condition in found.get("status", {}).get("conditions", []):
        if condition.get("type") == "Active" and condition.get("status") == "False":
            raise BadInput(
                f"{what} takes no work: {str(condition.get('message', 'no reason given')).rstrip('.')}; see to the "
                f"ClusterQueue {behind}, or name another queue in platform.queue."
            )
    return ok(what, f"is there, behind it the ClusterQueue {behind}")


def look_for_serving_runtime(cluster: Cluster, name: str) -> Finding:
    """A ServingRuntime of the namespace, or one of the cluster."""
    from kubernetes import client

    what, custom = f"ServingRuntime {name}", client.CustomObjectsApi(cluster.api)
    try:
        own = _read(
            what, custom.get_namespaced_custom_object, KSERVE, "v1alpha1", cluster.namespace, "servingruntimes", name
        )
    except BadInput:
        own = _read(what, custom.get_cluster_custom_object, KSERVE, "v1alpha1", "clusterservingruntimes", name)
    return ok(what, "is there") if own is not None else _hidden(what)
