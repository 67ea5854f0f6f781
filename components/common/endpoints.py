"""How a recipe names a model that is asked over HTTP: an endpoint that is there, or one that the step brings up itself."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from components.common.addresses import check_address
from components.common.errors import BadInput
from components.common.identity import ASIDE

HUB = r"^hf://[\w.-]+/[\w.-]+(@[\w.-]+)?$"
QUANTITY = r"^\d+(Ki|Mi|Gi|Ti)$"
#: Settings of vLLM that change speed and memory and not the answers; everything else has a field of its own or is refused.
TUNING = Literal[
    "async-scheduling",
    "cpu-offload-gb",
    "enable-chunked-prefill",
    "enable-prefix-caching",
    "enforce-eager",
    "gpu-memory-utilization",
    "max-num-batched-tokens",
    "max-num-seqs",
    "pipeline-parallel-size",
]
Word = Annotated[str, StringConstraints(pattern=r"^[\w.-]+$")]
Price = Annotated[float | None, Field(ge=0, allow_inf_nan=False), ASIDE]
Limit = Annotated[float | None, Field(gt=0, allow_inf_nan=False), ASIDE]


def _plain_address(url: str) -> str:
    """What a recipe names is written into pipelines and records: an address with a password in it ends here."""
    try:
        check_address(url)
    except BadInput as error:
        raise ValueError(str(error)) from None
    if "?" in url or "#" in url:
        raise ValueError(
            "an endpoint's address has no ? and no #; keep keys in environment variables (api_key_variable)"
        )
    return url


class Part(BaseModel):
    """Unknown fields are errors, values do not change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Endpoint(Part):
    """An OpenAI-compatible endpoint and the model's name there; the key is read from an environment variable.

    ``requests_per_minute`` and ``tokens_per_minute`` (read and written together) hold for one step, not for several that
    run at once. ``input_price`` and ``output_price`` are per million tokens.
    """

    url: Annotated[str, AfterValidator(_plain_address)]
    model: str
    api_key_variable: str | None = None
    concurrency: Annotated[int, Field(ge=1, le=1024), ASIDE] = 16
    requests_per_minute: Limit = None
    tokens_per_minute: Limit = None
    input_price: Price = None
    output_price: Price = None


class Toleration(Part):
    """A taint that the pods bear."""

    key: str | None = None
    operator: Literal["Exists", "Equal"] = "Exists"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class Served(Part):
    """A model that a step serves under KServe for as long as it needs it.

    ``source`` is "hf://org/name@revision", or None for the step's own input model. ``gpus`` (of the type ``accelerator``),
    ``cpu`` and ``memory`` are per replica; the weights are spread over ``tensor_parallel`` GPUs (all of them by default).
    ``tuning`` holds settings of vLLM that change speed only. ``runtime`` is a ServingRuntime of the namespace, ``queue`` a
    Kueue LocalQueue. Within ``ready_minutes`` the model must answer, the download of its weights included.
    """

    source: str | None = Field(default=None, pattern=HUB)
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    max_model_len: int | None = Field(default=None, ge=1)
    quantization: Word | None = None
    kv_cache_dtype: Word | None = None
    gpus: Annotated[int, Field(ge=0, le=64), ASIDE] = 1
    accelerator: Annotated[str, Field(pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$"), ASIDE] = "nvidia.com/gpu"
    tensor_parallel: Annotated[int | None, Field(ge=1, le=64), ASIDE] = None
    cpu: Annotated[str, Field(pattern=r"^\d+m?$"), ASIDE] = "8"
    memory: Annotated[str, Field(pattern=QUANTITY), ASIDE] = "64Gi"
    replicas: Annotated[int, Field(ge=1, le=256), ASIDE] = 1
    concurrency: Annotated[int, Field(ge=1, le=1024), ASIDE] = 64
    tuning: Annotated[dict[TUNING, bool | int | float], ASIDE] = {}
    node_selector: Annotated[dict[str, str], ASIDE] = {}
    tolerations: Annotated[tuple[Toleration, ...], ASIDE] = ()
    queue: Annotated[str | None, ASIDE] = None
    runtime: Annotated[str | None, ASIDE] = None
    ready_minutes: Annotated[float, Field(gt=0, le=24 * 60), ASIDE] = 60

    @model_validator(mode="after")
    def _parallel(self) -> "Served":
        wanted = self.tensor_parallel
        if wanted is not None and (not self.gpus or self.gpus % wanted):
            raise ValueError(f"tensor_parallel {wanted} does not divide the {self.gpus} gpus of a replica; correct one")
        return self
