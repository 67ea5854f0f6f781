"""Repositories on the Hugging Face hub: there, at this revision, open to us, safe to load, and under the stated licence."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from components.benchmarks.dataset import Part
from components.benchmarks.hub import CONVERTED, lacking
from components.benchmarks.registry import DATASETS
from components.benchmarks.task import Config as Benchmarks
from components.benchmarks.task import languages_of
from components.common.endpoints import Served
from components.common.errors import BadInput
from components.common.hub import PREFIX, Snapshot, split_source
from pipelines.checks.finding import Check, Finding, ok, skipped
from pipelines.checks.licences import agree
from pipelines.checks.web import ask, fields
from pipelines.parts import find_all
from pipelines.recipe import Recipe

HUB, ENDPOINT, TOKEN = "https://huggingface.co", "HF_ENDPOINT", "HF_TOKEN"


@dataclass(frozen=True)
class Repository:
    """``kind`` is "models" or "datasets"; ``licence`` is what the recipe states, "" where it states none.

    ``parts`` are what a run reads of a data set.
    """

    name: str
    kind: str
    identifier: str
    revision: str = ""
    licence: str = ""
    parts: tuple[Part, ...] = ()


def hub_checks(recipe: Recipe) -> list[Check]:
    """One check per repository that the run would download from."""
    found: dict[tuple[str, ...], Repository] = {}
    for each in _repositories(recipe):
        found.setdefault((each.kind, each.identifier, each.revision, each.licence), each)
    return [_check(repository, recipe) for repository in found.values()]


def _repositories(recipe: Recipe) -> Iterator[Repository]:
    for name, source, licence in _models(recipe):
        if source and source.startswith(PREFIX):
            identifier, revision = split_source(source)
            yield Repository(name, "models", identifier, revision, licence)
    if recipe.benchmarks and recipe.benchmarks.source == "hub":
        yield from _data_sets(recipe.benchmarks)


def _data_sets(benchmarks: Benchmarks) -> Iterator[Repository]:
    """One per repository, with what all benchmarks together read of it."""
    parts: dict[str, dict[Part, None]] = {}
    for dataset in (DATASETS[name] for name in benchmarks.names if not DATASETS[name].commit):
        read = dataset.parts_of(languages_of(dataset, benchmarks.languages))
        parts.setdefault(dataset.hub, {}).update(dict.fromkeys(read))
    for hub, wanted in parts.items():
        revision = benchmarks.revisions.get(hub, "")
        yield Repository(f"data set {hub}", "datasets", hub, revision, parts=tuple(wanted))


def _models(recipe: Recipe) -> Iterator[tuple[str, str | None, str]]:
    """Name, source and stated licence; of a judge that is served no licence is stated."""
    yield "base", recipe.base.source, recipe.base.license
    yield "reward model", recipe.reward.source, recipe.reward.license
    for teacher in recipe.teachers:
        source = teacher.served.source if teacher.served else teacher.source
        yield f"teacher {teacher.name}", source, teacher.license
    for baseline in recipe.baselines:
        source = baseline.served.source if baseline.served else baseline.source
        yield f"baseline {baseline.name}", source, baseline.license
        if baseline.tokenizer:
            yield f"tokenizer of {baseline.name}", baseline.tokenizer, ""
    for path, served in find_all(recipe, Served):
        if path.startswith(("teachers.", "baselines.")):
            continue
        yield f"model {path}", served.source, ""


def _check(repository: Repository, recipe: Recipe) -> Check:
    return Check(repository.name, lambda: look(repository, TOKEN in recipe.platform.secrets))


def look(repository: Repository, token_in_cluster: bool) -> Finding:
    """Everything about one repository that would stop or taint a run."""
    headers = _headers()
    about = _about(repository, headers)
    if about.get("gated") and (finding := _gate(repository, headers, token_in_cluster)):
        return finding
    if repository.kind == "datasets":
        return _tables(repository, about, headers)
    files = _files(about)
    if files and not any(name.endswith(".safetensors") for name in files):
        raise BadInput(f"{repository.identifier} has no safetensors weights; choose a repository or revision that has.")
    return _licence(repository, about) or _revision(repository, about)


def _headers() -> dict[str, str]:
    token = os.environ.get(TOKEN, "").strip()
    if token and not (token.isascii() and token.isprintable()):
        raise BadInput(f"{TOKEN} has characters that no token has; set it anew.")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _address(repository: Repository) -> str:
    return f"{os.environ.get(ENDPOINT, HUB).rstrip('/')}/api/{repository.kind}/{repository.identifier}"


def _about(repository: Repository, headers: Mapping[str, str]) -> dict[str, Any]:
    revision = f"/revision/{quote(repository.revision, safe='')}" if repository.revision else ""
    response = ask(_address(repository) + revision, headers)
    if response.status_code == 200:
        return fields(response)
    if response.headers.get("X-Error-Code") == "RevisionNotFound":
        raise BadInput(
            f"{repository.identifier} has no revision {repository.revision!r}; correct what stands after the @."
        )
    if response.status_code in (401, 403, 404):
        with_token = f"with this {TOKEN}" if headers else f"without {TOKEN}"
        raise BadInput(
            f"{repository.identifier} is not on the hub, or not visible {with_token}; correct its name, or set a valid {TOKEN}."
        )
    raise BadInput(f"{repository.identifier}: the hub answered with status {response.status_code}; correct the source.")


def _gate(repository: Repository, headers: Mapping[str, str], token_in_cluster: bool) -> Finding | None:
    """A gated repository opens to a token whose owner has accepted its terms."""
    if not headers:
        if token_in_cluster:
            reason = f"{repository.identifier} is gated, and {TOKEN} comes from a Secret of the cluster"
            return skipped(repository.name, reason, f"set {TOKEN} to check the access from here")
        raise BadInput(
            f"{repository.identifier} is gated; accept its terms on the hub, set {TOKEN}, and name it in platform.secrets."
        )
    status = ask(f"{_address(repository)}/auth-check", headers).status_code
    if status != 200:
        raise BadInput(
            f"{repository.identifier} is gated and not open to this {TOKEN} (status {status}); accept its terms on the hub "
            "with the token's account."
        )
    return None


def _tables(repository: Repository, about: Mapping[str, Any], headers: Mapping[str, str]) -> Finding:
    """The commit that a run would read: of the revision, or of the main branch or the hub's own conversion."""
    snapshot = _snapshot(repository, about)
    missing = lacking(snapshot, repository.parts)
    if missing and not repository.revision:
        try:
            other = _snapshot(repository, _about(replace(repository, revision=CONVERTED), headers))
        except BadInput:  # there is no conversion
            other = snapshot
        snapshot, missing = other, lacking(other, repository.parts)
    if missing:
        configuration, split = missing[0]
        raise BadInput(
            f"{repository.identifier} has no Parquet, JSONL or CSV files of {configuration}/{split}, and the hub has not "
            "converted it either; download it and name the folder in benchmarks.source."
        )
    if repository.revision:
        return ok(repository.name, f"{repository.identifier} has the revision {repository.revision}")
    pin = f"{repository.identifier}: {snapshot.commit}"
    return _unpinned(repository, pin, "pin it in benchmarks.revisions as")


def _snapshot(repository: Repository, about: Mapping[str, Any]) -> Snapshot:
    card = about.get("cardData") or {}
    return Snapshot(repository.identifier, "dataset", str(about.get("sha") or ""), _files(about), card)


def _files(about: Mapping[str, Any]) -> list[str]:
    return [str(entry.get("rfilename", "")) for entry in about.get("siblings") or [] if isinstance(entry, dict)]


def _licence(repository: Repository, about: Mapping[str, Any]) -> Finding | None:
    if not repository.licence:
        return None
    card = about.get("cardData") or {}
    hub, name = str(card.get("license") or ""), str(card.get("license_name") or "")
    if not hub:
        tags = [str(tag) for tag in about.get("tags") or []]
        hub = next((tag.removeprefix("license:") for tag in tags if tag.startswith("license:")), "")
    if not hub:
        return Finding(
            "warning", repository.name, f"the hub states no licence of {repository.identifier}", "look for it yourself"
        )
    if agree(repository.licence, hub, name):
        return None
    said = f"{hub} ({name})" if name else hub
    raise BadInput(
        f"The licence of {repository.identifier} is {said} on the hub and {repository.licence} in the recipe; correct the "
        "recipe."
    )


def _revision(repository: Repository, about: Mapping[str, Any]) -> Finding:
    if repository.revision:
        return ok(repository.name, f"{repository.identifier} has the revision {repository.revision}")
    pin = f"{PREFIX}{repository.identifier}@{about.get('sha') or 'COMMIT'}"
    return _unpinned(repository, pin, "pin it as")


def _unpinned(repository: Repository, pin: str, how: str) -> Finding:
    sentence = f"{repository.identifier} is there, at whatever its main branch is"
    return Finding("warning", repository.name, sentence, f"{how} {pin}", pin)
