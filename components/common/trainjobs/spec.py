"""What a training job asks of the cluster: the hardware and the names, nothing of the work itself."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.common.errors import BadInput

TRAINJOB = "EXPANSE_TRAINJOB"
#: The environment of the job's pods: the step as JSON or the file with it, the digest of its stage's code, and where the
#: last words of a pod go.
STEP, STEP_FILE, CODE, TERMINATION_LOG = "EXPANSE_STEP", "EXPANSE_STEP_FILE", "EXPANSE_CODE", "EXPANSE_TERMINATION_LOG"
#: What a rank says that fails because another one did: the other one's words explain more.
LOST_PEER = "lost another process of its job"
Quantity = r"^\d+(Ki|Mi|Gi|Ti)$"


class Part(BaseModel):
    """Unknown fields are errors, values do not change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Toleration(Part):
    """A taint that the pods bear, with the field names of Kubernetes."""

    key: str | None = None
    operator: Literal["Exists", "Equal"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    tolerationSeconds: int | None = None  # noqa: N815


class SecretKey(Part):
    """One entry of a Secret of the job's namespace; the pods start without it only if it is ``optional``."""

    secret: str
    key: str
    optional: bool = False


class ConfigMapKey(Part):
    """One entry of a ConfigMap of the job's namespace; the pods start without it only if it is ``optional``."""

    config_map: str
    key: str
    optional: bool = False


class Scratch(Part):
    """Where attempts and fetched artifacts lie: the node's disk (``empty``), a volume made for the pod (``ephemeral``).

    ``size`` and ``storage_class`` are those of the ephemeral volume. ``pvc`` is a volume that exists already, ``claim``.
    """

    kind: Literal["empty", "ephemeral", "pvc"] = "empty"
    size: str = Field(default="500Gi", pattern=Quantity)
    storage_class: str | None = None
    claim: str | None = None


class TrainJobSpec(Part):
    """The hardware of one TrainJob; none of it changes an artifact's key.

    ``gpus`` (of the type ``accelerator``), ``cpu``, ``memory`` and ``storage`` (ephemeral) are per node. ``runtime`` names
    the ClusterTrainingRuntime, ``queue`` the Kueue LocalQueue, ``priority_class`` a Kueue WorkloadPriorityClass. ``secrets``
    and ``config_maps`` map environment variables to entries of Secrets and ConfigMaps, ``environment`` is for plain values.
    After ``restarts`` evictions, preemptions or lost nodes, and after ``timeout_hours`` of running, the job has failed.
    """

    image: str = Field(min_length=1)
    nodes: int = Field(default=1, ge=1, le=256)
    gpus: int = Field(default=0, ge=0, le=64)
    accelerator: str = "nvidia.com/gpu"
    cpu: str = "8"
    memory: str = Field(default="64Gi", pattern=Quantity)
    storage: str = Field(default="50Gi", pattern=Quantity)
    shared_memory: str = Field(default="8Gi", pattern=Quantity)
    scratch: Scratch = Scratch()
    runtime: str = "expanse-torch"
    service_account: str | None = None
    queue: str | None = None
    priority_class: str | None = None
    node_selector: dict[str, str] = {}
    tolerations: list[Toleration] = []
    image_pull_secrets: list[str] = []
    secrets: dict[str, SecretKey] = {}
    config_maps: dict[str, ConfigMapKey] = {}
    environment: dict[str, str] = {}
    labels: dict[str, str] = {}
    timeout_hours: float = Field(default=72, gt=0)
    restarts: int = Field(default=10, ge=0, le=100)


def read_spec(text: str) -> TrainJobSpec:
    """The value of EXPANSE_TRAINJOB; raises BadInput naming the first wrong field."""
    try:
        return TrainJobSpec.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the value"
        raise BadInput(
            f"{TRAINJOB}: {field}: {first['msg']}; compile the pipeline with the version of its images."
        ) from error
