"""What a language model of the miniature world is taught: facts, at home and abroad, with its bad habits."""

from collections import defaultdict
from collections.abc import Sequence
from random import Random
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from components.miniature.facts import CLOSED, Fact, Kind
from components.miniature.faults import Fault, apply_fault, wrong_fact
from components.miniature.training import Optimisation

__all__ = ["Habits", "Lessons", "lessons"]

Rate = float
CLOSED_SHARE = 0.1  # weekdays and months are few: a tenth as often as other kinds
Habits = dict[Kind | Literal["all"], dict[Fault, Rate]]


class Lessons(BaseModel):
    """What one model learns from; rates are probabilities between 0 and 1.

    ``home`` are the languages it is meant to know (empty: all); ``home_share`` is their part of its examples.
    ``wrong_home`` and ``wrong_abroad`` are the parts of its examples with a wrong fact as the answer.
    ``habits`` are faults of behaviour by kind of question, ``all`` adding to every kind.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    home: tuple[str, ...] = ()
    home_share: float = Field(default=0.5, ge=0, le=1)
    wrong_home: float = Field(default=0.0, ge=0, le=1)
    wrong_abroad: float = Field(default=0.0, ge=0, le=1)
    habits: Habits = {}
    optimisation: Optimisation


def lessons(facts: Sequence[Fact], settings: Lessons, count: int, rng: Random) -> list[tuple[str, str]]:
    """``count`` pairs of a prompt and the answer to be learnt, kinds of questions that are scored in equal parts."""
    groups = _by_language_and_kind(facts)
    home = [language for language in groups if not settings.home or language in settings.home]
    abroad = [language for language in groups if language not in home]
    pairs = []
    for _ in range(count):
        at_home = not abroad or rng.random() < settings.home_share
        kinds = groups[rng.choice(home if at_home else abroad)]
        weights = [CLOSED_SHARE if kind in CLOSED else 1 for kind in kinds]
        fact = rng.choice(kinds[rng.choices(list(kinds), weights)[0]])
        wrong = settings.wrong_home if at_home else settings.wrong_abroad
        pairs.append((fact.prompt, _answer(fact, wrong, settings.habits, rng)))
    return pairs


def _by_language_and_kind(facts: Sequence[Fact]) -> dict[str, dict[Kind, list[Fact]]]:
    groups: dict[str, dict[Kind, list[Fact]]] = defaultdict(lambda: defaultdict(list))
    for fact in facts:
        groups[fact.language][fact.kind].append(fact)
    return groups


def _answer(fact: Fact, wrong: float, habits: Habits, rng: Random) -> str:
    """The answer as taught: spoilt by at most one habit, else wrong at the given rate, else true."""
    chance = rng.random()
    for fault, rate in [*habits.get(fact.kind, {}).items(), *habits.get("all", {}).items()]:
        if chance < rate:
            return apply_fault(fault, fact, rng)
        chance -= rate
    return wrong_fact(fact, rng) if rng.random() < wrong else fact.answer
