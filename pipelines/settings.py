"""The recipe's ``platform`` section: what a run takes from the cluster that it runs on. Local runs ignore it."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from pipelines.images import Role
from pipelines.resources import Bytes, LabelKey, LabelValue, ObjectName

Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Key = Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]{1,253}$")]
Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]
#: KFP names a claim's volume after the claim, and names of volumes have no dots.
Claim = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
Folder = Annotated[str, StringConstraints(pattern=r"^(/[\w.-]*[\w-][\w.-]*)+$")]
Image = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][\w.:/-]*(@sha256:[0-9a-f]{64})?$")]

STORE_ADDRESS = r"^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[\w./=-]+)?|file:///.+)$"
#: Where steps find their scratch disk.
SCRATCH_FOLDER = "/scratch"


class Section(BaseModel):
    """A part of the platform section: unknown fields are errors, values do not change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SecretKey(Section):
    """Where a secret environment variable comes from: a key of a Secret in the run's namespace.

    A pod does not start without it, unless it is ``optional``.
    """

    secret: ObjectName
    key: Key
    optional: bool = False


class ConfigMapKey(Section):
    """Where an environment variable comes from: a key of a ConfigMap in the run's namespace.

    A pod does not start without it, unless it is ``optional``.
    """

    config_map: ObjectName
    key: Key
    optional: bool = False


class Scratch(Section):
    """The disk that a step works on.

    ``empty`` is the node's own disk, ``ephemeral`` a volume that lives as long as the pod, ``pvc`` the claim named
    ``claim``, which must be there and may be shared. Without a ``size`` a step gets what its machine says.
    """

    kind: Literal["empty", "ephemeral", "pvc"] = "empty"
    size: Bytes | None = None
    storage_class: ObjectName | None = None
    claim: Claim | None = None

    @model_validator(mode="after")
    def _fields_of_the_kind(self) -> "Scratch":
        if (self.kind == "pvc") == (self.claim is None):
            raise ValueError("the kind pvc needs a claim, and no other kind has one; correct claim or kind")
        if self.storage_class and self.kind != "ephemeral":
            raise ValueError("only the kind ephemeral has a storage_class; remove it or change the kind")
        if self.size and self.kind == "pvc":
            raise ValueError("a claim has its own size; remove size or change the kind")
        return self


class TokenPrice(Section):
    """Price of a million tokens at an endpoint."""

    prompt: Price
    completion: Price


class Data(Section):
    """A claim with the team's own files, mounted at ``folder`` of the steps that read prompts and model folders."""

    claim: Claim
    folder: Folder = "/data"


class Prices(Section):
    """What things cost, for ``expanse plan``; what is not given is not counted and said so.

    ``gpu_hour`` by card (as ``planning.gpu`` names it) or by the machine's accelerator type; ``cpu_hour`` of one core;
    ``storage_tb_month`` per 10^12 bytes and month; ``tokens`` by the model's name at its endpoint.
    """

    currency: str = "USD"
    gpu_hour: dict[str, Price] = {}
    cpu_hour: Price | None = None
    storage_tb_month: Price | None = None
    tokens: dict[str, TokenPrice] = {}


class Platform(Section):
    """Where a run lives on a cluster. Secrets are named here, never written.

    ``secrets`` and ``config_maps`` map names of environment variables to keys of objects in the run's namespace; ``queue``
    is a Kueue LocalQueue; ``images`` replaces the references of pipelines/images.lock by role; ``user`` is the numeric
    user and group that the steps run as. ``shared_memory`` is mounted at /dev/shm of steps with a GPU, and counts towards
    their memory.
    """

    store: str | None = Field(default=None, pattern=STORE_ADDRESS)
    service_account: ObjectName | None = None
    image_pull_secrets: tuple[ObjectName, ...] = ()
    secrets: dict[Variable, SecretKey] = {}
    config_maps: dict[Variable, ConfigMapKey] = {}
    queue: ObjectName | None = None
    labels: dict[LabelKey, LabelValue] = {}
    scratch: Scratch = Scratch()
    data: Data | None = None
    shared_memory: Bytes = "8Gi"
    user: int = Field(default=65532, ge=1, le=2**31 - 1)
    training_runtime: ObjectName = "expanse-torch"
    serving_runtime: ObjectName = "expanse-vllm"
    images: dict[Role, Image] = {}
    prices: Prices = Prices()

    @model_validator(mode="after")
    def _shared_store(self) -> "Platform":
        on_disk = (self.store or "").startswith("file://")
        if on_disk and not (self.scratch.kind == "pvc" and str(self.store).startswith(f"file://{SCRATCH_FOLDER}/")):
            raise ValueError(
                f"pods share no disk: give store an s3:// address, or scratch a claim and store file://{SCRATCH_FOLDER}/..."
            )
        return self

    @model_validator(mode="after")
    def _one_mount(self) -> "Platform":
        if self.data and self.data.claim in (self.scratch.claim, "scratch", "shared-memory"):
            raise ValueError(
                f"data.claim: {self.data.claim!r} is the name of another volume of the pod; give it another claim, or name "
                f"files below {SCRATCH_FOLDER} of the scratch claim and leave data out"
            )
        return self

    @model_validator(mode="after")
    def _one_source(self) -> "Platform":
        twice = sorted(set(self.secrets) & set(self.config_maps))
        if twice:
            raise ValueError(f"the variable {twice[0]} comes from a Secret and from a ConfigMap; keep one of the two")
        if self.store and "EXPANSE_STORE" in {*self.secrets, *self.config_maps}:
            raise ValueError(
                "the variable EXPANSE_STORE is set by the field store too; keep one of the two, such as by "
                "platform.config_maps.EXPANSE_STORE=null"
            )
        return self
