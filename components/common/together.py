"""How the ranks of a distributed step share one store: one looks, one a node fetches, one commits."""

import shutil
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path
from typing import Any

from components.common.artifacts import Provenance, Reference
from components.common.processes import local_rank, node, rank, world_size
from components.common.s3_store import S3Store
from components.common.store import Produce, Store

#: How long ranks wait for one that fetches or commits; a rank that dies ends the wait at once.
PATIENCE = timedelta(hours=24)


class Talk:
    """What the ranks tell each other besides their tensors."""

    def __init__(self) -> None:
        import torch.distributed as dist

        self.group = dist.new_group(backend="gloo", timeout=PATIENCE)

    def from_leader(self, words: str | None) -> str | None:
        """What rank 0 says."""
        import torch.distributed as dist

        said = [words]
        dist.broadcast_object_list(said, src=0, group=self.group)
        return said[0]

    def on_node(self, words: str | None) -> str:
        """What the first rank of this node says."""
        import torch.distributed as dist

        heard: list[Any] = [None] * world_size()
        dist.all_gather_object(heard, (node(), words), group=self.group)
        return next(str(each) for at, each in heard if at == node() and each is not None)

    def agree(self, yes: bool) -> bool:
        """Whether all say yes."""
        import torch.distributed as dist

        heard: list[Any] = [None] * world_size()
        dist.all_gather_object(heard, yes, group=self.group)
        return all(heard)

    def meet(self) -> None:
        """Wait for all."""
        import torch.distributed as dist

        dist.barrier(group=self.group)


class _Together:
    """A store whose artifacts the first rank of each node fetches for all ranks of its node."""

    def __init__(self, store: Store, talk: Talk) -> None:
        self.store, self.talk = store, talk

    def fetch(self, reference: Reference) -> Path:
        """See Store.fetch; every rank must call it."""
        return Path(self.talk.on_node(str(self.store.fetch(reference)) if local_rank() == 0 else None))

    def keep(self, group: str, name: str, folder: Path) -> None:
        """See Store.keep."""
        self.store.keep(group, name, folder)

    def kept(self, group: str) -> list[str]:
        """See Store.kept."""
        return self.store.kept(group)

    def restore(self, group: str, name: str, folder: Path) -> bool:
        """See Store.restore."""
        return self.store.restore(group, name, folder)

    def forget(self, group: str, names: Collection[str] | None = None) -> None:
        """See Store.forget."""
        self.store.forget(group, names)


class Leader(_Together):
    """The store of rank 0: it lets the others begin when its own attempt begins."""

    told = False

    def find(self, stage: str, key: str) -> Reference | None:
        """See Store.find."""
        return self.store.find(stage, key)

    def produce(self, provenance: Provenance, produce: Produce) -> Reference:
        """See Store.produce."""

        def together(output: Path) -> Any:
            self._tell(str(output.parent.relative_to(_disk(self.store))))
            return produce(output)

        return self.store.produce(provenance, together)

    def dismiss(self) -> None:
        """Tell the others that there is nothing to do, unless they have been told to work."""
        if not self.told:
            self._tell(None)

    def _tell(self, folder: str | None) -> None:
        self.told = True
        self.talk.from_leader(folder)


class Follower(_Together):
    """The store of every other rank: it knows nothing, works when rank 0 does, beside its attempt, and keeps nothing."""

    def find(self, stage: str, key: str) -> None:
        """Rank 0 looks, and says."""

    def produce(self, provenance: Provenance, produce: Produce) -> Reference:
        """Work as rank 0 does; the reference is nobody's."""
        if folder := self.talk.from_leader(None):
            output = _disk(self.store) / folder / f"output-of-rank-{rank()}"
            output.mkdir(parents=True, exist_ok=True)
            try:
                produce(output)
            finally:
                shutil.rmtree(output, ignore_errors=True)
        return Reference(provenance.stage, provenance.key, "", "", 0)


def _disk(store: Store) -> Path:
    """The folder below which attempts have the same path on every node."""
    return store.scratch if isinstance(store, S3Store) else Path("/")
