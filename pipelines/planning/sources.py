"""Where models and questions come from, and how large they are; what the planner cannot know it asks the recipe for."""

import json
from collections.abc import Callable, Iterable

from components.benchmarks.task import Config as Benchmarks
from components.common.errors import BadInput
from components.common.store import folder_of
from components.miniature.task import Config as Miniature
from components.miniature.training import Optimisation
from components.weights.task import Config as Weights
from pipelines.planning.assumptions import Planning
from pipelines.planning.benchmarks import count_questions
from pipelines.planning.formulas import training_flops
from pipelines.planning.shapes import PUBLISHED, Shape, shape_of
from pipelines.planning.work import BYTES_PER_TOKEN, Made, Model, Questions, Work

FLOAT32 = 4
#: What a miniature builds that has one score instead of a vocabulary.
REWARDS = frozenset({"reward", "refresh"})


def find_shape(source: str, planning: Planning) -> Shape | None:
    """The shape of the model at a recipe's source ("hf://org/name@revision", "file:///folder"); None when nobody knows it.

    The recipe's own count comes first, then a local folder's configuration, then the table of published models.
    """
    if stated := planning.parameters.get(_name(source)):
        return Shape(stated=stated)
    return _local_shape(source) if source.startswith("file://") else PUBLISHED.get(_name(source))


def check_sources(sources: Iterable[str], planning: Planning) -> None:
    """Raise BadInput that names every model whose size is not known, and the field to set."""
    unknown = sorted({source for source in sources if find_shape(source, planning) is None})
    if unknown:
        example = ", ".join(f'"{_name(source)}": ...' for source in unknown)
        raise BadInput(
            f"How large {' and '.join(unknown)} is cannot be known from here; state the number of parameters in the recipe: "
            f"planning.parameters: {{{example}}}."
        )


def _name(source: str) -> str:
    return source.removeprefix("hf://").partition("@")[0]


def _local_shape(source: str) -> Shape | None:
    try:
        config = json.loads((folder_of(source) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return shape_of(config) if isinstance(config, dict) else None


def fetch_weights(config: Weights, planning: Planning) -> Work:
    """A published model in 16 bits, copied into the store."""
    shape = find_shape(config.source, planning)
    assert shape is not None, "check_sources comes first"
    model = Model(shape)
    return Work(made=model, stored=model.bytes)


def fetch_questions(config: Benchmarks, planning: Planning) -> Work:
    """The public benchmarks' questions."""
    counts = count_questions(config)
    tokens = sum(count * planning.prompt_tokens for count in counts.values())
    return Work(made=Questions(counts), rows=sum(counts.values()), stored=tokens * BYTES_PER_TOKEN)


def build_miniature(config: Miniature, world: Made, planning: Planning) -> Work:
    """The small world, or one of its models."""
    if config.build == "world":
        sizes = config.world.model_dump(include={"arena", "check", "facts_choice", "facts_exact", "facts_chrf"})
        counts = {name: size * len(config.world.languages) for name, size in sizes.items()}
        return Work(made=Questions(counts, config.world.vocabulary), rows=sum(counts.values()))
    assert isinstance(world, Questions)
    fields = config.shape.model_dump(exclude={"initializer_range"})
    tiny = {"model_type": "cohere", "vocab_size": world.vocabulary, "tie_word_embeddings": True, **fields}
    shape = shape_of(tiny | ({"architectures": ["CohereForSequenceClassification"]} if config.build in REWARDS else {}))
    assert shape is not None
    model = Model(shape, width=FLOAT32)
    examples = _EXAMPLES[config.build](config)
    tokens = examples * (planning.prompt_tokens + planning.completion_tokens)
    flops = training_flops(shape, tokens, recomputed=False)
    return Work(made=model, rows=examples, trained=tokens, training_flops=flops, stored=model.bytes)


def _both_sides(ranking: Optimisation) -> int:
    return 2 * ranking.steps * ranking.batch  # of a pair


def _reward_examples(config: Miniature) -> int:
    reward = config.reward
    once = sum(part.steps * part.batch for part in (reward.language_modelling, reward.shadow))
    return once + _both_sides(reward.ranking)


_EXAMPLES: dict[str, Callable[[Miniature], int]] = {
    "base": lambda config: config.base.optimisation.steps * config.base.optimisation.batch,
    "teacher": lambda config: config.teacher.optimisation.steps * config.teacher.optimisation.batch,
    "reward": _reward_examples,
    "refresh": lambda config: _both_sides(config.refresh.ranking),
}
