"""A Hugging Face hub on loopback: repositories with branches, commits, cards and files, as its client asks for them."""

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from tests.site import Site


def publish(
    site: Site,
    kind: str,
    name: str,
    files: Mapping[str, bytes],
    revision: str = "main",
    card: Mapping[str, Any] | None = None,
) -> str:
    """Put ``files`` into a commit of a model or dataset and let ``revision`` name it; returns the commit."""
    content = repr(sorted(files.items())) + revision + name
    commit = hashlib.sha1(content.encode()).hexdigest()
    about = {"id": name, "sha": commit, "private": False, "gated": False, "tags": [], "cardData": dict(card or {})}
    about["siblings"] = [{"rfilename": file} for file in files]
    api = f"/api/{kind}s/{name}"
    for path in [f"{api}/revision/{quote(revision, safe='')}", f"{api}/revision/{commit}"]:
        site.answers[path] = (200, {}, about)
    if revision == "main":
        site.answers[api] = (200, {}, about)
    for file, data in files.items():
        etag = hashlib.sha1(data).hexdigest()
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        prefix = "" if kind == "model" else f"/{kind}s"
        site.answers[f"{prefix}/{name}/resolve/{commit}/{quote(file)}"] = (200, headers, data)
    return commit
