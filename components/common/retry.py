"""How long to wait before asking again."""

import random

LONGEST_WAIT = 60.0


def waiting_time(pause: float, attempt: int, asked: float | None) -> float:
    """Seconds until the next attempt: what the server asked for, else a doubling pause; with jitter and bounded."""
    grown = min(LONGEST_WAIT, pause * 2.0**attempt)
    if asked is None:
        return random.uniform(0.5, 1.0) * grown
    return min(LONGEST_WAIT, asked) + random.uniform(0.0, 0.2) * grown
