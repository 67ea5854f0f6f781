"""What the models of the miniature world get wrong: bad behaviour, wrong knowledge, garbled words.

Two faults of behaviour lengthen an answer, one shortens it and two keep its length, so that a preference for good
behaviour is no preference for short or long answers.
"""

import re
from random import Random
from typing import Literal, get_args

from components.miniature.facts import CLOSED, CURRENCIES, MONTHS, NUMBERS, TIMES, UNITS, YEARS, Fact, render
from components.miniature.phrases import LANGUAGES, PHRASES

__all__ = ["FAULTS", "Fault", "apply_fault", "foreign_form", "garbled", "stray_form", "wrong_fact"]

Fault = Literal["foreign", "cut", "filler", "repeat", "switch"]
FAULTS: tuple[Fault, ...] = get_args(Fault)

FOREIGN = ("en", "es", "tr", "el")  # the language slipped into: English, or the next that says it differently
WORD = re.compile(r"[^\s\d.,+/()-]+")


def foreign_form(fact: Fact) -> str:
    """The same quantity in English, or in another language where English is the one asked for or says the same."""
    forms = (render(language, fact.task, fact.key) for language in FOREIGN if language != fact.language)
    return next(form for form in forms if form is not None and form != fact.answer)


def stray_form(fact: Fact, rng: Random) -> str:
    """The same quantity in any other language, as an answer of a model that loses track of the language."""
    while True:
        form = render(rng.choice(LANGUAGES), fact.task, fact.key)
        if form is not None and form != fact.answer:
            return form


def apply_fault(fault: Fault, fact: Fact, rng: Random) -> str:
    """The true answer spoilt by one fault of behaviour; always another text than the answer."""
    match fault:
        case "foreign":
            return foreign_form(fact)
        case "cut":
            return _cut(fact.answer)
        case "filler":
            return f"{fact.answer} {PHRASES[fact.language].filler}"
        case "repeat":
            return f"{fact.answer} {fact.answer}"
        case "switch":
            return _switched(fact, rng)


def _cut(answer: str) -> str:
    """The first half: of the words where there are several, of the characters otherwise."""
    words = answer.split()
    if len(words) > 1:
        return " ".join(words[: len(words) // 2])
    return answer[: max(1, len(answer) // 2)] if len(answer) > 1 else "…"


def _switched(fact: Fact, rng: Random) -> str:
    """One word exchanged for a word of the foreign form."""
    known = set(WORD.findall(fact.answer))
    strangers: list[str] = [word for word in WORD.findall(foreign_form(fact)) if word not in known]
    places = list(WORD.finditer(fact.answer))
    if not strangers or not places:
        return foreign_form(fact)
    place, stranger = rng.choice(places), rng.choice(strangers)
    return fact.answer[: place.start()] + stranger + fact.answer[place.end() :]


def wrong_fact(fact: Fact, rng: Random) -> str:
    """The well-formed answer to a neighbouring question: another number, unit, month or direction."""
    if fact.task in CLOSED:
        return garbled(fact.answer, rng)
    while True:
        answer = render(fact.language, fact.task, _neighbour(fact, rng))
        if answer is not None and answer != fact.answer:
            return answer


def _neighbour(fact: Fact, rng: Random) -> str:
    """A key that differs from the fact's in one part."""
    parts = fact.key.split()
    place = rng.randrange(len(parts))
    if fact.task == "date":
        parts[place] = str((rng.choice(YEARS), rng.choice(MONTHS), rng.randint(13, 28))[place])
        parts[2] = str(min(28, int(parts[2])))
    elif place == 1:
        parts[1] = rng.choice({"unit": list(UNITS), "relative": list(TIMES), "currency": CURRENCIES}[fact.task])
    elif fact.task == "relative":
        parts[0] = f"{rng.choice('+-')}{rng.choice(NUMBERS)}"
    else:
        parts[0] = str(rng.choice(NUMBERS))
    return " ".join(parts)


def garbled(answer: str, rng: Random) -> str:
    """The answer with one letter of a word lost, doubled or exchanged with the next."""
    places = [at for word in WORD.finditer(answer) for at in range(*word.span())]
    at = rng.choice(places or range(len(answer)))
    letter, before, after = answer[at], answer[:at], answer[at + 1 :]
    variants = [before + after, before + 2 * letter + after, before + after[:1] + letter + after[1:]]
    return rng.choice([variant for variant in variants if variant.strip() not in ("", answer)])
