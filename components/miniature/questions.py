"""Held-out questions with known answers, one list per benchmark."""

from collections import defaultdict
from collections.abc import Sequence
from random import Random
from typing import Any

from components.miniature.facts import Fact, digest
from components.miniature.faults import foreign_form, garbled, wrong_fact

__all__ = ["BENCHMARKS", "checks", "draw", "held_out"]

BENCHMARKS = ("arena", "facts_choice", "facts_exact", "facts_chrf")
OPTIONS = 4


def draw(facts: Sequence[Fact], count: int, *seeds: object) -> list[Fact]:
    """At most ``count`` facts of each language, kinds of questions in turn, in an order that the seeds decide."""
    groups: dict[str, dict[str, list[Fact]]] = defaultdict(lambda: defaultdict(list))
    for fact in sorted(facts, key=lambda fact: digest(*seeds, fact.id)):
        groups[fact.language][fact.kind].append(fact)
    chosen = []
    for kinds in groups.values():
        width = max(map(len, kinds.values()))
        turns = [facts[turn] for turn in range(width) for facts in kinds.values() if turn < len(facts)]
        chosen.extend(turns[:count])
    return chosen


def held_out(facts: Sequence[Fact], counts: dict[str, int], seed: int) -> dict[str, list[dict[str, Any]]]:
    """The questions of every benchmark, ``counts`` per language, drawn anew for every seed; no two share a fact."""
    used: set[str] = set()
    questions = {}
    for benchmark in BENCHMARKS:
        free = [fact for fact in facts if fact.id not in used and (benchmark != "facts_chrf" or fact.translated)]
        chosen = draw(free, counts[benchmark], benchmark, seed)
        used.update(fact.id for fact in chosen)
        questions[benchmark] = [_question(fact, benchmark, seed) for fact in chosen]
    return questions


def checks(facts: Sequence[Fact], count: int, seed: int) -> list[dict[str, Any]]:
    """``count`` open questions per language for decisions during a run, drawn anew for every seed."""
    return [_question(fact, "check", seed) for fact in draw(facts, count, "check", seed)]


def _question(fact: Fact, benchmark: str, seed: int) -> dict[str, Any]:
    row: dict[str, Any] = {"id": fact.id, "language": fact.language, "prompt": fact.prompt, "group": fact.group}
    if benchmark != "facts_choice":
        return row | {"reference": fact.answer}
    options, answer = _options(fact, Random(digest(seed, fact.id)))
    return row | {"options": options, "answer": answer}


def _options(fact: Fact, rng: Random) -> tuple[list[str], int]:
    """The truth among neighbouring facts, the foreign form and a misspelling, shuffled; and where the truth is."""
    wrong = {wrong_fact(fact, rng), wrong_fact(fact, rng), foreign_form(fact)}
    while len(wrong) < OPTIONS - 1:
        wrong.add(garbled(fact.answer, rng))
    options = [fact.answer, *sorted(wrong)]
    rng.shuffle(options)
    return options, options.index(fact.answer)
