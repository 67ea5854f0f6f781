"""The tables: every benchmark of every step, languages by steps, and the two machine-readable forms."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.common.languages import LANGUAGES
from components.reporting.charts import shade
from components.reporting.figures import EVEN, PREVIOUS, Figure, Step
from components.reporting.words import PERCENT, interval, metric_name, number

LOWER_IS_BETTER = {"truncated", "harm_rate", "over_refusal_rate"}
REACH = {"win_rate": 0.3, "chrf++": 20.0}  # the distance from neutral that gets the strongest shade
DEFAULT_REACH = 0.3


@dataclass(frozen=True)
class Cell:
    """``state`` is "gain" where the figure beats the first step's beyond doubt; ``best`` marks the column's best."""

    text: str
    span: str = ""
    state: str = "even"
    arrow: str = ""
    best: bool = False


@dataclass(frozen=True)
class Table:
    """``columns`` are (name, metric)."""

    columns: Sequence[tuple[str, str]]
    rows: Sequence[tuple[Step, Sequence[Cell]]]


@dataclass(frozen=True)
class HeatCell:
    """``sure``: the whole interval lies on one side of neutral."""

    text: str
    shade: int
    sure: bool
    title: str


@dataclass(frozen=True)
class HeatMap:
    """Languages by steps for one benchmark."""

    benchmark: str
    metric: str
    neutral: str
    steps: Sequence[Step]
    rows: Sequence[tuple[str, str, Sequence[HeatCell | None]]]


def benchmark_table(steps: Sequence[Step], headline: str) -> Table:
    """Every benchmark with its interval, the headline first; head-to-heads are in the ladder and left out here."""
    names = sorted(_benchmark_names(steps), key=lambda name: name != headline)
    return _table(steps, names, [step.benchmarks for step in steps], higher_is_better=True)


def behaviour_table(steps: Sequence[Step]) -> Table:
    """Language consistency, length and truncation; what is best depends, so nothing is marked."""
    names = list(dict.fromkeys(name for step in steps for name in step.behaviour))
    return _table(steps, names, [step.behaviour for step in steps], higher_is_better=False)


def heat_maps(steps: Sequence[Step], headline: str, languages: Sequence[str]) -> list[HeatMap]:
    """The headline benchmark first, then every other one that was measured per language."""
    names = list(dict.fromkeys([headline, *_benchmark_names(steps)]))
    maps = [_heat_map(steps, name, languages) for name in names]
    return [each for each in maps if each is not None]


def summary(steps: Sequence[Step], headline: str) -> list[dict[str, Any]]:
    """One entry per step: its win-rate with interval (null for the baseline itself) and every other figure.

    ``metrics`` has the bounds of every win-rate, the head-to-head included.
    """
    entries = []
    for step in steps:
        figure = step.win_rate(headline)
        value, low, high = (figure.value, figure.low, figure.high) if figure else (None, None, None)
        metrics = {f"{name}/{each.metric.replace('++', 'pp')}": each.value for name, each in step.benchmarks.items()}
        for name, each in step.benchmarks.items():
            metrics |= {f"{name}/low": each.low, f"{name}/high": each.high} if each.metric == "win_rate" else {}
        metrics |= {name: each.value for name, each in step.behaviour.items()}
        entries.append({"name": step.name, "win_rate": value, "low": low, "high": high, "metrics": metrics})
    return entries


def text_table(steps: Sequence[Step], headline: str) -> str:
    """The steps as plain text, one line each."""
    others = [name for name in _benchmark_names(steps) if name != headline]
    head = ["step", "win-rate (95 %)", "head to head", *others]
    lines = [head]
    for step in steps:
        figures = [step.win_rate(headline), step.head_to_head(headline)]
        figures += [step.benchmarks.get(name) for name in others]
        lines.append([step.label, *(_plain(figure) for figure in figures)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    lines.insert(1, ["-" * width for width in widths])
    text = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)
    return "\n".join(text) + "\n"


def _benchmark_names(steps: Sequence[Step]) -> list[str]:
    return list(dict.fromkeys(name for step in steps for name in step.benchmarks if not name.endswith(PREVIOUS)))


def _plain(figure: Figure | None) -> str:
    return f"{number(figure, figure.value)} ({interval(figure)})".replace(PERCENT, "%") if figure else "-"


def _table(steps: Sequence[Step], names: Sequence[str], figures: Sequence[Any], higher_is_better: bool) -> Table:
    columns = []
    cells: list[list[Cell]] = [[] for _ in steps]
    for name in names:
        column: list[Figure | None] = [each.get(name) for each in figures]
        measured = [figure.value for figure in column if figure]
        lower = any(figure.metric in LOWER_IS_BETTER for figure in column if figure)
        columns.append((name.replace("_", " "), metric_name(next(figure.metric for figure in column if figure))))
        for row, figure in zip(cells, column, strict=True):
            best = (
                higher_is_better
                and figure is not None
                and len(measured) > 1
                and figure.value == (min if lower else max)(measured)
            )
            row.append(_cell(figure, column[0], best) if figure else Cell("–"))
    return Table(columns, list(zip(steps, cells, strict=True)))


def _cell(figure: Figure, first: Figure | None, best: bool) -> Cell:
    text, span = number(figure, figure.value), interval(figure)
    if figure.metric == "win_rate":
        above, below = figure.low > EVEN, figure.high < EVEN
    elif first is not None and figure is not first and figure.metric != "mean_length":
        above, below = figure.low > first.high, figure.high < first.low
    else:
        return Cell(text, span, best=best)
    if not (above or below):
        return Cell(text, span, best=best)
    good = above != (figure.metric in LOWER_IS_BETTER)
    return Cell(text, span, "gain" if good else "loss", "▲" if above else "▼", best)


def _heat_map(steps: Sequence[Step], name: str, languages: Sequence[str]) -> HeatMap | None:
    shown = [step for step in steps if name in step.benchmarks and step.benchmarks[name].languages]
    codes = {code for step in shown for code in step.benchmarks[name].languages}
    ordered = [code for code in languages if code in codes] + sorted(codes - set(languages))
    if not ordered:
        return None
    metric = shown[0].benchmarks[name].metric
    pairwise = metric == "win_rate"
    first = shown[0].benchmarks[name].languages
    rows = []
    for code in ordered:
        base = EVEN if pairwise else first[code].value if code in first else None
        cells = [_heat_cell(step, step.benchmarks[name].languages.get(code), base, code) for step in shown]
        rows.append((code, language_name(code), cells))
    neutral = "50 %" if pairwise else shown[0].label
    return HeatMap(name.replace("_", " "), metric_name(metric), neutral, shown, rows)


def _heat_cell(step: Step, figure: Figure | None, neutral: float | None, code: str) -> HeatCell | None:
    if figure is None:
        return None
    text = number(figure, figure.value)
    title = f"{step.label}, {language_name(code)}: {text}, 95 % interval {interval(figure)}, {figure.n} questions"
    if neutral is None:
        return HeatCell(_short(figure), 0, False, title)
    reach = REACH.get(figure.metric, DEFAULT_REACH)
    level = shade(figure.value, neutral, reach) * (-1 if figure.metric in LOWER_IS_BETTER else 1)
    return HeatCell(_short(figure), level, figure.against(neutral) != "even", title)


def _short(figure: Figure) -> str:
    return f"{100 * figure.value if figure.is_rate else figure.value:.0f}"


def language_name(code: str) -> str:
    """The English name of a language, or its code."""
    return LANGUAGES[code].name if code in LANGUAGES else code
