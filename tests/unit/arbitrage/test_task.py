import pytest
from pydantic import ValidationError

from components.arbitrage.shares import SHARE
from components.arbitrage.task import Config, run
from components.common.errors import BadInput
from components.common.records import EXAMPLE, read_records
from components.common.rewards import DROPPED
from tests.scored import save_scored, scored


def test_it_writes_examples_shares_and_what_it_dropped(tmp_path):
    rows = [scored("p", "a", reward=1.0), scored("q", "a", reward=2.0), scored("r", "a", reward=None)]
    others = [scored("p", "b", reward=3.0), scored("q", "b", reward=0.5, language="de")]
    inputs = {"scored": [save_scored(tmp_path / "one", rows), save_scored(tmp_path / "two", others)]}
    metrics = run(Config(), inputs, tmp_path)
    examples = read_records(tmp_path / "examples.parquet", EXAMPLE)
    assert [(row["id"], row["model"], row["margin"]) for row in examples] == [("p", "b", 2.0), ("q", "a", 1.5)]
    assert [row["share"] for row in read_records(tmp_path / "shares.parquet", SHARE)] == [0.5, 0.5]
    assert read_records(tmp_path / "dropped.parquet", DROPPED)[0]["reason"] == "no valid completion"
    expected = {"prompts": 3, "examples": 2, "dropped": 1, "teachers": 2, "mean_reward": 2.5, "mean_margin": 1.75}
    assert metrics == expected


def test_minimum_reward_drops_and_reports(tmp_path):
    inputs = {"scored": [save_scored(tmp_path / "in", [scored("p", reward=1.0), scored("q", reward=-1.0)])]}
    metrics = run(Config(minimum_reward=0.0), inputs, tmp_path)
    assert metrics["examples"] == 1
    assert read_records(tmp_path / "dropped.parquet")[0]["reason"] == "reward below 0"


@pytest.mark.parametrize("rows", [[], [scored("p", reward=None)], [scored("p", reward=float("nan"))]])
def test_nothing_to_choose_from_is_refused(tmp_path, rows):
    with pytest.raises(BadInput):
        run(Config(), {"scored": [save_scored(tmp_path / "in", rows)]}, tmp_path)


def test_no_input_is_refused(tmp_path):
    with pytest.raises(BadInput, match="at least one input 'scored'"):
        run(Config(), {}, tmp_path)


@pytest.mark.parametrize("wrong", [{"routing": "fixed"}, {"teacher": "a"}, {"experts": {"de": "a"}}, {"routing": "x"}])
def test_wrong_configurations_are_refused(wrong):
    with pytest.raises(ValidationError):
        Config(**wrong)
