from components.common.records import Row
from components.common.statistics import Bootstrap
from components.evaluation.behaviour import behaviour
from components.evaluation.regression import regressions
from components.evaluation.settings import Regression
from tests.unit.evaluation.conftest import question

BOOTSTRAP = Bootstrap(resamples=500)


def answers(text: str, count: int = 60, language: str = "el", finish: str = "stop") -> list[Row]:
    return [question(number, language) | {"answer": text, "finish_reason": finish} for number in range(count)]


def reasons(after: list[Row], before: list[Row], **rules: float) -> list[str]:
    return regressions({}, after, before, Regression(**rules), BOOTSTRAP)


def win_rate(value: float, high: float) -> dict:
    return {"arena": {"opponent": "merge", "value": value, "high": high}}


def test_a_win_rate_wholly_below_one_half_is_a_regression() -> None:
    same = answers("απάντηση")
    found = regressions(win_rate(0.44, 0.49), same, same, Regression(), BOOTSTRAP)
    assert found == [
        "arena: the win-rate against merge is 0.440, and the upper end of its interval 0.490 is below one half."
    ]
    assert regressions(win_rate(0.47, 0.51), same, same, Regression(), BOOTSTRAP) == []


def test_losing_the_language_is_a_regression() -> None:
    before = answers("απάντηση")
    after = answers("answer", 8) + before[8:]
    (reason,) = reasons(after, before)
    assert reason.startswith("Language consistency changed by -0.133")
    assert reasons(before, after) == []
    assert reasons(after, before, consistency_drop=0.3) == []


def test_one_lost_answer_is_chance() -> None:
    before = answers("απάντηση")
    assert reasons(answers("answer", 1) + before[1:], before) == []


def test_an_empty_answer_is_not_consistent() -> None:
    assert behaviour(answers(" ") + answers("απάντηση"), BOOTSTRAP)["language_consistency"]["value"] == 0.5


def test_growing_longer_than_the_factor_is_a_regression() -> None:
    before, after = answers("απάντηση"), answers("απάντηση " * 3)
    (reason,) = reasons(after, before)
    assert "from 8 to 27 characters, more than 1.5 times" in reason
    assert reasons(after, before, length_factor=4) == []
    assert reasons(before, after) == []


def test_behaviour_counts_characters_and_unfinished_answers() -> None:
    measured = behaviour(answers("απάντηση", 3) + answers("α", 1, finish="length"), BOOTSTRAP)
    assert measured["mean_length"]["value"] == 25 / 4
    assert measured["truncated"]["value"] == 0.25
    assert behaviour([], BOOTSTRAP) == {}
