from pathlib import Path
from typing import Any

import pytest

from components.common.artifacts import Reference
from components.common.step import STORE
from components.common.store import LocalStore
from components.reporting.component import reporting
from tests.shells import commit, run_shell

CONFIGURATION = '{"recipe":"test","headline":"arena"}'


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    monkeypatch.setenv(STORE, (tmp_path / "store").as_uri())
    return LocalStore(tmp_path / "store")


@pytest.fixture
def made(inputs: dict[str, list[Path]], store: LocalStore, tmp_path: Path) -> dict[str, dict[str, Any]]:
    references = {
        f"step_{number}": commit(store, "evaluation", folder, str(number))
        for number, folder in enumerate(inputs["evaluations"], 1)
    }
    references["arbitrage"] = commit(store, "arbitrage", inputs["arbitrage"][0], "shares")
    return run_shell(reporting, "reporting", CONFIGURATION, references, tmp_path / "task")


def test_the_ui_is_given_the_page_itself_and_other_steps_a_reference(made, store, tmp_path):
    reference = Reference.load(Path(made["report"]["uri"]))
    folder = store.fetch(reference)
    assert Path(made["page"]["uri"]).read_text(encoding="utf-8") == (folder / "report.html").read_text(encoding="utf-8")
    assert Path(made["page"]["uri"]).read_bytes().lstrip().lower().startswith(b"<!doctype html>")
    assert Path(made["card"]["uri"]).read_bytes() == (folder / "model_card.md").read_bytes()


def test_no_output_was_moved_since_kfp_refuses_that(made, tmp_path):
    assert {name: each["uri"] for name, each in made.items()} == {
        name: str(tmp_path / "task" / "outputs" / name) for name in ("report", "page", "card")
    }


def test_every_output_says_what_the_store_calls_it(made):
    reference = Reference.load(Path(made["report"]["uri"]))
    for output in made.values():
        about = output["metadata"]
        assert about["step"] == "a-step"
        assert (about["digest"], about["bytes"], about["location"]) == (reference.digest, reference.size, reference.uri)
        assert about["arena/win_rate"] == reference.metadata["arena/win_rate"]


def test_what_the_models_come_from_is_told_without_fetching_it(inputs, store, tmp_path):
    steps = {
        f"step_{number}": commit(store, "evaluation", folder, str(number))
        for number, folder in enumerate(inputs["evaluations"], 1)
    }
    about = {"source": "hf://org/base", "commit": "c0ffee"}
    elsewhere = Reference("weights", "key", "s3://bucket/that/nobody/reaches", "digest", 1, about)
    shares = commit(store, "arbitrage", inputs["arbitrage"][0], "shares")
    given = {**steps, "arbitrage": shares, "origin_1": elsewhere}
    made = run_shell(reporting, "reporting", CONFIGURATION, given, tmp_path / "task")
    assert "- `hf://org/base@c0ffee`" in Path(made["card"]["uri"]).read_text(encoding="utf-8")
