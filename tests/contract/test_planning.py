"""The planner knows every stage, and every shipped recipe can be planned."""

import pytest

from components.benchmarks.registry import DATASETS
from components.common.step import stages
from pipelines.expanse import count_steps
from pipelines.loading import load_recipe, shipped_recipes
from pipelines.planning.benchmarks import PUBLIC
from pipelines.planning.estimates import STAGES
from pipelines.planning.planner import plan


def test_every_stage_has_an_estimate():
    assert set(STAGES) == set(stages()), "say in pipelines/planning/estimates.py what the new stage does"


def test_every_data_set_has_a_size():
    assert set(PUBLIC) == set(DATASETS), (
        "say in pipelines/planning/benchmarks.py how many questions the new data set has"
    )


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_can_be_planned(name):
    recipe = load_recipe(name)
    assert len(plan(recipe).estimates) == count_steps(recipe)


def test_the_planner_has_nothing_to_note_about_the_8b_recipe():
    assert not plan(load_recipe("8b")).notes
