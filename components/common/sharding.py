"""One model over several processes (FSDP2): each holds, trains and saves its own part of every tensor.

transformers shards while it loads, so a process reads only its part from the files; no node ever holds a whole 32B model
in float32. See docs/decisions/0010-shards-at-load-time.md.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from transformers.distributed import DistributedConfig

from components.common.processes import rank, world_size

SHARDS = "shards"
SCHEDULER = "scheduler.pt"


def sharding(mixed: bool) -> DistributedConfig | None:
    """How ``from_pretrained`` is to shard a model over the processes of this run; None for a single process.

    ``mixed``: compute in bfloat16 and reduce in float32, with the float32 weights that are loaded.
    """
    size = world_size()
    return DistributedConfig(fsdp_size=size, fsdp_mixed_precision=mixed) if size > 1 else None


def whole_weights(model: torch.nn.Module, dtype: torch.dtype | None = None) -> dict[str, torch.Tensor]:
    """Every tensor of a sharded model, gathered one at a time, on the CPU of process 0; empty on the others.

    ``dtype`` converts floating-point tensors on the way, which halves what process 0 has to hold. Collective.
    """
    weights = {}
    for name, tensor in model.state_dict().items():
        whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if rank() == 0:
            weights[name] = whole.to("cpu", dtype if whole.is_floating_point() else None)
    return weights


def free_gathered(model: torch.nn.Module) -> None:
    """Give back what a forward pass without a backward pass left gathered.

    An optimizer that is made before this would be given the gathered copies, and train nothing.
    """
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def all_finite(model: torch.nn.Module) -> bool:
    """Whether every weight is finite, in every process; all get the same answer. Collective for a sharded model."""
    parts = [each.to_local() if isinstance(each, DTensor) else each for each in model.parameters()]
    finite = torch.stack([torch.isfinite(part).all() for part in parts]).all()
    if world_size() > 1:
        count = finite.to(torch.int32)
        torch.distributed.all_reduce(count, torch.distributed.ReduceOp.MIN)
        return bool(count)
    return bool(finite)


class ShardedTrainer:
    """Mixed in before a transformers Trainer: checkpoints of a sharded model are sharded too.

    The checkpoint of n processes can be resumed by m, not by a single one. With one process nothing changes.
    """

    model: Any
    optimizer: Any
    lr_scheduler: Any
    args: Any

    def __init__(self, *positional: Any, args: Any, **named: Any) -> None:
        args.save_only_model = (
            world_size() > 1
        )  # transformers cannot checkpoint a sharded optimizer, and refuses; we can
        super().__init__(*positional, args=args, **named)  # type: ignore[call-arg]
        args.save_only_model = False

    @contextmanager
    def _defer_fsdp_gradient_reduction(self) -> Iterator[None]:
        """Reduce after every micro-batch: to defer it would keep the whole model's gradient on every GPU."""
        yield

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save an unsharded model as ever; a sharded one is written together with its optimizer."""
        if world_size() == 1:
            super().save_model(output_dir, _internal_call)  # type: ignore[misc]

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if world_size() == 1:
            super()._save_optimizer_and_scheduler(output_dir)  # type: ignore[misc]
            return
        from torch.distributed.checkpoint import save
        from torch.distributed.checkpoint.state_dict import get_state_dict

        weights, optimizer = get_state_dict(self.model, self.optimizer)
        with _first_cause():
            save({"model": weights, "optimizer": optimizer}, checkpoint_id=Path(output_dir) / SHARDS)
        if rank() == 0:
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        """The weights of a sharded model come with its optimizer, which does not exist yet here."""
        if world_size() == 1:
            super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if world_size() == 1 or checkpoint is None:
            super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[misc]
            return
        from torch.distributed.checkpoint import load
        from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

        weights, optimizer = get_state_dict(self.model, self.optimizer)
        with _first_cause():
            load({"model": weights, "optimizer": optimizer}, checkpoint_id=Path(checkpoint) / SHARDS)
        set_state_dict(self.model, self.optimizer, model_state_dict=weights, optim_state_dict=optimizer)
        self.lr_scheduler.load_state_dict(torch.load(Path(checkpoint) / SCHEDULER, weights_only=True))


@contextmanager
def _first_cause() -> Iterator[None]:
    """Raise what went wrong in the first process instead of torch's collection, which is not even an Exception."""
    from torch.distributed.checkpoint import CheckpointException

    try:
        yield
    except CheckpointException as error:
        raise error.failures[min(error.failures)][0] from error
