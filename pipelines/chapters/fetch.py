"""One step that several chapters use: a published model's weights, fetched once."""

from components.weights.component import weights
from components.weights.task import Config as Weights
from pipelines.graph import Channel, Graph
from pipelines.recipe import Answering, ModelSource


def fetch(graph: Graph, name: str, source: ModelSource | Answering) -> Channel:
    """The model at a recipe's source, checked and kept in the store."""
    config = Weights(source=str(source.source), license=source.license)
    return graph.step(weights, name, config, graph.recipe.resources.data)
