import pytest

from components.common.errors import BadInput
from components.common.records import PAIR, read_records
from components.common.rewards import DROPPED
from components.preference.task import Config, run
from tests.scored import save_scored, scored


def pool(prompts=20):
    return [
        scored(f"p{i:02}", model, reward=float(place), language="de" if i % 2 else "fr")
        for i in range(prompts)
        for place, model in enumerate("abc")
    ]


def test_offline_pairs_from_a_pool_and_from_contrast(tmp_path):
    native = [scored("p00", "strong", reward=2.0), scored("p01", "strong", reward=0.0)]
    translated = [scored("p00", "weak", reward=1.0), scored("p01", "weak", reward=0.5), scored("p02", "weak")]
    for row in native + translated:
        row["language"] = "de" if row["id"] == "p01" else "fr"
    inputs = {
        "scored": [save_scored(tmp_path / "pool", pool())],
        "contrast": [save_scored(tmp_path / "native", native), save_scored(tmp_path / "translated", translated)],
    }
    metrics = run(Config(margin=0.5), inputs, tmp_path)
    assert metrics == {
        "pairs": 22, "dropped": 1, "mean_margin": pytest.approx((20 * 2 + 1.5) / 22), "pairs_best-worst": 20,
        "pairs_contrast": 2, "pairs_de": 11, "pairs_fr": 11, "in_language_chosen": 0.5,
    }  # fmt: skip
    pairs = read_records(tmp_path / "pairs.parquet", PAIR)
    assert [(row["chosen_model"], row["rejected_model"]) for row in pairs if row["source"] == "contrast"] == [
        ("strong", "weak"),
        ("weak", "strong"),
    ]
    assert read_records(tmp_path / "dropped.parquet", DROPPED)[0]["id"] == "p02"


def test_online_pairs_come_from_the_samples_of_one_policy(tmp_path):
    rows = [scored("p", "policy", sample, float(sample)) for sample in range(4)]
    metrics = run(Config(source="online"), {"scored": [save_scored(tmp_path / "in", rows)]}, tmp_path)
    assert metrics["pairs_online"] == 1
    pair = read_records(tmp_path / "pairs.parquet")[0]
    assert (pair["chosen"], pair["rejected"], pair["source"]) == ("p policy 3", "p policy 0", "online")


def test_maximum_pairs(tmp_path):
    metrics = run(Config(maximum_pairs=7), {"scored": [save_scored(tmp_path / "in", pool())]}, tmp_path)
    assert metrics["pairs"] == len(read_records(tmp_path / "pairs.parquet")) == 7


def test_no_pair_is_a_result(tmp_path):
    metrics = run(Config(), {"scored": [save_scored(tmp_path / "in", [])]}, tmp_path)
    assert metrics == {"pairs": 0, "dropped": 0}
    assert read_records(tmp_path / "pairs.parquet", PAIR) == []


def test_missing_inputs_are_refused(tmp_path):
    with pytest.raises(BadInput, match="nothing to make pairs of"):
        run(Config(), {}, tmp_path)
    with pytest.raises(BadInput, match="in this order, and got 1"):
        run(Config(), {"contrast": [save_scored(tmp_path / "in", pool())]}, tmp_path)
