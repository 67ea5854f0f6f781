"""The gate: rules over the final evaluation. What is missing, or is not a number, has not passed."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from components.common.errors import BadInput

RESULTS, GATE = "results.json", "gate.json"
LEVEL = 0.5  # the win-rate at which neither model is preferred


class Rule(BaseModel):
    """A benchmark's value, or the lower end of its interval, must reach a bound (in the benchmark's own unit)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    benchmark: str
    at_least: float | None = None
    at_least_low: float | None = None

    @model_validator(mode="after")
    def _has_a_bound(self) -> "Rule":
        if self.at_least is None and self.at_least_low is None:
            raise ValueError(f"the rule for {self.benchmark} has no bound; give at_least or at_least_low")
        return self


@dataclass(frozen=True)
class Limits:
    """``language_regressions``: how many languages may be worse beyond doubt; None leaves a limit out."""

    language_regressions: int | None = None
    language_consistency: float | None = None


@dataclass(frozen=True)
class Verdict:
    """One rule applied: ``measured`` is None where nothing usable was measured, and ``passed`` is then False."""

    rule: str
    passed: bool
    measured: float | None
    sentence: str


def read_results(folder: Path) -> dict[str, Any]:
    """The results.json of an evaluation; raises BadInput when there is none or it holds no benchmarks."""
    path = folder / RESULTS
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read as evaluation results ({error}); run the evaluation again.") from error
    if not isinstance(results, dict) or not isinstance(results.get("benchmarks"), dict):
        raise BadInput(f"{path} has no benchmarks; run the evaluation again.")
    return results


def judge(
    results: Mapping[str, Any],
    first: Mapping[str, Any] | None,
    rules: Sequence[Rule],
    required: Sequence[str],
    limits: Limits,
) -> list[Verdict]:
    """Apply every rule to the final ``results``; ``first`` is the evaluation that languages are compared with."""
    verdicts = [_required(results, name) for name in required]
    verdicts += [verdict for rule in rules for verdict in _bounds(results, rule)]
    if limits.language_regressions is not None:
        named = list(dict.fromkeys([*(rule.benchmark for rule in rules), *required]))
        verdicts.append(_languages(results, first, named, limits.language_regressions))
    if limits.language_consistency is not None:
        verdicts.append(_consistency(results, limits.language_consistency))
    return [*verdicts, _no_regression(results)]


def write_gate(output: Path, verdicts: Sequence[Verdict]) -> dict[str, float | int | str]:
    """Write gate.json; the gate has passed when there are rules and every one has."""
    passed = bool(verdicts) and all(verdict.passed for verdict in verdicts)
    document = {"passed": passed, "rules": [asdict(verdict) for verdict in verdicts]}
    text = json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False)
    (output / GATE).write_text(text + "\n", encoding="utf-8")
    failed = sum(not verdict.passed for verdict in verdicts)
    return {"passed": int(passed), "rules": len(verdicts), "failed": failed}


def _required(results: Mapping[str, Any], name: str) -> Verdict:
    value = _number(_benchmark(results, name), "value")
    said = "was not measured" if value is None else "was measured"
    return Verdict(f"{name} is measured", value is not None, value, f"The required benchmark {name} {said}.")


def _bounds(results: Mapping[str, Any], rule: Rule) -> Iterator[Verdict]:
    entry = _benchmark(results, rule.benchmark)
    metric = str(entry.get("metric", "value")).replace("_", " ")
    for bound, key, label in (
        (rule.at_least, "value", metric),
        (rule.at_least_low, "low", f"lower end of the interval of the {metric}"),
    ):
        if bound is None:
            continue
        measured, value = _number(entry, key), _number(entry, "value")
        passed = measured is not None and value is not None and measured >= bound
        said = "not measured" if measured is None else f"{measured:.4g}"
        sentence = f"The {label} on {rule.benchmark} is {said}; at least {bound:.4g} is asked for."
        yield Verdict(f"{rule.benchmark} {key} ≥ {bound:.4g}", passed, measured, sentence)


def _languages(
    results: Mapping[str, Any], first: Mapping[str, Any] | None, benchmarks: Sequence[str], limit: int
) -> Verdict:
    """A language is worse beyond doubt when its whole interval lies below an even win-rate, or below that of ``first``.

    A language of which nothing was measured counts as worse.
    """
    rule = f"languages worse beyond doubt ≤ {limit}"
    compared, worse = set(), set()
    for name in benchmarks:
        entry = _benchmark(results, name)
        before = _benchmark(first or {}, name).get("languages") or {}
        for language, measured in (entry.get("languages") or {}).items():
            pairwise = entry.get("kind") == "pairwise"
            if not pairwise and language not in before:
                continue
            compared.add(language)
            floor = LEVEL if pairwise else _number(before[language], "low")
            high = _number(measured, "high")
            if high is None or floor is None or high < floor:
                worse.add(language)
    if not compared:
        return Verdict(rule, False, None, "No language could be compared with the baseline.")
    listed = f" ({', '.join(sorted(worse))})" if worse else ""
    sentence = f"{len(worse)} of {len(compared)} languages are worse beyond doubt{listed}; at most {limit} may be."
    return Verdict(rule, len(worse) <= limit, float(len(worse)), sentence)


def _consistency(results: Mapping[str, Any], bound: float) -> Verdict:
    behaviour = results.get("behaviour")
    entry = behaviour.get("language_consistency") if isinstance(behaviour, dict) else None
    measured = _number(entry if isinstance(entry, dict) else {}, "value")
    said = "was not measured" if measured is None else f"is {measured:.4g}"
    sentence = f"The share of answers in the language of their question {said}; at least {bound:.4g} is asked for."
    passed = measured is not None and measured >= bound
    return Verdict(f"language consistency ≥ {bound:.4g}", passed, measured, sentence)


def _no_regression(results: Mapping[str, Any]) -> Verdict:
    passed = results.get("regressed") is False
    reasons = "; ".join(map(str, results.get("reasons") or [])) or "the evaluation does not say that it held"
    sentence = "The model did not fall behind the step before it." if passed else f"The model regressed: {reasons}."
    return Verdict("no regression", passed, None, sentence)


def _benchmark(results: Mapping[str, Any], name: str) -> dict[str, Any]:
    entry = results.get("benchmarks", {}).get(name)
    return entry if isinstance(entry, dict) else {}


def _number(entry: Mapping[str, Any], key: str) -> float | None:
    value = entry.get(key)
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable and value is not None else None
