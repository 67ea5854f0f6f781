"""The hub's client against a hub on loopback: which commit a name stands for, and what it says when it does not."""

import pytest

from components.common.errors import BadInput, Transient
from components.common.hub import fetch_all, fetch_file, look_up, split_source
from tests.hub import publish


def test_a_name_stands_for_the_commit_of_its_main_branch_or_of_the_revision(hub):
    old = publish(hub, "model", "org/model", {"config.json": b"old"}, "v1")
    new = publish(hub, "model", "org/model", {"config.json": b"new", "README.md": b""}, card={"license": "mit"})
    found = look_up("org/model")
    assert (found.commit, found.files, found.card["license"]) == (new, ("config.json", "README.md"), "mit")
    assert found.source == f"hf://org/model@{new}" and split_source(found.source) == ("org/model", new)
    assert look_up("org/model", "v1").commit == old
    assert split_source("hf://org/model") == ("org/model", "")


def test_a_file_is_fetched_at_that_commit_after_the_branch_has_moved(hub, tmp_path):
    publish(hub, "dataset", "org/data", {"test/de.jsonl": b"old"})
    found = look_up("org/data", kind="dataset")
    publish(hub, "dataset", "org/data", {"test/de.jsonl": b"new"})
    assert fetch_file(found, "test/de.jsonl", tmp_path).read_bytes() == b"old"


def test_a_file_that_is_gone_is_not_left_out_in_silence(hub, tmp_path):
    publish(hub, "model", "org/model", {"config.json": b"{}", "model.safetensors": b"1"})
    found = look_up("org/model")
    path = next(path for path in hub.answers if path.endswith("model.safetensors"))
    hub.answers[path] = (404, {"X-Error-Code": "EntryNotFound"}, "")
    with pytest.raises(BadInput, match="org/model: the hub answered with status 404"):
        fetch_all(found, found.files, tmp_path)


@pytest.mark.parametrize(
    ("status", "code", "kind", "said"),
    [
        (404, "RepoNotFound", BadInput, "is not on the hub or not open to you"),
        (403, "GatedRepo", BadInput, "is gated; accept its terms"),
        (404, "RevisionNotFound", BadInput, "has no revision 'v1'"),
        (400, "", BadInput, "answered with status 400"),
        (429, "", Transient, "answered with status 429"),
        (500, "", Transient, "answered with status 500"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence(hub, status, code, kind, said):
    hub.answers["/api/models/org/model/revision/v1"] = (status, {"X-Error-Code": code}, {})
    with pytest.raises(kind, match=said):
        look_up("org/model", "v1")


def test_a_hub_that_is_away_may_come_back(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Transient, match="org/model could not be fetched"):
        look_up("org/model")
