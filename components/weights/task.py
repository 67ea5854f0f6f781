"""Fetch a published model's weights once, check them, and commit them to the store."""

import shutil
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from components.common.canonical import file_digest
from components.common.errors import BadInput, Transient
from components.common.inputs import Inputs
from components.common.model_files import check_model_folder
from components.common.store import folder_of

#: What a model folder consists of; everything else (pickles, code, pictures) stays where it is.
PATTERNS = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt", "LICENSE*", "README.md")


class Config(BaseModel):
    """``source`` is "hf://org/name@revision" or "file:///folder"; ``license`` is what its users agreed to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = Field(pattern=r"^(hf://[\w.-]+/[\w.-]+(@[\w.-]+)?|file:///.+)$")
    license: str


def outside(config: Config) -> dict[str, list[str]]:
    """The digests of a local folder's files, so that other weights in the same place are another input."""
    if not config.source.startswith("file://"):
        return {}
    folder = folder_of(config.source)
    files = sorted(path for pattern in PATTERNS for path in folder.glob(pattern) if path.is_file())
    return {"files": [f"{path.name} {file_digest(path)}" for path in files]}


def run(config: Config, inputs: Inputs, output: Path) -> dict[str, float | int | str]:
    """Write a checked model folder. Raises BadInput for a folder that is unsafe or incomplete."""
    if config.source.startswith("file://"):
        copy_folder(folder_of(config.source), output)
    else:
        download(config.source.removeprefix("hf://"), output)
    check_model_folder(output)
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    return {"source": config.source, "license": config.license, "bytes": size}


def copy_folder(source: Path, output: Path) -> None:
    """Copy the files of a model folder that belong to one, symbolic links refused."""
    if not source.is_dir():
        raise BadInput(f"{source} is not a folder; give the folder of a Hugging Face model.")
    check_model_folder(source)
    for pattern in PATTERNS:
        for path in sorted(source.glob(pattern)):
            if path.name != "manifest.json":
                shutil.copyfile(path, output / path.name)


def download(source: str, output: Path) -> None:
    """Download "org/name@revision" from the Hugging Face hub, interrupted downloads resumed by its client."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    name, _, revision = source.partition("@")
    try:
        snapshot_download(name, revision=revision or None, allow_patterns=list(PATTERNS), local_dir=output)
    except RepositoryNotFoundError as error:
        raise BadInput(
            f"{name} is not on the hub or not open to you; accept its licence there and set HF_TOKEN."
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise Transient(
            f"{name} could not be downloaded ({type(error).__name__}); check the network and try again."
        ) from error
    shutil.rmtree(output / ".cache", ignore_errors=True)
