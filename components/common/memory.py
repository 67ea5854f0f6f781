"""One meaning for the many ways in which running out of memory is reported."""

from collections.abc import Iterator
from contextlib import contextmanager

from components.common.errors import Transient


@contextmanager
def exhaustion_explained(what: str, remedy: str) -> Iterator[None]:
    """Turn an exhausted memory, on the machine or its GPU, into Transient: "<what> ran out of memory; <remedy>."."""
    import torch

    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            raise Transient(f"{what} ran out of memory; {remedy}.") from error
        raise
