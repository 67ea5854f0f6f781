"""Token buckets against a clock of the test's own."""

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.common.pacing import Pace


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def starts(pace, clock, amounts, gaps):
    """When each of the requests starts that come ``gaps`` seconds after one another, each waiting for the pace."""
    times = []
    for amount, gap in zip(amounts, gaps, strict=True):
        clock.now += gap
        while wait := pace.admit(amount):
            clock.now += wait
        times.append(clock.now)
    return times


@given(
    rate=st.floats(1, 5000),
    gaps=st.lists(st.floats(0, 30), min_size=2, max_size=60),
)
def test_no_minute_has_more_requests_than_allowed_and_a_seconds_worth(rate, gaps):
    clock = Clock()
    times = starts(Pace(rate, None, clock), clock, [1] * len(gaps), gaps)
    for index, start in enumerate(times):
        inside = sum(1 for time in times[index:] if time < start + 60)
        assert inside <= rate + max(1.0, rate / 60) + 1e-6


@given(amounts=st.lists(st.floats(1, 4000), min_size=2, max_size=40))
def test_tokens_flow_at_their_rate_however_large_the_requests_are(amounts):
    clock, rate = Clock(), 6000.0
    times = starts(Pace(None, rate, clock), clock, amounts, [0.0] * len(amounts))
    sums = list(accumulate(amounts))
    for time, before in zip(times[1:], sums, strict=False):
        assert before <= (time - 100.0) * rate / 60 + rate / 60 + 1e-3


def test_what_was_not_used_is_given_back_and_what_was_used_more_is_owed():
    clock = Clock()
    pace = Pace(None, 600, clock)
    assert pace.admit(10) == 0
    assert pace.admit(10) == pytest.approx(1)
    pace.settle(10, 0)
    assert pace.admit(10) == 0
    pace.settle(10, 30)
    assert pace.admit(10) == pytest.approx(3)


def test_a_pause_holds_every_request_back_and_the_longest_one_counts():
    clock = Clock()
    pace = Pace(None, None, clock)
    assert pace.admit(1) == 0
    pace.pause(5)
    pace.pause(2)
    assert pace.admit(1) == pytest.approx(5)
    clock.now += 5
    assert pace.admit(1) == 0
