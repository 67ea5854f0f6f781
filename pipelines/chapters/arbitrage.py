"""Chapter 2: every teacher answers every prompt, the reward model scores, the arbiter routes."""

from collections.abc import Mapping

from kfp import dsl

from components.arbitrage.component import arbitrage
from components.arbitrage.task import Config as Arbitrage
from components.generation.component import generation
from components.scoring.component import scoring
from pipelines.chapters.story import Story
from pipelines.endpoints import sampling_machine
from pipelines.graph import Channel, Graph, identifier, slots
from pipelines.recipe import Teacher


def write(graph: Graph, story: Story) -> None:
    """Scored completions of all teachers, the routed examples, and those of the control arms."""
    recipe = graph.recipe
    inputs = {name: story.made[name] for name in ("prompts", "reward")}
    inputs |= {name: model for name, model in story.made.items() if name.startswith("teacher_")}
    controls = {f"examples_{routing}": dsl.Dataset for routing in recipe.controls}

    def body(prompts: Channel, reward: Channel, **teachers: Channel) -> Mapping[str, Channel]:
        """Every teacher answers every prompt, the reward model scores, the arbiter routes."""
        answers = [
            _answer(graph, teacher, prompts, teachers.get(f"teacher_{identifier(teacher.name)}"))
            for teacher in recipe.teachers
        ]
        machines = recipe.resources
        completions = slots("completions", answers)
        scored = graph.step(scoring, "score-teachers", recipe.scoring, machines.scoring, reward=reward, **completions)
        made = {
            "scored": scored,
            "examples": graph.step(arbitrage, "route", recipe.arbitrage, machines.data, scored=scored),
        }
        for routing in recipe.controls:
            config = Arbitrage(routing=routing, minimum_reward=recipe.arbitrage.minimum_reward)
            made[f"examples_{routing}"] = graph.step(
                arbitrage, f"route-{routing}", config, machines.data, scored=scored
            )
        return made

    story.made |= graph.chapter("arbitrage", inputs, {"scored": dsl.Dataset, "examples": dsl.Dataset, **controls}, body)


def _answer(graph: Graph, teacher: Teacher, prompts: Channel, model: Channel | None) -> Channel:
    """A teacher with an origin of its own answers from there; one with weights as the section ``generation`` says."""
    changes: dict[str, object] = {"model": teacher.name}
    if teacher.source is None:
        changes |= {"engine": "openai", "endpoint": teacher.endpoint, "served": teacher.served}
    config = graph.recipe.generation.model_copy(update=changes)
    machine = sampling_machine(config, graph.recipe.resources.sampling, graph.recipe.resources.data)
    return graph.step(generation, f"generate-{teacher.name}", config, machine, prompts=prompts, model=model)
