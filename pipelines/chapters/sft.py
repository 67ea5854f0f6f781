"""Chapter 3: supervised fine-tuning on the routed answers, a model per language cluster, merged."""

from collections.abc import Mapping

from kfp import dsl

from components.merging.component import merging
from components.sft.component import sft
from pipelines.chapters.story import Story
from pipelines.graph import Channel, Graph, slots


def write(graph: Graph, story: Story) -> None:
    """The merged model, the common start before it, and the control arms on other routings."""
    recipe = graph.recipe
    controls = [f"examples_{routing}" for routing in recipe.controls]
    inputs = {name: story.made[name] for name in ("base", "examples", *controls)}
    outputs: dict[str, type] = {f"sft_{routing}": dsl.Model for routing in recipe.controls} | {"sft": dsl.Model}
    if recipe.sft.common:
        outputs["sft_common"] = dsl.Model

    def body(base: Channel, examples: Channel, **control: Channel) -> Mapping[str, Channel]:
        """Supervised fine-tuning on the routed answers, a model per language cluster, merged."""
        made = {
            f"sft_{routing}": _train(graph, f"sft-{routing}", base, control[f"examples_{routing}"])
            for routing in recipe.controls
        }
        if recipe.sft.common:
            made["sft_common"] = _train(graph, "sft-common", base, examples)
        return made | {"sft": _clusters(graph, made.get("sft_common", base), examples)}

    made = graph.chapter("sft", inputs, outputs, body)
    story.made |= made
    story.ladder |= {f"sft-{routing}": made[f"sft_{routing}"] for routing in recipe.controls}
    if recipe.sft.common:
        story.ladder["sft-arbitrage"] = made["sft_common"]
    story.ladder["sft-merge"] = made["sft"]


def _train(graph: Graph, name: str, model: Channel, examples: Channel) -> Channel:
    config = graph.recipe.sft.common or graph.recipe.sft.cluster
    return graph.step(sft, name, config, graph.recipe.resources.training, model=model, examples=examples)


def _clusters(graph: Graph, start: Channel, examples: Channel) -> Channel:
    recipe = graph.recipe
    parts = []
    for cluster in recipe.clusters:
        config = recipe.sft.cluster.model_copy(update={"languages": recipe.cluster_languages(cluster)})
        machine = recipe.resources.training
        parts.append(graph.step(sft, f"sft-{cluster}", config, machine, model=start, examples=examples))
    return graph.step(
        merging, "merge-sft", recipe.merging, recipe.resources.merging, base=start, **slots("model", parts)
    )
