"""One merge over files: read the same block of every model, apply the method, write it."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from components.common.errors import BadInput
from components.merging.methods import BLOCK, Method, Options, blocks
from components.merging.stream import FLOATS, Shard, TensorReader, Tensors, all_finite, torch_dtype, write_shard

if TYPE_CHECKING:
    from torch import Tensor

Job = tuple[str, slice]
P = TypeVar("P")
MAX_WORKERS = 8  # a merge is bound by the bytes it moves, which a few cores saturate
NAMES = {torch_name: name for name, torch_name in FLOATS.items()}


@dataclass(frozen=True)
class Merge:
    """What to merge and how; ``base`` is empty or holds the base model."""

    method: Method
    weights: Sequence[float]
    options: Options
    seed: int
    models: Sequence[Tensors]
    base: Sequence[Tensors]

    def output_dtypes(self, dtype: str | None) -> dict[str, str]:
        """The safetensors dtype of every merged tensor: the models' own, or ``dtype`` for those that are floats."""
        chosen = dtype and NAMES[dtype]
        return {
            name: (chosen if chosen and entry.dtype in FLOATS else entry.dtype)
            for name, entry in self.models[0].items()
        }

    def write(self, shards: Sequence[Shard], dtype: str | None, output: Path) -> None:
        """Merge block by block into the files of ``shards``; raises BadInput for NaN, infinity and overflow."""
        dtypes = self.output_dtypes(dtype)
        workers = min(MAX_WORKERS, len(os.sched_getaffinity(0)))
        largest = max(entry.elements for entry in self.models[0].values())
        budget = 2 * workers * BLOCK if self.method.blockwise else largest
        with ExitStack() as stack:
            models, base = (
                [stack.enter_context(TensorReader(tensors)) for tensors in group] for group in (self.models, self.base)
            )
            stack.enter_context(_one_torch_thread())
            pool = stack.enter_context(ThreadPoolExecutor(workers))

            def piece(job: Job) -> "Tensor | bytearray":
                return self._piece(*job, dtypes[job[0]], models, base)

            for shard in shards:
                write_shard(output, shard, _in_order(pool, piece, self._jobs(shard), budget))

    def _jobs(self, shard: Shard) -> Iterator[Job]:
        for name in shard.names:
            entry = self.models[0][name]
            in_blocks = self.method.blockwise and entry.dtype in FLOATS
            for part in blocks(entry.elements) if in_blocks else [slice(0, entry.elements)]:
                yield name, part

    def _piece(
        self, name: str, part: slice, dtype: str, models: Sequence[TensorReader], base: Sequence[TensorReader]
    ) -> "Tensor | bytearray":
        entry = self.models[0][name]
        if entry.dtype not in FLOATS:
            return _the_same(name, entry.path, [reader.bytes(name) for reader in (*models, *base)])
        options = replace(self.options, key=f"{self.seed}/{name}")
        tensors = [reader.floats(name, part) for reader in models]
        origin = base[0].floats(name, part) if base else None
        merged = self.method.merge(tensors, self.weights, origin, options).to(torch_dtype(dtype))
        if not all_finite(merged):
            raise BadInput(f"Merging {name!r} overflows {dtype}; use smaller weights or dtype: float32.")
        return merged


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Blocks and tensors are the units of parallel work: threads inside short operations mostly wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _in_order(pool: ThreadPoolExecutor, work: Callable[[Job], P], jobs: Iterator[Job], budget: int) -> Iterator[P]:
    """The results of ``work`` in the order of ``jobs``, with at most ``budget`` elements (or one job) under way."""
    pending: deque[tuple[int, Future[P]]] = deque()
    held = 0
    for name, part in jobs:
        length = part.stop - part.start
        while pending and held + length > budget:
            done, future = pending.popleft()
            held -= done
            yield future.result()
        pending.append((length, pool.submit(work, (name, part))))
        held += length
    while pending:
        yield pending.popleft()[1].result()


def _the_same(name: str, path: Path, copies: Sequence[bytearray]) -> bytearray:
    if any(copy != copies[0] for copy in copies):
        raise BadInput(
            f"{path}: tensor {name!r} holds integers that differ between the models, which cannot be averaged."
        )
    return copies[0]
