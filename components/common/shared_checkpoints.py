"""Checkpoints that the processes of one job write and resume from together, also on nodes that share no disk.

Where all nodes see one scratch, or there is one node, process 0 seals a checkpoint and finds it again for all. Otherwise each
node has the store keep its own files, and process 0, when every node has, the few that are common to all with the list of the
others: only with these does the checkpoint exist. All of it is brought to every node, for a process reads from the shards of
others too (what is not sharded, such as the optimizer's step counts, is written by one of them).
"""

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from components.common.artifacts import MANIFEST
from components.common.checkpoints import (
    KEPT,
    PREFIX,
    going_on,
    group_of,
    keep_checkpoint,
    resume_point,
    seal,
    step_of,
    store_here,
)
from components.common.processes import local_rank, local_world_size, node, rank, world_size
from components.common.s3_client import SCHEME
from components.common.sharding import SHARDS
from components.common.step import STORE
from components.common.store import Store
from components.common.together import Talk

PARTS = "parts.json"


def resume_together(folder: Path, talk: Talk) -> Path | None:
    """The newest whole checkpoint, the same for every process and on every node's disk; None if there is none."""
    if not _apart():
        found = resume_point(folder) if rank() == 0 else None
        name = talk.from_leader(found.name if found else None)
        return folder / name if name else None
    store = _store()
    names = sorted(_checkpoints(store.kept(group_of(folder))), key=step_of) if rank() == 0 else []
    while name := talk.from_leader(names.pop() if names else None):
        if talk.agree(local_rank() != 0 or _bring(store, folder / name)):
            return folder / name
    return None


def keep_together(checkpoint: Path, talk: Talk) -> None:
    """Seal a checkpoint that every process has written its part of, and have the store keep it."""
    talk.meet()
    if _apart():
        _keep_parts(checkpoint, talk)
    elif rank() == 0:
        seal(checkpoint)
        keep_checkpoint(checkpoint)
    talk.meet()  # to wait here, with patience, is no sign of a training that is stuck


def _keep_parts(checkpoint: Path, talk: Talk) -> None:
    store = _store()
    kept = local_rank() != 0 or _keep(store, checkpoint, _part_name(checkpoint, node()), _part(checkpoint))
    if talk.agree(kept) and rank() == 0:
        (checkpoint / PARTS).write_text(json.dumps([_part_name(checkpoint, each) for each in range(_nodes())]))
        if _keep(store, checkpoint, checkpoint.name, _common(checkpoint)):
            _forget_older(store, checkpoint.parent)
    if node() > 0 and local_rank() == 0:  # on node 0 the trainer does it
        for old in sorted(checkpoint.parent.glob(f"{PREFIX}*"), key=lambda path: step_of(path.name))[:-KEPT]:
            shutil.rmtree(old)


def _apart() -> bool:
    """Whether the nodes of this job have no disk in common: a file:// store and its scratch have to be shared."""
    return world_size() > local_world_size() and os.environ.get(STORE, "").startswith(SCHEME)


def _store() -> Store:
    store = store_here()
    assert store is not None, "nodes are apart only with a store"
    return store


def _nodes() -> int:
    return world_size() // local_world_size()


def _part_name(checkpoint: Path, number: int) -> str:
    """With the layout: the parts of a job on other nodes that came to the same step must not mix with these."""
    return f"part-{number}-of-{_nodes()}x{local_world_size()}-{checkpoint.name}"


def _part(checkpoint: Path) -> list[Path]:
    """What this node alone has of a checkpoint: on node 0 its shards, on the others everything."""
    return [path for path in _files(checkpoint) if node() > 0 or _is_shard(path)]


def _common(checkpoint: Path) -> list[Path]:
    return [path for path in _files(checkpoint) if not _is_shard(path)]


def _is_shard(path: Path) -> bool:
    return path.parent.name == SHARDS and path.name.startswith("__")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)


def _keep(store: Store, checkpoint: Path, name: str, files: list[Path]) -> bool:
    """Have the store keep some files of a checkpoint under a name of their own; False if it cannot."""
    staged = checkpoint.with_name(f".{name}")
    with going_on(checkpoint):
        shutil.rmtree(staged, ignore_errors=True)
        for path in files:
            link = staged / path.relative_to(checkpoint)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.hardlink_to(path)
        seal(staged)
        store.keep(group_of(checkpoint.parent), name, staged)
        shutil.rmtree(staged)
        return True
    return False


def _bring(store: Store, checkpoint: Path) -> bool:
    """Bring a whole checkpoint to this node; False if something of it is missing or damaged."""
    shutil.rmtree(checkpoint, ignore_errors=True)
    group = group_of(checkpoint.parent)
    if not _merge(store, group, checkpoint.name, checkpoint):
        return False
    parts = json.loads((checkpoint / PARTS).read_text())
    return all(_merge(store, group, name, checkpoint) for name in parts)


def _merge(store: Store, group: str, name: str, checkpoint: Path) -> bool:
    staged = checkpoint.with_name(f".{name}")
    if not store.restore(group, name, staged):
        return False
    for path in _files(staged):
        target = checkpoint / path.relative_to(staged)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    shutil.rmtree(staged)
    return True


def _forget_older(store: Store, folder: Path) -> None:
    group = group_of(folder)
    names = store.kept(group)
    old = tuple(sorted(_checkpoints(names), key=step_of)[:-KEPT])
    store.forget(group, [name for name in names if name in old or name.endswith(tuple(f"-{each}" for each in old))])


def _checkpoints(names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(PREFIX)]
