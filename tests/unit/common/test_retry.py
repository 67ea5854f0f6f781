from collections import Counter

from components.common.retry import LONGEST_WAIT, waiting_time


def test_waits_grow_follow_the_server_and_have_a_bound():
    assert 0.25 <= waiting_time(0.5, 0, None) <= 0.5
    assert 1 <= waiting_time(0.5, 2, None) <= 2
    assert 3 <= waiting_time(0.5, 0, 3.0) <= 3.2
    assert all(waiting_time(0.5, 40, asked) <= 1.2 * LONGEST_WAIT for asked in (None, 1e9))
    assert Counter(waiting_time(0.5, 3, None) for _ in range(20)).most_common(1)[0][1] == 1
