"""Who writes the completions: a model in this process, or one behind an endpoint."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.common.inputs import Inputs, one, optional
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


def open_engines(config: "Config", inputs: Inputs) -> Engines:
    """Load what the configuration names; the model that answers also translates unless a ``translator`` is given."""
    answer = _endpoint(config) if config.endpoint else _local(one(inputs, "model"))
    translator = optional(inputs, "translator") if config.through_english else None
    return Engines(answer, _local(translator) if translator else answer)


def _local(folder: Path) -> Engine:
    from components.common.models import load_causal_lm

    model, tokenizer = load_causal_lm(folder)
    return lambda prompts, settings, journal: sample(model, tokenizer, prompts, settings)


def _endpoint(config: "Config") -> Engine:
    from components.common.endpoint import EndpointEngine

    assert config.endpoint is not None
    return EndpointEngine.of(config.endpoint).sample
