"""How many questions the public benchmarks have, and how long they are."""

from dataclasses import dataclass

from components.benchmarks.registry import DATASETS
from components.benchmarks.task import Config
from pipelines.planning.assumptions import BenchmarkTokens


@dataclass(frozen=True)
class Facts:
    """``items`` per language as published, other numbers by language in ``other``.

    Token counts are ours: few-shot examples included, over the 23 languages.
    """

    items: int
    tokens: BenchmarkTokens
    other: dict[str, int] | None = None


def _facts(items: int, question: float, answer: float, **other: int) -> Facts:
    return Facts(items, BenchmarkTokens(question=question, answer=answer), other)


#: Sizes from the data sets' cards. INCLUDE's languages have 550 questions at most and 514 on average.
PUBLIC = {
    "m_arena_hard": _facts(500, 400, 900),
    "m_arena_hard_v2": _facts(498, 400, 900),
    "dolly_human_edited": _facts(200, 60, 350),
    "dolly_machine_translated": _facts(200, 60, 350),
    "xwinograd": _facts(0, 30, 12, en=2325, fr=83, ja=959, pt=263, ru=315, zh=504),
    "xcopa": _facts(500, 20, 15),
    "xstory_cloze": _facts(1511, 80, 20),
    "global_mmlu": _facts(14042, 1000, 1),
    "include": _facts(514, 800, 1),
    "mgsm": _facts(250, 1000, 200),
    "flores_from_english": _facts(1012, 700, 60),
    "flores_to_english": _facts(1012, 700, 60),
    "language_confusion_monolingual": _facts(
        100, 30, 100, ar=300, en=200, es=300, fr=300, hi=200, pt=200, ru=200, zh=200
    ),
    "language_confusion_crosslingual": _facts(299, 100, 100),
    "aya_redteaming": _facts(927, 30, 250),  # 7,419 in eight languages
}


def count_questions(config: Config) -> dict[str, int]:
    """Questions by benchmark, in the languages asked for and within the limit per language."""
    return {name: sum(_per_language(config, name)) for name in config.names}


def _per_language(config: Config, name: str) -> list[int]:
    facts = PUBLIC[name]
    languages = [code for code in DATASETS[name].languages if config.languages is None or code in config.languages]
    counts = [(facts.other or {}).get(code, facts.items) for code in languages]
    return [min(count, config.limit) if config.limit else count for count in counts]


def shared(name: str, other: str) -> float:
    """The part of the second benchmark's languages that the first has too; 1 where they are not published ones."""
    if name not in DATASETS or other not in DATASETS:
        return 1.0
    languages = DATASETS[other].languages
    return sum(code in DATASETS[name].languages for code in languages) / len(languages)
