"""One spelling for every value that is hashed, so that equal configurations have equal digests."""

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

CHUNK = 1 << 20


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no spaces and no NaN: the text that digests are taken of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """The sha256 of ``canonical_json(value)``, in hexadecimal."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_digests(paths: Sequence[Path]) -> list[str]:
    """The sha256 of each file, on as many threads as there are processors: hashing does not hold the interpreter."""
    threads = min(len(paths), os.cpu_count() or 1)
    if threads < 2:
        return [file_digest(path) for path in paths]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(file_digest, paths))
