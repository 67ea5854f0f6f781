"""Geometry of the charts, in per cent of the width: one SVG fits every screen without scaling its text."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from components.reporting.figures import EVEN, Figure, Step
from components.reporting.words import PERCENT, interval, label_of, number, step_sentence

LEVELS = 4  # shades on each side of neutral in a heat map


@dataclass(frozen=True)
class Axis:
    """``ticks`` are (position, text); ``level`` is the position of the value that means "no difference", if any."""

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    level: float | None = None

    def at(self, value: float) -> float:
        """Where a value lies, in per cent of the width."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 2)


@dataclass(frozen=True)
class Mark:
    """A dot with a whisker: positions in per cent, the text beside it, and the sentence a screen reader says."""

    low: float
    value: float
    high: float
    state: str
    text: str
    span: str
    title: str


@dataclass(frozen=True)
class Rung:
    """One step on the ladder."""

    step: Step
    sentence: str
    baseline: Mark | None
    previous: Mark | None
    rival: str


def rate_axis(figures: Iterable[Figure]) -> Axis:
    """Round tenths that hold every interval and the middle, at least three tenths wide."""
    values = [EVEN, *(value for figure in figures for value in (figure.low, figure.high))]
    low = max(0, math.floor(10 * min(values) - 0.2))
    high = min(10, math.ceil(10 * max(values) + 0.2))
    while high - low < 3:
        low, high = max(0, low - 1), min(10, high + 1)
    every = 2 if high - low > 5 else 1
    axis = Axis(low / 10, high / 10, ())
    ticks = [
        (axis.at(tenth / 10), f"{10 * tenth}{PERCENT}") for tenth in range(low, high + 1) if (tenth - 5) % every == 0
    ]
    return Axis(axis.low, axis.high, ticks, axis.at(EVEN))


def number_axis(values: Sequence[float], intervals: int = 4) -> Axis:
    """Round steps that hold all values."""
    low, high = min(values), max(values)
    step = _round_step((high - low or abs(high) or 1.0) / intervals)
    first, last = math.floor(low / step), math.ceil(high / step)
    last += first == last
    axis = Axis(first * step, last * step, ())
    digits = max(0, -math.floor(math.log10(step)))
    ticks = [(axis.at(index * step), f"{index * step:.{digits}f}") for index in range(first, last + 1)]
    return Axis(axis.low, axis.high, ticks)


def rate_mark(axis: Axis, figure: Figure | None, what: str) -> Mark | None:
    """A win-rate on its axis, coloured by which side of one half its whole interval lies on."""
    if figure is None:
        return None
    text, span = number(figure, figure.value), interval(figure)
    title = f"{what}: {text}, 95{PERCENT} interval {span}, {figure.n} questions"
    return Mark(
        axis.at(figure.low), axis.at(figure.value), axis.at(figure.high), figure.against(EVEN), text, span, title
    )


def rungs(steps: Sequence[Step], headline: str) -> tuple[list[Rung], Axis, Axis]:
    """The rows of the ladder chart and their two axes: against the baseline, and against an earlier step."""
    wins = [step.win_rate(headline) for step in steps]
    heads = [step.head_to_head(headline) for step in steps]
    baseline = rate_axis(figure for figure in wins if figure)
    previous = rate_axis(figure for figure in heads if figure)
    rows = []
    for index, (step, win, head) in enumerate(zip(steps, wins, heads, strict=True)):
        rival = label_of(steps, head.opponent) if head else ""
        against_baseline = rate_mark(baseline, win, f"{step.label} against the baseline")
        against_rival = rate_mark(previous, head, f"{step.label} against {rival}")
        rows.append(Rung(step, step_sentence(steps, index, headline), against_baseline, against_rival, rival))
    return rows, baseline, previous


def shade(value: float, neutral: float, reach: float) -> int:
    """-4 to 4: how far a value is from neutral, ``reach`` away being the strongest shade."""
    return max(-LEVELS, min(LEVELS, round(LEVELS * (value - neutral) / reach)))


def _round_step(raw: float) -> float:
    power: float = 10.0 ** math.floor(math.log10(raw))
    return power * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
