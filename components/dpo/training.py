"""TRL's DPOTrainer on token ids that are already made, against reference log-probabilities computed once."""

import math
from pathlib import Path
from typing import Any

import torch
import trl.trainer.dpo_trainer
from accelerate.utils import gather_object
from datasets import Dataset
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import DPOConfig, DPOTrainer

from components.common.artifacts import Scalar
from components.common.checkpoints import checkpoint_folder, run_identity
from components.common.errors import BadInput
from components.common.models import load_tokenizer
from components.common.sharding import free_gathered
from components.common.training import Encoded, mean, plan_steps, tail, training_order
from components.common.training_loop import (
    LeanTrainer,
    Logs,
    full_weights,
    load_trainable,
    save_model,
    train,
    trainer_arguments,
)
from components.dpo.task import Config

LN2 = math.log(2)
EXPLODED = 10.0
ALARM_STEPS = 10


class Trainer(LeanTrainer, DPOTrainer):  # type: ignore[misc]
    """DPOTrainer that takes token ids and computes each distinct pair's reference once, alike lengths together."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset

    def _precompute_ref_logps(self, dataset: Dataset, name: str, batch_size: int) -> Dataset:
        """Both reference columns for every row. No file caches them, so none can belong to another model or data."""
        rows = dataset.to_list()
        first = {row["pair"]: row for row in rows}
        pairs = sorted(first, key=lambda pair: (-_length(first[pair]), pair))
        batches = [pairs[start : start + batch_size] for start in range(0, len(pairs), batch_size)]
        batches += batches[-1:] * (-len(batches) % self.args.world_size)  # sharded, each pass needs every process
        mine = batches[self.args.process_index :: self.args.world_size]
        found = dict(gather_object([item for batch in mine for item in self._references(batch, first)]))
        free_gathered(self.model)
        chosen, rejected = zip(*(found[row["pair"]] for row in rows), strict=True)
        return dataset.add_column("ref_chosen_logps", list(chosen)).add_column("ref_rejected_logps", list(rejected))

    def _references(self, pairs: list[int], rows: dict[int, dict[str, Any]]) -> list[tuple[int, tuple[float, float]]]:
        inputs = self._prepare_inputs(self.data_collator([rows[pair] for pair in pairs]))
        labels = inputs["input_ids"].masked_fill(inputs.pop("completion_mask") == 0, -100)
        with torch.no_grad(), self.accelerator.autocast():
            outputs = (self.ref_model or self.model)(**inputs, labels=labels, fused_lm_head=True)
        chosen, rejected = outputs.log_probs.sum(dim=1).chunk(2)  # the collator stacks all chosen, then all rejected
        return list(zip(pairs, zip(chosen.tolist(), rejected.tolist(), strict=True), strict=True))


def optimize(config: Config, model: Path, pairs: Path, encoded: Encoded, output: Path) -> dict[str, Scalar]:
    """Train and save; returns the headline metrics."""
    plan = plan_steps(config, len(encoded.rows))
    folder = checkpoint_folder(output, run_identity(config.model_dump(mode="json"), [model, pairs]))
    policy, dtype = load_trainable(model, mixed=config.dtype == "bfloat16")
    order = training_order(encoded.lengths, plan, config.seed)
    rows = [{**encoded.rows[index], "pair": index} for index in order]
    arguments = trainer_arguments(config, plan, folder) | {"beta": config.beta, "loss_type": [config.loss]}
    trainer = build_trainer(policy, load_tokenizer(model), rows, arguments)
    trainer.add_callback(Stuck(config))
    logs = train(trainer, folder, limit=EXPLODED)
    save_model(trainer, full_weights(trainer, dtype), dtype, model, output)
    return {"steps": plan.steps, **_metrics(config, logs), "length_ratio": _length_ratio(encoded)}


def build_trainer(
    model: PreTrainedModel, tokenizer: Any, rows: list[dict[str, Any]], arguments: dict[str, Any]
) -> Trainer:
    """A trainer that takes ``rows`` (prompt_ids, chosen_ids, rejected_ids, pair) in exactly this order.

    ``pair`` numbers the distinct pairs; the reference is ``model`` as it is now.
    """
    trl.trainer.dpo_trainer.hash_module = lambda module: (
        ""
    )  # it names a cache that we do not keep, and cannot hash shards
    return Trainer(
        model=model,
        args=DPOConfig(**arguments, precompute_ref_log_probs=True),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )


class Stuck(TrainerCallback):  # type: ignore[misc]
    """Stops a run whose loss has never left ln 2 by ten steps after the warm-up: a policy that equals its reference."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, float], **_: Any
    ) -> None:
        """Judge the run once, at its last step where it is shorter."""
        config, losses = self.config, [log["loss"] for log in state.log_history if "loss" in log]
        due = (
            state.global_step == min(state.max_steps, config.warmup_steps + ALARM_STEPS) and len(losses) >= ALARM_STEPS
        )
        stuck = all(abs(loss - LN2) <= config.tolerance for loss in losses)
        if due and stuck and config.loss == "sigmoid" and config.learning_rate > 0:
            raise BadInput(
                f"The loss stayed at ln 2 for all {len(losses)} steps: the policy never left its reference. Check that the "
                f"pairs differ, and raise learning_rate (now {config.learning_rate:g})."
            )


def _metrics(config: Config, logs: Logs) -> dict[str, Scalar]:
    def last(name: str) -> float:
        return mean(tail([log[name] for log in logs]))

    return {
        "loss_first": logs[0]["loss"],
        "loss_last": last("loss"),
        "reward_accuracy": last("rewards/accuracies"),
        "reward_margin": last("rewards/margins"),
        "chosen_change": last("rewards/chosen") / config.beta,
        "rejected_change": last("rewards/rejected") / config.beta,
    }


def _length(row: dict[str, Any]) -> int:
    return len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"]))


def _length_ratio(encoded: Encoded) -> float:
    chosen = sum(len(row["chosen_ids"]) for row in encoded.rows)
    return chosen / sum(len(row["rejected_ids"]) for row in encoded.rows)
