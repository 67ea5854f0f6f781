from pathlib import Path
from random import Random

import pytest
import torch

from components.common.models import load_causal_lm, load_reward_model
from components.miniature.curriculum import Lessons, lessons
from components.miniature.facts import Fact, all_facts
from components.miniature.reward import pair_accuracy, sampled_pairs
from components.miniature.task import Config
from components.miniature.training import Optimisation, Shape, encode, new_model, sample, train
from components.miniature.world import read_facts, read_tokenizer
from tests.unit.miniature.conftest import FEW, build

OPTIMISATION = Optimisation(steps=1)


@pytest.fixture(scope="module")
def german() -> list[Fact]:
    return list(all_facts(("de", "en")))


def test_base_and_teacher_are_cohere_models(models: dict[str, Path]) -> None:
    for name in ("base", "teacher"):
        model, tokenizer = load_causal_lm(models[name])
        assert type(model).__name__ == "CohereForCausalLM"
        assert model.config.logit_scale == 1.0
        assert model.generation_config.eos_token_id == tokenizer.eos_token_id
        assert tokenizer.chat_template


def test_reward_model_has_one_finite_score(models: dict[str, Path]) -> None:
    model, tokenizer = load_reward_model(models["reward"])
    ids = torch.tensor([[5, 20, 30, tokenizer.eos_token_id]])
    score = model(input_ids=ids).logits
    assert score.shape == (1, 1)
    padded = model(input_ids=torch.cat([ids, torch.zeros(1, 3, dtype=ids.dtype)], dim=1)).logits
    assert torch.allclose(score, padded, atol=1e-5)


def test_training_is_deterministic(world: Path, models: dict[str, Path], tmp_path: Path) -> None:
    build(tmp_path / "base", {"world": [world]}, build="base", base={"home": ["de"], "optimisation": FEW})
    same = (tmp_path / "base" / "model.safetensors").read_bytes()
    assert same == (models["base"] / "model.safetensors").read_bytes()
    assert same != (models["reward"] / "model.safetensors").read_bytes()


def test_training_learns_and_sampling_answers(world: Path) -> None:
    tokenizer = read_tokenizer(world)
    model = new_model(tokenizer, Shape(), seed=0)
    pairs = [(fact.prompt, fact.answer) for fact in read_facts(world, "training")[:8]]
    train(model, encode(tokenizer, pairs), Optimisation(steps=60, batch=8), seed=0)
    answers = sample(model, tokenizer, [prompt for prompt, _ in pairs], temperature=0)
    assert [answer for (answer,) in answers] == [answer for _, answer in pairs]
    assert [len(row) for row in sample(model, tokenizer, ["?", "!"], temperature=1.0, samples=3)] == [3, 3]


def test_lessons_follow_home_and_habits(german: list[Fact]) -> None:
    truth = {fact.prompt: fact for fact in german}
    settings = Lessons(home=("de",), home_share=0.8, wrong_abroad=1.0, optimisation=OPTIMISATION)
    taught = [(truth[prompt], answer) for prompt, answer in lessons(german, settings, 1000, Random(0))]
    assert 0.75 < sum(fact.language == "de" for fact, _ in taught) / 1000 < 0.85
    assert all((answer == fact.answer) == (fact.language == "de") for fact, answer in taught)


def test_habits_are_faults_of_one_kind_of_question(german: list[Fact]) -> None:
    truth = {fact.prompt: fact for fact in german}
    settings = Lessons(habits={"currency": {"repeat": 1.0}}, optimisation=OPTIMISATION)
    for prompt, answer in lessons(german, settings, 300, Random(0)):
        fact = truth[prompt]
        expected = f"{fact.answer} {fact.answer}" if fact.kind == "currency" else fact.answer
        assert answer == expected


def test_sampled_pairs_prefer_what_is_nearer_to_the_truth() -> None:
    fact = Fact("de", "date", "2024 3 5", False, "?", "5. März 2024")
    pairs = sampled_pairs([fact], [["5. März 2023", "March 5, 2024", "5. März 2024"]])
    assert ("?", "5. März 2024", "March 5, 2024") in pairs
    assert ("?", "5. März 2023", "March 5, 2024") in pairs
    assert len(pairs) == 3


def test_pair_accuracy_counts_right_orders(models: dict[str, Path]) -> None:
    model, tokenizer = load_reward_model(models["reward"])
    pairs = [("5 km?", "5 Kilometer", "March"), ("6 km?", "6 Kilometer", "6")]
    swapped = [(prompt, worse, better) for prompt, better, worse in pairs]
    total = pair_accuracy(model, tokenizer, pairs) + pair_accuracy(model, tokenizer, swapped)
    assert total == pytest.approx(1.0)


def test_configuration_rejects_what_nobody_reads() -> None:
    with pytest.raises(ValueError, match="Extra inputs"):
        Config.model_validate({"build": "base", "base": {"habits": {}, "epochs": 3}})
