"""TRL's loss on our tokens against the formula, and the direction of its gradient."""

import math

import pytest
import torch

from components.common.models import conversation, load_causal_lm, load_tokenizer
from components.dpo.pairs import encode_pairs
from components.dpo.task import Config, run
from tests.trainable import pair, save_pairs

SOME = {"learning_rate": 2e-3, "global_batch_size": 8, "device_batch_size": 4}


def log_probability(network, prompt, completion):
    """Sum of log pi(token | before) over the completion, one sequence at a time."""
    ids = torch.tensor([prompt + completion])
    with torch.no_grad():
        table = torch.log_softmax(network(input_ids=ids).logits[0].double(), -1)
    return sum(table[len(prompt) + i - 1, token].item() for i, token in enumerate(completion))


def margins(network, rows):
    return [
        log_probability(network, row["prompt_ids"], row["chosen_ids"])
        - log_probability(network, row["prompt_ids"], row["rejected_ids"])
        for row in rows
    ]


def rows_of(model, pairs):
    return encode_pairs(load_tokenizer(model), pairs, 200).rows


def test_first_loss_is_ln_2(model, pairs, output):
    metrics = run(Config(**SOME, steps=1), {"model": [model], "pairs": [pairs]}, output)
    assert metrics["loss_first"] == pytest.approx(math.log(2), abs=1e-6)
    assert abs(metrics["chosen_change"]) < 1e-3 and abs(metrics["rejected_change"]) < 1e-3


def test_second_loss_is_the_formula(model, tmp_path):
    """Eq. 7 of Rafailov et al.: -log sigmoid(beta (log pi/ref of chosen - log pi/ref of rejected)), mean over pairs."""
    table = [pair(i) for i in range(8)]
    pairs = save_pairs(tmp_path / "pairs", table)
    after = {}
    for steps in (1, 2):
        output = tmp_path / str(steps) / "output"
        output.mkdir(parents=True)
        config = Config(**SOME, steps=steps, beta=0.3)
        after[steps] = run(config, {"model": [model], "pairs": [pairs]}, output), output
    reference, policy = load_causal_lm(model)[0], load_causal_lm(after[1][1])[0]
    rows = rows_of(model, table)
    gaps = [new - old for new, old in zip(margins(policy, rows), margins(reference, rows), strict=True)]
    losses = [math.log1p(math.exp(-0.3 * gap)) for gap in gaps]
    metrics = after[2][0]
    assert metrics["loss_last"] == pytest.approx(sum(losses) / 8, rel=1e-4)
    assert metrics["reward_accuracy"] == pytest.approx(sum(gap > 0 for gap in gaps) / 8)
    assert metrics["reward_margin"] == pytest.approx(0.3 * sum(gaps) / 8, rel=1e-3)
    assert metrics["loss_last"] < math.log(2)


def test_one_step_raises_chosen_over_rejected(model, tmp_path, output):
    table = [pair(i) for i in range(8)]
    pairs = save_pairs(tmp_path / "pairs", table)
    run(Config(**SOME, steps=1), {"model": [model], "pairs": [pairs]}, output)
    rows = rows_of(model, table)
    before, after = margins(load_causal_lm(model)[0], rows), margins(load_causal_lm(output)[0], rows)
    assert sum(after) > sum(before) + 0.1


def test_tokens_are_those_of_trl(model):
    """TRL's own preparation of conversations gives the same three lists of token ids."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    from components.dpo.training import Trainer

    table, tokenizer = [pair(i) for i in range(5)], load_tokenizer(model)
    turns = [
        {
            "prompt": conversation(row["prompt"]),
            "chosen": conversation(row["prompt"], row["chosen"])[1:],
            "rejected": conversation(row["prompt"], row["rejected"])[1:],
        }
        for row in table
    ]
    trainer = Trainer.__new__(Trainer)
    trainer._tokenizer = tokenizer
    arguments = DPOConfig(output_dir="unused", max_length=None, bf16=False, activation_checkpointing=False)
    theirs = DPOTrainer._prepare_dataset(trainer, Dataset.from_list(turns), tokenizer, arguments, "train")
    names = ("prompt_ids", "chosen_ids", "rejected_ids")
    assert [{name: row[name] for name in names} for row in theirs] == rows_of(model, table)


@pytest.mark.parametrize("loss", ["hinge", "ipo", "nca_pair", "bco_pair", "sppo_hard", "apo_zero", "sigmoid_norm"])
def test_other_losses_run_and_learn(model, pairs, tmp_path, loss):
    output = tmp_path / "output"
    output.mkdir()
    metrics = run(Config(**SOME, steps=4, loss=loss), {"model": [model], "pairs": [pairs]}, output)
    assert metrics["reward_margin"] > 0


def test_two_passes_over_few_pairs(model, tmp_path, output):
    """Every repeat of a pair meets the reference of the input model, not of the policy it has become."""
    pairs = save_pairs(tmp_path / "pairs", [pair(i) for i in range(5)])
    metrics = run(Config(**SOME, epochs=16), {"model": [model], "pairs": [pairs]}, output)
    assert metrics["steps"] == 10
    assert metrics["loss_last"] < 0.5 and metrics["reward_accuracy"] == 1.0
