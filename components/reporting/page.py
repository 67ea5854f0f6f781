"""The pages: report.html and model_card.md, rendered from templates that escape everything they are given."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from components.reporting import published
from components.reporting.charts import rungs
from components.reporting.examples import OPEN, Example
from components.reporting.figures import EVEN, Step
from components.reporting.sources import Drift, Shares
from components.reporting.tables import behaviour_table, benchmark_table, heat_maps, language_name
from components.reporting.words import headline, label_of, ladder, languages_sentence, number

HARM = "harm_rate"
TEMPLATES = Path(__file__).parent / "templates"


def render_report(
    title: str,
    recipe: str,
    steps: Sequence[Step],
    benchmark: str,
    languages: Sequence[str],
    shares: Shares | None,
    drift: Drift | None,
    examples: Sequence[Example],
    gate: Mapping[str, Any] | None,
    show_published: bool,
) -> str:
    """The whole report as one HTML document that loads nothing."""
    rows, baseline_axis, previous_axis = rungs(steps, benchmark)
    return (
        _environment(autoescape=True)
        .get_template("report.html.j2")
        .render(
            title=title,
            recipe=recipe,
            sentence=headline(steps, benchmark),
            facts=facts(steps, benchmark, gate),
            rows=rows,
            baseline_axis=baseline_axis,
            previous_axis=previous_axis,
            baseline_name=_opponent(steps, benchmark),
            benchmarks=benchmark_table(steps, benchmark),
            behaviour=behaviour_table(steps),
            maps=heat_maps(steps, benchmark, languages),
            examples=examples,
            unfolded=OPEN,
            shares=shares,
            drift=drift,
            gate=gate,
            published=published if show_published else None,
            judges=list(dict.fromkeys(step.judge for step in steps if step.judge)),
        )
    )


def render_card(
    title: str,
    recipe: str,
    steps: Sequence[Step],
    table: str,
    benchmark: str,
    languages: Sequence[str],
    about: Mapping[str, Any],
) -> str:
    """The model card in Markdown; ``about`` holds ``license``, ``base`` and ``origins``."""
    measured = {figure.metric for step in steps for figure in step.benchmarks.values()}
    return (
        _environment(autoescape=False)
        .get_template("model_card.md.j2")
        .render(
            title=title,
            recipe=recipe,
            sentence=headline(steps, benchmark),
            languages=[(code, language_name(code)) for code in languages],
            table=table,
            safety=HARM in measured,
            judges=list(dict.fromkeys(step.judge for step in steps if step.judge)),
            **about,
        )
    )


def facts(steps: Sequence[Step], benchmark: str, gate: Mapping[str, Any] | None) -> list[tuple[str, str, str, str]]:
    """The few figures at the top: (name, figure, remark, state)."""
    rungs_only = ladder(steps)
    if not rungs_only:
        return []
    first, last = rungs_only[0], rungs_only[-1]
    found = []
    win = last.win_rate(benchmark)
    if win and win.languages:
        better = sum(each.against(EVEN) == "gain" for each in win.languages.values())
        remark = languages_sentence(last, benchmark)
        found.append(("Languages that gained", f"{better} of {len(win.languages)}", remark, "even"))
    for name, figure in last.benchmarks.items():
        before = first.benchmarks.get(name)
        if figure.metric == "accuracy" and before is not None and len(found) < 3:
            remark = f"from {number(before, before.value)} ({first.label})"
            found.append((name.replace("_", " ").capitalize(), number(figure, figure.value), remark, "even"))
    if gate is not None:
        failed = sum(not rule["passed"] for rule in gate["rules"])
        remark = f"{failed} of {len(gate['rules'])} rules failed" if failed else f"all {len(gate['rules'])} rules"
        found.append(
            ("Gate", "passed" if gate["passed"] else "not passed", remark, "gain" if gate["passed"] else "loss")
        )
    return found


def _opponent(steps: Sequence[Step], benchmark: str) -> str:
    names = [figure.opponent for step in steps if (figure := step.win_rate(benchmark)) and figure.opponent]
    return label_of(steps, names[0]) if names else "the baseline"


def _environment(autoescape: bool) -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
