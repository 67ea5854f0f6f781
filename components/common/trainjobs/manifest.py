"""The TrainJob of a step, as the Kubernetes API takes it."""

import math
import os
import re
from typing import Any

from components.common.cluster import RUN
from components.common.copies import SCRATCH
from components.common.step import STORE, Step, code_digest
from components.common.trainjobs.spec import CODE, STEP, STEP_FILE, Scratch, TrainJobSpec

GROUP, VERSION, PLURAL, KIND = "trainer.kubeflow.org", "v1alpha1", "trainjobs", "TrainJob"
RUNTIMES, RUNTIME_KIND = "clustertrainingruntimes", "ClusterTrainingRuntime"
#: The one replicated job of the runtime, and its container: Trainer gives both this name.
NODE = "node"
COMMAND = ["python", "-m", "components.common.distributed"]
KEY_ANNOTATION, NAME_ANNOTATION = "expanse.dev/key", "expanse.dev/step-name"
RUN_LABEL, STEP_LABEL, PART_OF = "expanse.dev/run", "expanse.dev/step", "app.kubernetes.io/part-of"
QUEUE_LABEL, PRIORITY_LABEL = "kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/priority-class"
SCRATCH_FOLDER, STEP_FOLDER, STEP_NAME = "/scratch", "/etc/expanse", "step.json"
#: A larger step travels in a ConfigMap: Linux takes 128 KiB per variable.
LARGEST_VARIABLE = 32 << 10
#: What the pods need of the launcher's own settings; secrets are never among them.
PASSED_ON = (STORE, RUN, "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION", "MLFLOW_TRACKING_URI")

Document = dict[str, Any]


def job_name(step: Step, key: str) -> str:
    """The same for every attempt at this step and no other; leaves room for the suffixes of pods within 63 characters."""
    readable = re.sub(r"[^a-z0-9]+", "-", step.name.lower()).strip("-")[:30].strip("-")
    return f"{readable or step.stage}-{key[:12]}" if (readable or "0")[0].isalpha() else f"step-{readable}-{key[:12]}"


def train_job(step: Step, key: str, spec: TrainJobSpec, owner: Document | None) -> Document:
    """The whole object; ``owner`` is what its life is bound to."""
    metadata: Document = {
        "name": job_name(step, key),
        "labels": _labels(step, spec) | _queue_labels(spec),
        "annotations": {KEY_ANNOTATION: key, NAME_ANNOTATION: step.name},
        **({"ownerReferences": [owner]} if owner else {}),
    }
    trainer = {
        "image": spec.image,
        "command": COMMAND,
        "numNodes": spec.nodes,
        "numProcPerNode": max(1, spec.gpus),
        "resourcesPerNode": _resources(spec),
        "env": _environment(step, spec),
    }
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": metadata,
        "spec": {
            "runtimeRef": {"apiGroup": GROUP, "kind": RUNTIME_KIND, "name": spec.runtime},
            "activeDeadlineSeconds": math.ceil(spec.timeout_hours * 3600),
            "trainer": trainer,
            "runtimePatches": [_patch(step, spec, metadata["name"])],
        },
    }


def step_config_map(step: Step, job: Document) -> Document | None:
    """The ConfigMap of a step too large for a variable, owned by the job that exists already; None for others."""
    if not is_large(step):
        return None
    metadata = job["metadata"]
    labels = {name: value for name, value in metadata["labels"].items() if name not in (QUEUE_LABEL, PRIORITY_LABEL)}
    owner = {"apiVersion": job["apiVersion"], "kind": KIND, "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "metadata": {"name": metadata["name"], "labels": labels, "ownerReferences": [owner]},
        "data": {STEP_NAME: step.to_json()},
    }


def is_large(step: Step) -> bool:
    """Whether the step's JSON is more than an environment variable should hold."""
    return len(step.to_json().encode()) > LARGEST_VARIABLE


def _labels(step: Step, spec: TrainJobSpec) -> dict[str, str]:
    labels = {
        **spec.labels,
        PART_OF: "expanse",
        STEP_LABEL: re.sub(r"[^A-Za-z0-9_.-]", "-", step.name)[:63].strip("-_."),
    }
    return labels | ({RUN_LABEL: os.environ[RUN]} if os.environ.get(RUN) else {})


def _queue_labels(spec: TrainJobSpec) -> dict[str, str]:
    """For the job alone: on its pods Kueue would count each of them once more."""
    labels = {QUEUE_LABEL: spec.queue, PRIORITY_LABEL: spec.priority_class}
    return {name: value for name, value in labels.items() if value}


def _resources(spec: TrainJobSpec) -> Document:
    amounts = {"cpu": spec.cpu, "memory": spec.memory, "ephemeral-storage": spec.storage}
    if spec.gpus:
        amounts[spec.accelerator] = str(spec.gpus)
    return {"requests": amounts, "limits": amounts}


def _environment(step: Step, spec: TrainJobSpec) -> list[Document]:
    """One entry per variable; what the recipe says comes before what the launcher happens to have."""
    plain = {name: os.environ[name] for name in PASSED_ON if os.environ.get(name)} | spec.environment
    plain |= {SCRATCH: SCRATCH_FOLDER, CODE: code_digest(step.stage)}
    plain |= {STEP_FILE: f"{STEP_FOLDER}/{STEP_NAME}"} if is_large(step) else {STEP: step.to_json()}
    entries: dict[str, Document] = {name: {"value": value} for name, value in plain.items()}
    for name, entry in spec.config_maps.items():
        reference = {"name": entry.config_map, "key": entry.key, "optional": entry.optional}
        entries[name] = {"valueFrom": {"configMapKeyRef": reference}}
    for name, secret in spec.secrets.items():
        reference = {"name": secret.secret, "key": secret.key, "optional": secret.optional}
        entries[name] = {"valueFrom": {"secretKeyRef": reference}}
    return [{"name": name, **entries[name]} for name in sorted(entries)]


def _patch(step: Step, spec: TrainJobSpec, name: str) -> Document:
    """What the runtime leaves to the job: where its pods may run, as whom, and on which disks."""
    volumes: list[Document] = [
        {"name": "dshm", "emptyDir": {"medium": "Memory", "sizeLimit": spec.shared_memory}},
        {"name": "scratch", **_scratch(spec.scratch)},
    ]
    mounts: list[Document] = [
        {"name": "dshm", "mountPath": "/dev/shm"},
        {"name": "scratch", "mountPath": SCRATCH_FOLDER},
    ]
    if is_large(step):
        volumes.append({"name": "step", "configMap": {"name": name}})
        mounts.append({"name": "step", "mountPath": STEP_FOLDER, "readOnly": True})
    pod = {
        "serviceAccountName": spec.service_account,
        "nodeSelector": spec.node_selector,
        "tolerations": [each.model_dump(exclude_none=True) for each in spec.tolerations],
        "imagePullSecrets": [{"name": each} for each in spec.image_pull_secrets],
        "volumes": volumes,
        "containers": [{"name": NODE, "volumeMounts": mounts}],
    }
    template = {
        "metadata": {"labels": _labels(step, spec)},
        "spec": {key: value for key, value in pod.items() if value},
    }
    jobs = [{"name": NODE, "template": {"spec": {"template": template}}}]
    return {"manager": "expanse.dev/launcher", "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": jobs}}}}


def _scratch(scratch: Scratch) -> Document:
    if scratch.kind == "pvc":
        return {"persistentVolumeClaim": {"claimName": scratch.claim}}
    if scratch.kind == "empty":
        return {"emptyDir": {"sizeLimit": scratch.size}}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": scratch.size}}}
    if scratch.storage_class:
        claim["storageClassName"] = scratch.storage_class
    return {"ephemeral": {"volumeClaimTemplate": {"spec": claim}}}
