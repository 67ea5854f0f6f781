"""How a run ended: the table that a person reads and the JSON that a program reads."""

import json
import shutil
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from components.common.artifacts import Reference
from components.common.errors import BadInput
from components.common.store import folder_of
from pipelines.progress import Event
from pipelines.recipe import Recipe

Summary = dict[str, Any]


def summarise(recipe: Recipe, finished: list[Event], seconds: float, root: Path, tracking_uri: str) -> Summary:
    """The contents of summary.json; the report is copied to ``<root>/report.html``."""
    made = {event["name"]: Reference(**event["reference"]) for event in finished}
    report = folder_of(made["report"].uri) if "report" in made else None
    if report is not None:
        shutil.copyfile(report / "report.html", root / "report.html")
    steps = json.loads((report / "steps.json").read_text(encoding="utf-8")) if report else []
    deployed = json.loads((folder_of(made["deploy"].uri) / "deployment.json").read_text()) if "deploy" in made else {}
    return {
        "recipe": recipe.name,
        "configuration": recipe.digest,
        "seconds": round(seconds, 1),
        "steps": steps,
        "model": str(folder_of(final_model(made).uri)) if final_model(made) else None,
        "report": str(root / "report.html") if report else None,
        "tracking_uri": tracking_uri,
        "deployment": deployed,
    }


def read(root: Path) -> Summary:
    """The summary of the last finished run in a folder; raises BadInput when there is none."""
    path = root / "summary.json"
    if not path.is_file():
        raise BadInput(f"{path} is not there: no run has finished in {root}; give the folder with --root.")
    summary: Summary = json.loads(path.read_text(encoding="utf-8"))
    return summary


def final_model(made: dict[str, Reference]) -> Reference | None:
    """The policy that the last chapter handed on."""
    names = [name for name in made if name.startswith("accept-")] + ["merge-offline", "merge-sft", "base"]
    rounds = sorted((name for name in names if name.startswith("accept-")), key=lambda name: int(name.split("-")[1]))
    return next((made[name] for name in [*reversed(rounds), "merge-offline", "merge-sft", "base"] if name in made), None)


def show(summary: Summary, console: Console) -> None:
    """Print the table of what each step gained, and where everything lies."""
    if summary["steps"]:
        console.print(table(summary["steps"]))
    places = {
        "report": summary["report"],
        "model": summary["model"],
        "experiments": f'python -m mlflow ui --backend-store-uri "{summary["tracking_uri"]}"',
        "serve": f'python -m pipelines.cli serve "{summary["model"]}"',
    }
    for name, place in places.items():
        if place:
            console.print(f"{name + ':':<12} {place}", highlight=False, soft_wrap=True)


def table(steps: list[dict[str, Any]]) -> Table:
    """The steps with their win-rate against the fixed opponent, its 95 % interval, and the other benchmarks."""
    made = Table(title="What each step gained", title_justify="left")
    metrics = [name for name in steps[-1]["metrics"] if name.split("/")[-1] in {"accuracy", "chrf++"}]
    previous = "arena_previous/win_rate"
    for heading in ("step", "win-rate", "95 % interval", "head to head", *metrics):
        made.add_column(heading, justify="left" if heading == "step" else "right")
    for step in steps:
        rate = "opponent" if step["win_rate"] is None else f"{step['win_rate']:.3f}"
        interval = "" if step["low"] is None else f"{step['low']:.3f} - {step['high']:.3f}"
        values = [f"{step['metrics'][name]:.3f}" if name in step["metrics"] else "" for name in (previous, *metrics)]
        made.add_row(step["name"], rate, interval, *values)
    return made
