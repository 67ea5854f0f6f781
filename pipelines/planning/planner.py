"""Every step of a recipe's graph with its tokens, hours, bytes and cost. Nothing is contacted; the recipe is all it takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.common.errors import BadInput
from components.weights.task import Config as Weights
from pipelines.endpoints import served_by
from pipelines.planning.assumptions import CARDS, Card, Planning
from pipelines.planning.costs import Cost, cost
from pipelines.planning.estimates import estimate
from pipelines.planning.notes import notes
from pipelines.planning.schedule import Schedule, schedule
from pipelines.planning.sources import check_sources
from pipelines.planning.timing import Duration, card_name, duration
from pipelines.planning.walking import PlannedStep, walk
from pipelines.planning.work import Made, Model, Rows, Work
from pipelines.recipe import Recipe

HOUR = 3600.0


@dataclass(frozen=True)
class Estimate:
    """One step, its work, the card that it is planned on (None without a GPU), how long it takes and what it costs."""

    step: PlannedStep
    work: Work
    card: str | None
    moved: float
    duration: Duration
    cost: Cost

    @property
    def hours(self) -> float:
        """From the pod's start to its end."""
        return self.duration.seconds / HOUR

    @property
    def gpu_hours(self) -> float:
        """The step's GPUs are its own from start to end, whether they compute or wait."""
        return self.step.machine.total_gpus * self.hours


@dataclass(frozen=True)
class Plan:
    """What a recipe would take. ``schedule`` is the earliest one, every step starting as soon as the graph lets it."""

    recipe: Recipe
    estimates: Sequence[Estimate]
    schedule: Schedule
    notes: Sequence[str]


def plan(recipe: Recipe, until: str = "release") -> Plan:
    """Estimate every step up to the chapter ``until``.

    Raises BadInput naming the field to set for a card or a model whose size is not known.
    """
    steps = walk(recipe, until)
    check_sources(filter(None, map(_source, steps)), recipe.planning)
    works = _estimate_all(steps, recipe.planning)
    estimates = [_timed(step, works, recipe) for step in steps]
    ends = schedule(steps, {each.step.name: each.hours for each in estimates})
    return Plan(recipe, estimates, ends, notes(estimates, recipe.planning))


def _source(step: PlannedStep) -> str | None:
    """Where a step takes a published model from, if it does."""
    if isinstance(step.config, Weights):
        return step.config.source
    served = served_by(step.config)
    return served.source if served else None


def _estimate_all(steps: Sequence[PlannedStep], planning: Planning) -> dict[str, Work]:
    works: dict[str, Work] = {}
    for step in steps:
        inputs = {name: works[origin].made for name, origin in step.inputs.items()}
        works[step.name] = estimate(step, inputs, planning)
    return works


def _timed(step: PlannedStep, works: Mapping[str, Work], recipe: Recipe) -> Estimate:
    work, planning, machine = works[step.name], recipe.planning, step.machine
    moved = work.stored + sum(_size(works[origin].made) for origin in set(step.inputs.values()))
    name = card_name(machine, planning, frozenset({*CARDS, *planning.cards})) if machine.total_gpus else None
    taken = duration(step, work, moved, _card(name or planning.gpu, planning), planning)
    return Estimate(step, work, name, moved, taken, cost(step, work, name, taken.seconds / HOUR, recipe))


def _size(made: Made) -> float:
    return made.bytes if isinstance(made, Model | Rows) else 0.0


def _card(name: str, planning: Planning) -> Card:
    card = planning.card(name)
    if card is None:
        known = ", ".join(sorted({*CARDS, *planning.cards}))
        raise BadInput(f"planning.gpu: the card {name!r} is not known ({known}); describe it under planning.cards.")
    return card
