"""The history of a registered model: one tag of it for each event, so that deleting a version deletes none of it.

MLflow has no transactions, so a move of an alias is three writes: the event as under way, the alias, the event as done. Whoever
reads sees from the alias how far a killed move came; the next move tidies up after it, and notes a move that somebody made
by other means.
"""

import getpass
import json
import os
import socket
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from components.common.cluster import RUN
from components.common.errors import BadInput
from components.common.run import RUN_FOLDER, run_id

if TYPE_CHECKING:
    from mlflow import MlflowClient

PREFIX = "expanse.history."
LONGEST = 2000  # characters of a reason
What = Literal["promoted", "rolled back", "found", "deployed", "unreadable"]


@dataclass(frozen=True)
class Event:
    """One line of the history: ``before`` and ``version`` are what ``where``, an alias or a service, was on and is on now.

    "found" is what somebody did to the alias by other means, noted when it was seen. ``when`` is UTC; ``tag`` is the tag that
    holds the event, empty before it is written; ``done`` is False while a move is under way.
    """

    what: What
    where: str
    before: str
    version: str
    who: str
    when: str
    why: str
    done: bool = True
    tag: str = ""


def event(what: What, where: str, before: str, version: str, why: str) -> Event:
    """An event of now and of this person or run; raises BadInput for a reason that is too long."""
    if len(why) > LONGEST:
        raise BadInput(f"The reason has {len(why)} characters and may have {LONGEST}; shorten it.")
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Event(what, where, before, version, who(), now, " ".join(why.split()))


def who() -> str:
    """The run that this process works for, else the person and the machine."""
    if os.environ.get(RUN) or os.environ.get(RUN_FOLDER):
        return f"run {run_id()}"
    try:
        person = getpass.getuser()
    except (OSError, KeyError):  # a pod's numeric user has no name
        person = str(os.getuid())
    return f"{person}@{socket.gethostname()}"


def read(tags: Mapping[str, str]) -> list[Event]:
    """The events among the tags of a registered model, the oldest first."""
    return [_parsed(name, tags[name]) for name in sorted(name for name in tags if name.startswith(PREFIX))]


def _parsed(name: str, text: str) -> Event:
    try:
        return replace(Event(**json.loads(text)), tag=name)
    except (ValueError, TypeError):  # edited by hand: shown, and counted for nothing
        return Event("unreadable", "", "", "", "", "", text[:LONGEST], tag=name)


def append(client: "MlflowClient", model: str, known: Sequence[Event], new: Event) -> Event:
    """Write ``new`` behind the ``known`` events; two writers at once lose nothing."""
    last = max((_number(each.tag) for each in known), default=0)
    return write(client, model, replace(new, tag=f"{PREFIX}{last + 1:06d}-{uuid.uuid4().hex[:6]}"))


def write(client: "MlflowClient", model: str, new: Event) -> Event:
    """Write the event under its own tag, over what is there."""
    document = {name: value for name, value in asdict(new).items() if name != "tag"}
    client.set_registered_model_tag(model, new.tag, json.dumps(document, ensure_ascii=False))
    return new


def _number(tag: str) -> int:
    number = tag.removeprefix(PREFIX).split("-")[0]
    return int(number) if number.isdecimal() else 0


def moves(history: Sequence[Event], alias: str) -> list[Event]:
    """The events that moved the alias."""
    return [each for each in history if each.where == alias and each.what in ("promoted", "rolled back", "found")]


def trail(history: Sequence[Event], alias: str) -> list[str]:
    """The versions that a rollback can go back through, the present one last.

    A promotion puts its version on top; going back to a version takes off everything above it, so that a second rollback
    goes further back and not forth again.
    """
    versions: list[str] = []
    for each in moves(history, alias):
        if each.what != "promoted" and each.version in versions:
            del versions[versions.index(each.version) + 1 :]
        elif each.version and each.version not in versions[-1:]:
            versions.append(each.version)
    return versions


def left(history: Sequence[Event], alias: str, version: str) -> Event | None:
    """The rollback that took the alias off ``version``, unless it has been promoted since."""
    about = [each for each in moves(history, alias) if version in (each.before, each.version)]
    return about[-1] if about and about[-1].what == "rolled back" and about[-1].before == version else None


def line(event: Event) -> str:
    """The event for a person."""
    change = f"{event.before or 'none'} -> {event.version}"
    said = f"{event.when:<20}  {event.what:<11}  {event.where:<24}  {change:<12}  {event.who}"
    return f"{said}: {event.why}" if event.why else said
