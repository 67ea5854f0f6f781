"""The miniature's stage: builds the world, or one of its tiny models."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from components.common.inputs import Inputs, one
from components.common.models import load_causal_lm, load_reward_model
from components.miniature.curriculum import Lessons, lessons
from components.miniature.facts import CLOSED, Fact
from components.miniature.refresh import Refresh, refresh_reward
from components.miniature.reward import Models, Preferred, Reward, pair_accuracy, sampled_pairs, train_reward
from components.miniature.training import Optimisation, Shape, encode, new_model, sample, save, train
from components.miniature.world import World, build_world, read_facts, read_tokenizer

if TYPE_CHECKING:
    from transformers import CohereForCausalLM

__all__ = ["Config", "run"]

Metrics = dict[str, float | int | str]
PROBE_SAMPLES = 4


class Config(BaseModel):
    """What to build: of the sections only the one named like ``build`` is used, and ``shape`` by base and teachers.

    ``probes`` is how many held-out facts are behind a model's headline number.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    build: Literal["world", "base", "teacher", "reward", "refresh"]
    seed: int = Field(default=0, ge=0)
    probes: PositiveInt = 300
    shape: Shape = Shape()
    world: World = World()
    base: Lessons = Lessons(optimisation=Optimisation(steps=440))
    teacher: Lessons = Lessons(optimisation=Optimisation(steps=500))
    reward: Reward = Reward()
    refresh: Refresh = Refresh()


def run(config: Config, inputs: Inputs, output: Path) -> Metrics:
    """Write what ``config.build`` names into the empty folder ``output``; returns its headline metrics."""
    if config.build == "world":
        return build_world(config.world, output)
    world = one(inputs, "world")
    if config.build == "reward":
        return _build_reward(config, inputs, world, output)
    if config.build == "refresh":
        return _build_refresh(config, inputs, world, output)
    return _build_language_model(config, config.base if config.build == "base" else config.teacher, world, output)


def _build_language_model(config: Config, settings: Lessons, world: Path, output: Path) -> Metrics:
    tokenizer = read_tokenizer(world)
    count = settings.optimisation.steps * settings.optimisation.batch
    pairs = lessons(read_facts(world, "training"), settings, count, Random(config.seed))
    model = new_model(tokenizer, config.shape, config.seed)
    train(model, encode(tokenizer, pairs), settings.optimisation, config.seed)
    save(model, tokenizer, output)
    return _exact_match(model, tokenizer, _probes(world, config.probes), settings.home)


def _probes(world: Path, count: int) -> list[Fact]:
    """Held-out facts of the kinds that are scored, a sample that is the same for every model."""
    facts = [fact for fact in read_facts(world, "probes") if fact.task not in CLOSED]
    return Random(0).sample(facts, min(count, len(facts)))


def _exact_match(model: "CohereForCausalLM", tokenizer: Any, facts: Sequence[Fact], home: Sequence[str]) -> Metrics:
    """The part of the facts that the model writes out exactly, over all languages, at home and abroad."""
    answers = sample(model, tokenizer, [fact.prompt for fact in facts], temperature=0)
    right = {fact.id: float(answer == fact.answer) for fact, (answer,) in zip(facts, answers, strict=True)}
    parts = {"exact_match": facts}
    if home:
        parts["exact_match_home"] = [fact for fact in facts if fact.language in home]
        parts["exact_match_abroad"] = [fact for fact in facts if fact.language not in home]
    return {name: sum(right[fact.id] for fact in part) / len(part) for name, part in parts.items() if part}


def _build_reward(config: Config, inputs: Inputs, world: Path, output: Path) -> Metrics:
    base, tokenizer = load_causal_lm(one(inputs, "base"))
    models = Models(base, [load_causal_lm(folder)[0] for folder in inputs["teachers"]], tokenizer)
    reward, shadow = train_reward(models, _taught(world), config.reward, config.seed)
    save(reward, tokenizer, output)
    pairs = _probe_pairs(config, shadow, tokenizer, world)
    return {"pairs": len(pairs), "pair_accuracy": pair_accuracy(reward, tokenizer, pairs)}


def _build_refresh(config: Config, inputs: Inputs, world: Path, output: Path) -> Metrics:
    reward, tokenizer = load_reward_model(one(inputs, "reward"))
    policy, _ = load_causal_lm(one(inputs, "policy"))
    pairs = _probe_pairs(config, policy, tokenizer, world)
    before = pair_accuracy(reward, tokenizer, pairs)
    refresh_reward(reward, policy, tokenizer, _taught(world), config.refresh, config.seed)
    save(reward, tokenizer, output)
    return {
        "pairs": len(pairs),
        "pair_accuracy_before": before,
        "pair_accuracy": pair_accuracy(reward, tokenizer, pairs),
    }


def _taught(world: Path) -> list[Fact]:
    """The training facts of the kinds that are scored."""
    return [fact for fact in read_facts(world, "training") if fact.task not in CLOSED]


def _probe_pairs(config: Config, policy: "CohereForCausalLM", tokenizer: Any, world: Path) -> list[Preferred]:
    """Pairs of the policy's answers to held-out facts, to see how well a reward model ranks them."""
    asked = _probes(world, config.probes)
    answers = sample(policy, tokenizer, [fact.prompt for fact in asked], 1.0, samples=PROBE_SAMPLES, seed=config.seed)
    return sampled_pairs(asked, answers)
