"""What the licences of base and teachers mean for the model that is registered."""

import pytest

from pipelines.checks.finding import run_checks
from pipelines.checks.licences import agree, is_noncommercial, licence_checks
from pipelines.loading import load_recipe


def found(*overrides):
    return {each.object: each for each in run_checks(licence_checks(load_recipe("8b", overrides)))}


@pytest.mark.parametrize("licence", ["CC-BY-NC-4.0", "cc-by-nc-sa-4.0", "MRL-0.1", "Some Research License"])
def test_licences_without_commercial_use(licence):
    assert is_noncommercial(licence)


@pytest.mark.parametrize("licence", ["Apache-2.0", "MIT", "Llama-3.1", "Gemma", "CC-BY-4.0"])
def test_licences_with_commercial_use(licence):
    assert not is_noncommercial(licence)


def test_other_agrees_with_nothing_by_itself():
    assert not agree("Apache-2.0", "other")
    assert not agree("other", "other")
    assert agree("MRL-0.1", "other", "mrl")


def test_a_non_commercial_base_is_flagged():
    result = found()["licence of the result"]
    assert result.status == "warning" and "aya-expanse-8b is registered under CC-BY-NC-4.0" in result.sentence


def test_a_non_commercial_teacher_does_not_go_with_a_commercial_result():
    checks = found("base.license=Apache-2.0")
    assert checks["licence of the result"].status == "ok"
    teacher = checks["licence of teacher aya-23-35b"]
    assert teacher.status == "failed" and "would be registered under Apache-2.0" in teacher.sentence
    assert checks["licence of teacher qwen-2-5-32b"].status == "ok"


def test_a_non_commercial_reward_model_is_flagged_and_baselines_are_only_compared_with():
    checks = found("base.license=Apache-2.0", "reward.license=CC-BY-NC-4.0")
    assert checks["licence of the reward model"].status == "warning"
    assert found()["licence of the reward model"].status == "ok"
    assert (
        checks["licence of baseline ministral-8b"].sentence
        == "MRL-0.1: compared with for research only, never trained on"
    )
    assert checks["licence of baseline qwen-2-5-7b"].sentence == "Apache-2.0: compared with, never trained on"


def test_what_licences_ask_of_models_trained_on_answers():
    assert "begin their name with 'Llama'" in found()["licence of teacher llama-3-1-70b"].sentence
    assert "Gemma terms" in found()["licence of teacher gemma-2-27b"].sentence
    renamed = found("registry.registered_model=Llama-aya-expanse")
    assert renamed["licence of teacher llama-3-1-70b"].status == "ok"
