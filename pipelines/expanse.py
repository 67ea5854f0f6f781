"""The one pipeline: the same graph for every recipe.

The root tells the story in about ten chapters; loops over teachers, clusters and rounds are unrolled while it is built.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from kfp import dsl

from components.cleanup.component import cleanup
from components.cleanup.task import Config as Cleanup
from pipelines.chapters import arbitrage, evaluation, offline, online, release, sft, sources
from pipelines.chapters.story import Story
from pipelines.endpoints import starts_objects
from pipelines.graph import Dress, Graph
from pipelines.recipe import Recipe
from pipelines.resources import Machine

#: What kfp calls the node that holds the chapters where a clean-up follows them.
HANDLER = "exit-handler-1"
CHAPTERS: dict[str, ModuleType] = {
    "sources": sources,
    "arbitrage": arbitrage,
    "sft": sft,
    "offline": offline,
    "online": online,
    "evaluation": evaluation,
    "release": release,
}


def build(recipe: Recipe, dress: Dress, until: str = "release") -> Any:
    """The recipe's pipeline as a KFP graph component, up to and including the chapter ``until``."""
    graph, story = Graph(recipe, dress), Story()
    names = list(CHAPTERS)
    for name in names[: names.index(until) + 1]:
        CHAPTERS[name].write(graph, story)

    @dsl.pipeline(name=f"expanse-{recipe.name}", description=recipe.description)
    def expanse() -> None:
        with _cleaned_up(graph):
            graph.tell()

    return expanse


@contextmanager
def _cleaned_up(graph: Graph) -> Iterator[None]:
    """Where steps start services or training jobs, a last task removes what is left of them, whatever happens.

    Other recipes have no exit handler, which would put one more node around their chapters.
    """
    if not starts_objects(graph.recipe):
        yield
        return
    last = graph.task(cleanup, "clean-up", Cleanup(), graph.recipe.resources.data)
    with dsl.ExitHandler(last, name="method"):
        yield


def count_steps(recipe: Recipe, until: str = "release") -> int:
    """How many tasks the recipe's graph has."""
    count = 0

    def dress(task: dsl.PipelineTask, machine: Machine, shell: str) -> None:
        nonlocal count
        count += 1

    build(recipe, dress, until)
    return count
