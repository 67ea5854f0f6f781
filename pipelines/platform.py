"""Dresses the tasks of a graph for Kubernetes, from the recipe's ``resources`` and ``platform``: nothing here reaches a key."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kfp import dsl, kubernetes
from kfp.dsl.structures import ResourceSpec

from components.common.cluster import NAMESPACE, RUN
from components.common.inference.objects import DEFAULT_RUNTIME, QUEUE, RUNTIME
from components.common.pod_tracking import EXPERIMENT
from components.common.step import STORE
from components.common.trainjobs import TRAINJOB, ConfigMapKey, Scratch, SecretKey, Toleration, TrainJobSpec
from pipelines.images import Role, is_pinned, locked_images
from pipelines.recipe import Recipe
from pipelines.resources import Machine
from pipelines.settings import SCRATCH_FOLDER, Platform

SCRATCH = "EXPANSE_SCRATCH"
#: The pod of a step that starts a TrainJob and follows it.
LAUNCHER = Machine(cpu="1", memory="4Gi", storage="2Gi")
DISTRIBUTED = frozenset({"sft", "dpo"})
#: Steps that read files which no input names: they get the claim with the team's data, and KFP's cache cannot know them.
READERS = frozenset({"prompts", "weights"})
#: Steps that change the world outside the store.
WORLDLY = frozenset({"register", "deployment", "cleanup"})
#: How long a step may wait for a place in the cluster, over all its attempts.
WAITING_HOURS = 7 * 24


Settings = dict[str, Any]


@dataclass
class _Pod:
    """What kfp-kubernetes' setters fill in: they look at this one attribute of a task."""

    platform_config: dict[str, Any] = field(default_factory=dict)


class Dresser:
    """Gives each task of a recipe its image, resources, environment and place in the cluster.

    The Kubernetes settings are kept aside by step and become the second document of the compiled file: kfp merges them
    into every level of a nested graph anew, which takes a third of the time of a compilation. Settings that tasks share
    are made once, since each of kfp's setters takes a good part of a millisecond. ``cache`` goes over the rule that KFP may
    find tasks again whose image is pinned; steps whose inputs it does not see, or that do something, it never may.
    """

    def __init__(self, recipe: Recipe, cache: bool | None = None) -> None:
        self.cache = cache
        self.platform, self.experiment = recipe.platform, recipe.experiment
        self.images: dict[Role, str] = {**locked_images(), **recipe.platform.images}
        self.made: dict[tuple[str, str], Settings] = {}
        self.steps: dict[str, Settings] = {}

    def __call__(self, task: dsl.PipelineTask, machine: Machine, shell: str) -> None:
        """Dress one task."""
        name = str(task.inputs["name"])
        job = shell in DISTRIBUTED and machine.total_gpus > 1
        pod = LAUNCHER if job else machine
        image = self.images["train" if pod.gpus else "cpu"]
        environment = _environment(self.platform, self.experiment)
        if job:
            spec = job_spec(self.platform, machine, self.images["train"])
            environment[TRAINJOB] = spec.model_dump_json(exclude_defaults=True)
        task.container_spec.image = image
        task.container_spec.resources = _resources(pod)
        task.container_spec.env = environment
        cache = is_pinned(image) if self.cache is None else self.cache
        task.set_caching_options(cache and shell not in READERS | WORLDLY)
        _set_retry(task, machine)
        self.steps[name] = self._settings(name, pod, "launcher" if job else "reader" if shell in READERS else "step")

    def document(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """The PlatformSpec that goes with a PipelineSpec (as JSON) whose tasks were dressed: settings by executor."""
        labels = {name: spec["components"][f"comp-{name}"]["executorLabel"] for name in self.steps}
        executors = {labels[name]: settings for name, settings in self.steps.items()}
        return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}

    def _settings(self, name: str, pod: Machine, kind: str) -> Settings:
        key = (pod.model_dump_json(), kind)
        if key not in self.made:
            self.made[key] = _settings(self.platform, pod, kind)
        shared = self.made[key]
        return shared | {"podMetadata": {"labels": shared["podMetadata"]["labels"] | {"expanse.dev/step": name}}}


def job_spec(platform: Platform, machine: Machine, image: str) -> TrainJobSpec:
    """What a training step asks of the cluster for its TrainJob."""
    shared = (
        "cpu",
        "memory",
        "storage",
        "gpus",
        "nodes",
        "accelerator",
        "priority_class",
        "node_selector",
        "timeout_hours",
    )
    scratch = platform.scratch
    return TrainJobSpec(
        **machine.model_dump(include=set(shared)),
        image=image,
        shared_memory=platform.shared_memory,
        scratch=Scratch(**scratch.model_dump(exclude={"size"}), size=scratch.size or machine.storage),
        runtime=platform.training_runtime,
        service_account=platform.service_account,
        queue=platform.queue,
        tolerations=[Toleration(**each.model_dump()) for each in machine.tolerations],
        image_pull_secrets=list(platform.image_pull_secrets),
        secrets={name: SecretKey(**each.model_dump()) for name, each in platform.secrets.items()},
        config_maps={name: ConfigMapKey(**each.model_dump()) for name, each in platform.config_maps.items()},
        environment={STORE: platform.store} if platform.store else {},
        labels=dict(platform.labels),
    )


def _resources(machine: Machine) -> ResourceSpec:
    """Requests equal limits: a pod is not evicted for memory that it was promised.

    The resources are set as a whole: each of kfp's setters walks the stack, half a second over a graph.
    """
    accelerator: dict[str, str] = {}
    if machine.gpus:
        accelerator = {"accelerator_type": machine.accelerator, "accelerator_count": str(machine.gpus)}
    requests = {"cpu_request": machine.cpu, "memory_request": machine.memory}
    return ResourceSpec(cpu_limit=machine.cpu, memory_limit=machine.memory, **requests, **accelerator)


def _environment(platform: Platform, experiment: str) -> dict[str, str]:
    """What every step is told; the serving runtime and the queue are for models that a step serves."""
    told = {STORE: platform.store, QUEUE: platform.queue, RUNTIME: platform.serving_runtime}
    needed = {name: value for name, value in told.items() if value and value != DEFAULT_RUNTIME}
    return {SCRATCH: SCRATCH_FOLDER, EXPERIMENT: experiment, **needed}


def _set_retry(task: dsl.PipelineTask, machine: Machine) -> None:
    """Argo counts the longest duration from the first attempt's start and ends even a running attempt by it, so it has
    to hold every attempt and the waiting between them."""
    hours = (machine.retries + 1) * machine.timeout_hours + WAITING_HOURS
    task.set_retry(
        machine.retries, backoff_duration="30s", backoff_factor=2, backoff_max_duration=f"{math.ceil(hours * 3600)}s"
    )


def _settings(platform: Platform, machine: Machine, kind: str) -> Settings:
    """A task's Kubernetes settings, without the label that names its step.

    A launcher has no deadline of its own: its job may wait in a queue, and has one.
    """
    pod = _Pod()
    kubernetes.set_security_context(pod, platform.user, platform.user, run_as_non_root=True)
    kubernetes.use_field_path_as_env(pod, RUN, "metadata.labels['pipeline/runid']")
    kubernetes.use_field_path_as_env(pod, NAMESPACE, "metadata.namespace")
    _set_sources(pod, platform)
    _set_place(pod, platform, machine, queued=kind != "launcher")
    _set_volumes(pod, platform, machine, kind)
    if kind != "launcher":
        kubernetes.set_timeout(pod, math.ceil(machine.timeout_hours * 3600))
    return pod.platform_config["kubernetes"]  # type: ignore[no-any-return]


def _set_sources(pod: _Pod, platform: Platform) -> None:
    """Environment variables from Secrets and ConfigMaps, and the Secrets that images are pulled with."""
    secrets = [(each.secret, each.key, variable, each.optional) for variable, each in platform.secrets.items()]
    settings = [(each.config_map, each.key, variable, each.optional) for variable, each in platform.config_maps.items()]
    for name, keys, optional in _grouped(secrets):
        kubernetes.use_secret_as_env(pod, name, keys, optional)
    for name, keys, optional in _grouped(settings):
        kubernetes.use_config_map_as_env(pod, name, keys, optional)
    if platform.image_pull_secrets:
        kubernetes.set_image_pull_secrets(pod, list(platform.image_pull_secrets))


def _grouped(entries: list[tuple[str, str, str, bool]]) -> list[tuple[str, dict[str, str], bool]]:
    """One group per object, which keeps the settings small; a key that feeds a second variable begins another group."""
    groups: list[tuple[str, dict[str, str], bool]] = []
    for name, key, variable, optional in entries:
        fitting = (keys for other, keys, same in groups if (other, same) == (name, optional) and key not in keys)
        keys = next(fitting, None)
        if keys is None:
            groups.append((name, {key: variable}, optional))
        else:
            keys[key] = variable
    return groups


def _set_place(pod: _Pod, platform: Platform, machine: Machine, queued: bool) -> None:
    """Where the pod may run and which queue admits it; a launcher is not queued, since its job is."""
    labels = dict(platform.labels) | {"app.kubernetes.io/part-of": "expanse"}
    if platform.queue and queued:
        labels["kueue.x-k8s.io/queue-name"] = platform.queue
        if machine.priority_class:
            labels["kueue.x-k8s.io/priority-class"] = machine.priority_class
    for key, value in labels.items():
        kubernetes.add_pod_label(pod, key, value)
    for key, value in machine.node_selector.items():
        kubernetes.add_node_selector(pod, key, value)
    for toleration in machine.tolerations:
        kubernetes.add_toleration(pod, **toleration.model_dump())


def _set_volumes(pod: _Pod, platform: Platform, machine: Machine, kind: str) -> None:
    """Scratch, shared memory for data loaders and NCCL, and the team's data."""
    scratch = platform.scratch
    size = scratch.size or machine.storage
    if kind == "launcher" or scratch.kind == "empty":
        kubernetes.empty_dir_mount(
            pod, "scratch", SCRATCH_FOLDER, size_limit=machine.storage if kind == "launcher" else size
        )
    elif scratch.kind == "ephemeral":
        kubernetes.add_ephemeral_volume(
            pod, "scratch", SCRATCH_FOLDER, ["ReadWriteOnce"], size, storage_class_name=scratch.storage_class
        )
    else:
        kubernetes.mount_pvc(pod, str(scratch.claim), SCRATCH_FOLDER)
    if machine.gpus:
        kubernetes.empty_dir_mount(pod, "shared-memory", "/dev/shm", "Memory", platform.shared_memory)
    if kind == "reader" and platform.data:
        kubernetes.mount_pvc(pod, platform.data.claim, platform.data.folder)
