"""TRL's SFTTrainer on token ids that are already made."""

import math
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel
from trl import SFTConfig, SFTTrainer

from components.common.artifacts import Scalar
from components.common.checkpoints import checkpoint_folder, run_identity
from components.common.models import load_tokenizer
from components.common.training import Encoded, mean, plan_steps, tail, training_order
from components.common.training_loop import LeanTrainer, load_trainable, save_model, train, trainer_arguments
from components.sft.averaging import Snapshots
from components.sft.examples import IGNORED
from components.sft.task import Config


class Trainer(LeanTrainer, SFTTrainer):  # type: ignore[misc]
    """SFTTrainer without its surroundings."""


def fine_tune(config: Config, model: Path, examples: Path, encoded: Encoded, output: Path) -> dict[str, Scalar]:
    """Train, average, save; returns the headline metrics. The loss is the mean over answer tokens, in nats."""
    plan = plan_steps(config, len(encoded.rows))
    folder = checkpoint_folder(output, run_identity(config.model_dump(mode="json"), [model, examples]))
    policy, dtype = load_trainable(model, mixed=config.dtype == "bfloat16")
    rows = [encoded.rows[index] for index in training_order(encoded.lengths, plan, config.seed)]
    trainer = build_trainer(policy, load_tokenizer(model), rows, trainer_arguments(config, plan, folder))
    snapshots = Snapshots(trainer, folder, plan.steps, config.average_checkpoints, config.snapshot_steps)
    trainer.add_callback(snapshots)
    logs = train(trainer, folder, limit=2 * math.log(policy.config.vocab_size))
    save_model(trainer, snapshots.average(dtype), dtype, model, output)
    return {
        "steps": plan.steps,
        "tokens": sum(label != IGNORED for row in rows for label in row["labels"]),
        "loss_first": logs[0]["loss"],
        "loss_last": mean(tail([log["loss"] for log in logs])),
        "token_accuracy": mean(tail([log["mean_token_accuracy"] for log in logs])),
    }


def build_trainer(
    model: PreTrainedModel, tokenizer: Any, rows: list[dict[str, Any]], arguments: dict[str, Any]
) -> Trainer:
    """A trainer that takes ``rows`` (input_ids, labels) in exactly this order."""
    arguments = {**arguments, "dataset_kwargs": {"skip_prepare_dataset": True}}
    return Trainer(
        model=model, args=SFTConfig(**arguments), train_dataset=Dataset.from_list(rows), processing_class=tokenizer
    )
