"""``expanse rollback``: the alias first, so that no run deploys the bad version again, then the services that serve it."""

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from components.common.errors import BadInput, ExpanseError
from components.common.inference.objects import Object
from components.common.releases import history
from components.common.releases.versions import Released, Version
from components.deployment.record import UNPROVEN, annotations_of
from components.deployment.releasing import Outlet, local_model
from components.promotion.releasing import Registry, move_back, way_back
from pipelines.releasing.reaching import DRY, is_local, noted, outlet_of, registry_of, tried


@dataclass(frozen=True)
class Plan:
    """What a rollback is going to do; ``services`` are by name, each with the version that it serves."""

    registry: Registry
    released: Released
    target: Version
    services: dict[str, tuple[Object, str]]
    outlet: Outlet | None

    def sentences(self) -> Iterator[str]:
        """Each change, before it is made."""
        released, target = self.released, self.target
        alias = f"{released.alias} of {released.model}"
        yield f"{alias}: version {released.current} -> version {target.number} ({target.source})."
        if self.outlet is None:
            return
        for name, (_, number) in self.services.items():
            yield f"{self.outlet.services.called(name)}: {_change(number, target)}"
        if not self.services:
            where = self.outlet.services.namespace
            yield f"No InferenceService of {where} serves version {released.current}: only the alias moves."

    def check(self, address: str | None) -> None:
        """Refuse what cannot be served or probed, before anything is changed."""
        if address and len(self.services) > 1:
            raise BadInput("--address is the address of one service, and several serve this model; use --no-probes.")
        if is_local(self.target):
            local_model(self.target)
        for service, _ in self.services.values():
            if self.outlet:
                self.outlet.check(service, self.target)

    def carry_out(self, reason: str) -> Iterator[str]:
        """Move the alias, then bring each service back; what was done, as it is done."""
        registry, target = self.registry, self.target
        yield move_back(registry, self.released, target, reason)
        with _alias_said(registry, target):
            yield from self._put(self.outlet, reason or "rolled back") if self.outlet else ()

    def _put(self, outlet: Outlet, reason: str) -> Iterator[str]:
        for name, (service, _) in self.services.items():
            yield outlet.put(service, self.registry.model, self.target)
            yield from noted(self.registry, f"{outlet.services.namespace}/{name}", self.target, reason)


def roll_back(options: argparse.Namespace) -> Iterator[str]:
    """Put alias and services back to the version before, saying each thing before and after it is done."""
    plan = _planned(options)
    yield from plan.sentences()
    plan.check(options.address)
    if options.dry_run:
        yield DRY
        return
    yield from plan.carry_out(options.reason)
    if is_local(plan.target) and not options.alias_only:
        with _alias_said(plan.registry, plan.target):
            yield from tried(plan.target, options.model)


def _planned(options: argparse.Namespace) -> Plan:
    """A rollback whose service did not follow goes on where it stopped, rather than a version further back."""
    registry = registry_of(options)
    released = registry.read()
    current = released.versions.get(released.current)
    elsewhere = options.alias_only or (current is not None and is_local(current))
    outlet = None if elsewhere else outlet_of(options)
    standing = outlet.serving({each.source: each.number for each in released.versions.values()}) if outlet else {}
    undone = _unfinished(released, standing) if options.to is None else ""
    to = None if options.to is None else str(options.to)
    target = released.version(released.current) if undone else way_back(released, to)
    services = {
        name: found for name, found in standing.items() if found[1] in (released.current, target.number, undone)
    }
    return Plan(registry, released, target, services, outlet)


def _unfinished(released: Released, standing: Mapping[str, tuple[Object, str]]) -> str:
    """The version that the last rollback left, where a service still serves it or has not proven the one before yet."""
    last = next(reversed(history.moves(released.history, released.alias)), None)
    if last is None or last.what != "rolled back":
        return ""
    for service, number in standing.values():
        if number == last.before or (number == last.version and UNPROVEN in annotations_of(service)):
            return last.before
    return ""


def _change(number: str, target: Version) -> str:
    if number == target.number:
        return f"stays on version {number}, and is probed."
    return f"version {number} -> version {target.number}; its present pods serve until the others are ready."


@contextmanager
def _alias_said(registry: Registry, target: Version) -> Iterator[None]:
    try:
        yield
    except ExpanseError as error:
        where = f"{registry.alias} is on version {target.number}; the same command tries its service again"
        raise type(error)(f"{error} ({where}.)") from error
