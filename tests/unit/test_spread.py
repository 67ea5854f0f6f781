"""The spread of a run's steps over seeds: what is averaged, and what stays each run's own."""

import pytest

from benchmarks.spread import markdown, spread

RUNS = [(0.52, 0.49, 0.55), (0.54, 0.51, 0.57), (0.56, 0.53, 0.59)]


def steps() -> list[dict]:
    metrics = [
        {"arena_previous/win_rate": value, "arena_previous/low": low, "arena_previous/high": high, "mean_length": 16.0}
        for value, low, high in RUNS
    ]
    return [{"name": "final", "metrics": each} for each in metrics]


def test_the_mean_has_students_interval_and_every_run_keeps_its_own():
    result = spread(steps())
    rate = result["metrics"]["arena_previous/win_rate"]
    assert rate["mean"] == pytest.approx(0.54)
    assert rate["half"] == pytest.approx(4.303 * 0.02 / 3**0.5)
    assert result["intervals"] == {"arena_previous": [(0.49, 0.55), (0.51, 0.57), (0.53, 0.59)]}
    assert set(result["metrics"]) == {"arena_previous/win_rate", "mean_length"}


def test_the_tables_show_both_intervals_and_leave_out_what_was_not_measured():
    text = markdown({"seeds": [17, 18, 19], "steps": [spread(steps())]})
    assert "| final |  | 0.540 ± 0.050 (0.520, 0.540, 0.560) |  |  |  |" in text
    assert "| final | 0.520 [0.490, 0.550] | 0.540 [0.510, 0.570] | 0.560 [0.530, 0.590] |" in text
