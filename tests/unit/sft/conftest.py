from pathlib import Path

import pytest

from tests.trainable import example, save_examples, save_trainable


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    return save_trainable(tmp_path_factory.mktemp("sft") / "model")


@pytest.fixture(scope="session")
def examples(tmp_path_factory) -> Path:
    return save_examples(tmp_path_factory.mktemp("sft") / "examples", [example(i) for i in range(40)])


@pytest.fixture
def output(tmp_path) -> Path:
    folder = tmp_path / "attempt" / "output"
    folder.mkdir(parents=True)
    return folder
