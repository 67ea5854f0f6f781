"""Model folders, judged from their names and headers alone, before any library that might run what is in them."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.common.config_keys import ALLOWED
from components.common.errors import BadInput
from components.common.safetensors_header import SafetensorsFile, TensorEntry, parse_object

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
MAX_JSON, MAX_TEMPLATE = 16_000_000, 1_000_000
PICKLES = frozenset(
    {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill", ".npy", ".npz", ".h5", ".keras"}
)
CODE = frozenset({".py", ".pyc", ".pyo", ".pyw", ".pyd", ".so", ".dll", ".dylib", ".sh", ".ipynb"})
EXECUTING = ("auto_map", "trust_remote_code", "custom_pipelines", "attn_implementation", "experts_implementation")


def check_model_folder(folder: Path, weights: bool = True) -> None:
    """Refuse a Hugging Face model folder that could run code, or whose weights are not exactly what they claim.

    Reads names, configurations and safetensors headers only, so it takes milliseconds at any size; flipped bits inside
    the weights are the manifest's business. ``weights=False`` leaves the weight files out (a tokenizer is enough).
    Raises BadInput naming the file, field or tensor.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder} is not a folder; give a model folder with {CONFIG} and {WEIGHTS}.")
    for path in _walk(folder):
        _check_name(folder, path)
    for path in sorted(folder.glob("*.json")):
        if path.name.endswith("config.json"):
            _check_executing(path, read_json(path))
    _check_config(folder / CONFIG)
    if weights:
        model_tensors(folder)


def model_tensors(folder: Path) -> dict[str, TensorEntry]:
    """Every tensor of a model folder by name, in name order; raises BadInput when shards and index disagree."""
    found = sorted(path.name for path in folder.glob("*.safetensors"))
    if not found:
        raise BadInput(f"{folder} has no safetensors file; save the model with safe serialization.")
    if (folder / INDEX).exists():
        listed = _weight_map(folder / INDEX)
        _same_names(folder / INDEX, "shard", set(listed.values()), set(found))
    elif found != [WEIGHTS]:
        raise BadInput(f"{folder} has {', '.join(found[:3])} but no {INDEX}; add the index, or keep {WEIGHTS} alone.")
    else:
        listed = None
    tensors: dict[str, TensorEntry] = {}
    for shard in found:
        entries = SafetensorsFile.open(folder / shard).tensors
        _same_names_in_shard(folder / shard, entries, tensors, listed)
        tensors |= entries
    return dict(sorted(tensors.items()))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file, strictly: no duplicate keys, no NaN, at most 16 MB; raises BadInput."""
    try:
        if path.stat().st_size > MAX_JSON:
            raise BadInput(f"{path} is larger than {MAX_JSON:,} bytes, which no configuration needs; replace it.")
        text = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}; a model folder needs it.") from error
    return parse_object(path, text, "it")


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent, name) for name in sorted([*folders, *files]))


def _check_name(folder: Path, path: Path) -> None:
    suffix = path.suffix.lower()
    if suffix in PICKLES:
        raise BadInput(f"{path} may be a pickle, which runs code when opened; convert it to safetensors and remove it.")
    if suffix in CODE:
        raise BadInput(f"{path} is code, which a model folder must not carry; remove it.")
    if path.name == "adapter_config.json":
        raise BadInput(f"{path} would load another base model; merge the adapter into the weights and remove it.")
    if path.is_symlink() and not (path.exists() and path.resolve().is_relative_to(folder.resolve())):
        raise BadInput(f"{path} is a symlink that leaves the folder or leads nowhere; copy with `cp -rL`.")
    if suffix == ".jinja" and path.stat().st_size > MAX_TEMPLATE:
        raise BadInput(f"{path} is larger than {MAX_TEMPLATE:,} bytes, which no chat template needs; replace it.")
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise BadInput(f"{path} is neither a file nor a folder; remove it.")


def _check_executing(path: Path, value: Any) -> None:
    if isinstance(value, list):
        for item in value:
            _check_executing(path, item)
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        if key == "auto_mapping" or any(name in key for name in EXECUTING):
            raise BadInput(f"{path}: the field {key!r} can load code that is not ours; remove it.")
        _check_executing(path, item)


def _check_config(path: Path) -> None:
    config = read_json(path)
    unknown = sorted(set(config) - ALLOWED)
    if unknown:
        raise BadInput(f"{path}: the field {unknown[0]!r} is not one that a plain language model has; remove it.")
    if not isinstance(config.get("model_type"), str):
        raise BadInput(f"{path}: model_type is missing, so the model would be guessed from its name; add it.")


def _weight_map(path: Path) -> dict[str, str]:
    weight_map = read_json(path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise BadInput(f"{path}: weight_map is missing or empty; save the model again.")
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or Path(shard).name != shard or not shard.isprintable():
            raise BadInput(f"{path}: the tensor {name[:200]!r} is said to be in {str(shard)[:80]!r}, not a file here.")
    return weight_map


def _same_names(path: Path, kind: str, listed: set[str], found: set[str]) -> None:
    if missing := sorted(listed - found):
        raise BadInput(f"{path} lists the {kind} {missing[0]!r}, which is missing; copy the model again.")
    if extra := sorted(found - listed):
        raise BadInput(f"{path} does not list the {kind} {extra[0]!r}, which is there; remove one or save again.")


def _same_names_in_shard(
    path: Path, entries: dict[str, TensorEntry], seen: dict[str, TensorEntry], listed: dict[str, str] | None
) -> None:
    for name in entries.keys() & seen.keys():
        raise BadInput(f"{path}: tensor {name!r} is also in {seen[name].path.name}; save the model again.")
    if listed is not None:
        here = {name for name, shard in listed.items() if shard == path.name}
        _same_names(path.parent / INDEX, f"{path.name} tensor", here, set(entries))
