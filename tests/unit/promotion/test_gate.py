"""The gate passes what earned it, and fails closed on everything else."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from components.common.errors import BadInput
from components.common.inputs import PassThrough
from components.promotion.task import Config, run
from tests.unit.promotion.conftest import RESULTS

ARENA = {"benchmark": "arena", "at_least_low": 0.5}


def folder_with(path: Path, results: Any) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "results.json").write_text(json.dumps(results))
    return path


def gate(tmp_path: Path, results: Any, first: Any = None, **fields: Any) -> dict[str, Any]:
    inputs = {"evaluation": [folder_with(tmp_path / "final", results)]}
    if first is not None:
        inputs["evaluations"] = [folder_with(tmp_path / "first", first), inputs["evaluation"][0]]
    output = tmp_path / "output"
    output.mkdir(exist_ok=True)
    metrics = run(Config(action="gate", **fields), inputs, output)
    verdict = json.loads((output / "gate.json").read_text())
    assert not isinstance(metrics, PassThrough) and metrics["passed"] == int(verdict["passed"])
    return verdict


def test_a_good_model_passes_every_rule(tmp_path: Path, results: dict[str, Any]) -> None:
    verdict = gate(
        tmp_path,
        results,
        rules=[ARENA, {"benchmark": "facts", "at_least": 0.25}],
        required=["facts"],
        maximum_language_regressions=0,
        language_consistency_at_least=0.9,
    )
    assert verdict["passed"] and len(verdict["rules"]) == 6
    assert all(rule["sentence"].endswith(".") for rule in verdict["rules"])


@pytest.mark.parametrize("value", [None, math.nan, math.inf, "0.9", True, [0.9]])
@pytest.mark.parametrize("key", ["low", "value"])
def test_what_is_not_a_number_fails(tmp_path: Path, results: dict[str, Any], key: str, value: Any) -> None:
    results["benchmarks"]["arena"][key] = value
    assert not gate(tmp_path, results, rules=[ARENA])["passed"]


def test_missing_measurements_fail(tmp_path: Path, results: dict[str, Any]) -> None:
    assert not gate(tmp_path, results, required=["safety"])["passed"]
    assert not gate(tmp_path, results, rules=[{"benchmark": "safety", "at_least": 0}])["passed"]
    del results["behaviour"]
    assert not gate(tmp_path, results, rules=[ARENA], language_consistency_at_least=0)["passed"]
    del results["regressed"]
    assert not gate(tmp_path, results, rules=[ARENA])["passed"]


def test_a_regression_fails_whatever_the_rules(tmp_path: Path, results: dict[str, Any]) -> None:
    results |= {"regressed": True, "reasons": ["the mean length grew by 40 %"]}
    verdict = gate(tmp_path, results, rules=[ARENA])
    assert not verdict["passed"] and "grew by 40 %" in verdict["rules"][-1]["sentence"]


def test_languages_that_are_worse_beyond_doubt_are_counted(tmp_path: Path, results: dict[str, Any]) -> None:
    results["benchmarks"]["arena"]["languages"]["ar"]["high"] = 0.49
    first = json.loads(json.dumps(RESULTS))
    first["benchmarks"]["facts"]["languages"]["hi"]["low"] = 0.31
    rules = [ARENA, {"benchmark": "facts", "at_least": 0}]
    verdict = gate(tmp_path, results, first, rules=rules, maximum_language_regressions=1)
    (rule,) = [rule for rule in verdict["rules"] if rule["rule"].startswith("languages")]
    assert not rule["passed"] and rule["measured"] == 2 and "(ar, hi)" in rule["sentence"]
    assert gate(tmp_path, results, first, rules=rules, maximum_language_regressions=2)["passed"]
    results["benchmarks"]["arena"]["languages"] = {}
    results["benchmarks"]["facts"]["languages"] = {}
    assert not gate(tmp_path, results, first, rules=rules, maximum_language_regressions=9)["passed"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(low=st.floats(), bound=st.floats(0, 1))
def test_the_bound_is_inclusive_and_nothing_else_passes(tmp_path: Path, low: float, bound: float) -> None:
    results = json.loads(json.dumps(RESULTS))
    results["benchmarks"]["arena"]["low"] = low
    verdict = gate(tmp_path, results, rules=[{"benchmark": "arena", "at_least_low": bound}])
    assert verdict["passed"] == (math.isfinite(low) and low >= bound)


def test_a_gate_needs_rules_and_results(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="without rules"):
        Config(action="gate")
    with pytest.raises(ValidationError, match="no bound"):
        Config(action="gate", rules=[{"benchmark": "arena"}])
    with pytest.raises(BadInput, match=r"results\.json"):
        run(Config(action="gate", rules=[ARENA]), {"evaluation": [tmp_path]}, tmp_path)


@pytest.mark.parametrize(("regressed", "index"), [(False, 1), (True, 0)])
def test_a_round_is_accepted_unless_it_regressed(
    tmp_path: Path, results: dict[str, Any], regressed: bool, index: int
) -> None:
    results |= {"regressed": regressed, "reasons": ["win-rate fell"] if regressed else []}
    inputs = {"models": [tmp_path / "a", tmp_path / "b"], "evaluation": [folder_with(tmp_path / "e", results)]}
    passed = run(Config(action="accept"), inputs, tmp_path)
    assert isinstance(passed, PassThrough) and (passed.input, passed.index) == ("models", index)
    assert ("win-rate fell" in passed.reason) == regressed


def test_accepting_fails_closed(tmp_path: Path, results: dict[str, Any]) -> None:
    del results["regressed"]
    inputs = {"models": [tmp_path, tmp_path], "evaluation": [folder_with(tmp_path / "e", results)]}
    with pytest.raises(BadInput, match="whether it regressed"):
        run(Config(action="accept"), inputs, tmp_path)
    with pytest.raises(BadInput, match="two inputs"):
        run(Config(action="accept"), {**inputs, "models": [tmp_path]}, tmp_path)
