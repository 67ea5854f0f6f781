"""Which of how many processes this one is, as torchrun says it in the environment."""

import os


def world_size() -> int:
    """How many processes train one model together; 1 outside a distributed run."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """The number of this process among all; 0 commits and speaks for the others."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """The number of this process on its node, which is also that of its GPU; 0 fetches and uploads for its node."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def node() -> int:
    """The number of this process's node."""
    return int(os.environ.get("GROUP_RANK", "0"))


def local_world_size() -> int:
    """How many of the processes run on each node."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
