"""Fetch a published model's weights once, check them, and commit them to the store."""

import shutil
from fnmatch import fnmatch
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from components.common.canonical import file_digest
from components.common.errors import BadInput
from components.common.hub import PREFIX, fetch_all, look_up, split_source
from components.common.inputs import Inputs
from components.common.model_files import check_model_folder
from components.common.store import folder_of

#: What a model folder consists of; everything else (pickles, code, pictures) stays where it is.
PATTERNS = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt", "LICENSE*", "README.md")
#: Mistral publishes the same weights a second time, in a format of its own.
TWICE = "consolidated*.safetensors"


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
    """Write a checked model folder. Raises BadInput for a folder that is unsafe or incomplete.

    Of a model from the hub, ``commit`` says which one it was, whatever revision was asked for.
    """
    commit = download(config.source, output) if config.source.startswith(PREFIX) else ""
    if not commit:
        copy_folder(folder_of(config.source), output)
    check_model_folder(output)
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    about: dict[str, float | int | str] = {"source": config.source, "license": config.license, "bytes": size}
    return about | ({"commit": commit} if commit else {})


def copy_folder(source: Path, output: Path) -> None:
    """Copy the files of a model folder that belong to one, symbolic links refused."""
    if not source.is_dir():
        raise BadInput(f"{source} is not a folder; give the folder of a Hugging Face model.")
    check_model_folder(source)
    for pattern in PATTERNS:
        for path in sorted(source.glob(pattern)):
            if path.name != "manifest.json":
                shutil.copyfile(path, output / path.name)


def download(source: str, output: Path) -> str:
    """Fetch "hf://org/name@revision" as one commit, whose name is returned; an interrupted download goes on."""
    snapshot = look_up(*split_source(source))
    fetch_all(snapshot, [name for name in snapshot.files if _wanted(name)], output)
    shutil.rmtree(output / ".cache", ignore_errors=True)
    return snapshot.commit


def _wanted(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in PATTERNS) and not fnmatch(name, TWICE)
