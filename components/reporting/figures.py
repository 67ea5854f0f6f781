"""Reading evaluations: the steps of a run in order, each with its figures and their intervals."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.common.artifacts import MANIFEST
from components.common.errors import BadInput

PREVIOUS = "_previous"
EVEN = 0.5  # the win-rate at which neither side is preferred


@dataclass(frozen=True)
class Figure:
    """A measured value with its 95 % interval, in the unit of ``metric`` (rates in [0, 1], chrf++ in [0, 100])."""

    metric: str
    value: float
    low: float
    high: float
    n: int = 0
    opponent: str = ""
    languages: Mapping[str, "Figure"] = field(default_factory=dict)

    @property
    def is_rate(self) -> bool:
        """Whether the value is a share, shown in per cent."""
        return self.metric not in ("chrf++", "mean_length")

    def against(self, level: float) -> str:
        """ "gain", "loss" or "even": which side of ``level`` the whole interval lies on."""
        return "gain" if self.low > level else "loss" if self.high < level else "even"


@dataclass(frozen=True)
class Step:
    """One evaluated model. ``control`` marks a comparison that is not a rung of the recipe's ladder."""

    name: str
    label: str
    control: bool
    judge: str
    regressed: bool
    reasons: Sequence[str]
    benchmarks: Mapping[str, Figure]
    behaviour: Mapping[str, Figure]
    folder: Path
    model_digest: str = ""

    def win_rate(self, headline: str) -> Figure | None:
        """Against the fixed baseline."""
        return self.benchmarks.get(headline)

    def head_to_head(self, headline: str) -> Figure | None:
        """Against an earlier step, usually the one before."""
        return self.benchmarks.get(headline + PREVIOUS)


def read_steps(folders: Sequence[Path], labels: Sequence[str], controls: Sequence[str]) -> list[Step]:
    """The evaluations in order; raises BadInput for a damaged one, two of one name, or none at all."""
    if labels and len(labels) != len(folders):
        raise BadInput(f"The report has {len(labels)} steps but {len(folders)} evaluations; name each of them once.")
    steps = [
        _read_step(folder, label, controls)
        for folder, label in zip(folders, labels or [""] * len(folders), strict=True)
    ]
    names = [step.name for step in steps]
    if not steps:
        raise BadInput("The report needs at least one evaluation; add --input evaluations=REF.")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise BadInput(f"Two evaluations are called {twice!r}; give every evaluated step its own name.")
    return steps


def first_pairwise(steps: Sequence[Step]) -> str:
    """The first benchmark that was played against the fixed opponent, or "" when none was."""
    names = [name for step in steps for name, figure in step.benchmarks.items() if figure.metric == "win_rate"]
    return next((name for name in names if not name.endswith(PREVIOUS)), "")


def _read_step(folder: Path, label: str, controls: Sequence[str]) -> Step:
    path = folder / "results.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        name = str(document["name"])
        return Step(
            name=name,
            label=label or name,
            control=name in controls,
            judge=str(document.get("judge", "")),
            regressed=bool(document.get("regressed")),
            reasons=[str(reason) for reason in document.get("reasons", [])],
            benchmarks=_figures(document["benchmarks"]),
            behaviour=_figures({key: {"metric": key, **entry} for key, entry in document.get("behaviour", {}).items()}),
            folder=folder,
            model_digest=_model_digest(folder),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{path} cannot be read as evaluation results ({error}); run the evaluation again.") from error


def _figures(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, Figure]:
    figures = {name: _figure(entry, str(entry.get("metric", name))) for name, entry in entries.items()}
    return {name: figure for name, figure in figures.items() if figure is not None}


def _figure(entry: Mapping[str, Any], metric: str) -> Figure | None:
    """None where the value is missing or not a number; a missing interval is taken as the value itself."""
    value = entry.get("value")
    if not _finite(value):
        return None
    low, high = (entry.get(key) if _finite(entry.get(key)) else value for key in ("low", "high"))
    languages = {code: _figure(each, metric) for code, each in (entry.get("languages") or {}).items()}
    return Figure(
        metric=metric,
        value=float(value),  # type: ignore[arg-type]
        low=float(low),  # type: ignore[arg-type]
        high=float(high),  # type: ignore[arg-type]
        n=int(entry.get("n") or 0),
        opponent=str(entry.get("opponent", "")),
        languages={code: figure for code, figure in sorted(languages.items()) if figure is not None},
    )


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _model_digest(folder: Path) -> str:
    """The digest of the model that was evaluated, by which a round that changed nothing is told."""
    path = folder / MANIFEST
    if not path.is_file():
        return ""
    digests = json.loads(path.read_text(encoding="utf-8"))["provenance"]["inputs"].get("model", [""])
    return str(digests[0])
