"""What flows between planned steps, and what a step has to do: the vocabulary of the estimates."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from components.common.endpoints import Endpoint, Served
from pipelines.planning.formulas import Decoding
from pipelines.planning.shapes import Shape

BYTES_PER_TOKEN = 4.5  # of text in UTF-8, over scripts; tables are small beside weights


@dataclass(frozen=True)
class Portions:
    """Prompts by portion, spread evenly over ``languages``."""

    sizes: Mapping[str, int]
    languages: frozenset[str]


@dataclass(frozen=True)
class Rows:
    """A table: ``each`` rows for every prompt, with mean token counts."""

    prompts: float
    each: float
    prompt_tokens: float
    completion_tokens: float
    languages: frozenset[str]

    @property
    def count(self) -> float:
        """The number of rows."""
        return self.prompts * self.each

    @property
    def bytes(self) -> float:
        """The size of the table, prompts repeated in every row."""
        return self.count * (self.prompt_tokens + self.completion_tokens) * BYTES_PER_TOKEN


@dataclass(frozen=True)
class Questions:
    """Questions by benchmark. A miniature's world also holds the ``vocabulary`` and the prompts."""

    counts: Mapping[str, int]
    vocabulary: int = 0


@dataclass(frozen=True)
class Model:
    """A model folder: its shape, and the bytes in which a parameter is stored."""

    shape: Shape
    width: int = 2

    @property
    def bytes(self) -> float:
        """The size of the weights."""
        return self.shape.parameters * self.width


Made = Portions | Rows | Questions | Model | None


@dataclass(frozen=True)
class Asked:
    """Requests to an OpenAI-compatible endpoint, with its limits per minute and prices per million tokens where stated."""

    url: str
    model: str
    requests: float
    prompt_tokens: float
    completion_tokens: float
    concurrency: int
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    input_price: float | None = None
    output_price: float | None = None

    @classmethod
    def of(cls, endpoint: Endpoint, requests: float, prompt_tokens: float, completion_tokens: float) -> "Asked":
        """So much of an endpoint of the recipe."""
        stated = ("requests_per_minute", "tokens_per_minute", "input_price", "output_price")
        limits = {name: getattr(endpoint, name) for name in stated}
        counts = (requests, prompt_tokens, completion_tokens)
        return cls(endpoint.url, endpoint.model, *counts, endpoint.concurrency, **limits)


@dataclass(frozen=True)
class Serving:
    """A model that the step brings up on GPUs beside its own pod, and what is sampled from it.

    ``scored`` are tokens that it reads for their likelihoods alone.
    """

    served: Served
    shape: Shape
    decodings: tuple[Decoding, ...]
    scored: float = 0

    @property
    def gpus(self) -> int:
        """The GPUs of all replicas."""
        return self.served.gpus * self.served.replicas

    @property
    def width(self) -> int:
        """Bytes of a parameter."""
        return 4 if self.served.dtype == "float32" else 2

    @property
    def bytes(self) -> float:
        """The size of the weights, of which every replica has its own."""
        return self.shape.parameters * self.width


def batch_of(served: Served) -> int:
    """The requests that one replica answers at once."""
    return max(1, served.concurrency // served.replicas)


@dataclass(frozen=True)
class Work:
    """What one step does.

    ``generated``, ``read`` and ``trained`` count tokens (written by sampling; forward passes; forward and backward);
    those of models that are served for the step, one after the other, count as its own. FLOPs are apart by what bounds them;
    ``decoding_bytes`` is what sampling reads of the card's memory. ``stored`` is what the artifact takes, ``working``
    the disk beside it (checkpoints), ``weights`` the memory of weights and optimiser, ``cache`` that of a batch's keys and
    values, ``rows`` the rows or items that the step handles.
    """

    made: Made = None
    rows: float = 0
    generated: float = 0
    read: float = 0
    trained: float = 0
    training_flops: float = 0
    reading_flops: float = 0
    decoding_flops: float = 0
    decoding_bytes: float = 0
    stored: float = 0
    working: float = 0
    weights: float = 0
    cache: float = 0
    asked: tuple[Asked, ...] = field(default=())
    servings: tuple[Serving, ...] = field(default=())

    @property
    def flops(self) -> float:
        """All floating-point operations."""
        return self.training_flops + self.reading_flops + self.decoding_flops
