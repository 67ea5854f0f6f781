"""Container images: the registry has them, and they are named by digest (OCI distribution specification, pulling manifests)."""

import base64
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

from components.common.addresses import check_url
from components.common.errors import BadInput
from pipelines.checks.finding import Check, Finding, ok
from pipelines.checks.web import ask, fields
from pipelines.images import is_pinned, locked_images
from pipelines.recipe import Recipe

ACCEPTED = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
DOCKER_HUB, DOCKER_HUB_SERVICE = "docker.io", "registry-1.docker.io"
DOCKER_HUB_CREDENTIALS = "https://index.docker.io/v1/"
LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})
CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Image:
    """A reference taken apart: ``version`` is a tag or a digest."""

    registry: str
    repository: str
    version: str

    @classmethod
    def parse(cls, reference: str) -> "Image":
        """As container engines read it: no registry is Docker Hub, no tag is "latest"."""
        name, _, digest = reference.partition("@")
        first, slash, rest = name.partition("/")
        has_registry = bool(slash) and (first == "localhost" or "." in first or ":" in first)
        registry, path = (first, rest) if has_registry else (DOCKER_HUB, name)
        path, _, tag = path.partition(":")
        if registry == DOCKER_HUB and "/" not in path:
            path = f"library/{path}"
        return cls(registry, path, digest or tag or "latest")

    @property
    def manifest(self) -> str:
        """The address of its manifest; plain http on this machine only, as container engines do."""
        host = DOCKER_HUB_SERVICE if self.registry == DOCKER_HUB else self.registry
        scheme = "http" if host.rpartition(":")[0] in LOCAL or host in LOCAL else "https"
        return f"{scheme}://{host}/v2/{self.repository}/manifests/{self.version}"


def image_checks(recipe: Recipe) -> list[Check]:
    """One check per role of images.lock, the recipe's own references first."""
    references = {**locked_images(), **recipe.platform.images}
    return [_check(f"image {role}", reference) for role, reference in references.items()]


def _check(name: str, reference: str) -> Check:
    return Check(name, lambda: look(name, reference))


def look(name: str, reference: str) -> Finding:
    """Ask the registry for the manifest, as the kubelet would."""
    image = Image.parse(reference)
    response = _request(image)
    if response.status_code in (401, 403):
        raise BadInput(
            f"{reference} is not open to these credentials (status {response.status_code}); log in to {image.registry} here, "
            "and name the Secret that pods pull with in platform.image_pull_secrets."
        )
    if response.status_code != 200:
        raise BadInput(
            f"{reference} cannot be pulled: {image.registry} has no such image (status {response.status_code}); push it, or "
            "correct pipelines/images.lock or platform.images."
        )
    if is_pinned(reference):
        return ok(name, f"{reference} is there")
    digest = response.headers.get("Docker-Content-Digest", "sha256:...")
    remedy = f"name it as {reference}@{digest}, then KFP's cache can be used"
    return Finding("warning", name, f"{reference} is there, by a tag that may move", remedy)


def _request(image: Image) -> httpx.Response:
    headers = {"Accept": ACCEPTED}
    known = credentials(image.registry)
    basic = {"Authorization": f"Basic {known}"} if known else {}
    response = ask(image.manifest, headers, "HEAD")
    if response.status_code != 401:
        return response
    challenge = response.headers.get("WWW-Authenticate", "")
    if challenge.lower().startswith("bearer"):
        token = _token(challenge, image, basic)
        return ask(image.manifest, headers | {"Authorization": f"Bearer {token}"}, "HEAD") if token else response
    return ask(image.manifest, headers | basic, "HEAD") if basic else response


def _token(challenge: str, image: Image, basic: dict[str, str]) -> str:
    """A pull token from the service that the registry names."""
    named = dict(CHALLENGE.findall(challenge))
    query = {"scope": f"repository:{image.repository}:pull"} | (
        {"service": named["service"]} if "service" in named else {}
    )
    realm = named.get("realm", "")
    check_url(realm)  # the registry's word, not ours
    document = fields(ask(f"{realm}?{urlencode(query)}", basic))
    return str(document.get("token") or document.get("access_token") or "")


def credentials(registry: str) -> str | None:
    """The base64 of user and password that this machine's container engine keeps for a registry; helpers are not asked."""
    folder = os.environ.get("DOCKER_CONFIG") or str(Path.home() / ".docker")
    try:
        kept: Any = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))["auths"]
        entry = kept.get(DOCKER_HUB_CREDENTIALS if registry == DOCKER_HUB else registry) or kept.get(
            f"https://{registry}"
        )
        base64.b64decode(entry["auth"], validate=True)
        return str(entry["auth"])
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError):
        return None
