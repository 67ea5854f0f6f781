"""Chapter 7: the gate, the report, the registry and the endpoint."""

from collections.abc import Mapping

from kfp import dsl

from components.deployment.component import deployment
from components.promotion.component import gate, register
from components.reporting.component import reporting
from components.reporting.task import Config as Report
from pipelines.chapters.story import Story
from pipelines.graph import Channel, Graph, identifier, slots


def write(graph: Graph, story: Story) -> None:
    """Whatever the gate decides, the report is written; only a model that passes is registered and deployed."""
    results = {f"results_{identifier(name)}": result for name, result in story.results.items()}
    drift = {f"samples_{number}": samples for number, samples in enumerate(story.drift, 1)}
    fetched = slots("origin", [story.made[name] for name in ("base", "reward", "questions")])
    inputs = {"model": story.made["policy"], "examples": story.made["examples"], **fetched, **results, **drift}
    outputs: dict[str, type] = {"report": dsl.HTML, "card": dsl.Markdown, "endpoint": dsl.Artifact}

    def body(model: Channel, examples: Channel, **made: Channel) -> Mapping[str, Channel]:
        """The gate, the report, the registry and the endpoint."""
        recipe, machine = graph.recipe, graph.recipe.resources.data
        final = made["results_final"]
        decision = graph.step(gate, "gate", recipe.gate, machine, evaluation=final)
        steps = slots("step", [made[name] for name in results])
        samples = slots("drift", [made[name] for name in drift])
        config = Report(
            recipe=recipe.name,
            title=recipe.description,
            controls=("sft-random", *(baseline.name for baseline in recipe.baselines)),
            headline=recipe.evaluation.benchmarks[0].name,
            languages=tuple(recipe.languages),
            license=recipe.base.license,
            base=recipe.base.source,
        )
        origins = {name: made[name] for name in fetched}
        told = graph.task(
            reporting, "report", config, machine, arbitrage=examples, gate=decision, **steps, **samples, **origins
        )
        version = graph.step(
            register, "register", recipe.registry, machine, model=model, gate=decision, evaluation=final, **origins
        )
        serving = machine if recipe.deployment.served else recipe.resources.sampling
        served = graph.step(deployment, "deploy", recipe.deployment, serving, model=model, registration=version)
        return {"report": told.outputs["page"], "card": told.outputs["card"], "endpoint": served}

    story.made |= graph.chapter("release", inputs, outputs, body)
