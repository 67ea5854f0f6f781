from pathlib import Path

import pytest

from tests.trainable import pair, save_pairs, save_trainable


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    return save_trainable(tmp_path_factory.mktemp("dpo") / "model")


@pytest.fixture(scope="session")
def pairs(tmp_path_factory) -> Path:
    return save_pairs(tmp_path_factory.mktemp("dpo") / "pairs", [pair(i) for i in range(40)])


@pytest.fixture
def output(tmp_path) -> Path:
    folder = tmp_path / "attempt" / "output"
    folder.mkdir(parents=True)
    return folder
