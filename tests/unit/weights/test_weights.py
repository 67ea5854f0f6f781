import json

import pytest

from components.common.errors import BadInput
from components.common.step import Step, run_step
from components.common.store import LocalStore
from components.weights.task import Config, run
from tests.hub import publish
from tests.site import site
from tests.tiny import save_tiny_cohere


def step(folder) -> Step:
    configuration = json.dumps({"source": folder.as_uri(), "license": "Apache-2.0"})
    return Step("base", "weights", configuration, {})


def test_a_local_folder_becomes_an_artifact_that_loads(tmp_path):
    from components.common.models import load_causal_lm

    source = save_tiny_cohere(tmp_path / "model")
    (source / "notes.bak").write_text("not part of a model")
    outcome = run_step(step(source), store := LocalStore(tmp_path / "store"))
    folder = store.fetch(outcome.reference)
    assert not (folder / "notes.bak").exists()
    load_causal_lm(folder)
    assert run_step(step(source), store).cached


def test_other_weights_in_the_same_place_are_another_artifact(tmp_path):
    store = LocalStore(tmp_path / "store")
    source = save_tiny_cohere(tmp_path / "model")
    first = run_step(step(source), store).reference
    save_tiny_cohere(source, seed=1)
    assert run_step(step(source), store).reference.digest != first.digest


def test_a_pickle_beside_the_weights_is_refused_by_name(tmp_path):
    source = save_tiny_cohere(tmp_path / "model")
    (source / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    (tmp_path / "out").mkdir()
    with pytest.raises(BadInput, match=r"pytorch_model\.bin"):
        run(Config(source=source.as_uri(), license="x"), {}, tmp_path / "out")


def test_a_folder_that_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(BadInput, match="nowhere is not a folder"):
        run(Config(source="file:///nowhere", license="x"), {}, tmp_path)


def published(site, folder, revision: str = "main") -> str:
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    extra = {"consolidated.safetensors": b"the same again", "modeling.py": b"", "pytorch_model.bin": b"\x80\x04."}
    return publish(site, "model", "org/model", files | extra, revision)


def test_a_model_from_the_hub_is_one_commit_and_says_which(tmp_path, monkeypatch):
    with site() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        commit = published(hub, save_tiny_cohere(tmp_path / "model"))
        configuration = json.dumps({"source": "hf://org/model", "license": "Apache-2.0"})
        store = LocalStore(tmp_path / "store")
        reference = run_step(Step("base", "weights", configuration, {}), store).reference
        assert (reference.metadata["commit"], reference.metadata["source"]) == (commit, "hf://org/model")
        names = {path.name for path in store.fetch(reference).iterdir()}
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
        assert not names & {"consolidated.safetensors", "modeling.py", "pytorch_model.bin", ".cache"}
        assert all(f"/resolve/{commit}/" in path for _, path, _ in hub.asked if "/resolve/" in path)


def test_a_pinned_model_is_the_pinned_one_after_the_branch_has_moved(tmp_path, monkeypatch):
    with site() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        old = published(hub, first := save_tiny_cohere(tmp_path / "first"))
        published(hub, save_tiny_cohere(tmp_path / "second", seed=1))
        (tmp_path / "out").mkdir()
        made = run(Config(source=f"hf://org/model@{old}", license="x"), {}, tmp_path / "out")
        assert made["commit"] == old
        for name in ("model.safetensors", "tokenizer.json", "config.json"):
            assert (tmp_path / "out" / name).read_bytes() == (first / name).read_bytes()
