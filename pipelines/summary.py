"""How a run ended: the table that a person reads and the JSON that a program reads."""

import json
import shutil
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from components.common.artifacts import Reference
from components.common.errors import BadInput
from components.common.store import files_of, folder_of
from pipelines.progress import Event
from pipelines.recipe import Recipe

Summary = dict[str, Any]
COLUMNS = {"accuracy", "chrfpp"}


def summarise(recipe: Recipe, finished: list[Event], seconds: float, root: Path, tracking_uri: str) -> Summary:
    """The contents of summary.json; the report is copied to ``<root>/report.html``."""
    made = {event["name"]: Reference(**event["reference"]) for event in finished}
    report = files_of(made["report"], ("report.html", "steps.json")) if "report" in made else {}
    if report:
        shutil.copyfile(report["report.html"], root / "report.html")
    steps = json.loads(report["steps.json"].read_text(encoding="utf-8")) if report else []
    gate = _read(made.get("gate"), "gate.json")
    model = final_model(made)
    return {
        "recipe": recipe.name,
        "configuration": recipe.digest,
        "seconds": round(seconds, 1),
        "steps": steps,
        "model": _place(model) if model else None,
        "report": str(root / "report.html") if report else None,
        "tracking_uri": tracking_uri,
        "gate": _gate_in_words(gate),
        "deployment": _read(made.get("deploy"), "deployment.json"),
    }


def _read(reference: Reference | None, name: str) -> dict[str, Any]:
    if reference is None:
        return {}
    document: dict[str, Any] = json.loads(files_of(reference, (name,))[name].read_text(encoding="utf-8"))
    return document


def _place(model: Reference) -> str:
    return str(folder_of(model.uri)) if model.uri.startswith("file:") else model.uri


def _gate_in_words(gate: dict[str, Any]) -> str | None:
    if not gate:
        return None
    failed = [rule["sentence"] for rule in gate["rules"] if not rule["passed"]]
    return "passed" if gate["passed"] else f"not passed: {' '.join(failed)}"


def read(root: Path) -> Summary:
    """The summary of the last finished run in a folder; raises BadInput when there is none, or it is damaged."""
    path = root / "summary.json"
    if not path.is_file():
        raise BadInput(f"{path} is not there: no run has finished in {root}; give the folder with --root.")
    try:
        summary: Summary = json.loads(path.read_text(encoding="utf-8"))
        if {"steps", "gate", "deployment", "report", "tracking_uri", "model"} <= summary.keys():
            return summary
    except (OSError, ValueError, AttributeError):
        pass
    raise BadInput(
        f"{path} is not the summary of a run; run the recipe again: finished work is found, and it is written anew."
    )


def final_model(made: dict[str, Reference]) -> Reference | None:
    """The policy that the last chapter handed on."""
    rounds = sorted((name for name in made if name.startswith("accept-")), key=lambda name: int(name.split("-")[1]))
    names = ["base", "merge-sft", "merge-offline", *rounds]
    return next((made[name] for name in reversed(names) if name in made), None)


def show(summary: Summary, console: Console) -> None:
    """Print the table of what each step gained, and where everything lies."""
    if summary["steps"]:
        console.print(table(summary["steps"]))
    for name, words in _places(summary).items():
        console.print(f"{name:<12} {words}", highlight=False, soft_wrap=True)


def _places(summary: Summary) -> dict[str, str]:
    served = summary["deployment"]
    answers = [f"{each['prompt']} - {each['answer']}" for each in served.get("transcript", [])[:1]]
    places = {
        "gate": summary["gate"],
        "endpoint": f"answered: {answers[0]}" if answers else served.get("reason"),
        "report": summary["report"],
        "experiments": f'.venv/bin/python -m mlflow ui --backend-store-uri "{summary["tracking_uri"]}"',
        "model": summary["model"],
        "serve it": summary["model"] and f'.venv/bin/python -m pipelines.cli serve "{summary["model"]}"',
    }
    return {name: words for name, words in places.items() if words}


def table(steps: list[dict[str, Any]]) -> Table:
    """The steps with their win-rate against the fixed opponent, its 95 % interval, and the other benchmarks.

    "before" is the win-rate against the step before, head to head.
    """
    made = Table(title="What each step gained", title_justify="left", box=SIMPLE_HEAD)
    metrics = [name for name in steps[-1]["metrics"] if name.split("/")[-1] in COLUMNS]
    for heading in ("step", "win-rate", "95 % interval", "before", *(_heading(name) for name in metrics)):
        made.add_column(heading, justify="left" if heading == "step" else "right", no_wrap=True)
    for step in steps:
        rate = "opponent" if step["win_rate"] is None else f"{step['win_rate']:.3f}"
        interval = "" if step["low"] is None else f"{step['low']:.3f}-{step['high']:.3f}"
        values = [_cell(step["metrics"].get(name)) for name in (_previous(step), *metrics)]
        made.add_row(step["name"], rate, interval, *values)
    return made


def _previous(step: dict[str, Any]) -> str:
    return next((name for name in step["metrics"] if name.endswith("_previous/win_rate")), "")


def _heading(metric: str) -> str:
    """ "facts_exact/accuracy" as "exact", "facts_chrf/chrfpp" as "chrf": a terminal has 80 columns."""
    return metric.split("/")[0].removeprefix("facts_")


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}" if value > 1 else f"{value:.3f}"
