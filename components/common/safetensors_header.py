"""The headers of safetensors files, read without the library and believed only after every check.

The format (https://huggingface.co/docs/safetensors): eight bytes of header length (little endian), a JSON header of
name -> dtype, shape and offsets, then the tensors' bytes, without gaps and without an end mark.
"""

import json
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.common.errors import BadInput

DTYPE_BITS = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}
MAX_HEADER = 100_000_000
MAX_AXES, MAX_DIMENSION = 8, 1 << 40


@dataclass(frozen=True)
class TensorEntry:
    """Where one tensor lies: ``begin`` and ``end`` are byte offsets from the start of the file ``path``."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def elements(self) -> int:
        """How many numbers the tensor holds."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """How many bytes the tensor has."""
        return self.end - self.begin


@dataclass(frozen=True)
class SafetensorsFile:
    """The checked header of one safetensors file, its tensors in the order of their bytes."""

    path: Path
    tensors: dict[str, TensorEntry]
    metadata: dict[str, str]

    @classmethod
    def open(cls, path: Path) -> "SafetensorsFile":
        """Read and check the header; raises BadInput naming the file and the tensor."""
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                length = _header_length(path, file.read(8), size)
                text = file.read(length)
        except OSError as error:
            raise BadInput(f"{path} cannot be read: {error.strerror}.") from error
        header = parse_object(path, text, "its header")
        metadata = header.pop("__metadata__", {})
        if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
            raise BadInput(f"{path}: __metadata__ in its header is not a map of strings; save the model again.")
        entries = {name: _entry(path, name, value, 8 + length) for name, value in header.items()}
        if not entries:
            raise BadInput(f"{path} holds no tensor; save the model again.")
        return cls(path, _contiguous(path, entries, 8 + length, size), metadata)


def parse_object(path: Path, text: bytes, what: str) -> dict[str, Any]:
    """A JSON object without duplicate names or NaN; raises BadInput naming ``path``.

    ``what`` completes the sentence: "it" for the whole file, "its header" for a part.
    """

    def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
            raise BadInput(f"{path}: {what} has the name {twice[:200]!r} twice; save the model again.")
        return result

    def no_constant(name: str) -> Any:
        raise ValueError(f"the literal {name}")

    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=no_duplicates, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: {what} is not valid JSON ({str(error)[:120]}); copy the file again.") from error
    if not isinstance(value, dict):
        raise BadInput(f"{path}: {what} is not a JSON object; copy the file again.")
    return value


def _header_length(path: Path, prefix: bytes, size: int) -> int:
    if len(prefix) < 8:
        raise BadInput(f"{path} is truncated: {size} bytes cannot hold a safetensors header; copy the file again.")
    length = int.from_bytes(prefix, "little")
    if length > MAX_HEADER:
        raise BadInput(f"{path} announces a header of {length:,} bytes, over the limit of {MAX_HEADER:,}; replace it.")
    if length > size - 8:
        raise BadInput(f"{path} announces a header of {length:,} bytes but has {size:,}; copy the file again.")
    return length


def _entry(path: Path, name: str, value: Any, start: int) -> TensorEntry:
    here = f"{path}: tensor {name[:200]!r}"
    if not name or not name.isprintable() or len(name) > 512:
        raise BadInput(f"{here} has an unusable name; save the model again.")
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise BadInput(f"{here} is not described by dtype, shape and data_offsets; save the model again.")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise BadInput(f"{here} has the unknown dtype {str(dtype)[:40]!r}; save the model as BF16, F16 or F32.")
    if not _counts(shape) or len(shape) > MAX_AXES or not all(0 < axis <= MAX_DIMENSION for axis in shape):
        raise BadInput(f"{here} has the absurd shape {str(shape)[:80]}; save the whole, unsharded model again.")
    if not _counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise BadInput(f"{here} has the data_offsets {str(offsets)[:80]}, which are no range; save the model again.")
    bits = math.prod(shape) * DTYPE_BITS[dtype]
    if bits != 8 * (offsets[1] - offsets[0]):
        raise BadInput(
            f"{here} of {dtype} {shape} needs {bits / 8:,.0f} bytes, its data_offsets give "
            f"{offsets[1] - offsets[0]:,}; save the model again."
        )
    return TensorEntry(path, dtype, tuple(shape), start + offsets[0], start + offsets[1])


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 1 << 63 for item in value)


def _contiguous(path: Path, entries: dict[str, TensorEntry], start: int, size: int) -> dict[str, TensorEntry]:
    ordered = dict(sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)))
    position = start
    for name, entry in ordered.items():
        if entry.begin != position:
            fault = "overlaps the tensor before it" if entry.begin < position else "leaves unnamed bytes before it"
            raise BadInput(f"{path}: tensor {name!r} {fault} (byte {entry.begin}); save the model again.")
        position = entry.end
    if position != size:
        fault = "is truncated" if position > size else "has trailing bytes"
        raise BadInput(f"{path} {fault}: its tensors end at byte {position:,} of {size:,}; copy the file again.")
    return ordered
