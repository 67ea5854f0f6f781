"""The compiled graph: valid, readable, and the same for every recipe."""

import functools
from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from components.common.canonical import canonical_json
from components.common.step import Step, load_stage, parse_configuration, provenance_of
from pipelines.compiling import compile_recipe
from pipelines.expanse import HANDLER
from pipelines.loading import load_recipe

RECIPES = ["mini", "8b", "32b"]
CHAPTERS = {
    "sources", "arbitrage", "sft", "offline-preference", "round-1", "round-2", "round-3", "evaluation", "release",
}  # fmt: skip


@functools.cache
def compiled(name: str, folder: Path) -> dict:
    path = folder / f"{name}.yaml"
    compile_recipe(load_recipe(name), path)
    return next(yaml.safe_load_all(path.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("compiled")


@pytest.mark.parametrize("name", RECIPES)
def test_the_intermediate_representation_parses_strictly(name, folder):
    spec = json_format.ParseDict(compiled(name, folder), pipeline_spec_pb2.PipelineSpec(), ignore_unknown_fields=False)
    assert spec.pipeline_info.name == f"expanse-{name}"


@pytest.mark.parametrize("name", RECIPES)
def test_the_root_tells_the_story_in_chapters(name, folder):
    tasks = story(compiled(name, folder))
    assert {task["taskInfo"]["name"] for task in tasks.values()} == CHAPTERS


@pytest.mark.parametrize("name", ["8b", "32b"])
def test_a_clean_up_follows_the_chapters_whatever_happens(name, folder):
    tasks = dict(compiled(name, folder)["root"]["dag"]["tasks"])
    last = tasks.pop("clean-up")
    assert last["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    assert last["dependentTasks"] == list(tasks) == [HANDLER]
    assert not last["cachingOptions"].get("enableCache")


def test_the_miniature_starts_nothing_and_has_no_clean_up(folder):
    assert "clean-up" not in task_names(compiled("mini", folder))


def story(spec: dict) -> dict:
    """The tasks of the chapters: in the root, or in the exit handler around them."""
    tasks = spec["root"]["dag"]["tasks"]
    around = tasks.get(HANDLER)
    return spec["components"][around["componentRef"]["name"]]["dag"]["tasks"] if around else tasks


@pytest.mark.parametrize("name", RECIPES)
def test_tasks_carry_names_that_a_person_recognises(name, folder):
    recipe = load_recipe(name)
    names = task_names(compiled(name, folder))
    assert len(names) == len(set(names))
    assert {f"generate-{teacher.name}" for teacher in recipe.teachers} <= set(names)
    assert {f"sft-{cluster}" for cluster in recipe.clusters} <= set(names)
    assert {"merge-sft", "merge-offline", "merge-round-3", "evaluate-final", "gate", "register", "deploy"} <= set(names)


@pytest.mark.parametrize("name", RECIPES)
def test_outputs_are_typed_artifacts_and_the_object_stays_small(name, folder):
    spec = compiled(name, folder)
    kinds = {
        artifact["artifactType"]["schemaTitle"]
        for component in spec["components"].values()
        for artifact in component.get("outputDefinitions", {}).get("artifacts", {}).values()
    }
    assert {"system.Dataset", "system.Model", "system.Metrics", "system.HTML"} <= kinds
    assert len(yaml.safe_dump(spec)) < 700_000  # Argo keeps it in one object of at most 1.5 MB, status included


def task_names(spec: dict) -> list[str]:
    dags = [spec["root"]["dag"], *(part["dag"] for part in spec["components"].values() if "dag" in part)]
    names = [task["taskInfo"]["name"] for dag in dags for task in dag["tasks"].values()]
    return [name for name in names if name not in CHAPTERS | {"method"}]


def test_the_rounds_score_with_the_reward_model_that_the_recipe_refreshes(folder):
    parts = compiled("mini", folder)["components"]
    offline = next(part for name, part in parts.items() if name == "comp-offline-preference")
    outputs = offline["dag"]["outputs"]["artifacts"]
    assert outputs["reward"]["artifactSelectors"][0]["producerSubtask"] == "refresh-reward"
    root = compiled("mini", folder)["root"]["dag"]["tasks"]
    for number in (1, 2, 3):
        given = root[f"round-{number}"]["inputs"]["artifacts"]["reward"]["taskOutputArtifact"]
        assert given == {"outputArtifactKey": "reward", "producerTask": "offline-preference"}


@pytest.mark.parametrize("name", ["8b", "32b"])
def test_published_reward_models_are_not_trained(name, folder):
    assert "refresh-reward" not in task_names(compiled(name, folder))


def test_models_and_questions_that_are_fetched_beforehand_are_found_by_the_run(folder):
    """docs/operations.md, "No internet": a step alone, with the recipe's own section, has the key of the run's step."""
    recipe = load_recipe("8b")
    sections = {"base": ("weights", recipe.base), "benchmarks": ("benchmarks", recipe.benchmarks)}
    given = {
        parameters["name"]["runtimeValue"]["constant"]: parameters["configuration"]["runtimeValue"]["constant"]
        for part in compiled("8b", folder)["components"].values()
        for task in part.get("dag", {}).get("tasks", {}).values()
        if "configuration" in (parameters := task.get("inputs", {}).get("parameters", {}))
    }
    for name, (stage, section) in sections.items():
        alone = canonical_json(section.model_dump(mode="json"))
        first, second = (
            provenance_of(step, parse_configuration(step, load_stage(stage)[0])).key
            for step in (Step(name, stage, configuration, {}) for configuration in (alone, given[name]))
        )
        assert first == second
