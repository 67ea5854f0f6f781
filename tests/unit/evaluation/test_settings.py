import pytest
from pydantic import ValidationError

from components.benchmarks.registry import DATASETS
from components.evaluation.public import PUBLIC
from components.evaluation.task import Config


def test_a_public_benchmark_is_given_by_name() -> None:
    config = Config(benchmarks=["mgsm", {"name": "arena", "kind": "pairwise"}])
    assert [benchmark.kind for benchmark in config.benchmarks] == ["exact_match", "pairwise"]
    assert Config.model_validate(config.model_dump(mode="json")) == config


def test_every_public_data_set_can_be_scored() -> None:
    assert list(PUBLIC) == list(DATASETS)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"benchmarks": ["mmlu"]}, "'mmlu' is not a public benchmark"),
        ({"benchmarks": []}, "at least 1 item"),
        ({"benchmarks": ["mgsm", "mgsm"]}, "a name twice"),
        ({"benchmarks": [{"name": "arena_previous", "kind": "pairwise"}]}, "_previous"),
        ({"benchmarks": [{"name": "a", "kind": "language_confusion"}, {"name": "a_words", "kind": "chrf"}]}, "a_words"),
        ({"benchmarks": [{"name": "../x", "kind": "pairwise"}]}, "pattern"),
        ({"benchmarks": ["mgsm"], "judge": {"kind": "oracle"}}, "judge"),
        ({"benchmarks": ["mgsm"], "seeds": 1}, "seeds"),
    ],
)
def test_refuses_settings_that_mean_nothing(fields: dict, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Config(**fields)
