"""What a step needs of the cluster. Ignored by local runs, dressed onto tasks by the Kubernetes platform."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

#: A Kubernetes quantity of bytes, and one of CPU cores.
BYTES = r"^\d+(Ki|Mi|Gi|Ti)$"
CORES = r"^([1-9]\d*m|[1-9]\d*|\d+\.\d{1,3})$"
Bytes = Annotated[str, StringConstraints(pattern=BYTES)]
Cores = Annotated[str, StringConstraints(pattern=CORES)]
#: Names as the Kubernetes API takes them: of an object, the key of a label with its optional prefix, the value of one.
ObjectName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", max_length=253)
]
_WORD = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
LabelKey = Annotated[str, StringConstraints(pattern=rf"^([a-z0-9]([-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_WORD}$")]
LabelValue = Annotated[str, StringConstraints(pattern=rf"^({_WORD})?$")]

UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}


def in_bytes(quantity: str) -> int:
    """A quantity such as "8Gi" in bytes."""
    return int(quantity[:-2]) * UNITS[quantity[-2:]]


class Toleration(BaseModel):
    """A taint that a pod bears: as in a pod's own tolerations, without a time limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: LabelKey
    operator: Literal["Exists", "Equal"] = "Exists"
    value: LabelValue | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None

    @model_validator(mode="after")
    def _value(self) -> "Toleration":
        if (self.operator == "Equal") == (self.value is None):
            raise ValueError("the operator Equal needs a value, and Exists has none; correct one of the two")
        return self


class Machine(BaseModel):
    """What one node gives to a step.

    ``memory`` and ``storage`` (scratch on disk) are Kubernetes quantities; ``gpus`` of the type ``accelerator`` are
    counted per node. SFT and DPO on more than one GPU, on one or more ``nodes``, run as a TrainJob; other steps take one
    node. ``priority_class`` is a Kueue WorkloadPriorityClass. ``timeout_hours`` bounds one attempt.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpu: Cores = "2"
    memory: Bytes = "8Gi"
    storage: Bytes = "10Gi"
    gpus: int = Field(default=0, ge=0, le=64)
    nodes: int = Field(default=1, ge=1, le=256)
    accelerator: str = Field(
        default="nvidia.com/gpu", pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9][-A-Za-z0-9_.]*$"
    )
    timeout_hours: float = Field(default=24, gt=0, le=24 * 365)
    retries: int = Field(default=2, ge=0, le=10)
    node_selector: dict[LabelKey, LabelValue] = {}
    tolerations: tuple[Toleration, ...] = ()
    priority_class: ObjectName | None = None

    @property
    def total_gpus(self) -> int:
        """The GPUs of all nodes together."""
        return self.gpus * self.nodes

    @model_validator(mode="after")
    def _nodes(self) -> "Machine":
        if self.nodes > 1 and not self.gpus:
            raise ValueError("several nodes need GPUs on each; set gpus, or nodes to 1")
        return self


class Resources(BaseModel):
    """One machine per role: ``data`` for steps without a model, the others by what they do with one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Machine = Machine()
    sampling: Machine = Machine()
    scoring: Machine = Machine()
    training: Machine = Machine()
    merging: Machine = Machine()
    evaluation: Machine = Machine()

    @model_validator(mode="after")
    def _one_node(self) -> "Resources":
        for role in type(self).model_fields:
            if role != "training" and getattr(self, role).nodes > 1:
                raise ValueError(f"{role}.nodes: only training spans several nodes; set it to 1")
        return self
