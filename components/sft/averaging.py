"""The mean of the last weights of one run (checkpoint averaging, as in Izmailov et al. 2018, arXiv 1803.05407)."""

import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from components.common.checkpoints import bring_file, keep_file
from components.common.errors import BadInput
from components.common.training_loop import full_weights


class Snapshots(TrainerCallback):  # type: ignore[misc]
    """Keeps the weights ``count`` - 1 times, ``spacing`` steps apart, before the end; ``average`` adds the end.

    They lie on disk and are kept with the checkpoints, so a resumed run averages the same weights as an uninterrupted one.
    """

    def __init__(self, trainer: Trainer, folder: Path, steps: int, count: int, spacing: int) -> None:
        if (count - 1) * spacing >= steps:
            raise BadInput(
                f"average_checkpoints {count} with snapshot_steps {spacing} needs more than "
                f"{(count - 1) * spacing} steps, the run has {steps}; lower one of them."
            )
        self.trainer = trainer
        self.files = {steps - back * spacing: folder / f"snapshot-{back}.safetensors" for back in range(1, count)}

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Write the weights if this is one of the points."""
        path = self.files.get(state.global_step)
        if path is None:
            return
        weights = full_weights(self.trainer)
        if state.is_world_process_zero:
            temporary = path.with_suffix(".part")
            save_file({name: tensor.clone().cpu().contiguous() for name, tensor in weights.items()}, temporary)
            with temporary.open("rb") as file:
                os.fsync(file)
            temporary.rename(path)
            keep_file(path)

    def average(self, dtype: torch.dtype) -> dict[str, torch.Tensor]:
        """The mean of the snapshots and the present weights, in float32, tensor by tensor.

        Without snapshots it is the present weights; those of a sharded model come as ``dtype``.
        """
        if not self.files:
            return full_weights(self.trainer, dtype)
        weights = full_weights(self.trainer)
        if not self.trainer.is_world_process_zero():
            return weights
        total = {name: tensor.float().cpu() for name, tensor in weights.items()}
        for path in self.files.values():
            bring_file(path)
            for name, tensor in load_file(path).items():
                total[name] = total[name] + tensor.float()
        return {name: tensor / (len(self.files) + 1) for name, tensor in total.items()}
