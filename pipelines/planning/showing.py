"""A plan as tables for a person and as JSON for a program."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from pipelines.planning.assumptions import Planning
from pipelines.planning.costs import Cost, total
from pipelines.planning.planner import Estimate, Plan

COLUMNS = ("GPUs", "hours", "GPU-hours", "written", "read", "trained", "stored", "cost")
WIDTH = 110
SOURCES = (
    "2 N FLOPs a token forward, 6 N trained (arXiv 2001.08361), 8 N where activations are recomputed (arXiv 2205.05198)",
    "sampling bound by arithmetic or memory, whichever is slower (arXiv 2211.05102)",
    "nothing is dropped: every prompt makes an example and a pair, so counts are upper bounds",
    "prompts are spread evenly over the recipe's languages",
    "a step's GPUs are paid from its start to its end; sampling, scoring and evaluation compute on one of them",
    "the schedule starts every step as soon as the graph lets it; waiting for machines is not in it",
    "models are stored in 16 bits, checkpoints (three at once) in float32 with AdamW's moments",
    "what existing endpoints compute on is not among the GPUs; models that a step serves are, from its start to its end",
    "the deployed model goes on holding its GPUs after the run; they are not in the plan",
)


def show(plan: Plan, console: Console) -> None:
    """A table per chapter, the totals, what was noticed, and every assumption."""
    console.width = max(console.width, WIDTH)  # a figure that is cut off is worse than a line that wraps
    for chapter, estimates in _chapters(plan):
        console.print(_table(chapter, estimates, plan))
    _show_totals(plan, console)
    for note in plan.notes:
        console.print(f"[yellow]note[/yellow]  {note}", highlight=False)
    _show_assumptions(plan, console)


def _chapters(plan: Plan) -> list[tuple[str, list[Estimate]]]:
    return [(name, list(group)) for name, group in groupby(plan.estimates, key=lambda each: each.step.chapter)]


def _table(chapter: str, estimates: Sequence[Estimate], plan: Plan) -> Table:
    """Only the columns in which the chapter has a figure."""
    rows = [(each.step.name, _cells([each], plan)) for each in estimates]
    table = Table(box=SIMPLE_HEAD, title=chapter, title_justify="left", show_footer=len(rows) > 1, pad_edge=False)
    used = [index for index in range(len(COLUMNS)) if any(cells[index] for _, cells in rows)]
    sums = _cells(estimates, plan)
    table.add_column("step", "together", no_wrap=True)
    for index in used:
        table.add_column(COLUMNS[index], sums[index], justify="right", no_wrap=True)
    for name, cells in rows:
        table.add_row(name, *(cells[index] for index in used))
    return table


def _cells(estimates: Sequence[Estimate], plan: Plan) -> list[str]:
    works = [each.work for each in estimates]
    one = estimates[0] if len(estimates) == 1 else None
    return [
        _gpus(one) if one else "",
        "" if one is None else f"{one.hours:,.1f}" if one.duration.timed else "on CPU",
        _figure(sum(each.gpu_hours for each in estimates), "{:,.1f}"),
        _tokens(sum(work.generated + sum(asked.completion_tokens for asked in work.asked) for work in works)),
        _tokens(sum(work.read + sum(asked.prompt_tokens for asked in work.asked) for work in works)),
        _tokens(sum(work.trained for work in works)),
        _bytes(sum(work.stored for work in works)),
        _money(total(each.cost for each in estimates)),
    ]


def _gpus(estimate: Estimate) -> str:
    own = estimate.step.machine.total_gpus
    parts = [f"{own} {estimate.card}"] if own else []
    served = zip(estimate.work.servings, estimate.served_cards, strict=True)
    return " + ".join(parts + [f"{serving.gpus} {name} served" for serving, name in served if serving.gpus])


def _show_totals(plan: Plan, console: Console) -> None:
    figures = totals(plan)
    table = Table(box=None, show_header=False, title="the whole run", title_justify="left", pad_edge=False)
    critical = f"{plan.schedule.critical[0]} to {plan.schedule.critical[-1]}, {len(plan.schedule.critical)} steps"
    rows = {
        "GPU-hours": f"{figures['gpu_hours']:,.0f}",
        "wall time": f"{figures['hours']:,.1f} h along the critical path ({critical})",
        "GPUs at once": f"{figures['peak_gpus']} at most",
        "tokens": f"{_tokens(figures['generated'])} written by models here, {_tokens(figures['read'])} read, "
        f"{_tokens(figures['trained'])} trained on",
        "endpoints": f"{_tokens(figures['endpoint_prompt_tokens'])} tokens sent, "
        f"{_tokens(figures['endpoint_completion_tokens'])} received",
        "storage": f"{_bytes(figures['stored'])} kept, {_bytes(figures['working'])} of checkpoints meanwhile at most",
        "cost": _cost_in_words(plan),
    }
    for name, words in rows.items():
        table.add_row(f"{name}  ", words)
    console.print(table, highlight=False)
    if untimed := [each.step.name for each in plan.estimates if not each.duration.timed]:
        console.print(
            f"[yellow]note[/yellow]  {len(untimed)} steps run a model without a GPU; their computing is not in the hours.",
            highlight=False,
        )


def _cost_in_words(plan: Plan) -> str:
    cost, currency = total(each.cost for each in plan.estimates), plan.recipe.platform.prices.currency
    if not cost.missing:
        return f"{cost.known:,.0f} {currency}"
    fields = ", ".join(f"platform.prices.{field}" for field in sorted(cost.missing))
    known = f"{cost.known:,.0f} {currency}; " if cost.known else ""
    return f"{known}no price given: {fields}"


def _show_assumptions(plan: Plan, console: Console) -> None:
    table = Table(box=SIMPLE_HEAD, title="assumed", title_justify="left", pad_edge=False)
    for column in ("what", "value", "field that changes it"):
        table.add_column(column)
    for entry in assumptions(plan.recipe.planning):
        table.add_row(entry["what"], str(entry["value"]), entry["field"])
    console.print(table, highlight=False)
    for sentence in SOURCES:
        console.print(f"  {sentence}", highlight=False)


def assumptions(planning: Planning) -> list[dict[str, Any]]:
    """Every assumed value with what it means and the recipe's field for it; empty tables are left out."""
    card = planning.card(planning.gpu)
    peak = f"{card.tflops:g} TFLOP/s, {card.memory:g} GB, {card.bandwidth:g} GB/s" if card else "unknown"
    stated = [
        {"what": field.description, "value": value, "field": f"planning.{name}"}
        for name, field in Planning.model_fields.items()
        if (value := planning.model_dump(mode="json")[name]) != {}
    ]
    return [
        *stated,
        {"what": f"peak, memory and bandwidth of {planning.gpu}", "value": peak, "field": "planning.cards"},
    ]


def totals(plan: Plan) -> dict[str, Any]:
    """The sums over all steps."""
    works = [each.work for each in plan.estimates]
    asked = [each for work in works for each in work.asked]
    cost = total(each.cost for each in plan.estimates)
    return {
        "gpu_hours": sum(each.gpu_hours for each in plan.estimates),
        "hours": plan.schedule.hours,
        "peak_gpus": plan.schedule.peak_gpus,
        "generated": sum(work.generated for work in works),
        "read": sum(work.read for work in works),
        "trained": sum(work.trained for work in works),
        "flops": sum(work.flops for work in works),
        "endpoint_prompt_tokens": sum(each.prompt_tokens for each in asked),
        "endpoint_completion_tokens": sum(each.completion_tokens for each in asked),
        "stored": sum(work.stored for work in works),
        "working": max((work.working for work in works), default=0),
        **_cost(cost),
    }


def as_json(plan: Plan) -> dict[str, Any]:
    """The whole plan; bytes, tokens and FLOPs as numbers, hours as hours."""
    return {
        "recipe": plan.recipe.name,
        "configuration": plan.recipe.digest,
        "currency": plan.recipe.platform.prices.currency,
        "steps": [_step(each, plan) for each in plan.estimates],
        "totals": totals(plan),
        "critical_path": list(plan.schedule.critical),
        "notes": list(plan.notes),
        "assumptions": assumptions(plan.recipe.planning),
        "method": list(SOURCES),
    }


def _step(each: Estimate, plan: Plan) -> dict[str, Any]:
    work = each.work
    counts = ("rows", "generated", "read", "trained", "flops", "stored", "working")
    return {
        "name": each.step.name,
        "chapter": each.step.chapter,
        "stage": each.step.stage,
        "gpus": each.gpus,
        "card": each.card,
        "served_cards": list(each.served_cards),
        "hours": each.hours if each.duration.timed else None,
        "gpu_hours": each.gpu_hours,
        "ends": plan.schedule.ends[each.step.name],
        **{name: getattr(work, name) for name in counts},
        "endpoints": [vars(asked) for asked in work.asked],
        **_cost(each.cost),
    }


def _cost(cost: Cost) -> dict[str, Any]:
    return {"cost": cost.known, "prices_missing": sorted(f"platform.prices.{field}" for field in cost.missing)}


def _money(cost: Cost) -> str:
    """Nothing where no price is known; "+" where a part of the price is not."""
    return f"{cost.known:,.2f}{'+' if cost.missing else ''}" if cost.known else ""


def _figure(value: float, form: str) -> str:
    return form.format(value) if value else ""


def _tokens(count: float) -> str:
    return _scaled(count, (("G", 1e9), ("M", 1e6), ("k", 1e3)))


def _bytes(count: float) -> str:
    return _scaled(count, (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)))


def _scaled(count: float, units: Iterable[tuple[str, float]]) -> str:
    for name, size in units:
        if count >= size:
            return f"{count / size:,.1f} {name}"
    return f"{count:,.0f}" if count else ""
