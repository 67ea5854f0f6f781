"""Whether a model has become worse than the one before it, beyond what chance explains."""

from collections.abc import Mapping, Sequence

from components.common.records import Row
from components.common.statistics import Bootstrap, paired_difference
from components.evaluation.behaviour import consistent
from components.evaluation.results import Entry
from components.evaluation.settings import Regression


def regressions(
    against_previous: Mapping[str, Entry],
    answers: Sequence[Row],
    before: Sequence[Row],
    rules: Regression,
    bootstrap: Bootstrap,
) -> list[str]:
    """One sentence for every way in which the model has regressed; none when it has not.

    ``answers`` and ``before`` are the two models' open-ended answers to the same questions in the same order.
    """
    lost = [
        f"{name}: the win-rate against {entry['opponent']} is {entry['value']:.3f}, and the upper end of its interval "
        f"{entry['high']:.3f} is below one half."
        for name, entry in against_previous.items()
        if entry["high"] < 0.5
    ]
    return [*lost, *_inconsistent(answers, before, rules, bootstrap), *_longer(answers, before, rules)]


def _inconsistent(answers: Sequence[Row], before: Sequence[Row], rules: Regression, bootstrap: Bootstrap) -> list[str]:
    if not answers:
        return []
    now, then = [consistent(row) for row in answers], [consistent(row) for row in before]
    change = paired_difference(now, then, [row["group"] for row in answers], bootstrap)
    if change.high >= -rules.consistency_drop:
        return []
    return [
        f"Language consistency changed by {change.value:+.3f} (interval {change.low:+.3f} to {change.high:+.3f}), "
        f"which is a drop of more than {rules.consistency_drop:g}."
    ]


def _longer(answers: Sequence[Row], before: Sequence[Row], rules: Regression) -> list[str]:
    now, then = (sum(len(row["answer"]) for row in rows) for rows in (answers, before))
    if not answers or now <= rules.length_factor * max(then, 1):
        return []
    return [
        f"The mean length of an answer grew from {then / len(before):.0f} to {now / len(answers):.0f} characters, "
        f"more than {rules.length_factor:g} times."
    ]
