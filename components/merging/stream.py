"""Safetensors in, safetensors out, a block at a time: what is in memory does not depend on the models' size."""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from components.common.errors import BadInput
from components.common.model_files import INDEX, WEIGHTS
from components.common.safetensors_header import DTYPE_BITS, TensorEntry

if TYPE_CHECKING:
    from torch import Tensor, dtype

FLOATS = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
Tensors = Mapping[str, TensorEntry]


def torch_dtype(name: str) -> "dtype":
    """The torch dtype of a floating safetensors dtype."""
    import torch

    found: dtype = getattr(torch, FLOATS[name])
    return found


class TensorReader:
    """Reads parts of the tensors of one model; a context manager that keeps its files open."""

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors
        self._stack = ExitStack()
        self._files: dict[Path, BinaryIO] = {}

    def __enter__(self) -> "TensorReader":
        for path in sorted({entry.path for entry in self._tensors.values()}):
            self._files[path] = self._stack.enter_context(path.open("rb", buffering=0))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def bytes(self, name: str) -> bytearray:
        """All the bytes of a tensor."""
        entry = self._tensors[name]
        buffer = bytearray(entry.size)
        self._fill(memoryview(buffer), entry, entry.begin)
        return buffer

    def floats(self, name: str, part: slice) -> "Tensor":
        """Elements ``part`` of a flattened tensor in its stored dtype; raises BadInput when one is NaN or infinite."""
        import torch

        entry = self._tensors[name]
        width = DTYPE_BITS[entry.dtype] // 8
        tensor = torch.empty(part.stop - part.start, dtype=torch_dtype(entry.dtype))
        self._fill(memoryview(tensor.view(torch.uint8).numpy()), entry, entry.begin + part.start * width)
        if not all_finite(tensor):
            raise BadInput(
                f"{entry.path}: tensor {name!r} holds NaN or infinity; leave this model out or train it again."
            )
        return tensor

    def _fill(self, view: memoryview, entry: TensorEntry, offset: int) -> None:
        position = 0
        while position < len(view):
            read = os.preadv(self._files[entry.path].fileno(), [view[position:]], offset + position)
            if read == 0:
                raise BadInput(f"{entry.path} became shorter while it was read; copy the model again.")
            position += read


def all_finite(tensor: "Tensor") -> bool:
    """Whether no element is NaN or infinite; one pass without a temporary unless the sum itself overflows."""
    import torch

    return math.isfinite(tensor.sum(dtype=torch.float32).item()) or bool(torch.isfinite(tensor).all())


@dataclass(frozen=True)
class Shard:
    """One output file: its name, its tensors in the order of their bytes, its header, and its size in bytes."""

    file: str
    names: list[str]
    header: bytes
    size: int


def plan_shards(tensors: Tensors, dtypes: Mapping[str, str], shard_size: int) -> list[Shard]:
    """Fill files with tensors in name order up to ``shard_size`` bytes each (a larger tensor gets its own file)."""
    groups: list[list[str]] = [[]]
    filled = 0
    sizes = {name: entry.elements * DTYPE_BITS[dtypes[name]] // 8 for name, entry in tensors.items()}
    for name in sorted(tensors):
        if groups[-1] and filled + sizes[name] > shard_size:
            groups.append([])
            filled = 0
        groups[-1].append(name)
        filled += sizes[name]
    count = len(groups)
    files = [WEIGHTS] if count == 1 else [f"model-{i:05}-of-{count:05}.safetensors" for i in range(1, count + 1)]
    return [_shard(file, names, tensors, dtypes, sizes) for file, names in zip(files, groups, strict=True)]


def write_index(output: Path, shards: Sequence[Shard]) -> None:
    """The map from tensors to files that transformers reads; nothing for a single file."""
    if len(shards) == 1:
        return
    total = sum(shard.size - len(shard.header) for shard in shards)
    weight_map = {name: shard.file for shard in shards for name in shard.names}
    document = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (output / INDEX).write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def write_shard(output: Path, shard: Shard, content: Iterator["Tensor | bytearray"]) -> None:
    """Write a header and the pieces that follow it, and check that they fill the file exactly."""
    import torch

    with (output / shard.file).open("wb") as file:
        file.write(shard.header)
        for piece in content:
            file.write(piece if isinstance(piece, bytearray) else memoryview(piece.view(torch.uint8).numpy()))
        assert file.tell() == shard.size, f"{shard.file} has {file.tell()} bytes instead of {shard.size}"


def _shard(file: str, names: list[str], tensors: Tensors, dtypes: Mapping[str, str], sizes: Mapping[str, int]) -> Shard:
    # wider types first, as the safetensors library does it, so that every tensor starts aligned
    ordered = sorted(names, key=lambda name: (-DTYPE_BITS[dtypes[name]], name))
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name in ordered:
        offsets = [position, position + sizes[name]]
        header[name] = {"dtype": dtypes[name], "shape": list(tensors[name].shape), "data_offsets": offsets}
        position += sizes[name]
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return Shard(file, ordered, len(text).to_bytes(8, "little") + text, 8 + len(text) + position)
