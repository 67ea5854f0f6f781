"""Who answers the questions: a model in this process, or one behind an endpoint. Both write down what they have answered."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from components.common.inference import BringUp, brought_up
from components.common.inputs import Inputs, one
from components.common.journal import Journal
from components.common.sampling import Sample, SamplingSettings
from components.evaluation.likelihood import Request
from components.evaluation.settings import Config


class Engine(Protocol):
    """A model that answers."""

    @property
    def tokenizer(self) -> Any:
        """The model's own."""

    def write(self, prompts: Sequence[str], settings: SamplingSettings) -> list[Sample]:
        """One answer to each prompt as one user turn."""

    def score(self, requests: Sequence[Request]) -> list[float]:
        """The natural log-likelihood of each continuation."""


@dataclass(frozen=True)
class LocalEngine:
    """A loaded model; ``batch_size`` is for likelihoods."""

    model: Any
    tokenizer: Any
    batch_size: int
    journal: Journal

    def write(self, prompts: Sequence[str], settings: SamplingSettings) -> list[Sample]:
        """See Engine.write."""
        from components.common.sampling import sample

        return [each[0] for each in sample(self.model, self.tokenizer, prompts, settings, self.journal)]

    def score(self, requests: Sequence[Request]) -> list[float]:
        """See Engine.score."""
        from components.evaluation.likelihood import log_likelihoods

        return log_likelihoods(self.model, requests, self.batch_size, self.journal)


@contextmanager
def open_engine(config: Config, inputs: Inputs, journal: Journal, bring_up: BringUp = brought_up) -> Iterator[Engine]:
    """Load the model, or have it asked over HTTP: it is brought up for the first answer that the journal has not."""
    if config.answers.engine == "transformers":
        from components.common.models import load_causal_lm

        yield LocalEngine(*load_causal_lm(one(inputs, "model")), config.choice_batch_size, journal)
        return
    from components.evaluation.remote import RemoteEngine

    with ExitStack() as opened:
        yield RemoteEngine(config, inputs, journal, bring_up, opened)
