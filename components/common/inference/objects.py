"""InferenceServices as plain objects: what is asked of KServe, and the marks by which we know our own."""

import os
import re
from collections.abc import Mapping
from typing import Any

from components.common.artifacts import Reference
from components.common.canonical import digest
from components.common.endpoints import Served
from components.common.errors import BadInput

Object = dict[str, Any]

GROUP, VERSION, PLURAL = "serving.kserve.io", "v1beta1", "inferenceservices"
RUN_LABEL, STEP_LABEL = "expanse.dev/run", "expanse.dev/step"
#: The digest of what was asked for; the prefix of the names of the steps that use the service at the moment.
SPECIFICATION, USER = "expanse.dev/specification", "user.expanse.dev/"
SERVICE_ACCOUNT = "expanse-serving"
#: The platform's runtime and queue, for models that name none themselves: a step's environment is in no key.
RUNTIME, QUEUE = "EXPANSE_SERVING_RUNTIME", "EXPANSE_QUEUE"
DEFAULT_RUNTIME = "expanse-vllm"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
PART_OF = {"app.kubernetes.io/part-of": "expanse"}
#: KServe appends "-predictor" and more to a service's name, and a DNS label has 63 characters.
LONGEST_NAME = 40


def inference_service(name: str, uri: str, served: Served, labels: Mapping[str, str]) -> Object:
    """The InferenceService that serves the weights at ``uri`` as the model ``name``, in the Standard mode without Knative."""
    named = served.queue or os.environ.get(QUEUE)
    queue = {QUEUE_LABEL: named} if named else {}
    annotations = {
        f"{GROUP}/deploymentMode": "Standard",  # the cluster's default may be Serverless
        f"{GROUP}/autoscalerClass": "none",
    }
    body: Object = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "InferenceService",
        "metadata": {"name": name, "labels": {**PART_OF, **queue, **labels}, "annotations": annotations},
        "spec": {"predictor": _predictor(uri, served)},
    }
    annotations[SPECIFICATION] = digest(body["spec"])[:32]  # as it was asked for: the controller fills in more
    return body


def _predictor(uri: str, served: Served) -> Object:
    resources = {"cpu": served.cpu, "memory": served.memory}
    resources |= {served.accelerator: str(served.gpus)} if served.gpus else {}
    return {
        "serviceAccountName": SERVICE_ACCOUNT,
        "automountServiceAccountToken": False,
        "minReplicas": served.replicas,
        "maxReplicas": served.replicas,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "nodeSelector": dict(served.node_selector),
        "tolerations": [each.model_dump(exclude_none=True) for each in served.tolerations],
        "model": {
            "modelFormat": {"name": "huggingface"},
            "runtime": served.runtime or os.environ.get(RUNTIME) or DEFAULT_RUNTIME,
            "storageUri": uri,
            "args": _arguments(served),
            "resources": {"requests": resources, "limits": resources},
        },
    }


def _arguments(served: Served) -> list[str]:
    """What is said to vLLM beyond the runtime's own arguments; nothing where the settings are the defaults."""
    parallel = served.tensor_parallel or served.gpus
    given: dict[str, object] = {
        "dtype": None if served.dtype == "auto" else served.dtype,
        "max-model-len": served.max_model_len,
        "quantization": served.quantization,
        "kv-cache-dtype": served.kv_cache_dtype,
        "tensor-parallel-size": parallel if parallel > 1 else None,
        **dict(sorted(served.tuning.items())),
    }
    return [_flag(name, value) for name, value in given.items() if value is not None]


def _flag(name: str, value: object) -> str:
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    return f"--{name}={value}"


def service_name(label: str, run: str, uri: str, served: Served) -> str:
    """The same for every step of a run that asks for the same model on the same hardware, another for all else."""
    mark = digest([run, _predictor(uri, served)])[:8]
    slug = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[: LONGEST_NAME - len(mark) - len("expanse--")]
    return f"expanse-{slug.strip('-') or 'model'}-{mark}"


def storage_uri(served: Served, model: Reference | None) -> str:
    """Where KServe finds the weights: on the hub, or the artifact ``model`` in the bucket.

    Raises BadInput for an artifact that no pod of the cluster can read.
    """
    if served.source:
        return served.source.replace("@", ":")  # KServe writes the revision after a colon
    if model is None:
        raise BadInput("There is no model to serve; give the step the input model, or the recipe's served.source.")
    if not model.uri.startswith("s3://"):
        raise BadInput(
            f"{model.uri} cannot be read by a pod that serves it; use an s3:// store (EXPANSE_STORE) on a cluster."
        )
    return model.uri


def label_value(text: str) -> str:
    """``text`` as the value of a label."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", text)[:63].strip("-_.")
