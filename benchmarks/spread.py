"""The spread of every step over seeds: the whole mini recipe once per seed, models and test facts drawn anew with each.

python -m benchmarks.spread --seeds 17 18 19 --root runs/spread
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULT = Path(__file__).parent / "results" / "spread.json"
HEADLINE, HEAD_TO_HEAD = "arena", "arena_previous"
#: Two-sided 95 % points of Student's t by degrees of freedom.
T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
PACKAGES = ("torch", "transformers", "trl", "kfp", "mlflow")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, nargs="+", default=[17, 18, 19])
    options.add_argument("--root", type=Path, default=Path("runs/spread"))
    given = options.parse_args()
    summaries = [run(seed, given.root / str(seed)) for seed in given.seeds]
    result = {
        "name": "spread",
        "seeds": given.seeds,
        "gates": [summary["gate"] for summary in summaries],
        "steps": [spread(steps) for steps in zip(*(summary["steps"] for summary in summaries), strict=True)],
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: version(name) for name in PACKAGES},
        "commit": subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip(),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(markdown(result))


def run(seed: int, root: Path) -> dict[str, Any]:
    """The summary of the mini recipe with this seed; finished work in ``root`` is not done again."""
    command = [
        sys.executable,
        "-m",
        "pipelines.cli",
        "run",
        "--recipe",
        "mini",
        "--set",
        f"seed={seed}",
        "--root",
        str(root),
    ]
    subprocess.run(command, check=True)
    summary: dict[str, Any] = json.loads((root / "summary.json").read_text(encoding="utf-8"))
    return summary


def spread(steps: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One step over the seeds: mean, values and half-width of the 95 % interval (t over seeds) of every metric.

    ``intervals`` holds, for each win-rate, the bounds that every single run gives (bootstrap over its questions).
    """
    names = [name for name in steps[0]["metrics"] if all(name in step["metrics"] for step in steps)]
    columns = {name: [float(step["metrics"][name]) for step in steps] for name in names}
    return {
        "name": steps[0]["name"],
        "metrics": {name: interval(values) for name, values in columns.items() if not name.endswith(("/low", "/high"))},
        "intervals": {
            name: list(zip(columns[f"{name}/low"], columns[f"{name}/high"], strict=True))
            for name in (HEADLINE, HEAD_TO_HEAD)
            if f"{name}/low" in columns
        },
    }


def interval(values: Sequence[float]) -> dict[str, Any]:
    """Mean and half-width of the 95 % interval of the mean by Student's t."""
    half = T95[len(values) - 1] * statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return {"mean": statistics.fmean(values), "half": half, "values": list(values)}


def markdown(result: dict[str, Any]) -> str:
    """The two tables for docs/miniature.md: every figure over the seeds, and each run's own intervals."""
    wanted = (
        f"{HEADLINE}/win_rate",
        f"{HEAD_TO_HEAD}/win_rate",
        "facts_exact/accuracy",
        "facts_choice/accuracy",
        "facts_chrf/chrfpp",
    )
    spreads = [[step["name"], *(cell(step["metrics"].get(name)) for name in wanted)] for step in result["steps"]]
    runs = [[step["name"], *head_to_head(step)] for step in result["steps"] if HEAD_TO_HEAD in step["intervals"]]
    seeds = [f"seed {seed}" for seed in result["seeds"]]
    return "\n\n".join([grid(["step", *wanted], spreads), grid(["head to head", *seeds], runs)])


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(measured: dict[str, Any] | None) -> str:
    """Mean ± half-width (each seed's value)."""
    if measured is None:
        return ""
    form = "{:.1f}" if measured["mean"] > 1 else "{:.3f}"
    values = ", ".join(form.format(value) for value in measured["values"])
    return f"{form.format(measured['mean'])} ± {form.format(measured['half'])} ({values})"


def head_to_head(step: dict[str, Any]) -> list[str]:
    """Each run's win-rate against the step that this one plays, with that run's interval."""
    values = step["metrics"][f"{HEAD_TO_HEAD}/win_rate"]["values"]
    bounds = step["intervals"][HEAD_TO_HEAD]
    return [f"{value:.3f} [{low:.3f}, {high:.3f}]" for value, (low, high) in zip(values, bounds, strict=True)]


if __name__ == "__main__":
    main()
