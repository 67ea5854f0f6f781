"""Chapter 1: prompts, held-out questions and the models that the run starts from."""

from collections.abc import Mapping

from kfp import dsl

from components.benchmarks.component import benchmarks
from components.miniature.component import miniature, world
from components.prompts.component import prompts
from pipelines.chapters.fetch import fetch
from pipelines.chapters.story import Story
from pipelines.graph import Channel, Graph, identifier, slots
from pipelines.recipe import Miniature, Teacher


def write(graph: Graph, story: Story) -> None:
    """Prompts, questions, base model, reward model, and the teachers whose weights the run samples itself."""
    recipe = graph.recipe
    sampled = [teacher for teacher in recipe.teachers if teacher.source]
    outputs: dict[str, type] = {
        "prompts": dsl.Dataset,
        "questions": dsl.Dataset,
        "base": dsl.Model,
        "reward": dsl.Model,
    }
    outputs |= {f"teacher_{identifier(teacher.name)}": dsl.Model for teacher in sampled}

    def body() -> Mapping[str, Channel]:
        """Prompts, held-out questions and the models that the run starts from."""
        return _miniature(graph, recipe.miniature, sampled) if recipe.miniature else _published(graph, sampled)

    story.made |= graph.chapter("sources", {}, outputs, body)
    story.ladder["base"] = story.made["base"]


def _miniature(graph: Graph, small: Miniature, teachers: list[Teacher]) -> dict[str, Channel]:
    data, training = graph.recipe.resources.data, graph.recipe.resources.training
    drawn = small.world.world.model_copy(update={"draw": graph.recipe.seed})
    facts = graph.step(world, "world", small.world.model_copy(update={"world": drawn}), data)
    base = graph.step(miniature, "base", small.base, training, world=facts)
    taught = {
        teacher.name: graph.step(
            miniature, f"teacher-{teacher.name}", small.teachers[teacher.name], training, world=facts
        )
        for teacher in teachers
    }
    parts = slots("teacher", list(taught.values()))
    reward = graph.step(miniature, "reward-model", small.reward, training, world=facts, base=base, **parts)
    prepared = graph.step(prompts, "prompts", graph.recipe.prompts, data, world=facts)
    models = {f"teacher_{identifier(name)}": model for name, model in taught.items()}
    return {"prompts": prepared, "questions": facts, "base": base, "reward": reward, **models}


def _published(graph: Graph, teachers: list[Teacher]) -> dict[str, Channel]:
    recipe, data = graph.recipe, graph.recipe.resources.data
    assert recipe.benchmarks is not None, "the recipe's validation demands the section"
    questions = graph.step(benchmarks, "benchmarks", recipe.benchmarks, data)
    prepared = graph.step(prompts, "prompts", recipe.prompts, data, questions=questions)
    base = fetch(graph, "base", recipe.base)
    reward = fetch(graph, "reward-model", recipe.reward)
    models = {
        f"teacher_{identifier(teacher.name)}": fetch(graph, f"teacher-{teacher.name}", teacher) for teacher in teachers
    }
    return {"prompts": prepared, "questions": questions, "base": base, "reward": reward, **models}
