"""Checkpoints of an unfinished run: kept beside its output, believed only when whole and of the very same run.

Where the scratch ends with its pod the store keeps them too, so that a run that was evicted goes on elsewhere.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from components.common.artifacts import MANIFEST, Provenance, read_manifest, verify, write_manifest
from components.common.canonical import digest, file_digest
from components.common.errors import BadInput, Transient
from components.common.processes import world_size
from components.common.step import STORE
from components.common.store import Store, open_store, scratch

PREFIX = "checkpoint-"
KEPT = 2  # checkpoints of a run in the store: the newest, and one more in case it is damaged


def run_identity(configuration: dict[str, Any], folders: list[Path]) -> str:
    """A digest of everything that the course of a run depends on: its settings and the bytes of its inputs.

    And of whether it is sharded: checkpoints of one process and of several have different forms.
    """
    return digest([configuration, world_size() > 1, [_content(folder) for folder in folders]])[:16]


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
    for checkpoint in sorted(folder.glob(f"{PREFIX}*"), key=lambda path: step_of(path.name), reverse=True):
        with suppress(BadInput):
            if read_manifest(checkpoint).stage == "checkpoint":
                verify(checkpoint)
                return checkpoint
        shutil.rmtree(checkpoint)
    return None


def resume_point(folder: Path) -> Path | None:
    """The newest whole checkpoint here or in the store, from where it is brought here; None if there is none."""
    here = latest_checkpoint(folder)
    store = store_here()
    names = store.kept(group_of(folder)) if store else []
    for name in sorted((name for name in names if name.startswith(PREFIX)), key=step_of, reverse=True):
        if here is not None and step_of(name) <= step_of(here.name):
            break
        if store and store.restore(group_of(folder), name, folder / name):
            return folder / name
    return here


def keep_checkpoint(checkpoint: Path) -> None:
    """Have the store keep a sealed checkpoint in place of older ones."""
    group = group_of(checkpoint.parent)
    if store := store_here():
        with going_on(checkpoint):
            store.keep(group, checkpoint.name, checkpoint)
            checkpoints = (name for name in store.kept(group) if name.startswith(PREFIX))
            store.forget(group, sorted(checkpoints, key=step_of)[:-KEPT])


def keep_file(path: Path) -> None:
    """Have the store keep a finished file that lies beside the checkpoints: a shard, a snapshot."""
    folder = path.with_name(f".{path.name}.kept")
    if store := store_here():
        with going_on(path):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            (folder / path.name).hardlink_to(path)
            seal(folder)
            store.keep(group_of(path.parent), path.name, folder)
            shutil.rmtree(folder)


def bring_file(path: Path) -> None:
    """Bring a file that was kept elsewhere, unless it is here; nothing if it was not kept."""
    folder = path.with_name(f".{path.name}.kept")
    store = None if path.is_file() else store_here()
    if store and store.restore(group_of(path.parent), path.name, folder):
        (folder / path.name).rename(path)
        shutil.rmtree(folder)


def forget_file(path: Path) -> None:
    """Have the store forget every state of a file that was kept while it grew."""
    if store := store_here():
        with going_on(path):
            store.forget(group_of(path.parent), [path.name])


def group_of(folder: Path) -> str:
    """What the store calls ``<stage>-<key>/scratch/<identity>``; it forgets all of a key when that is committed."""
    return f"{folder.parents[1].name}/{folder.name}"


def store_here() -> Store | None:
    """The store of the environment, None without one."""
    uri = os.environ.get(STORE)
    return open_store(uri) if uri else None


@contextmanager
def going_on(path: Path) -> Iterator[None]:
    """What could not be kept is still here: no reason to stop the work."""
    try:
        yield
    except Transient as error:
        print(f"{path.name} is kept on this machine only: {error}", file=sys.stderr, flush=True)


def step_of(name: str) -> int:
    """The step that a checkpoint's name says."""
    return int(name.removeprefix(PREFIX))


def _content(folder: Path) -> str:
    """A committed artifact's manifest vouches for its bytes; a plain folder's bytes are read."""
    if (folder / MANIFEST).is_file():
        return file_digest(folder / MANIFEST)
    return digest({path.name: file_digest(path) for path in sorted(folder.iterdir()) if path.is_file()})
