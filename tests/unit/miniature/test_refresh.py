"""The reward model brought up to date with the policy."""

from pathlib import Path

import pytest
import torch

from components.common.errors import BadInput
from components.common.models import load_causal_lm, load_reward_model
from components.miniature.facts import Fact
from components.miniature.refresh import Refresh, refresh_reward
from components.miniature.reward import pair_accuracy, sampled_pairs
from components.miniature.training import Optimisation, encode, sample, train
from components.miniature.world import read_facts
from tests.unit.miniature.conftest import FEW, build

SETTINGS = {"prompts": 4, "ranking": FEW}


@pytest.fixture
def inputs(world: Path, models: dict[str, Path]) -> dict[str, list[Path]]:
    return {"world": [world], "reward": [models["reward"]], "policy": [models["teacher"]]}


def test_the_refreshed_model_is_a_reward_model_and_the_old_one_stays(
    inputs: dict[str, list[Path]], tmp_path: Path
) -> None:
    before = (inputs["reward"][0] / "model.safetensors").read_bytes()
    metrics = build(tmp_path / "new", inputs, build="refresh", refresh=SETTINGS)
    assert set(metrics) == {"pairs", "pair_accuracy_before", "pair_accuracy"}
    assert 0 <= metrics["pair_accuracy"] <= 1
    model, tokenizer = load_reward_model(tmp_path / "new")
    assert model(input_ids=torch.tensor([[5, 20, tokenizer.eos_token_id]])).logits.shape == (1, 1)
    assert (inputs["reward"][0] / "model.safetensors").read_bytes() == before
    assert (tmp_path / "new" / "model.safetensors").read_bytes() != before


def test_a_refresh_is_deterministic_and_depends_on_the_policy(
    inputs: dict[str, list[Path]], world: Path, tmp_path: Path
) -> None:
    build(tmp_path / "stranger", {"world": [world]}, build="base", seed=1, base={"optimisation": FEW})
    teacher, stranger = inputs["policy"][0], tmp_path / "stranger"
    for name, policy in (("first", teacher), ("again", teacher), ("other", stranger)):
        given = {**inputs, "policy": [policy]}
        build(tmp_path / name, given, build="refresh", refresh={**SETTINGS, "samples": 1.0})
    first, again, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("first", "again", "other"))
    assert first == again
    assert first != other


def test_a_refresh_teaches_the_policys_own_mistakes(world: Path, models: dict[str, Path]) -> None:
    """A policy that has learnt half of its facts right and half wrong: the refreshed model tells the two apart."""
    reward, tokenizer = load_reward_model(models["reward"])
    policy, _ = load_causal_lm(models["base"])
    facts = [fact for fact in read_facts(world, "training") if fact.kind == "currency"][:24]
    train(policy, encode(tokenizer, _half_right(facts)), Optimisation(steps=80, batch=16), seed=0)
    answers = sample(policy, tokenizer, [fact.prompt for fact in facts], 1.0, samples=4, seed=1)
    pairs = sampled_pairs(facts, answers, margin=8.0)
    assert len(pairs) >= 10
    before = pair_accuracy(reward, tokenizer, pairs)
    settings = Refresh(
        prompts=24, samples=1.0, ranking=Optimisation(steps=60, batch=16, learning_rate=2e-3, matrix_rate=0.01)
    )
    refresh_reward(reward, policy, tokenizer, facts, settings, seed=0)
    assert pair_accuracy(reward, tokenizer, pairs) > max(0.9, before)


def _half_right(facts: list[Fact]) -> list[tuple[str, str]]:
    return [(fact.prompt, answer) for fact in facts for answer in (fact.answer, f"{fact.answer} {fact.answer}")]


@pytest.mark.parametrize("missing", ["world", "reward", "policy"])
def test_every_input_is_asked_for_by_name(inputs: dict[str, list[Path]], tmp_path: Path, missing: str) -> None:
    given = {name: folders for name, folders in inputs.items() if name != missing}
    with pytest.raises(BadInput, match=f"'{missing}'"):
        build(tmp_path / "new", given, build="refresh", refresh=SETTINGS)
    assert not list((tmp_path / "new").iterdir())
