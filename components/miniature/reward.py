"""The reward model: a tiny Cohere backbone that learns to tell the better of two answers.

It learns from what it will have to rank: samples of the teachers, of the base, and of a shadow policy (the base
quickly fine-tuned on the teachers' best answers), labelled by closeness to the truth, beside true answers against
spoilt ones.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from components.miniature.curriculum import Lessons, lessons
from components.miniature.facts import Fact
from components.miniature.faults import FAULTS, apply_fault, garbled, stray_form, wrong_fact
from components.miniature.training import Optimisation, batches, encode, minimise, padded, sample, train

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import CohereForCausalLM, PreTrainedModel

__all__ = [
    "SAMPLES", "Mixture", "Models", "Preferred", "Reward", "closeness", "mixed_pairs", "pair_accuracy", "rank",
    "sampled_pairs", "train_reward",
]  # fmt: skip

Preferred = tuple[str, str, str]  # a prompt, its better answer, its worse answer
SAMPLES = 4  # of the shadow policy for each prompt, as many as the online rounds compare


class Mixture(BaseModel):
    """What a reward model's pairs are made of.

    ``samples``, ``faults``, ``wrong`` and ``stray`` (answers in another language) are parts of the pairs, the rest are
    garbled words. ``prompts`` is how many training prompts are sampled from every model; of two samples the better one
    must be nearer to the truth by ``margin``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompts: PositiveInt = 700
    samples: float = Field(default=0.5, ge=0, le=1)
    faults: float = Field(default=0.2, ge=0, le=1)
    wrong: float = Field(default=0.12, ge=0, le=1)
    stray: float = Field(default=0.15, ge=0, le=1)
    margin: float = Field(default=8.0, ge=0)


class Reward(Mixture):
    """How the reward model is trained: on what, and for how long."""

    language_modelling: Optimisation = Optimisation(steps=200)
    shadow: Optimisation = Optimisation(steps=80, learning_rate=2e-3, matrix_rate=0.005)
    ranking: Optimisation = Optimisation(steps=300, learning_rate=1.5e-3, matrix_rate=0.005)


@dataclass(frozen=True)
class Models:
    """The models whose answers are ranked, and the tokenizer they share."""

    base: "CohereForCausalLM"
    teachers: "Sequence[CohereForCausalLM]"
    tokenizer: Any


def closeness(answer: str, truth: str) -> float:
    """Sentence chrF, from 0 to 100."""
    from sacrebleu.metrics import CHRF

    return float(CHRF().sentence_score(answer, [truth]).score)


def train_reward(
    models: Models, facts: Sequence[Fact], settings: Reward, seed: int
) -> "tuple[PreTrainedModel, CohereForCausalLM]":
    """The reward model, taught on training facts, and the shadow policy whose samples it has learnt to rank."""
    rng = Random(seed)
    asked = rng.sample(list(facts), min(settings.prompts, len(facts)))
    answers = _sample_all([*models.teachers, models.base], models.tokenizer, asked, seed)
    shadow = _shadow_policy(models, asked, answers, settings.shadow, seed)
    more = sample(shadow, models.tokenizer, [fact.prompt for fact in asked], 1.0, SAMPLES, seed)
    sampled = [pair for rows in (answers, more) for pair in sampled_pairs(asked, rows, settings.margin)]
    reader = _clean_reader(models, facts, settings.language_modelling, rng, seed)
    reward = _classifier(reader)
    count = settings.ranking.steps * settings.ranking.batch
    rank(reward, models.tokenizer, mixed_pairs(sampled, facts, settings, count, rng), settings.ranking, seed)
    return reward, shadow


def _sample_all(
    models: "Sequence[CohereForCausalLM]", tokenizer: Any, asked: Sequence[Fact], seed: int
) -> list[list[str]]:
    """For each fact, one answer of every model."""
    prompts = [fact.prompt for fact in asked]
    columns = [[answers[0] for answers in sample(model, tokenizer, prompts, 0.7, seed=seed)] for model in models]
    return [list(row) for row in zip(*columns, strict=True)]


def _shadow_policy(
    models: Models, asked: Sequence[Fact], answers: Sequence[Sequence[str]], settings: Optimisation, seed: int
) -> "CohereForCausalLM":
    """The base after a short fine-tuning on the answers nearest to the truth."""
    best = [
        max(row, key=lambda answer: closeness(answer, fact.answer)) for fact, row in zip(asked, answers, strict=True)
    ]
    shadow = deepcopy(models.base)
    pairs = [(fact.prompt, answer) for fact, answer in zip(asked, best, strict=True)]
    train(shadow, encode(models.tokenizer, pairs), settings, seed)
    return shadow


def _clean_reader(
    models: Models, facts: Sequence[Fact], settings: Optimisation, rng: Random, seed: int
) -> "CohereForCausalLM":
    """The base after more language modelling, now on true answers only."""
    reader = deepcopy(models.base)
    pairs = lessons(facts, Lessons(optimisation=settings), settings.steps * settings.batch, rng)
    train(reader, encode(models.tokenizer, pairs), settings, seed)
    return reader


def sampled_pairs(asked: Sequence[Fact], answers: Sequence[Sequence[str]], margin: float = 0.0) -> list[Preferred]:
    """Every two answers to a prompt, and the truth itself, of which one is nearer to the truth by more than ``margin``."""
    pairs: list[Preferred] = []
    for fact, row in zip(asked, answers, strict=True):
        ranked = sorted({(closeness(answer, fact.answer), answer) for answer in (*row, fact.answer)})
        pairs.extend(
            (fact.prompt, better, worse)
            for index, (high, better) in enumerate(ranked)
            for low, worse in ranked[:index]
            if high > low + margin
        )
    return pairs


def mixed_pairs(
    sampled: Sequence[Preferred], facts: Sequence[Fact], settings: Mixture, count: int, rng: Random
) -> list[Preferred]:
    """``count`` pairs in the parts that ``settings`` asks for: sampled ones, and true answers against spoilt ones."""
    return [_pair(sampled, rng.choice(facts), settings, rng) for _ in range(count)]


def _pair(sampled: Sequence[Preferred], fact: Fact, settings: Mixture, rng: Random) -> Preferred:
    chance = rng.random()
    if chance < settings.samples and sampled:
        return rng.choice(sampled)
    chance -= settings.samples
    if chance < settings.faults:
        return fact.prompt, fact.answer, apply_fault(rng.choice(FAULTS), fact, rng)
    chance -= settings.faults
    if chance < settings.wrong:
        return fact.prompt, fact.answer, wrong_fact(fact, rng)
    worse = stray_form(fact, rng) if chance < settings.wrong + settings.stray else garbled(fact.answer, rng)
    return fact.prompt, fact.answer, worse


def _classifier(reader: "CohereForCausalLM") -> "PreTrainedModel":
    """A model with one score on the reader's backbone; the score starts at zero."""
    from components.common.reward_model import register

    config = deepcopy(reader.config)
    config.num_labels = 1
    model = register()(config)
    model.model.load_state_dict(reader.model.state_dict())
    model.score.weight.data.zero_()
    return model


def _scores(reward: "PreTrainedModel", rows: Sequence[list[int]]) -> "Tensor":
    ids, mask = padded(rows, reward.config.pad_token_id)
    return reward(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, 0]


def _encode_both(tokenizer: Any, pairs: Sequence[Preferred]) -> tuple[list[list[int]], list[list[int]]]:
    better = [prompt + answer for prompt, answer in encode(tokenizer, [(prompt, good) for prompt, good, _ in pairs])]
    worse = [prompt + answer for prompt, answer in encode(tokenizer, [(prompt, bad) for prompt, _, bad in pairs])]
    return better, worse


def rank(
    reward: "PreTrainedModel", tokenizer: Any, pairs: Sequence[Preferred], settings: Optimisation, seed: int
) -> None:
    """Teach the pairs' order, in place. Bradley-Terry: minus the logarithm of the sigmoid of the difference in score."""
    import torch

    better, worse = _encode_both(tokenizer, pairs)

    def losses() -> "Iterator[Tensor]":
        lengths = [max(len(good), len(bad)) for good, bad in zip(better, worse, strict=True)]
        for batch in batches(lengths, settings.batch, settings.steps, Random(seed)):
            scores = _scores(reward, [better[index] for index in batch] + [worse[index] for index in batch])
            yield -torch.nn.functional.logsigmoid(scores[: len(batch)] - scores[len(batch) :]).mean()

    minimise(reward, losses(), settings)


def pair_accuracy(reward: "PreTrainedModel", tokenizer: Any, pairs: Sequence[Preferred], batch: int = 256) -> float:
    """The part of the pairs whose better answer has the higher score."""
    import torch

    better, worse = _encode_both(tokenizer, pairs)
    right = 0
    with torch.no_grad():
        for start in range(0, len(pairs), batch):
            part = slice(start, start + batch)
            right += int((_scores(reward, better[part]) > _scores(reward, worse[part])).sum())
    return right / len(pairs)
