"""The bootstrap against scipy and closed formulas, and what must hold of any interval."""

from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from components.common.errors import BadInput
from components.common.statistics import (
    Bootstrap,
    bootstrap_mean,
    estimate,
    paired_difference,
    ratio,
    resampled_sums,
    wilson_interval,
)

GENERATOR = np.random.default_rng(7)


def test_agrees_with_scipy_when_every_row_is_its_own_group() -> None:
    values = GENERATOR.normal(size=300)
    ours = bootstrap_mean(values, range(300), Bootstrap(resamples=20_000))
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    assert ours.value == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.004)


def test_clusters_widen_the_interval_as_the_cluster_variance_formula_says() -> None:
    groups = np.repeat(np.arange(200), 20)
    values = GENERATOR.normal(size=200)[groups] + GENERATOR.normal(size=4000) * 0.5
    by_group = np.array([values[groups == group].mean() for group in range(200)])
    analytic = by_group.std(ddof=0) / np.sqrt(200)
    clustered = bootstrap_mean(values, groups, Bootstrap(resamples=8000))
    naive = bootstrap_mean(values, range(4000), Bootstrap(resamples=2000))
    assert (clustered.high - clustered.low) / (2 * 1.96) == pytest.approx(analytic, rel=0.04)
    assert clustered.high - clustered.low > 3 * (naive.high - naive.low)


def test_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(3)
    hits = 0
    for seed in range(300):
        sample = generator.binomial(1, 0.6, size=200)
        interval = bootstrap_mean(sample, range(200), Bootstrap(resamples=400, seed=seed))
        hits += interval.low <= 0.6 <= interval.high
    assert 0.91 <= hits / 300 <= 0.98


def test_resampled_sums_are_sums_of_whole_groups() -> None:
    sums = resampled_sums(np.array([[1.0, 1], [10, 1], [10, 1]]), ["a", "b", "b"], Bootstrap(resamples=50))
    assert {tuple(row) for row in sums} == {(2.0, 2.0), (21.0, 3.0), (40.0, 4.0)}


@given(st.lists(st.tuples(st.sampled_from([0, 0.5, 1]), st.integers(0, 6)), min_size=1, max_size=40), st.randoms())
@settings(max_examples=60, deadline=None)
def test_intervals_are_ordered_bounded_and_blind_to_row_order(rows: list, random) -> None:  # type: ignore[type-arg, no-untyped-def]
    def measure(rows: list) -> object:  # type: ignore[type-arg]
        return bootstrap_mean([value for value, _ in rows], [group for _, group in rows], Bootstrap(resamples=100))

    interval = measure(rows)
    assert 0 <= interval.low <= interval.high <= 1  # type: ignore[attr-defined]
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert measure(shuffled) == interval


@given(st.integers(0, 400), st.integers(1, 400), st.sampled_from([0.8, 0.95, 0.99]))
@settings(deadline=None)
def test_wilson_agrees_with_scipy(successes: int, n: int, confidence: float) -> None:
    successes = min(successes, n)
    theirs = stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    assert wilson_interval(successes, n, confidence) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_a_mean_counts_its_weights() -> None:
    assert bootstrap_mean([1, 1, 1, 0], range(4), Bootstrap(), [1, 1, 1, 3]).value == pytest.approx(0.5)


def test_a_paired_difference_is_far_narrower_than_its_parts() -> None:
    difficulty = GENERATOR.normal(size=500)
    better, worse = difficulty + 0.1 + GENERATOR.normal(size=500) * 0.1, difficulty
    gain = paired_difference(better, worse, range(500), Bootstrap())
    alone = bootstrap_mean(better, range(500), Bootstrap())
    assert gain.low > 0
    assert gain.high - gain.low < (alone.high - alone.low) / 5
    mirrored = paired_difference(worse, better, range(500), Bootstrap())
    assert (mirrored.value, mirrored.low, mirrored.high) == pytest.approx((-gain.value, -gain.high, -gain.low))


def test_is_a_function_of_the_seed() -> None:
    values = GENERATOR.normal(size=100)
    assert bootstrap_mean(values, range(100), Bootstrap(seed=1)) == bootstrap_mean(
        values, range(100), Bootstrap(seed=1)
    )
    assert bootstrap_mean(values, range(100), Bootstrap(seed=1)) != bootstrap_mean(
        values, range(100), Bootstrap(seed=2)
    )


def test_twenty_thousand_rows_take_seconds_at_most() -> None:
    values = GENERATOR.integers(0, 2, size=20_000)
    start = perf_counter()
    bootstrap_mean(values, [f"q{row}" for row in range(20_000)], Bootstrap())
    assert perf_counter() - start < 5


@pytest.mark.parametrize(
    ("values", "groups", "words"),
    [([], [], "no rows"), ([1.0], ["a", "b"], "2 groups"), ([1.0, float("nan")], ["a", "b"], "NaN")],
)
def test_refuses_what_has_no_estimate(values: list[float], groups: list[str], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        bootstrap_mean(values, groups, Bootstrap())


@pytest.mark.parametrize(("successes", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_wilson_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(BadInput, match="successes"):
        wilson_interval(successes, n)


def test_a_figure_without_weight_in_a_draw_is_left_out_not_counted_as_zero() -> None:
    table = np.array([[1.0, 1.0], [0.0, 0.0]])
    assert estimate(table, ["a", "b"], ratio, Bootstrap()).low == 1.0
