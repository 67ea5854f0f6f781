"""Who writes the completions: a model in this process, one behind an endpoint, or one that is served for this step."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.common.artifacts import Reference
from components.common.endpoints import Endpoint
from components.common.inference import BringUp, brought_up, storage_uri
from components.common.inputs import REFERENCE, Inputs, one, optional
from components.common.journal import Journal
from components.common.sampling import Sample, SamplingSettings, sample

if TYPE_CHECKING:
    from components.generation.task import Config

#: The answers to prompts, in their order; an endpoint keeps them in the journal as they come.
Engine = Callable[[Sequence[str], SamplingSettings, Journal], list[list[Sample]]]


@dataclass(frozen=True)
class Engines:
    """``answer`` writes completions; ``translate`` turns them from English into the prompt's language."""

    answer: Engine
    translate: Engine


Open = Callable[["Config", Inputs], AbstractContextManager[Engines]]


@contextmanager
def open_engines(config: "Config", inputs: Inputs, bring_up: BringUp = brought_up) -> Iterator[Engines]:
    """Load or bring up what the configuration names; it also translates unless a ``translator`` is given."""
    with _answering(config, inputs, bring_up) as answer:
        translator = optional(inputs, "translator") if config.through_english else None
        yield Engines(answer, _local(translator) if translator else answer)


@contextmanager
def _answering(config: "Config", inputs: Inputs, bring_up: BringUp) -> Iterator[Engine]:
    if config.served:
        with _served(config, inputs, bring_up) as endpoint:
            yield _endpoint(endpoint)
    elif config.endpoint:
        yield _endpoint(config.endpoint)
    else:
        yield _local(one(inputs, "model"))


def _served(config: "Config", inputs: Inputs, bring_up: BringUp) -> AbstractContextManager[Endpoint]:
    assert config.served is not None
    model = None if config.served.source else Reference.load(one(inputs, "model") / REFERENCE)
    return bring_up(config.served, storage_uri(config.served, model), config.model)


def _local(folder: Path) -> Engine:
    from components.common.models import load_causal_lm

    model, tokenizer = load_causal_lm(folder)
    return lambda prompts, settings, journal: sample(model, tokenizer, prompts, settings)


def _endpoint(endpoint: Endpoint) -> Engine:
    from components.common.endpoint import EndpointEngine

    return EndpointEngine.of(endpoint).sample
