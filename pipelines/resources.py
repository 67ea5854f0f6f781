"""What a step needs of the cluster. Ignored by local runs, dressed onto tasks by the Kubernetes platform."""

from pydantic import BaseModel, ConfigDict, Field


class Machine(BaseModel):
    """``memory`` and ``storage`` as Kubernetes quantities; ``gpus`` of the node's accelerator type."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpu: str = "2"
    memory: str = Field(default="8Gi", pattern=r"^\d+(Ki|Mi|Gi|Ti)$")
    storage: str = Field(default="10Gi", pattern=r"^\d+(Ki|Mi|Gi|Ti)$")
    gpus: int = Field(default=0, ge=0, le=64)
    accelerator: str = "nvidia.com/gpu"
    timeout_hours: float = Field(default=24, gt=0)
    retries: int = Field(default=2, ge=0, le=10)


class Resources(BaseModel):
    """One machine per role: ``data`` for steps without a model, the others by what they do with one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Machine = Machine()
    sampling: Machine = Machine()
    scoring: Machine = Machine()
    training: Machine = Machine()
    merging: Machine = Machine()
    evaluation: Machine = Machine()
