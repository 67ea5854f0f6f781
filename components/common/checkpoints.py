"""Checkpoints of an unfinished run: kept beside its output, believed only when whole and of the very same run."""

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from components.common.artifacts import MANIFEST, Provenance, read_manifest, verify, write_manifest
from components.common.canonical import digest, file_digest
from components.common.errors import BadInput
from components.common.store import scratch

PREFIX = "checkpoint-"


def run_identity(configuration: dict[str, Any], folders: list[Path]) -> str:
    """A digest of everything that the course of a run depends on: its settings and the bytes of its inputs."""
    return digest([configuration, [_content(folder) for folder in folders]])[:16]


def checkpoint_folder(output: Path, identity: str) -> Path:
    """Where the run with this identity keeps its checkpoints."""
    folder = scratch(output) / identity
    folder.mkdir(exist_ok=True)
    return folder


def seal(checkpoint: Path) -> None:
    """Vouch for every byte of a written checkpoint; without this mark it does not exist for a later attempt."""
    write_manifest(checkpoint, Provenance("checkpoint", "", checkpoint.parent.name), {})


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that is whole; later ones, which a crash cut off or damaged, are removed."""
    for checkpoint in sorted(folder.glob(f"{PREFIX}*"), key=_step, reverse=True):
        with suppress(BadInput):
            if read_manifest(checkpoint).stage == "checkpoint":
                verify(checkpoint)
                return checkpoint
        if os.environ.get("RANK", "0") == "0":
            shutil.rmtree(checkpoint)
    return None


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix(PREFIX))


def _content(folder: Path) -> str:
    """A committed artifact's manifest vouches for its bytes; a plain folder's bytes are read."""
    if (folder / MANIFEST).is_file():
        return file_digest(folder / MANIFEST)
    return digest({path.name: file_digest(path) for path in sorted(folder.iterdir()) if path.is_file()})
