"""One merge over files: read the same block of every model, apply the method, write it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from components.common.errors import BadInput
from components.merging.methods import Method, Options, blocks
from components.merging.stream import FLOATS, Shard, TensorReader, Tensors, all_finite, torch_dtype, write_shard

if TYPE_CHECKING:
    from torch import Tensor

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
        """Merge tensor by tensor into the files of ``shards``; raises BadInput for NaN, infinity and overflow."""
        dtypes = self.output_dtypes(dtype)
        with ExitStack() as stack:
            models, base = (
                [stack.enter_context(TensorReader(tensors)) for tensors in group] for group in (self.models, self.base)
            )
            for shard in shards:
                pieces = (self._pieces(name, dtypes[name], models, base) for name in shard.names)
                write_shard(output, shard, (piece for tensor in pieces for piece in tensor))

    def _pieces(
        self, name: str, dtype: str, models: Sequence[TensorReader], base: Sequence[TensorReader]
    ) -> "Iterator[Tensor | bytearray]":
        entry = self.models[0][name]
        if entry.dtype not in FLOATS:
            yield _the_same(name, entry.path, [reader.bytes(name) for reader in (*models, *base)])
            return
        length = entry.elements
        options = replace(self.options, key=f"{self.seed}/{name}")
        for part in blocks(length) if self.method.blockwise else [slice(0, length)]:
            tensors = [reader.floats(name, part) for reader in models]
            origin = base[0].floats(name, part) if base else None
            merged = self.method.merge(tensors, self.weights, origin, options).to(torch_dtype(dtype))
            if not all_finite(merged):
                raise BadInput(f"Merging {name!r} overflows {dtype}; use smaller weights or dtype: float32.")
            yield merged


def _the_same(name: str, path: Path, copies: Sequence[bytearray]) -> bytearray:
    if any(copy != copies[0] for copy in copies):
        raise BadInput(
            f"{path}: tensor {name!r} holds integers that differ between the models, which cannot be averaged."
        )
    return copies[0]
