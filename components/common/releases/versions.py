"""Reading and moving: the versions of a registered model and the alias that says which of them counts."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from components.common.errors import BadInput, ExpanseError, Transient
from components.common.mlflow_client import connect, one_line, shown
from components.common.releases import history
from components.common.releases.history import Event, What

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: Tags of a version: the digest of the model, the version that the alias was on before it, and the gate's verdict.
MODEL, PREVIOUS, VERDICT = "expanse.model", "expanse.previous", "expanse.verdict"
PASSED = "passed"
REFUSALS = {"INVALID_PARAMETER_VALUE", "PERMISSION_DENIED", "UNAUTHENTICATED", "BAD_REQUEST"}
NAME, ALIAS = re.compile(r"[\w][\w.-]{0,99}"), re.compile(r"[a-z][a-z0-9-]{0,49}")


@dataclass(frozen=True)
class Version:
    """``verdict`` is "passed", why the gate refused it, or empty where no gate has judged it."""

    number: str
    source: str
    digest: str
    verdict: str
    previous: str

    @property
    def refusal(self) -> str:
        """Why it may not be promoted, or an empty string."""
        return "" if self.verdict == PASSED else self.verdict or "No gate has judged it."


@dataclass(frozen=True)
class Released:
    """A registered model as it is now; ``current`` is the version that the alias is on, or empty.

    ``undone`` are tags of moves that were killed on their way; ``history`` is without them.
    """

    model: str
    alias: str
    current: str
    versions: Mapping[str, Version]
    history: Sequence[Event]
    undone: Sequence[str] = ()

    def version(self, number: str) -> Version:
        """The version of this number; raises BadInput when there is none."""
        if number not in self.versions:
            there = ", ".join(self.versions) or "none"
            raise BadInput(f"{self.model} has no version {number}; the registry holds: {there}.")
        return self.versions[number]


def read(client: "MlflowClient", model: str, alias: str) -> Released:
    """What the registry holds; raises BadInput for a model that it does not know, or a name that is none."""
    from mlflow.exceptions import MlflowException

    if not NAME.fullmatch(model) or not ALIAS.fullmatch(alias):
        raise BadInput(f"{model!r} and {alias!r} cannot be a model and an alias of it; correct --model or --alias.")
    try:
        found = client.get_registered_model(model)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        known = ", ".join(sorted(each.name for each in client.search_registered_models())) or "none"
        raise BadInput(f"There is no registered model {model!r}; the registry holds: {known}.") from error
    listed = sorted(client.search_model_versions(f"name = '{model}'"), key=lambda each: int(each.version))
    versions = {str(each.version): _version(each.version, each.source, each.tags) for each in listed}
    current = str(found.aliases.get(alias, ""))  # an int from SQLite, a str from a server
    events, undone = _settled(history.read(found.tags), alias, current)
    return Released(model, alias, current, versions, events, undone)


def _version(number: object, source: str, tags: Mapping[str, str]) -> Version:
    return Version(str(number), source, tags.get(MODEL, ""), tags.get(VERDICT, ""), tags.get(PREVIOUS, ""))


def move(client: "MlflowClient", released: Released, what: What, version: str, why: str) -> None:
    """Put the alias on ``version``, with its line in the history; to be called by one at a time (promotion.lease)."""
    known = _tidied(client, released)
    new = replace(history.event(what, released.alias, released.current, version, why), done=False)
    new = history.append(client, released.model, known, new)
    client.set_registered_model_alias(released.model, released.alias, version)
    with suppress(Exception):  # done all the same: the alias says so to whoever reads
        history.write(client, released.model, replace(new, done=True))


def _tidied(client: "MlflowClient", released: Released) -> list[Event]:
    """The history, with what ``read`` has made of it written down."""
    for tag in released.undone:
        client.delete_registered_model_tag(released.model, tag)
    known: list[Event] = []
    for each in released.history:
        if not each.tag:
            each = history.append(client, released.model, known, each)
        elif not each.done:
            each = history.write(client, released.model, replace(each, done=True))
        known.append(each)
    return known


def _settled(events: Sequence[Event], alias: str, current: str) -> tuple[list[Event], list[str]]:
    """The history as the alias proves it, and the tags of moves that were killed before they did anything."""
    under_way = [each for each in history.moves(events, alias) if not each.done]
    undone = [each.tag for each in under_way if each.version != current]
    known = [each for each in events if each.tag not in undone]
    moves = history.moves(known, alias)
    last = moves[-1].version if moves else ""
    if current and last != current:
        why = "the alias was moved by other means, or before there was a history"
        known.append(replace(history.event("found", alias, last, current, why), who="unknown"))
    return known, undone


def note_deployed(tracking_uri: str, model: str, where: str, version: str, why: str) -> None:
    """Add to the history what serves a version now, unless the history says so already."""
    with explained(tracking_uri, f"The history of {model} cannot be written"):
        client = connect(tracking_uri)
        known = history.read(client.get_registered_model(model).tags)
        before = next((each.version for each in reversed(known) if each.where == where), "")
        if before != version:
            history.append(client, model, known, history.event("deployed", where, before, version, why))


@contextmanager
def explained(tracking_uri: str, doing: str) -> Iterator[None]:
    """Turn what MLflow, its database and the network raise into BadInput or Transient; ``doing`` starts the sentence."""
    try:
        yield
    except ExpanseError:
        raise
    except Exception as error:  # MLflow, SQLAlchemy, Kubernetes and the network each raise their own kinds
        kind = BadInput if getattr(error, "error_code", "") in REFUSALS else Transient
        remedy = "correct the request" if kind is BadInput else "try the same again when it answers"
        raise kind(f"{doing} at {shown(tracking_uri)} ({one_line(error)}); {remedy}.") from error
