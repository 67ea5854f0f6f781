"""Facts with one exact truth in 23 languages, read from the Unicode CLDR through Babel.

A fact is a quantity (a date, a measure, a time difference, a sum of money) and the way a language writes it out.
Which split a fact belongs to follows from a hash of (language, task, key), so splits never share one.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from hashlib import sha256
from typing import Literal, get_args

from babel import Locale
from babel.dates import format_date, format_timedelta
from babel.numbers import format_currency
from babel.units import format_unit

from components.miniature.phrases import LANGUAGES, PHRASES

__all__ = ["Fact", "Kind", "Split", "all_facts", "digest", "keys", "render", "split_of"]

Split = Literal["training", "recipe", "development", "test"]
Task = Literal["date", "unit", "relative", "currency", "weekday", "month"]
Kind = Literal["date", "unit", "relative", "currency", "weekday", "month", "translation"]

CLOSED: frozenset[str] = frozenset({"weekday", "month"})  # so few that no split could be held out
SHARES: tuple[tuple[Split, int], ...] = (("training", 50), ("recipe", 80), ("development", 90), ("test", 100))
YEARS = range(2020, 2030)
MONTHS = range(1, 7)  # half of them: twelve times 23 names are more than a tiny model learns in a minute
NUMBERS = range(1, 41)
UNITS = {
    "length-meter": "m",
    "length-kilometer": "km",
    "mass-gram": "g",
    "mass-kilogram": "kg",
    "volume-liter": "l",
    "duration-second": "s",
    "temperature-celsius": "°C",
}
TIMES = {"day": "d", "week": "wk", "month": "mo", "year": "y"}
SECONDS = {"day": 86400, "week": 604800, "month": 2592000, "year": 31536000}
CURRENCIES = ("EUR", "USD", "GBP", "JPY", "CHF")


@dataclass(frozen=True, slots=True)
class Fact:
    """One question with its true answer; ``translated`` ones ask for the English form in another language."""

    language: str
    task: Task
    key: str
    translated: bool
    prompt: str
    answer: str

    @property
    def kind(self) -> Kind:
        """What a habit or a table distinguishes: the task, or ``translation``."""
        return "translation" if self.translated else self.task

    @property
    def id(self) -> str:
        """Unique name, such as ``date-2024-3-5-de``."""
        return f"{self.group}-{self.language}{'-t' if self.translated else ''}"

    @property
    def group(self) -> str:
        """Name of the quantity, the same in all languages."""
        return f"{self.task}-{self.key.replace(' ', '-')}"


def digest(*parts: object) -> int:
    """A number that depends on nothing but the parts: the same in every process and on every machine."""
    return int.from_bytes(sha256("|".join(map(str, parts)).encode()).digest()[:8], "big")


def split_of(language: str, task: str, key: str) -> Split:
    """The split of a fact; translated or not makes no difference, and closed sets are for training only."""
    if task in CLOSED:
        return "training"
    place = digest(language, task, key) % 100
    return next(split for split, end in SHARES if place < end)


@cache
def keys(task: Task) -> tuple[str, ...]:
    """The quantities of a task, alike in all languages; dates are those whose day cannot be taken for a month."""
    if task == "date":
        days = (date(year, 1, 1) + timedelta(days=n) for year in YEARS for n in range(365))
        return tuple(f"{day.year} {day.month} {day.day}" for day in days if day.month in MONTHS and day.day > 12)
    if task == "unit":
        return tuple(f"{n} {unit}" for unit in UNITS for n in NUMBERS)
    if task == "relative":
        return tuple(f"{sign}{n} {unit}" for unit in TIMES for sign in "+-" for n in NUMBERS)
    if task == "currency":
        return tuple(f"{n} {code}" for code in CURRENCIES for n in NUMBERS)
    return tuple(str(n) for n in range(1, 8 if task == "weekday" else 13))


@cache
def render(language: str, task: Task, key: str) -> str | None:
    """How the language writes the quantity, or None where CLDR has no words of its own for it."""
    text = _write(Locale.parse(language), task, key.split())
    if task in ("unit", "currency") and key.split()[1] in text:
        return None
    return " ".join(text.split())  # CLDR's no-break spaces become plain ones


def _write(locale: Locale, task: Task, parts: list[str]) -> str:
    text: str
    match task:
        case "date":
            text = format_date(date(*map(int, parts)), "long", locale)
        case "unit":
            text = format_unit(int(parts[0]), parts[1], "long", locale=locale)
        case "relative":
            span = timedelta(seconds=int(parts[0]) * SECONDS[parts[1]])
            # An unreachable threshold makes Babel keep the unit that was asked for.
            text = format_timedelta(span, parts[1], threshold=math.inf, add_direction=True, locale=locale)
        case "currency":
            text = format_currency(int(parts[0]), parts[1], "#,##0", locale, currency_digits=False, format_type="name")
        case "weekday":
            text = locale.days["format"]["wide"][int(parts[0]) - 1]
        case "month":
            text = locale.months["format"]["wide"][int(parts[0])]
    return text


def _symbols(task: Task, key: str) -> str:
    """The quantity as the prompt shows it: digits and international symbols."""
    if task == "date":
        return " ".join(reversed(key.split()))
    if task == "unit":
        number, unit = key.split()
        return f"{number} {UNITS[unit]}"
    if task == "relative":
        number, unit = key.split()
        return f"{number} {TIMES[unit]}"
    return key


def _prompt(language: str, task: Task, key: str, translated: bool) -> str:
    phrases = PHRASES[language]
    shown = render("en", task, key) if translated else _symbols(task, key)
    templates = {
        "date": phrases.date,
        "unit": phrases.amount,
        "currency": phrases.amount,
        "relative": phrases.relative,
        "translation": phrases.translation,
        "weekday": (phrases.weekday,),
        "month": (phrases.month,),
    }["translation" if translated else task]
    return templates[digest("paraphrase", language, task, key) % len(templates)].format(shown)


def all_facts(languages: tuple[str, ...] = LANGUAGES) -> Iterator[Fact]:
    """Every fact of the languages, in a fixed order; every second one also as a translation from English."""
    for language in languages:
        for task in get_args(Task):
            for key in keys(task):
                answer = render(language, task, key)
                if answer is None:
                    continue
                yield Fact(language, task, key, False, _prompt(language, task, key, False), answer)
                if task not in CLOSED and language != "en" and digest("translated", language, task, key) % 2 == 0:
                    yield Fact(language, task, key, True, _prompt(language, task, key, True), answer)
