"""Chapter 6: every step's model and every baseline on the held-out questions, against one fixed opponent."""

from collections.abc import Mapping

from kfp import dsl

from components.evaluation.component import evaluation
from components.evaluation.settings import Answers
from components.evaluation.task import Config as Evaluation
from pipelines.chapters.fetch import fetch
from pipelines.chapters.story import Story
from pipelines.endpoints import evaluating_machine
from pipelines.graph import Channel, Graph, identifier
from pipelines.recipe import Baseline

#: Who these are played against, head to head; every other step plays the one before it, the random control left out.
RIVALS = {"sft-random": "sft-arbitrage", "final": "sft-merge"}


def write(graph: Graph, story: Story) -> None:
    """One evaluation per baseline and per step of the ladder; the first of them is the fixed opponent of all others."""
    ladder = _ordered({**story.ladder, "final": story.made["policy"]})
    baselines = {baseline.name: baseline for baseline in graph.recipe.baselines}
    names = [*baselines, *ladder]
    inputs = {"questions": story.made["questions"]} | {_model(name): model for name, model in ladder.items()}

    def body(questions: Channel, **models: Channel) -> Mapping[str, Channel]:
        """Every step's model on the held-out questions, against one fixed opponent and the step before it."""
        models |= {
            _model(baseline.name): fetch(graph, f"fetch-{baseline.name}", baseline)
            for baseline in baselines.values()
            if baseline.source
        }
        results: dict[str, Channel] = {}
        machines = graph.recipe.resources
        for name in names:
            config = _config(graph.recipe.evaluation, name, baselines.get(name))
            results[name] = graph.step(
                evaluation,
                f"evaluate-{name}",
                config,
                evaluating_machine(config, machines.evaluation, machines.data),
                model=models.get(_model(name)),
                questions=questions,
                baseline=results.get(names[0]),
                previous=results.get(_rival(name, list(ladder))),
            )
        return {f"results_{identifier(name)}": result for name, result in results.items()}

    outputs: dict[str, type] = {f"results_{identifier(name)}": dsl.Metrics for name in names}
    made = graph.chapter("evaluation", inputs, outputs, body)
    story.results = {name: made[f"results_{identifier(name)}"] for name in names}


def _config(evaluation: Evaluation, name: str, baseline: Baseline | None) -> Evaluation:
    """The evaluation of a step, or of a baseline, whose own way of answering goes before the recipe's."""
    changes: dict[str, object] = {"name": name}
    if baseline and not baseline.source:
        own = {"endpoint": baseline.endpoint, "served": baseline.served, "tokenizer": baseline.tokenizer}
        changes["answers"] = Answers(engine="openai", **own)
    return evaluation.model_copy(update=changes)


def _model(name: str) -> str:
    return f"model_{identifier(name)}"


def _rival(name: str, ladder: list[str]) -> str:
    """The step that ``name`` is played against; a baseline, and the first step, have none ("")."""
    chain = [step for step in ladder if step != "sft-random"]
    before = dict(zip(chain[1:], chain[:-1], strict=True))
    return RIVALS.get(name, before.get(name, ""))


def _ordered(ladder: Mapping[str, Channel]) -> dict[str, Channel]:
    """The random control after the arbitrage step, which it is played against."""
    names = list(ladder)
    if "sft-random" in names and "sft-arbitrage" in names:
        names.remove("sft-random")
        names.insert(names.index("sft-arbitrage") + 1, "sft-random")
    return {name: ladder[name] for name in names}
