"""Direct preference optimization (Rafailov et al. 2023, arXiv 2305.18290): raise chosen over rejected completions."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from components.common.artifacts import Scalar
from components.common.inputs import Inputs, PassThrough, one
from components.common.models import load_tokenizer
from components.common.training import TrainingConfig, readable_length

Loss = Literal["sigmoid", "hinge", "ipo", "nca_pair", "bco_pair", "sppo_hard", "apo_zero", "apo_down", "sigmoid_norm"]


class Config(TrainingConfig):
    """``beta`` holds the policy to the reference, which is the input model; larger is closer.

    A sigmoid run whose loss never leaves ln 2 by more than ``stuck_tolerance`` is stopped ten steps after its warm-up; None
    stands for what the arithmetic alone may move it: 1e-6, and 1e-3 for bfloat16.
    """

    beta: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    loss: Loss = "sigmoid"
    stuck_tolerance: float | None = Field(default=None, ge=0)

    @property
    def tolerance(self) -> float:
        """How near to ln 2 counts as at ln 2."""
        return (1e-3 if self.dtype == "bfloat16" else 1e-6) if self.stuck_tolerance is None else self.stuck_tolerance


def run(config: Config, inputs: Inputs, output: Path) -> dict[str, Scalar] | PassThrough:
    """Train ``model`` on ``pairs`` and write a complete model folder; without a usable pair the model passes through.

    Metrics: pairs (usable rows) and the same as examples, by which merges weigh; steps, loss_first,
    loss_last, reward_accuracy, reward_margin, chosen_change and rejected_change (mean log-probability
    against the reference), length_ratio (mean tokens of chosen over rejected:
    above 1 the data push towards longer answers), dropped_<reason>. All but loss_first are means over the last
    fifth of the steps. Raises BadInput when the run diverges or does not learn at all.
    """
    from components.dpo.pairs import encode_pairs, read_pairs

    model, pairs = one(inputs, "model"), one(inputs, "pairs")
    rows = read_pairs(pairs, config.languages)
    encoded = encode_pairs(load_tokenizer(model), rows, readable_length(model, config.max_length))
    if not encoded.rows:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(encoded.dropped.items()))
        return PassThrough("model", f"no usable pair among {len(rows)}{f' ({reasons})' if reasons else ''}")
    from components.common.training_loop import exhaustion_explained
    from components.dpo.training import optimize

    with exhaustion_explained(output):
        metrics = optimize(config, model, pairs, encoded, output)
    return {"pairs": len(encoded.rows), "examples": len(encoded.rows), **metrics, **encoded.counts()}
