"""Running a TRL trainer: model in, watched steps, model out. Importing this file loads torch, transformers and TRL."""

import errno
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import trl.trainer.utils
from safetensors import safe_open
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.utils.logging import disable_progress_bar

from components.common.artifacts import MANIFEST
from components.common.checkpoints import PREFIX, keep_checkpoint, resume_point, seal
from components.common.errors import BadInput, Transient
from components.common.model_files import INDEX, check_model_folder
from components.common.processes import rank, world_size
from components.common.sharding import ShardedTrainer, all_finite, sharding, whole_weights
from components.common.shared_checkpoints import keep_together, resume_together
from components.common.together import Talk
from components.common.training import Plan, TrainingConfig

EXPLOSION = 3.0
NOT_COPIED = frozenset({MANIFEST, INDEX, ".gitattributes", "README.md"})
Logs = list[dict[str, float]]


class LeanTrainer(ShardedTrainer):
    """Mixed in before a TRL trainer: no report to its authors, no model card beside every checkpoint."""

    def _send_telemetry(self) -> None:
        """Nothing leaves this machine."""

    def create_model_card(self, *arguments: Any, **options: Any) -> None:
        """The pipeline writes its own model card, once, for the model that is released."""


def load_trainable(folder: Path, mixed: bool = False) -> tuple[PreTrainedModel, torch.dtype]:
    """A checked causal language model with float32 weights, and the dtype that its folder stores.

    One process has all of it on the CPU; each of several has its shards on its own device, to compute in bfloat16 if
    ``mixed``.
    """
    check_model_folder(folder)
    disable_progress_bar()
    # TRL projects only the labelled positions on a GPU but every position on a CPU, where that is two thirds of a step.
    trl.trainer.utils._use_triton = lambda device: True
    options = {"local_files_only": True, "distributed_config": sharding(mixed)}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **options)
    return model, _stored_dtype(folder)


def _stored_dtype(folder: Path) -> torch.dtype:
    """What the configuration says, else the precision of the first floating-point tensor."""
    declared = AutoConfig.from_pretrained(folder, local_files_only=True).dtype
    if declared is not None:
        return declared
    with safe_open(min(folder.glob("*.safetensors")), framework="pt") as weights:
        tensors = (weights.get_slice(name)[:1] for name in weights.keys())  # noqa: SIM118
        return next(tensor.dtype for tensor in tensors if tensor.is_floating_point())


def trainer_arguments(config: TrainingConfig, plan: Plan, folder: Path) -> dict[str, Any]:
    """What SFTConfig and DPOConfig have in common; raises BadInput for a precision that this machine lacks."""
    if config.dtype == "bfloat16" and not torch.cuda.is_available():
        raise BadInput("dtype bfloat16 needs a GPU and there is none here; set dtype=float32.")
    schedule = "constant_with_warmup" if config.schedule == "constant" and config.warmup_steps else config.schedule
    return {
        "output_dir": str(folder),
        "max_steps": plan.steps,
        "per_device_train_batch_size": config.device_batch_size,
        "gradient_accumulation_steps": plan.accumulation,
        "train_sampling_strategy": "sequential",  # training_order has shuffled already, the same for any process count
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": schedule,
        "warmup_steps": config.warmup_steps,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_gradient_norm,
        "max_length": None,
        "seed": config.seed,
        "bf16": config.dtype == "bfloat16",
        "use_cpu": world_size() > 1 and not torch.cuda.is_available(),  # only then it sees the processes without a GPU
        "activation_checkpointing": config.gradient_checkpointing,
        "remove_unused_columns": False,
        "ddp_find_unused_parameters": False,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "report_to": [],
        "disable_tqdm": True,
        "save_strategy": "steps" if config.save_steps else "no",
        "save_steps": config.save_steps or plan.steps,
        "save_total_limit": 2,
    }


def train(trainer: Trainer, folder: Path, limit: float) -> Logs:
    """Train to the end, from the latest whole checkpoint in ``folder`` if there is one; returns one log per step.

    ``limit`` is the loss beyond which a run may count as exploded. Raises BadInput for a run that diverges, before
    anything is saved.
    """
    trainer.remove_callback(PrinterCallback)
    talk = Talk() if world_size() > 1 else None
    for callback in (Watch(limit), Progress(), Seal(talk)):
        trainer.add_callback(callback)
    resumed = resume_together(folder, talk) if talk else resume_point(folder)
    if resumed is not None and rank() == 0:
        print(f"resuming from {resumed.name}", flush=True)
    trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    if not all_finite(trainer.model):
        raise _diverged(trainer.args.learning_rate, f"weights are not finite after step {trainer.state.global_step}")
    return [log for log in trainer.state.log_history if "loss" in log]


class Watch(TrainerCallback):  # type: ignore[misc]
    """Stops a run whose loss or gradient is not finite, or whose loss has exploded."""

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, float], **_: Any
    ) -> None:
        """Judge the step that was just logged."""
        loss, norm = logs.get("loss", 0.0), logs.get("grad_norm", 0.0)
        first = next((log["loss"] for log in state.log_history if "loss" in log), loss)
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise _diverged(args.learning_rate, f"loss {loss} and gradient norm {norm} at step {state.global_step}")
        if loss > max(self.limit, EXPLOSION * first):
            raise _diverged(args.learning_rate, f"loss went from {first:.3f} to {loss:.3f} at step {state.global_step}")


class Progress(TrainerCallback):  # type: ignore[misc]
    """One plain line for every tenth of the run."""

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, float], **_: Any
    ) -> None:
        """Print when another tenth is done."""
        step, steps = state.global_step, state.max_steps
        if "loss" in logs and state.is_world_process_zero and (step * 10 // steps) > ((step - 1) * 10 // steps):
            print(f"step {step}/{steps} loss {logs['loss']:.4f}", flush=True)


class Seal(TrainerCallback):  # type: ignore[misc]
    """Marks a checkpoint as whole once every process has written its part, and has the store keep it."""

    def __init__(self, talk: Talk | None) -> None:
        self.talk = talk

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: torch.nn.Module, **_: Any
    ) -> None:
        """Seal the checkpoint that was just written; one whose weights the last step has ruined stays without its mark."""
        if not all_finite(model):
            raise _diverged(args.learning_rate, f"weights are not finite after step {state.global_step}")
        checkpoint = Path(args.output_dir) / f"{PREFIX}{state.global_step}"
        if self.talk:
            keep_together(checkpoint, self.talk)
        else:
            seal(checkpoint)
            keep_checkpoint(checkpoint)


def full_weights(trainer: Trainer, dtype: torch.dtype | None = None) -> dict[str, torch.Tensor]:
    """The whole state of the model by name, on process 0 only if it is sharded; every process must call it.

    ``dtype`` converts what has to be gathered anyway, so that process 0 holds less of it.
    """
    if world_size() > 1:
        return whole_weights(trainer.model, dtype)
    weights: dict[str, torch.Tensor] = trainer.model.state_dict()
    return weights


def save_model(
    trainer: Trainer, weights: dict[str, torch.Tensor], dtype: torch.dtype, source: Path, output: Path
) -> None:
    """Write ``weights`` as ``dtype`` into ``output``, with every other file of the model folder ``source``."""
    if not trainer.is_world_process_zero():
        return
    model = trainer.model
    model.config.distributed_config = None  # or save_pretrained would gather the shards again, from one process alone
    own = {name: tensor for name, tensor in weights.items() if name not in model.all_tied_weights_keys}
    stored = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in own.items()}
    model.save_pretrained(output, state_dict=stored, max_shard_size="5GB")
    for path in source.iterdir():
        if path.is_file() and path.suffix != ".safetensors" and path.name not in NOT_COPIED:
            shutil.copyfile(path, output / path.name)


@contextmanager
def exhaustion_explained(folder: Path) -> Iterator[None]:
    """Give the many ways in which libraries report full memory and full disks one meaning each.

    Around all of a training: models are loaded, and references computed, before its first step.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            raise Transient(
                "Training ran out of memory; lower device_batch_size (the global batch stays the same) or "
                "max_length, or set gradient_checkpointing=true."
            ) from error
        if any(sign in str(error) for sign in ("PytorchStreamWriter", "inline_container", "No space left")):
            raise OSError(errno.ENOSPC, "No space left on device", str(folder)) from error
        raise


def _diverged(learning_rate: float, what: str) -> BadInput:
    return BadInput(f"Training diverged ({what}); nothing was saved. Lower learning_rate (now {learning_rate:g}).")
