import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.common.errors import BadInput
from components.common.rewards import by_prompt, is_valid
from components.preference.pairing import best_against_worst, contrast, subset
from tests.scored import scored, tables

MARGINS = st.sampled_from([0.0, 0.5, 2.0])


def paired(rows, margin=0.0):
    return best_against_worst(by_prompt(rows, 0), "best-worst", margin)


@given(rows=tables(), margin=MARGINS, seed=st.integers(0, 5))
def test_order_of_rows_never_matters(rows, margin, seed):
    assert paired(rows, margin) == paired(random.Random(seed).sample(rows, len(rows)), margin)


@given(rows=tables(), margin=MARGINS)
def test_pairs_are_best_against_worst_of_the_valid(rows, margin):
    result = paired(rows, margin)
    for pair in result.pairs:
        rewards = [row["reward"] for row in rows if row["id"] == pair["id"] and is_valid(row)]
        assert (pair["chosen_reward"], pair["rejected_reward"]) == (max(rewards), min(rewards))
        assert pair["chosen_reward"] > pair["rejected_reward"]
        assert pair["chosen_reward"] - pair["rejected_reward"] >= margin
        assert pair["chosen"].strip() != pair["rejected"].strip() and pair["rejected"].strip()
    ids = [row["id"] for row in result.pairs + result.dropped]
    assert sorted(ids) == sorted({row["id"] for row in rows})


@given(rows=tables())
def test_a_wider_margin_never_makes_new_pairs(rows):
    narrow = paired(rows, 0.5).pairs
    assert all(pair in narrow for pair in paired(rows, 2.0).pairs)


@given(native=tables(models="a", samples=1), translated=tables(models="b", samples=1), margin=MARGINS)
def test_in_contrast_the_reward_decides(native, translated, margin):
    result = contrast(by_prompt(native, 0), by_prompt(translated, 0), margin)
    for pair in result.pairs:
        assert {pair["chosen_model"], pair["rejected_model"]} == {"a", "b"}
        assert pair["chosen_reward"] > pair["rejected_reward"]
        assert (pair["chosen_model"] == "a") == (pair["id"] in result.native)
    ids = [row["id"] for row in result.pairs + result.dropped]
    assert sorted(ids) == sorted({row["id"] for row in native + translated})


@given(rows=tables(prompts=8), maximum=st.integers(1, 8))
def test_a_subset_is_stable_and_nested(rows, maximum):
    pairs = paired(rows).pairs
    kept = subset(pairs, maximum, seed=0)
    assert len(kept) == min(maximum, len(pairs))
    assert kept == subset(pairs[::-1], maximum, seed=0)
    assert all(pair in subset(pairs, maximum + 1, seed=0) for pair in kept)


@pytest.mark.parametrize(
    ("rewards", "texts", "reason"),
    [
        ([1.0], "x", "fewer than two valid completions"),
        ([1.0, None], "xy", "fewer than two valid completions"),
        ([1.0, 1.0], "xy", "equal rewards"),
        ([1.0, 0.5], "xy", "margin below 1"),
        ([3.0, 0.5], "xx", "equal texts"),
    ],
)
def test_reasons(rewards, texts, reason):
    rows = [scored("p", "a", i, reward, completion=texts[i]) for i, reward in enumerate(rewards)]
    result = paired(rows, margin=1.0)
    assert not result.pairs and result.dropped[0]["reason"] == f"best-worst: {reason}"


def test_contrast_inputs_must_agree_on_the_prompt():
    native, translated = [scored("p", reward=1.0)], [scored("p", prompt="other", reward=0.0)]
    with pytest.raises(BadInput, match="disagree on the prompt 'p'"):
        contrast(by_prompt(native, 0), by_prompt(translated, 0), 0.0)
