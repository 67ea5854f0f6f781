import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.arbitrage.shares import shares
from components.arbitrage.task import Config, route
from components.common.errors import BadInput
from components.common.rewards import by_prompt, is_valid
from tests.scored import scored, tables

CONFIGS = [
    Config(),
    Config(routing="random"),
    Config(routing="single"),
    Config(routing="fixed", experts={"de": "a", "fr": "b", "ja": "c"}),
]


def routed(config, rows):
    return route(config, by_prompt(rows, config.seed))


def knows_all_experts(config, rows):
    wanted = {config.experts[row["language"]] for row in rows} if config.experts else set()
    return wanted <= {row["model"] for row in rows}


@given(rows=tables(), config=st.sampled_from(CONFIGS), seed=st.integers(0, 5))
def test_order_of_rows_never_matters(rows, config, seed):
    if knows_all_experts(config, rows):
        shuffled = random.Random(seed).sample(rows, len(rows))
        assert routed(config, rows) == routed(config, shuffled)


@given(rows=tables(), config=st.sampled_from(CONFIGS))
def test_every_prompt_is_answered_or_reported_and_no_invalid_row_wins(rows, config):
    if not knows_all_experts(config, rows):
        return
    result = routed(config, rows)
    ids = [row["id"] for row in result.examples] + [row["id"] for row in result.dropped]
    assert sorted(ids) == sorted({row["id"] for row in rows})
    valid = [row for row in rows if is_valid(row)]
    for example in result.examples:
        assert math.isfinite(example["reward"]) and example["completion"].strip()
        assert any(all(row[name] == example[name] for name in ("id", "model", "completion", "reward")) for row in valid)


@given(rows=tables())
def test_reward_routing_is_the_argmax_and_the_margin_the_lead(rows):
    for example in routed(Config(), rows).examples:
        rewards = sorted(row["reward"] for row in rows if row["id"] == example["id"] and is_valid(row))
        assert example["reward"] == rewards[-1]
        assert example["margin"] == (rewards[-1] - rewards[-2] if len(rewards) > 1 else None)


@given(rows=tables())
def test_no_routing_beats_reward_routing(rows):
    best = {row["id"]: row["reward"] for row in routed(Config(), rows).examples}
    for config in CONFIGS[1:3]:
        assert all(row["reward"] <= best[row["id"]] for row in routed(config, rows).examples)


@given(rows=tables())
def test_shares_of_a_language_sum_to_one(rows):
    table = shares(routed(Config(), rows).examples)
    for language in {row["language"] for row in table}:
        assert math.isclose(sum(row["share"] for row in table if row["language"] == language), 1.0)


def test_ties_fall_by_hash_and_so_on_all_sides():
    rows = [scored(f"p{i}", model, reward=1.0) for i in range(200) for model in "ab"]
    winners = [row["model"] for row in routed(Config(), rows).examples]
    assert 70 < winners.count("a") < 130
    assert winners != [row["model"] for row in routed(Config(seed=1), rows).examples]


def test_random_uses_every_teacher_and_depends_on_the_seed():
    rows = [scored(f"p{i}", model, reward=float(ord(model))) for i in range(300) for model in "abc"]
    first = [row["model"] for row in routed(Config(routing="random"), rows).examples]
    assert all(70 < first.count(model) < 130 for model in "abc")
    assert first != [row["model"] for row in routed(Config(routing="random", seed=1), rows).examples]


def test_random_draws_among_the_valid_only():
    rows = [scored("p", "a", reward=None), scored("p", "b", reward=-3.0)]
    assert [row["model"] for row in routed(Config(routing="random"), rows).examples] == ["b"]


def test_single_takes_the_best_mean_or_the_named_teacher():
    rows = [scored("p", "a", reward=5.0), scored("q", "a", reward=-9.0), scored("p", "b"), scored("q", "b")]
    assert {row["model"] for row in routed(Config(routing="single"), rows).examples} == {"b"}
    named = routed(Config(routing="single", teacher="a"), rows).examples
    assert [(row["model"], row["margin"]) for row in named] == [("a", 5.0), ("a", -9.0)]


def test_a_control_takes_the_first_sample_not_the_best():
    rows = [scored("p", "a", sample, reward=float(sample)) for sample in range(3)]
    assert routed(Config(routing="single", teacher="a"), rows).examples[0]["reward"] == 0.0
    assert routed(Config(), rows).examples[0]["reward"] == 2.0


def test_fixed_has_no_fallback():
    rows = [scored("p", "a", reward=None), scored("p", "b"), scored("q", "a")]
    result = routed(Config(routing="fixed", experts={"de": "a"}), rows)
    assert [row["id"] for row in result.examples] == ["q"]
    assert result.dropped == [{"id": "p", "language": "de", "reason": "the chosen teacher has no valid completion"}]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Config(routing="single", teacher="z"), "no teacher 'z'"),
        (Config(routing="fixed", experts={"de": "z"}), "no teacher 'z'"),
        (Config(routing="fixed", experts={"fr": "a"}), "no teacher for 'de'"),
    ],
)
def test_unknown_teachers_are_refused(config, message):
    with pytest.raises(BadInput, match=message):
        routed(config, [scored("p")])


def test_contradicting_rows_are_refused():
    with pytest.raises(BadInput, match="two texts"):
        by_prompt([scored("p"), scored("p", "b", prompt="other")], 0)
    with pytest.raises(BadInput, match="two completions of one model and sample"):
        by_prompt([scored("p"), scored("p", completion="other")], 0)
