"""Repositories of the Hugging Face hub, always at one exact commit.

A branch may move between two requests and between two runs. What a name stands for is therefore looked up once, and
everything is then fetched from that commit, which can be recorded.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from components.common.errors import STORAGE_ERRORS, BadInput, Transient

PREFIX = "hf://"
ENDPOINT = "HF_ENDPOINT"
#: Client errors that pass by themselves.
PASSING = frozenset({408, 425, 429})
#: Files at a time; the client itself fetches a large file in several parts.
WORKERS = 4
Kind = Literal["model", "dataset"]


@dataclass(frozen=True)
class Snapshot:
    """One commit of a repository: its files, and the metadata at the head of its card."""

    name: str
    kind: Kind
    commit: str
    files: Sequence[str]
    card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """As recipes write it: "hf://org/name@commit"."""
        return f"{PREFIX}{self.name}@{self.commit}"


def split_source(source: str) -> tuple[str, str]:
    """Name and revision ("" where there is none) of "hf://org/name@revision"."""
    name, _, revision = source.removeprefix(PREFIX).partition("@")
    return name, revision


def look_up(name: str, revision: str = "", kind: Kind = "model") -> Snapshot:
    """What ``revision`` (the main branch where it is empty) of a repository stands for now.

    Raises BadInput for one that is not there or not open to us, Transient when the hub does not answer.
    """
    with _explained(name, revision):
        about = _api().repo_info(name, revision=revision or None, repo_type=kind)
    if not about.sha:
        raise Transient(f"The hub names no commit of {name}; try again, or give a revision.")
    files = tuple(sibling.rfilename for sibling in about.siblings or [])
    card = about.card_data.to_dict() if about.card_data else {}
    return Snapshot(name, kind, about.sha, files, card)


def fetch_file(snapshot: Snapshot, file: str, folder: Path) -> Path:
    """One file of a snapshot, below ``folder``."""
    with _explained(snapshot.name, snapshot.commit):
        path = _api().hf_hub_download(
            snapshot.name, file, repo_type=snapshot.kind, revision=snapshot.commit, local_dir=folder
        )
    return Path(path)


def fetch_all(snapshot: Snapshot, files: Sequence[str], folder: Path) -> None:
    """Several files of a snapshot, below ``folder``.

    One by one and not by the client's ``snapshot_download``, which returns what lies in the folder when the hub is away.
    """
    with ThreadPoolExecutor(WORKERS) as pool:
        for _ in pool.map(lambda file: fetch_file(snapshot, file, folder), files):
            pass


def _api() -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=os.environ.get(ENDPOINT) or None)


@contextmanager
def _explained(name: str, revision: str) -> Iterator[None]:
    """The client's many errors as ours."""
    from httpx2 import HTTPError
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise BadInput(
            f"{name} is gated; accept its terms on the hub with the account whose HF_TOKEN is set."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise BadInput(
            f"{name} is not on the hub or not open to you; correct its name, or accept its licence there and set HF_TOKEN."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise BadInput(f"{name} has no revision {revision!r} on the hub; correct what stands after the @.") from error
    except errors.OfflineModeIsEnabled as error:
        raise BadInput(f"{name} cannot be fetched, because HF_HUB_OFFLINE is set; unset it.") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        kind = BadInput if 400 <= status < 500 and status not in PASSING else Transient
        raise kind(f"{name}: the hub answered with status {status}; {_remedy(kind)}.") from error
    except (HTTPError, OSError) as error:
        if isinstance(error, OSError) and error.errno in STORAGE_ERRORS:
            raise
        raise Transient(f"{name} could not be fetched ({type(error).__name__}); {_remedy(Transient)}.") from error


def _remedy(kind: type[Exception]) -> str:
    return "correct the source" if kind is BadInput else "check the network and try again"
