from pathlib import Path

import pytest
import torch

from components.miniature.facts import Fact, all_facts
from components.miniature.task import Config, run

torch.set_num_threads(1)  # models this small lose more by waiting for threads than they win

FEW = {"steps": 2, "batch": 4}
LANGUAGES = ["de", "en", "ja"]


def build(output: Path, inputs: dict[str, list[Path]], **settings: object) -> dict[str, float | int | str]:
    output.mkdir()
    return run(Config.model_validate({"probes": 4, **settings}), inputs, output)


@pytest.fixture(scope="session")
def facts() -> list[Fact]:
    return list(all_facts())


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("miniature") / "world"
    build(output, {}, build="world", world={"languages": LANGUAGES, "prompts": 20, "vocabulary": 600})
    return output


@pytest.fixture(scope="session")
def models(world: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    lessons = {"home": ["de"], "optimisation": FEW}
    build(folder / "base", {"world": [world]}, build="base", base=lessons)
    build(folder / "teacher", {"world": [world]}, build="teacher", teacher=lessons)
    reward = {"prompts": 4, "language_modelling": FEW, "shadow": FEW, "ranking": FEW}
    inputs = {"world": [world], "base": [folder / "base"], "teachers": [folder / "teacher"]}
    build(folder / "reward", inputs, build="reward", reward=reward)
    return {name: folder / name for name in ("base", "teacher", "reward")}
