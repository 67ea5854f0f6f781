"""Chapter 4: DPO on the best against the worst of the arbitrage completions, merged."""

from collections.abc import Mapping

from kfp import dsl

from components.evaluation.component import evaluation
from components.generation.component import generation
from components.miniature.component import refresh
from components.preference.component import preference
from components.scoring.component import scoring
from pipelines.chapters.story import Story
from pipelines.chapters.training import train_and_merge
from pipelines.endpoints import evaluating_machine, sampling_machine
from pipelines.graph import Channel, Graph


def write(graph: Graph, story: Story) -> None:
    """The policy after offline preference training, and its check: what the first online round is held against.

    Where the recipe asks for it, the rounds also get a reward model that knows this policy's answers.
    """
    names = ("prompts", "questions", "reward", "scored", "base", "sft")
    inputs = {name: story.made[name] for name in names}

    def body(sft: Channel, questions: Channel, **made: Channel) -> Mapping[str, Channel]:
        """DPO on the best against the worst of the arbitrage completions, merged."""
        recipe = graph.recipe
        pairs = _pairs(graph, **made)
        policy = train_and_merge(graph, "offline", recipe.offline.dpo, recipe.offline.per_cluster, sft, pairs)
        check = recipe.online.check.model_copy(update={"name": "offline-dpo"})
        machine = evaluating_machine(check, recipe.resources.evaluation, recipe.resources.data)
        handed = {
            "policy": policy,
            "check": graph.step(evaluation, "check-offline", check, machine, model=policy, questions=questions),
        }
        return handed | _refreshed(graph, questions, made["reward"], policy)

    outputs: dict[str, type] = {"policy": dsl.Model, "check": dsl.Metrics}
    if graph.recipe.miniature and graph.recipe.miniature.refresh:
        outputs["reward"] = dsl.Model
    story.made |= graph.chapter("offline-preference", inputs, outputs, body)
    story.ladder["offline-dpo"] = story.made["policy"]


def _refreshed(graph: Graph, questions: Channel, reward: Channel, policy: Channel) -> dict[str, Channel]:
    """The reward model after training on the policy's answers, or nothing where the recipe does not refresh it."""
    small = graph.recipe.miniature
    if small is None or small.refresh is None:
        return {}
    machine = graph.recipe.resources.training
    model = graph.step(refresh, "refresh-reward", small.refresh, machine, world=questions, reward=reward, policy=policy)
    return {"reward": model}


def _pairs(graph: Graph, prompts: Channel, reward: Channel, scored: Channel, base: Channel) -> Channel:
    """Best against worst; and, where the recipe asks for it, in-language against translated from English."""
    recipe, machines = graph.recipe, graph.recipe.resources
    contrast = {}
    if recipe.offline.contrast:
        config = recipe.offline.contrast
        machine = sampling_machine(config, machines.sampling, machines.data)
        translated = graph.step(generation, "translate", config, machine, prompts=prompts, model=base)
        contrast["translated"] = graph.step(
            scoring, "score-translated", recipe.scoring, machines.scoring, reward=reward, completions_1=translated
        )
        contrast["in_language"] = scored
    return graph.step(preference, "pairs-offline", recipe.offline.pairs, machines.data, scored=scored, **contrast)
