"""The reward model brought up to date with the policy that it is to rank.

A policy that has been trained answers unlike the models whose answers the reward model has seen, so the reward model is
trained on, between rounds, on fresh samples of the policy. That is common in iterative training: Llama 2 (Touvron et al.
2023, arXiv 2307.09288, section 3.2) gathers preferences on the latest model's answers before every round.
"""

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from pydantic import Field

from components.miniature.facts import Fact
from components.miniature.reward import SAMPLES, Mixture, mixed_pairs, rank, sampled_pairs
from components.miniature.training import Optimisation, sample

if TYPE_CHECKING:
    from transformers import CohereForCausalLM, PreTrainedModel

__all__ = ["Refresh", "refresh_reward"]


class Refresh(Mixture):
    """How the reward model is brought up to date.

    Only part of the pairs (``samples``) are the policy's answers; the rest keep what the reward model already knows.
    """

    prompts: int = Field(default=1000, gt=0)
    samples: float = Field(default=0.7, ge=0, le=1)
    faults: float = Field(default=0.12, ge=0, le=1)
    wrong: float = Field(default=0.07, ge=0, le=1)
    stray: float = Field(default=0.09, ge=0, le=1)
    ranking: Optimisation = Optimisation(steps=120, learning_rate=1e-3, matrix_rate=0.003)


def refresh_reward(
    reward: "PreTrainedModel",
    policy: "CohereForCausalLM",
    tokenizer: Any,
    facts: Sequence[Fact],
    settings: Refresh,
    seed: int,
) -> None:
    """Train ``reward``, in place, on answers of ``policy`` to training prompts, labelled by closeness to the truth."""
    rng = Random(seed)
    asked = rng.sample(list(facts), min(settings.prompts, len(facts)))
    answers = sample(policy, tokenizer, [fact.prompt for fact in asked], 1.0, SAMPLES, seed)
    pairs = sampled_pairs(asked, answers, settings.margin)
    count = settings.ranking.steps * settings.ranking.batch
    rank(reward, tokenizer, mixed_pairs(pairs, facts, settings, count, rng), settings.ranking, seed)
