"""Whether models may be merged: same tensors, same architecture, same tokenizer. Everything else is refused by name."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.common.errors import BadInput
from components.common.model_files import CONFIG, read_json
from components.common.safetensors_header import TensorEntry
from components.merging.stream import FLOATS

#: Fields of config.json that say how a model was saved or is run, not what its weights mean.
BOOKKEEPING = frozenset(
    {"transformers_version", "_name_or_path", "dtype", "torch_dtype", "use_cache", "cache_implementation"}
)
TOKENIZER_FILES = ("tokenizer.model", "vocab.json", "merges.txt", "spiece.model")
TOKENIZER_FIELDS = ("bos_token", "eos_token", "pad_token", "unk_token", "chat_template", "added_tokens_decoder")
CHAT_TEMPLATE = "chat_template.jinja"


def check_tensors(models: Sequence[Mapping[str, TensorEntry]], folders: Sequence[Path], mixed_dtypes: bool) -> None:
    """Same names and shapes in all models, and the same dtypes unless ``mixed_dtypes``; raises BadInput."""
    first, origin = models[0], folders[0]
    for tensors, folder in zip(models, folders, strict=True):
        if missing := sorted(first.keys() - tensors.keys()):
            raise BadInput(f"{folder} has no tensor {missing[0]!r}, which {origin} has; save the whole model again.")
        if extra := sorted(tensors.keys() - first.keys()):
            raise BadInput(f"{folder} has a tensor {extra[0]!r}, which {origin} has not; merge models of one kind.")
        for name, entry in tensors.items():
            _check_tensor(name, entry, first[name], mixed_dtypes)


def check_configs(folders: Sequence[Path]) -> None:
    """The same architecture in every config.json (sizes, vocabulary, tied embeddings, all); raises BadInput."""
    first = _architecture(folders[0])
    for folder in folders[1:]:
        other = _architecture(folder)
        for field in sorted(first.keys() | other.keys()):
            if first.get(field) != other.get(field):
                raise BadInput(
                    f"{folder / CONFIG}: {field} is {other.get(field)!r:.80} where {folders[0]} has "
                    f"{first.get(field)!r:.80}; merge models of one architecture."
                )


def check_tokenizers(folders: Sequence[Path]) -> None:
    """The same vocabulary, special tokens and chat template in every folder; raises BadInput naming what differs."""
    first = _tokenizer(folders[0])
    for folder in folders[1:]:
        other = _tokenizer(folder)
        for part in sorted(first.keys() | other.keys()):
            if first.get(part) != other.get(part):
                raise BadInput(
                    f"{folder}: the tokenizer differs from that of {folders[0]} in {part}; use models with "
                    "one tokenizer, or set accept_other_tokenizers to keep the first one's."
                )


def _check_tensor(name: str, entry: TensorEntry, first: TensorEntry, mixed_dtypes: bool) -> None:
    here = f"{entry.path}: tensor {name!r}"
    if entry.shape != first.shape:
        raise BadInput(
            f"{here} has shape {entry.shape} where {first.path} has {first.shape}; merge models of one size."
        )
    if entry.dtype.startswith(("F", "BF")) and entry.dtype not in FLOATS:
        raise BadInput(f"{here} is stored as {entry.dtype}; save the model as {', '.join(FLOATS)}.")
    both_float = entry.dtype in FLOATS and first.dtype in FLOATS
    if entry.dtype != first.dtype and not (mixed_dtypes and both_float):
        raise BadInput(
            f"{here} is {entry.dtype} where {first.path} has {first.dtype}; set dtype to say which one you want."
        )


def _architecture(folder: Path) -> dict[str, Any]:
    return {key: value for key, value in read_json(folder / CONFIG).items() if key not in BOOKKEEPING}


def _tokenizer(folder: Path) -> dict[str, Any]:
    """What the tokenizer is made of, without the settings that calls leave behind (truncation, padding, paths)."""
    parts: dict[str, Any] = {}
    try:
        for name in (*TOKENIZER_FILES, CHAT_TEMPLATE):
            if (folder / name).is_file():
                parts[name] = (folder / name).read_bytes()
        if (folder / "tokenizer.json").is_file():
            document = json.loads((folder / "tokenizer.json").read_bytes())
            parts |= {
                f"tokenizer.json ({key})": document[key] for key in document if key not in ("truncation", "padding")
            }
        if (folder / "tokenizer_config.json").is_file():
            settings = read_json(folder / "tokenizer_config.json")
            parts |= {key: settings[key] for key in TOKENIZER_FIELDS if key in settings}
    except (ValueError, TypeError, RecursionError, OSError) as error:
        raise BadInput(f"{folder}: the tokenizer cannot be read ({error}); save the model again.") from error
    return parts
