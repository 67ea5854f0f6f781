from random import Random

from hypothesis import given
from hypothesis import strategies as st

from components.miniature.facts import Fact, all_facts, render
from components.miniature.faults import FAULTS, apply_fault, foreign_form, garbled, wrong_fact

FACTS = list(all_facts())
ANY_FACT = st.integers(0, len(FACTS) - 1).map(FACTS.__getitem__)
ANY_RANDOM = st.integers().map(Random)


@given(ANY_FACT, st.sampled_from(FAULTS), ANY_RANDOM)
def test_every_fault_changes_the_answer(fact: Fact, fault: str, rng: Random) -> None:
    spoilt = apply_fault(fault, fact, rng)
    assert spoilt.strip()
    assert spoilt != fact.answer


@given(ANY_FACT, ANY_RANDOM)
def test_wrong_knowledge_is_never_the_truth(fact: Fact, rng: Random) -> None:
    assert wrong_fact(fact, rng) not in ("", fact.answer)
    assert garbled(fact.answer, rng).strip() not in ("", fact.answer)


@given(ANY_FACT)
def test_the_foreign_form_says_the_same_thing(fact: Fact) -> None:
    assert foreign_form(fact) in {render(language, fact.task, fact.key) for language in ("en", "es", "tr", "el")}


def test_faults_are_balanced_in_length() -> None:
    rng = Random(0)
    facts = rng.sample(FACTS, 2000)
    truth = sum(len(fact.answer) for fact in facts)
    ratio = {fault: sum(len(apply_fault(fault, fact, rng)) for fact in facts) / truth for fault in FAULTS}
    assert ratio["cut"] < 0.6
    assert ratio["filler"] > 1.5
    assert ratio["repeat"] > 1.9
    assert 0.8 < ratio["switch"] < 1.3
    assert 0.8 < ratio["foreign"] < 1.5


def test_faults_by_example() -> None:
    fact = Fact("de", "date", "2024 3 5", False, "Schreibe das Datum 5 3 2024 aus.", "5. März 2024")
    rng = Random(0)
    assert apply_fault("foreign", fact, rng) == "March 5, 2024"
    assert apply_fault("cut", fact, rng) == "5."
    assert apply_fault("filler", fact, rng) == "5. März 2024 Ich hoffe, das hilft."
    assert apply_fault("repeat", fact, rng) == "5. März 2024 5. März 2024"
    assert apply_fault("switch", fact, rng) == "5. March 2024"
