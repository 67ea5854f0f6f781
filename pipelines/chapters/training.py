"""What offline and online preference training share: DPO, for all languages or per cluster, then a merge."""

from components.dpo.component import dpo
from components.dpo.task import Config as DPO
from components.merging.component import merging
from pipelines.graph import Channel, Graph, slots


def train_and_merge(
    graph: Graph, label: str, config: DPO, per_cluster: bool, policy: Channel, pairs: Channel
) -> Channel:
    """The policy after DPO on the pairs.

    Per cluster, the clusters' models are merged by the recipe's merging section; otherwise the one trained model is
    averaged with the policy that it started from.
    """
    recipe = graph.recipe
    groups = {cluster: recipe.cluster_languages(cluster) for cluster in recipe.clusters} if per_cluster else {"": None}
    parts = []
    for cluster, languages in groups.items():
        name = "-".join(filter(None, ("dpo", label, cluster)))
        changed = config.model_copy(update={"languages": languages})
        parts.append(graph.step(dpo, name, changed, recipe.resources.training, model=policy, pairs=pairs))
    method = recipe.merging if per_cluster else recipe.interpolation
    models = parts if per_cluster else [policy, *parts]
    machine = recipe.resources.merging
    return graph.step(merging, f"merge-{label}", method, machine, base=policy, **slots("model", models))
