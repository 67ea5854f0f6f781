"""Models that a run serves for its steps: which recipes have them, and what computes for a step."""

from collections.abc import Iterator

from pydantic import BaseModel

from components.common.endpoints import Served
from components.evaluation.settings import Config as Evaluation
from components.evaluation.settings import ServedJudgeSettings
from components.generation.task import Config as Generation
from pipelines.recipe import Recipe
from pipelines.resources import Machine


def starts_objects(recipe: Recipe) -> bool:
    """Whether steps of the recipe start services or training jobs, which a clean-up has to remove whatever happens."""
    return recipe.resources.training.total_gpus > 1 or any(_served(recipe))


def _served(recipe: Recipe) -> Iterator[Served]:
    asked: list[BaseModel | None] = [
        *recipe.teachers,
        recipe.generation,
        recipe.online.samples,
        recipe.offline.contrast,
    ]
    asked += [recipe.evaluation, recipe.online.check, *recipe.baselines]
    return (served for each in asked if each is not None for served in served_by(each))


def served_by(config: BaseModel) -> list[Served]:
    """The models that a step of this configuration serves, one after the other: the one that answers, and the judge."""
    if isinstance(config, Evaluation):
        judge = config.judge.served if isinstance(config.judge, ServedJudgeSettings) else None
        return [served for served in (config.answers.served, judge) if served]
    found: Served | None = getattr(config, "served", None)
    return [found] if found else []


def sampling_machine(config: Generation, sampling: Machine, data: Machine) -> Machine:
    """The machine of a step that samples: one without a GPU where another machine computes."""
    return data if config.engine == "openai" else sampling


def evaluating_machine(config: Evaluation, evaluation: Machine, data: Machine) -> Machine:
    """The machine of a step that evaluates: one without a GPU where another machine computes."""
    return data if config.answers.engine == "openai" else evaluation
