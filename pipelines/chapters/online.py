"""Chapter 5: rounds of sampling the policy, scoring, pairing, DPO and merging; a round that regresses ends the loop."""

from collections.abc import Mapping

from kfp import dsl

from components.evaluation.component import evaluation
from components.generation.component import generation
from components.preference.component import preference
from components.promotion.component import accept
from components.promotion.task import Config as Promotion
from components.scoring.component import scoring
from pipelines.chapters.story import Story
from pipelines.chapters.training import train_and_merge
from pipelines.endpoints import evaluating_machine, sampling_machine
from pipelines.graph import Channel, Graph


def write(graph: Graph, story: Story) -> None:
    """One chapter per round. Where a round regressed, the ones after it draw no samples and hand their policy on."""
    for number in range(1, graph.recipe.online.rounds + 1):
        _write_round(graph, story, number)


def _write_round(graph: Graph, story: Story, number: int) -> None:
    names = ("prompts", "questions", "reward", "policy", "check")
    inputs = {name: story.made[name] for name in names}
    outputs: dict[str, type] = {"policy": dsl.Model, "merged": dsl.Model, "samples": dsl.Dataset, "check": dsl.Metrics}

    def body(
        policy: Channel, questions: Channel, check: Channel, prompts: Channel, reward: Channel
    ) -> Mapping[str, Channel]:
        """Sample the policy, score, pair, train, merge; keep the result unless it regressed."""
        recipe, machines = graph.recipe, graph.recipe.resources
        samples = _samples(graph, number, prompts, policy, reward, check)
        pairs = graph.step(preference, f"pairs-{number}", recipe.online.pairs, machines.data, scored=samples)
        merged = train_and_merge(graph, f"round-{number}", recipe.online.dpo, recipe.online.per_cluster, policy, pairs)
        config = recipe.online.check.model_copy(update={"name": f"online-round-{number}"})
        checked = graph.step(
            evaluation,
            f"check-{number}",
            config,
            evaluating_machine(config, machines.evaluation, machines.data),
            model=merged,
            questions=questions,
            previous=check,
        )
        decision = Promotion(action="accept")
        kept = graph.step(
            accept, f"accept-{number}", decision, machines.data, before=policy, after=merged, evaluation=checked
        )
        return {"policy": kept, "merged": merged, "samples": samples, "check": checked}

    made = graph.chapter(f"round-{number}", inputs, outputs, body)
    story.made |= {"policy": made["policy"], "check": made["check"]}
    story.ladder[f"online-round-{number}"] = made["merged"]
    story.drift.append(made["samples"])


def _samples(graph: Graph, number: int, prompts: Channel, policy: Channel, reward: Channel, check: Channel) -> Channel:
    recipe, machines = graph.recipe, graph.recipe.resources
    changes = {"portion": f"{recipe.online.prompts}-{number}", "model": f"policy-{number}", "seed": number}
    config = recipe.online.samples.model_copy(update=changes)
    guard = {"guard": check} if number > 1 else {}
    machine = sampling_machine(config, machines.sampling, machines.data)
    drawn = graph.step(generation, f"sample-{number}", config, machine, prompts=prompts, model=policy, **guard)
    return graph.step(scoring, f"score-{number}", recipe.scoring, machines.scoring, reward=reward, completions_1=drawn)
