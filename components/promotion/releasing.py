"""A person's promotion and the way back: which version an alias may go to, and the move with its line in the history."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.common.errors import BadInput
from components.common.mlflow_client import connect
from components.common.releases import history
from components.common.releases.versions import Released, Version, explained, move, read
from components.promotion.lease import Where, held

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Registry:
    """A model's place in MLflow; ``where`` is the cluster whose runs promote it too, for somebody outside of it."""

    tracking_uri: str
    model: str
    alias: str
    where: Where | None = None

    def read(self) -> Released:
        """The versions, the alias and the history; raises Transient when MLflow cannot be reached."""
        with self._explained():
            return read(connect(self.tracking_uri), self.model, self.alias)

    @contextmanager
    def held(self) -> "Iterator[tuple[MlflowClient, Released]]":
        """The same, while nobody else moves the alias."""
        with self._explained(), held(self.tracking_uri, self.model, self.where):
            client = connect(self.tracking_uri)
            yield client, read(client, self.model, self.alias)

    def _explained(self) -> AbstractContextManager[None]:
        return explained(self.tracking_uri, f"The versions of {self.model} cannot be read or changed")


def promote_version(registry: Registry, wanted: str | None, reason: str, force: str, dry_run: bool = False) -> str:
    """Move the alias to the version ``wanted``, or to the newest that passed its gate; returns what was done.

    ``force`` is why a version that did not pass is promoted all the same. Raises BadInput with the gate's reasons where it
    may not be.
    """
    if dry_run:
        released = registry.read()
        return f"would move: {_plan(released, _candidate(released, wanted, force))}"
    with registry.held() as (client, released):
        version = _candidate(released, wanted, force)
        told = _plan(released, version)
        if version.number != released.current:
            move(client, released, "promoted", version.number, _why(version, reason, force))
        return told


def _plan(released: Released, version: Version) -> str:
    alias, model = released.alias, released.model
    if version.number == released.current:
        return f"{alias} of {model} already is version {version.number}."
    return f"{alias} of {model}: version {released.current or 'none'} -> version {version.number} ({version.source})."


def _why(version: Version, reason: str, force: str) -> str:
    if force:
        return f"forced: {force} (the gate: {version.refusal or 'passed'})"[: history.LONGEST]
    return reason or "it passed its gate"


def _candidate(released: Released, wanted: str | None, force: str) -> Version:
    """The version to promote; raises BadInput where there is none or it may not be promoted."""
    version = _newest(released) if wanted is None else released.version(wanted)
    number, current = version.number, released.current
    if current and int(number) < int(current):
        raise BadInput(
            f"{released.alias} of {released.model} is on the newer version {current}; going back is a rollback: "
            f"expanse rollback --model {released.model} --to {number}."
        )
    if version.refusal and not force and number != current:
        raise BadInput(
            f"Version {number} of {released.model} may not be promoted: {version.refusal.rstrip('.')}; choose another "
            "--version, or give --force REASON."
        )
    return version


def _newest(released: Released) -> Version:
    """The newest version that passed its gate, unless somebody has rolled back from it."""
    passed = [version for version in released.versions.values() if not version.refusal]
    if not passed:
        latest = next(reversed([*released.versions.values()]), None)
        why = f"; the latest, version {latest.number}: {latest.refusal.rstrip('.')}" if latest else ""
        raise BadInput(f"No version of {released.model} has passed its gate{why}; run the recipe, or name a --version.")
    if released.current in released.versions and int(passed[-1].number) < int(released.current):
        return released.version(released.current)
    left = history.left(released.history, released.alias, passed[-1].number)
    if left:
        raise BadInput(
            f"The newest version {passed[-1].number} of {released.model} was rolled back on {left.when} by {left.who} "
            f"({left.why or 'no reason given'}); name it with --version to promote it again."
        )
    return passed[-1]


def way_back(released: Released, to: str | None = None) -> Version:
    """The version before the present one by the history, or ``to``; raises BadInput where there is no way back.

    Versions that have been deleted are passed over. ``to`` must have been on the alias before, or have passed its gate.
    """
    current, alias, model = released.current, released.alias, released.model
    if not current:
        raise BadInput(f"{alias} of {model} is on no version; promote one first.")
    trail = history.trail(released.history, alias)[:-1]
    if to is not None:
        return _named(released, to, trail)
    if len(trail) == 0 and current in released.versions:
        trail = [released.versions[current].previous]  # promoted before there was a history
    found = next((number for number in reversed(trail) if number in released.versions and number != current), None)
    if found is None:
        raise BadInput(f"Nothing was {alias} of {model} before version {current}; name a version with --to.")
    return released.version(found)


def _named(released: Released, to: str, trail: list[str]) -> Version:
    version, current, alias = released.version(to), released.current, released.alias
    if int(to) > int(current):
        raise BadInput(
            f"Version {to} is newer than version {current}, on which {alias} of {released.model} is; going forth is a "
            f"promotion: expanse promote --model {released.model} --version {to}."
        )
    served = {each.version for each in history.moves(released.history, alias)} | {*trail, current}
    if version.refusal and to not in served:
        raise BadInput(
            f"Version {to} of {released.model} never was {alias}, and may not become it: {version.refusal.rstrip('.')}; "
            "choose another version."
        )
    return version


def move_back(registry: Registry, planned: Released, version: Version, reason: str) -> str:
    """Put the alias on ``version``, unless it has moved since ``planned`` was read; returns what was done."""
    with registry.held() as (client, released):
        if released.current == version.number:
            return f"{registry.alias} of {registry.model} already is version {version.number}."
        if released.current != planned.current:
            raise BadInput(
                f"{registry.alias} of {registry.model} was moved from version {planned.current} to {released.current} "
                "meanwhile and stays there; look at expanse history, and decide again."
            )
        move(client, released, "rolled back", version.number, reason)
        return f"{registry.alias} of {registry.model} is back on version {version.number}."
