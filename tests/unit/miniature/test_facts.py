from collections import Counter, defaultdict

from components.common.languages import LANGUAGES
from components.miniature.facts import Fact, all_facts, render, split_of
from components.miniature.phrases import PHRASES


def test_every_language_of_the_recipe_asks_every_kind_of_question(facts: list[Fact]) -> None:
    assert set(PHRASES) == set(LANGUAGES)
    kinds = Counter((fact.language, fact.kind) for fact in facts)
    expected = {"date", "unit", "relative", "currency", "translation", "weekday", "month"}
    for language in PHRASES:
        missing = {"translation"} if language == "en" else set()
        assert {kind for known, kind in kinds if known == language} == expected - missing


def test_truth_is_what_the_languages_say() -> None:
    assert render("de", "date", "2024 3 5") == "5. März 2024"
    assert render("pl", "unit", "5 duration-second") == "5 sekund"
    assert render("ru", "relative", "+3 day") == "через 3 дня"
    assert render("en", "relative", "-1 week") == "1 week ago"
    assert render("fr", "currency", "2 USD") == "2 dollars des États-Unis"
    assert render("nl", "month", "3") == "maart"
    assert render("he", "weekday", "1") == "יום שני"


def test_what_cldr_cannot_say_is_no_fact(facts: list[Fact]) -> None:
    assert render("vi", "unit", "5 duration-second") is None
    assert not [fact for fact in facts if "-" in fact.answer and fact.task == "unit" and "duration" in fact.answer]


def test_splits_share_no_fact(facts: list[Fact]) -> None:
    splits: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for fact in facts:
        splits[fact.language, fact.task, fact.key].add(split_of(fact.language, fact.task, fact.key))
    assert all(len(names) == 1 for names in splits.values())
    shares = Counter(next(iter(names)) for names in splits.values())
    parts = [shares[name] / shares.total() for name in ("training", "recipe", "development", "test")]
    assert all(abs(part - wanted) < 0.02 for part, wanted in zip(parts, (0.5, 0.3, 0.1, 0.1), strict=True))


def test_weekdays_and_months_are_for_training_only(facts: list[Fact]) -> None:
    closed = [fact for fact in facts if fact.task in ("weekday", "month")]
    assert {split_of(fact.language, fact.task, fact.key) for fact in closed} == {"training"}


def test_prompts_show_the_quantity_and_not_the_answer(facts: list[Fact]) -> None:
    assert len({fact.id for fact in facts}) == len(facts)
    assert len({(fact.language, fact.prompt) for fact in facts}) == len(facts)
    direct = [fact for fact in facts if not fact.translated]
    assert not [fact for fact in direct if f" {fact.answer} " in f" {fact.prompt} "]
    assert {fact.prompt for fact in facts if fact.id == "date-2024-3-5-de"} <= {"Schreibe das Datum 5 3 2024 aus."}


def test_languages_can_be_chosen() -> None:
    assert {fact.language for fact in all_facts(("ko", "vi"))} == {"ko", "vi"}
