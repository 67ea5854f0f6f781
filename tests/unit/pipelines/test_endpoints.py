"""How the graph has models answer that are served or lie behind endpoints."""

import pytest

from pipelines.endpoints import served_by, starts_objects
from pipelines.loading import load_recipe
from pipelines.planning.walking import PlannedStep, walk
from pipelines.resources import Machine

ENDPOINT = "{url: 'http://127.0.0.1:1/v1', model: m}"
BASELINES = (
    "baselines=[{name: here, license: L, source: 'hf://a/b'}, "
    "{name: there, license: L, served: {source: 'hf://c/d', gpus: 2}}, "
    f"{{name: far, license: L, endpoint: {ENDPOINT}, tokenizer: 'hf://e/f'}}]"
)


@pytest.fixture(scope="module")
def eight() -> dict[str, PlannedStep]:
    return {step.name: step for step in walk(load_recipe("8b", [BASELINES, "resources.data.cpu='3'"]))}


def test_each_evaluation_has_its_own_way_of_answering_and_needs_no_gpu(eight: dict[str, PlannedStep]) -> None:
    answers = {name: step.config.answers for name, step in eight.items() if step.stage == "evaluation"}
    assert {each.engine for each in answers.values()} == {"openai"}
    assert (answers["evaluate-there"].served.source, answers["evaluate-there"].served.gpus) == ("hf://c/d", 2)
    assert (answers["evaluate-far"].endpoint.model, answers["evaluate-far"].tokenizer) == ("m", "hf://e/f")
    for name in ("evaluate-here", "evaluate-base", "evaluate-final", "check-offline", "check-1"):
        assert answers[name].served is not None and answers[name].served.source is None
    machine = eight["prompts"].machine
    assert (machine.cpu, machine.gpus) == ("3", 0)
    assert all(eight[name].machine == machine for name in answers)


def test_teachers_with_weights_are_served_as_the_section_generation_says() -> None:
    teachers = (
        f"teachers=[{{name: own, license: L, source: 'hf://a/b'}}, {{name: far, license: L, endpoint: {ENDPOINT}}}, "
        "{name: other, license: L, served: {source: 'hf://c/d', gpus: 4}}]"
    )
    changes = [teachers, "generation.engine=openai", "generation.served={gpus: 2}"]
    steps = {step.name: step for step in walk(load_recipe("8b", changes), "arbitrage")}
    own, far, other = (steps[f"generate-{name}"] for name in ("own", "far", "other"))
    assert (own.config.served.source, own.config.served.gpus) == (None, 2) and own.inputs["model"] == "teacher-own"
    assert far.config.endpoint.model == "m" and far.config.served is None
    assert other.config.served.source == "hf://c/d"


def test_weights_become_an_artifact_only_where_a_step_reads_them(eight: dict[str, PlannedStep]) -> None:
    assert [name for name in eight if name.startswith("fetch-")] == ["fetch-here"]
    assert eight["evaluate-here"].inputs["model"] == "fetch-here"
    assert "model" in eight["evaluate-base"].inputs
    assert not any("model" in eight[name].inputs for name in ("evaluate-there", "evaluate-far"))
    assert eight["evaluate-final"].inputs["baseline"] == "evaluate-here"


def test_a_model_in_process_keeps_the_machine_of_evaluations() -> None:
    changes = ["evaluation.answers={engine: transformers}", "resources.evaluation={gpus: 1, memory: 64Gi}"]
    steps = {step.name: step for step in walk(load_recipe("8b", changes))}
    assert steps["evaluate-final"].machine == Machine(gpus=1, memory="64Gi")
    assert steps["check-1"].machine.gpus == 0


@pytest.mark.parametrize(
    ("change", "starts"),
    [
        ("evaluation.generation.seed=1", False),
        ("generation={model: t, portion: arbitrage, engine: openai, served: {gpus: 0}}", True),
        ("evaluation.answers={engine: openai, served: {gpus: 0}}", True),
        ("online.check.answers={engine: openai, served: {gpus: 0}}", True),
        ("baselines=[{name: x, license: L, served: {source: 'hf://a/b'}}]", True),
        ("baselines=[{name: x, license: L, tokenizer: 'hf://a/b', endpoint: " + ENDPOINT + "}]", False),
    ],
)
def test_a_run_that_serves_a_model_to_evaluate_it_has_a_clean_up(change: str, starts: bool) -> None:
    assert starts_objects(load_recipe("mini", [change])) is starts


def test_an_evaluation_serves_the_model_that_answers_and_then_its_judge() -> None:
    judge = "evaluation.judge={kind: served, served: {source: 'hf://a/judge'}}"
    served = served_by(load_recipe("8b", [judge]).evaluation)
    assert [each.source for each in served] == [None, "hf://a/judge"]
