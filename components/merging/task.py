"""Merge models of one architecture into one: streamed, deterministic, refused rather than approximated."""

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from components.common.artifacts import read_manifest
from components.common.copies import require_space
from components.common.errors import BadInput, storage_error
from components.common.inputs import Inputs, optional
from components.common.model_files import CONFIG, check_model_folder, model_tensors, read_json
from components.merging.compatibility import check_configs, check_tensors, check_tokenizers
from components.merging.merge import Merge
from components.merging.methods import METHODS, Method, Options
from components.merging.stream import Shard, Tensors, plan_shards, write_index

#: The files beside the weights that a merged model takes over from the first model.
COMPANIONS = (
    "generation_config.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt",
    "spiece.model", "chat_template*",
)  # fmt: skip


class Config(BaseModel):
    """How to merge; defaults that no paper gives are ours (see README.md)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str = "linear"
    weights: tuple[float, ...] | Literal["equal", "examples"] = "equal"
    normalize: bool = True
    density: float = Field(0.5, gt=0, le=1)
    rescale: Literal["1/p", "l1"] = "1/p"
    t: float | None = Field(None, ge=0, le=1)
    seed: int = 0
    dtype: Literal["float32", "float16", "bfloat16"] | None = None
    shard_size: int = Field(5_000_000_000, gt=0)
    accept_other_tokenizers: bool = False

    @field_validator("method")
    @classmethod
    def _known(cls, method: str) -> str:
        if method not in METHODS:
            raise ValueError(f"there is no merge method {method!r}, the methods are {', '.join(METHODS)}")
        return method

    @field_validator("weights")
    @classmethod
    def _usable(cls, weights: tuple[float, ...] | str) -> tuple[float, ...] | str:
        if not isinstance(weights, str) and (not all(map(math.isfinite, weights)) or abs(math.fsum(weights)) < 1e-6):
            raise ValueError("the weights must be finite numbers that do not sum to zero")
        return weights

    @model_validator(mode="after")
    def _t_is_for_slerp(self) -> "Config":
        if self.t is not None and self.method != "slerp":
            raise ValueError(f"t is slerp's interpolation, {self.method} does not use it; leave it out or set weights")
        return self


def run(config: Config, inputs: Inputs, output: Path) -> dict[str, float | int | str]:
    """Merge ``inputs["models"]`` (and ``inputs["base"]``, which TIES and DARE need) into the empty folder ``output``.

    Raises BadInput when the models do not fit together, Transient when the disk is or becomes full.
    """
    method = METHODS[config.method]
    folders = list(inputs.get("models", []))
    base = optional(inputs, "base") if method.needs_base else None
    _check_number(config, method, folders, base)
    weights = _weights(config, folders)
    everything = [*folders, base] if base else folders
    sources = [_open(folder) for folder in everything]
    check_tensors(sources, everything, mixed_dtypes=config.dtype is not None)
    check_configs(everything)
    if not config.accept_other_tokenizers:
        check_tokenizers(everything)
    merge = Merge(method, weights, _options(config), config.seed, sources[: len(folders)], sources[len(folders) :])
    shards = plan_shards(sources[0], merge.output_dtypes(config.dtype), config.shard_size)
    _write(config, merge, shards, folders[0], output)
    return _metrics(config, weights, folders, sources[0], shards)


def _check_number(config: Config, method: Method, folders: Sequence[Path], base: Path | None) -> None:
    if not folders:
        raise BadInput("Merging needs at least one model; add --input models=REF for each.")
    if method.models is not None and len(folders) != method.models:
        raise BadInput(
            f"{config.method} merges exactly {method.models} models, it was given {len(folders)}; use linear."
        )
    if method.needs_base and base is None:
        raise BadInput(
            f"{config.method} compares the models with the one they were trained from; add --input base=REF."
        )


def _weights(config: Config, folders: Sequence[Path]) -> list[float]:
    if config.weights == "equal":
        return [1.0] * len(folders)
    if config.weights == "examples":
        return [_examples(folder) for folder in folders]
    if len(config.weights) != len(folders):
        raise BadInput(f"weights has {len(config.weights)} numbers for {len(folders)} models; give one for each.")
    return [float(weight) for weight in config.weights]


def _examples(folder: Path) -> float:
    examples = read_manifest(folder).metadata.get("examples")
    if not isinstance(examples, int | float) or not math.isfinite(examples) or examples <= 0:
        raise BadInput(f"{folder}: its manifest does not count training examples ({examples}); set weights to numbers.")
    return float(examples)


def _open(folder: Path) -> Tensors:
    check_model_folder(folder)
    return model_tensors(folder)


def _options(config: Config) -> Options:
    return Options("", config.density, config.t, config.normalize, config.rescale)


def _write(config: Config, merge: Merge, shards: Sequence[Shard], first: Path, output: Path) -> None:
    companions = sorted({path for pattern in COMPANIONS for path in first.glob(pattern) if path.is_file()})
    needed = sum(shard.size for shard in shards) + sum(path.stat().st_size for path in companions)
    require_space(output, needed)
    try:
        merge.write(shards, config.dtype, output)
        write_index(output, shards)
        _write_config(config, first, output)
        for path in companions:
            shutil.copyfile(path, output / path.name)
    except BaseException as error:
        for path in output.iterdir():
            path.unlink()
        if isinstance(error, OSError):
            raise storage_error(error, output, needed) from error
        raise


def _write_config(config: Config, first: Path, output: Path) -> None:
    fields = read_json(first / CONFIG)
    if config.dtype is not None:
        fields.pop("torch_dtype", None)
        fields["dtype"] = config.dtype
    (output / CONFIG).write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _metrics(
    config: Config, weights: Sequence[float], folders: Sequence[Path], tensors: Tensors, shards: Sequence[Shard]
) -> dict[str, float | int | str]:
    metrics: dict[str, float | int | str] = {
        "method": config.method,
        "models": len(folders),
        "weights": ", ".join(f"{weight:g}" for weight in weights),
        "tensors": len(tensors),
        "parameters": sum(entry.elements for entry in tensors.values()),
        "shards": len(shards),
        "bytes": sum(shard.size for shard in shards),
    }
    if config.weights == "examples":
        metrics["examples"] = int(sum(weights))
    if len(folders) == 1 and not METHODS[config.method].needs_base:
        metrics["note"] = "one model was given: the result is that model"
    return metrics
