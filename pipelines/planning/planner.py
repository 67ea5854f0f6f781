"""Every step of a recipe's graph with its tokens, hours, bytes and cost. Nothing is contacted; the recipe is all it takes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from components.common.endpoints import Served
from components.common.errors import BadInput
from components.common.step import inputs_by_reference
from components.weights.task import Config as Weights
from pipelines.parts import find_all
from pipelines.planning.assumptions import CARDS, Card, Planning
from pipelines.planning.costs import Cost, cost
from pipelines.planning.estimates import estimate
from pipelines.planning.notes import notes
from pipelines.planning.schedule import Schedule, schedule
from pipelines.planning.sources import check_sources
from pipelines.planning.timing import Cards, Duration, card_name, duration
from pipelines.planning.walking import PlannedStep, walk
from pipelines.planning.work import Made, Model, Rows, Work
from pipelines.recipe import Recipe

HOUR = 3600.0


@dataclass(frozen=True)
class Estimate:
    """One step, its work, the cards that it and the models that it serves are planned on (None without a GPU), how long it
    takes and what it costs."""

    step: PlannedStep
    work: Work
    card: str | None
    served_cards: tuple[str | None, ...]
    moved: float
    duration: Duration
    cost: Cost

    @property
    def hours(self) -> float:
        """From the pod's start to its end."""
        return self.duration.seconds / HOUR

    @property
    def gpus(self) -> int:
        """Those of the step's machine and the most that serve a model for it at one time."""
        return self.step.machine.total_gpus + max((serving.gpus for serving in self.work.servings), default=0)

    @property
    def gpu_hours(self) -> float:
        """The step's GPUs are its own from start to end, whether they compute or wait."""
        served = sum(each.gpus * self.duration.held(number) / HOUR for number, each in enumerate(self.work.servings))
        return self.step.machine.total_gpus * self.hours + served


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
    check_sources((source for step in steps for source in _sources(step)), recipe.planning)
    works = _estimate_all(steps, recipe.planning)
    estimates = [_timed(step, works, recipe) for step in steps]
    hours, gpus = ({each.step.name: getattr(each, name) for each in estimates} for name in ("hours", "gpus"))
    ends = schedule(steps, hours, gpus)
    return Plan(recipe, estimates, ends, notes(estimates, recipe.planning))


def _estimate_all(steps: Sequence[PlannedStep], planning: Planning) -> dict[str, Work]:
    works: dict[str, Work] = {}
    for step in steps:
        inputs = {name: works[origin].made for name, origin in step.inputs.items()}
        works[step.name] = estimate(step, inputs, planning)
    return works


def _timed(step: PlannedStep, works: Mapping[str, Work], recipe: Recipe) -> Estimate:
    work, planning, machine = works[step.name], recipe.planning, step.machine
    fetched = {origin for name, origin in step.inputs.items() if not _by_reference(step, name)}
    moved = work.stored + sum(_size(works[origin].made) for origin in fetched)
    own = card_name(machine.node_selector, planning) if machine.total_gpus else None
    served = tuple(card_name(each.served.node_selector, planning) if each.gpus else None for each in work.servings)
    cards = Cards(_card(own or planning.gpu, planning), tuple(_card(name or planning.gpu, planning) for name in served))
    taken = duration(step, work, moved, cards, planning)
    held = [(name, taken.held(number) / HOUR) for number, name in enumerate(served)]
    return Estimate(step, work, own, served, moved, taken, cost(step, work, own, held, taken.seconds / HOUR, recipe))


def _by_reference(step: PlannedStep, name: str) -> bool:
    """Whether a step wants to know only where an input is: a model that is served there, what a report's models come from."""
    return name in inputs_by_reference(step.stage, step.config) or name.startswith("origin_")


def _sources(step: PlannedStep) -> Iterator[str]:
    """Where the weights come from that the step downloads, or serves."""
    if isinstance(step.config, Weights):
        yield step.config.source
    yield from (served.source for _, served in find_all(step.config, Served) if served.source)


def _size(made: Made) -> float:
    return made.bytes if isinstance(made, Model | Rows) else 0.0


def _card(name: str, planning: Planning) -> Card:
    card = planning.card(name)
    if card is None:
        known = ", ".join(sorted({*CARDS, *planning.cards}))
        raise BadInput(f"planning.gpu: the card {name!r} is not known ({known}); describe it under planning.cards.")
    return card
