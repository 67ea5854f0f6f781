"""Supervised fine-tuning: teach a model the completions that arbitrage chose."""

from pathlib import Path

from pydantic import Field, model_validator

from components.common.artifacts import Scalar
from components.common.errors import BadInput
from components.common.inputs import Inputs, one
from components.common.models import load_tokenizer
from components.common.training import TrainingConfig, readable_length


class Config(TrainingConfig):
    """``part`` = (a, b) takes the prompts whose stable hash lies in [a, b), so that runs can use disjoint prompts.

    ``average_checkpoints`` = k saves the mean of the last weights and k - 1 earlier ones, ``snapshot_steps`` apart.
    """

    part: tuple[float, float] = (0.0, 1.0)
    average_checkpoints: int = Field(default=1, ge=1)
    snapshot_steps: int = Field(default=5, ge=1)

    @model_validator(mode="after")
    def _ordered_part(self) -> "Config":
        if not 0 <= self.part[0] < self.part[1] <= 1:
            raise ValueError("part must be two increasing numbers between 0 and 1, such as [0.0, 0.5]")
        return self


def run(config: Config, inputs: Inputs, output: Path) -> dict[str, Scalar]:
    """Train ``model`` on ``examples`` and write a complete model folder.

    Metrics: examples (usable rows), steps, tokens (trained ones, over all steps), loss_first, loss_last (mean of the
    last fifth), token_accuracy, dropped_<reason>. Raises BadInput when no example is left or the run diverges.
    """
    from components.sft.examples import encode_examples, read_examples

    model, examples = one(inputs, "model"), one(inputs, "examples")
    rows = read_examples(examples, config.languages, config.part)
    encoded = encode_examples(load_tokenizer(model), rows, readable_length(model, config.max_length))
    if not encoded.rows:
        raise BadInput(
            f"{examples} leaves no example to train on ({len(rows)} selected, {encoded.counts() or 'none'}); "
            "widen languages or part, or raise max_length."
        )
    from components.common.training_loop import exhaustion_explained
    from components.sft.training import fine_tune

    with exhaustion_explained(output):
        metrics = fine_tune(config, model, examples, encoded, output)
    return {"examples": len(encoded.rows), **metrics, **encoded.counts()}
