"""Data sets that are published as CSV files of a GitHub repository, read at one commit."""

import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import httpx

from components.benchmarks.folder import read_table
from components.common.errors import BadInput, Transient
from components.common.records import Row
from components.common.retry import waiting_time

#: Another address of the same files, for a network that reaches GitHub through a mirror only.
MIRROR, RAW = "EXPANSE_GITHUB_RAW", "https://raw.githubusercontent.com"
ATTEMPTS, PAUSE, SECONDS = 4, 1.0, 60.0


def read(repository: str, commit: str, configuration: str, split: str) -> list[Row]:
    """The rows of ``<configuration>/<split>.csv``; raises BadInput when the commit has no such file."""
    with TemporaryDirectory() as temporary:
        path = Path(temporary) / f"{split}.csv"
        path.write_bytes(_fetch(address(repository, commit, configuration, split)))
        return read_table(path)


def address(repository: str, commit: str, configuration: str, split: str) -> str:
    """Where the bytes of one file are."""
    base = os.environ.get(MIRROR, RAW).rstrip("/")
    return f"{base}/{repository}/{commit}/{quote(configuration)}/{quote(split)}.csv"


def origin(repository: str, commit: str) -> str:
    """As it is recorded: the repository and its commit."""
    return f"https://github.com/{repository}@{commit}"


def _fetch(url: str) -> bytes:
    reason = ""
    for attempt in range(ATTEMPTS):
        try:
            response = httpx.get(url, timeout=SECONDS)
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
        else:
            if response.status_code == 200:
                return response.content
            if response.status_code < 500 and response.status_code not in (408, 429):
                raise BadInput(
                    f"{url} is not there (status {response.status_code}); give another commit in benchmarks.revisions, or "
                    "clone the repository and name its parent folder in benchmarks.source."
                )
            reason = f"status {response.status_code}"
        if attempt + 1 < ATTEMPTS:
            time.sleep(waiting_time(PAUSE, attempt, None))
    raise Transient(f"{url} could not be fetched ({reason}); check the network and try again.")
