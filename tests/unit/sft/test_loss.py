"""What is taught: the answer's tokens, all of them and nothing else, and the loss is the textbook one."""

import pytest
import torch

from components.common.models import conversation, load_causal_lm, load_tokenizer
from components.sft.examples import IGNORED, encode_examples
from components.sft.task import Config, run
from tests.trainable import example, save_examples


def test_labels_are_the_assistant_mask_of_the_template(model):
    tokenizer = load_tokenizer(model)
    rows = [example(i) for i in range(20)]
    encoded = encode_examples(tokenizer, rows, 200)
    for row, source in zip(encoded.rows, rows, strict=True):
        reference = tokenizer.apply_chat_template(
            conversation(source["prompt"], source["completion"]), return_dict=True, return_assistant_tokens_mask=True
        )
        assert row["input_ids"] == reference["input_ids"]
        assert [label != IGNORED for label in row["labels"]] == [bool(bit) for bit in reference["assistant_masks"]]
        assert row["labels"][-1] == tokenizer.eos_token_id


def test_first_loss_is_the_mean_nll_of_the_answer_tokens(model, tmp_path, output):
    rows = [example(i) for i in range(8)]
    examples = save_examples(tmp_path / "examples", rows)
    config = Config(steps=1, learning_rate=1e-3, global_batch_size=8, device_batch_size=2)
    metrics = run(config, {"model": [model], "examples": [examples]}, output)

    network, tokenizer = load_causal_lm(model)
    total, count = 0.0, 0
    for row in encode_examples(tokenizer, rows, 200).rows:  # one at a time: no padding, no batching, no TRL
        ids, labels = torch.tensor([row["input_ids"]]), torch.tensor(row["labels"])
        with torch.no_grad():
            logits = network(input_ids=ids).logits[0]
        for position in range(1, len(labels)):
            if labels[position] != IGNORED:
                total -= torch.log_softmax(logits[position - 1], -1)[labels[position]].item()
                count += 1
    assert metrics["tokens"] == count
    assert metrics["loss_first"] == pytest.approx(total / count, rel=1e-5)


def test_gradient_accumulation_does_not_change_the_result(model, examples, tmp_path):
    losses = []
    for device in (8, 4, 1):
        folder = tmp_path / str(device) / "output"
        folder.mkdir(parents=True)
        config = Config(steps=3, learning_rate=1e-3, global_batch_size=8, device_batch_size=device)
        metrics = run(config, {"model": [model], "examples": [examples]}, folder)
        losses.append((metrics["loss_first"], metrics["loss_last"]))
    for other in losses[1:]:
        assert other == pytest.approx(losses[0], rel=1e-4)


def test_a_run_lowers_the_loss(model, examples, output):
    config = Config(steps=30, learning_rate=5e-3, global_batch_size=16, device_batch_size=16)
    metrics = run(config, {"model": [model], "examples": [examples]}, output)
    assert metrics["loss_last"] < 0.7 * metrics["loss_first"]


def test_only_labelled_positions_are_projected_onto_the_vocabulary(model, examples, output, monkeypatch):
    import trl.trainer.utils

    original, seen = trl.trainer.utils._ChunkedLogProbFunction, []

    class Recording:
        @staticmethod
        def apply(hidden, *rest):
            seen.append(len(hidden))
            return original.apply(hidden, *rest)

    monkeypatch.setattr(trl.trainer.utils, "_ChunkedLogProbFunction", Recording)
    config = Config(steps=2, learning_rate=1e-3, global_batch_size=8, device_batch_size=8)
    metrics = run(config, {"model": [model], "examples": [examples]}, output)
    assert sum(seen) == metrics["tokens"]
