import json
import math
import random

import pytest
from pydantic import ValidationError

from components.common.errors import BadInput
from components.common.models import load_reward_model
from components.common.records import COMPLETION, SCORED, read_records, write_records
from components.common.rewards import by_prompt
from components.scoring.rewards import score
from components.scoring.task import Config, run
from tests.tiny import TEXTS, save_tiny_reward


@pytest.fixture(scope="module")
def reward(tmp_path_factory):
    return save_tiny_reward(tmp_path_factory.mktemp("scoring") / "reward", initializer_range=0.5)


def completion(number, **fields):
    source = random.Random(number)
    row = {
        "id": f"p{number // 2}", "language": "de", "prompt": f"Frage {number // 2}", "model": "a", "sample": number % 2,
        "completion": source.choice(TEXTS[:2])[: source.randint(3, 60)], "finish_reason": "stop", "tokens": 5,
    }  # fmt: skip
    return row | fields


def folder_of(path, rows):
    path.mkdir()
    write_records(path / "completions.parquet", rows, COMPLETION)
    return path


def scored(tmp_path, reward, rows, **config):
    output = tmp_path / f"output-{len(list(tmp_path.iterdir()))}"
    output.mkdir()
    inputs = {"completions": [folder_of(output.with_suffix(".in"), rows)], "reward": [reward]}
    metrics = run(Config(**config), inputs, output)
    return read_records(output / "scored.parquet", SCORED), metrics


def winners(rows):
    return {prompt.id: max(prompt.valid, key=lambda row: row["reward"])["sample"] for prompt in by_prompt(rows, 0)}


def test_any_batch_size_and_order_give_the_same_rewards(tmp_path, reward):
    rows = [completion(number) for number in range(40)]
    expected, metrics = scored(tmp_path, reward, rows)
    assert metrics["scored"] == 40 and metrics["rejected"] == 0
    assert len({row["reward"] for row in expected}) > 30
    for changed, size in ((rows, 1), (rows, 7), (rows[::-1], 16)):
        again, _ = scored(tmp_path, reward, changed, batch_size=size)
        found = {(row["id"], row["sample"]): row["reward"] for row in again}
        for row in expected:
            assert math.isclose(row["reward"], found[row["id"], row["sample"]], rel_tol=1e-4, abs_tol=1e-4)
        assert winners(again) == winners(expected)


def test_rewards_are_those_of_the_plain_model(reward):
    import torch

    from components.common.models import conversation, encode_conversations

    model, tokenizer = load_reward_model(reward)
    pairs = [("Frage", "zwölf Kilometer"), ("How far?", "three days and a half"), ("a", "b")]
    for pair, verdict in zip(pairs, score(model, tokenizer, pairs, 3, 500), strict=True):
        (ids,) = encode_conversations(tokenizer, [conversation(*pair)], add_generation_prompt=False)
        with torch.inference_mode():
            expected = model(input_ids=torch.tensor([ids])).logits[0, 0].item()
        assert math.isclose(verdict.reward, expected, rel_tol=1e-4, abs_tol=1e-5)


def test_rows_keep_their_order_and_columns_and_bad_ones_say_why(tmp_path, reward):
    rows = [
        completion(0), completion(1, completion=" "), completion(2, finish_reason="length"), completion(3),
        completion(4, completion="ja " * 30), completion(5, completion="двенадцать"),
    ]  # fmt: skip
    found, metrics = scored(tmp_path, reward, rows)
    assert [row["rejected_because"] for row in found] == ["", "empty", "length", "", "loop", "script"]
    assert [row["reward"] is None for row in found] == [False, True, True, False, True, True]
    assert [{name: row[name] for name in COMPLETION.names} for row in found] == rows
    assert metrics["rejected"] == 4 and metrics["rejected_loop"] == 1
    everything, _ = scored(tmp_path, reward, rows, rules=[])
    assert all(row["reward"] is not None for row in everything)


def test_equal_answers_have_equal_rewards_to_the_last_bit(tmp_path, reward):
    rows = [completion(number) for number in range(30)]
    rows += [row | {"model": "b"} for row in rows]
    found, _ = scored(tmp_path, reward, rows, batch_size=7)
    assert [row["reward"] for row in found[:30]] == [row["reward"] for row in found[30:]]


def test_conversations_beyond_the_limit_or_the_context_are_too_long(tmp_path, reward):
    rows = [completion(0, completion="ja"), completion(1, completion="Guten Tag, wie geht es dir? Привет, как дела?")]
    found, _ = scored(tmp_path, reward, rows, max_length=40)
    assert [row["rejected_because"] for row in found] == ["", "too long"]
    found, metrics = scored(tmp_path, reward, [rows[0], completion(1, completion=" ".join(map(str, range(400))))])
    assert [row["rejected_because"] for row in found] == ["", "too long"]
    assert metrics["rejected_too_long"] == 1


def test_a_reward_model_without_finite_rewards_is_refused(tmp_path):
    import torch

    model, tokenizer = load_reward_model(save_tiny_reward(tmp_path / "reward"))
    with torch.no_grad():
        model.score.weight.fill_(math.nan)
    with pytest.raises(BadInput, match="no finite reward"):
        score(model, tokenizer, [("a", "b")], 4, 100)


def test_a_model_with_several_labels_is_refused(tmp_path):
    folder = save_tiny_reward(tmp_path / "reward")
    model, tokenizer = load_reward_model(folder)
    model.config.num_labels = 2
    with pytest.raises(BadInput, match="2 labels"):
        score(model, tokenizer, [("a", "b")], 4, 100)


def test_a_model_that_does_not_name_its_padding_scores_batches(reward):
    model, tokenizer = load_reward_model(reward)
    pairs = [("a", "b"), ("a", "something much longer")]
    expected = score(model, tokenizer, pairs, 1, 100)
    model.config.pad_token_id = None
    for one, other in zip(score(model, tokenizer, pairs, 2, 100), expected, strict=True):
        assert math.isclose(one.reward, other.reward, rel_tol=1e-4, abs_tol=1e-5)


def test_no_completions_make_an_empty_table_without_a_reward_model(tmp_path):
    output = tmp_path / "output"
    output.mkdir()
    metrics = run(Config(), {"completions": [folder_of(tmp_path / "in", [])]}, output)
    assert metrics == {"scored": 0, "rejected": 0}
    assert read_records(output / "scored.parquet", SCORED) == []


def test_the_same_completion_twice_is_refused(tmp_path, reward):
    with pytest.raises(BadInput, match="two completions"):
        scored(tmp_path, reward, [completion(0), completion(0)])


def test_the_configuration_is_strict():
    with pytest.raises(ValidationError):
        Config(rules=["nonsense"])
    assert json.loads(Config().model_dump_json())["rules"] == ["empty", "length", "loop", "script"]
