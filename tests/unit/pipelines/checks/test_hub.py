"""A hub on loopback: repositories that are there, gone, gated, unsafe, mislabelled."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from components.benchmarks.hub import CONVERTED
from components.common.errors import BadInput, Transient
from pipelines.checks.finding import Finding
from pipelines.checks.hub import Repository, hub_checks, look
from pipelines.checks.showing import show
from pipelines.loading import load_recipe
from tests.hub import publish

TOKEN = "hf_planted_secret"
MODEL = Repository("base", "models", "org/model", "v1", "Apache-2.0")
PATH = "/api/models/org/model/revision/v1"


def about(**changes):
    return (200, {}, {"sha": "c0ffee", "gated": False, "cardData": {"license": "apache-2.0"}, "tags": [],
                      "siblings": [{"rfilename": "model.safetensors"}], **changes})  # fmt: skip


@pytest.fixture
def hub(server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    return server


def test_a_pinned_model_under_its_licence_is_fine(hub):
    hub.answers[PATH] = about()
    assert look(MODEL, False).status == "ok"


def test_an_unpinned_model_is_a_warning_with_the_revision(hub):
    hub.answers["/api/models/org/model"] = about()
    found = look(Repository("base", "models", "org/model", "", "Apache-2.0"), False)
    assert found.status == "warning" and found.remedy == "pin it as hf://org/model@c0ffee"
    assert found.pin == "hf://org/model@c0ffee"


def test_what_to_pin_is_shown_in_whole_lines_on_a_narrow_terminal():
    pin = f"hf://organisation/a-model-with-a-long-name@{'c0ffee' * 6}"
    console = Console(width=60, file=io.StringIO())
    show([Finding("warning", "base", "is there", "pin it", pin), Finding("ok", "reward model", "is there")], console)
    lines = console.file.getvalue().splitlines()
    assert lines[-1] == f"  {pin}  # base" and lines[-2].startswith("Not pinned")


def test_a_renamed_repository_is_followed_on_the_same_hub(hub):
    hub.answers[PATH] = (307, {"Location": "/api/models/new/model/revision/v1"}, "")
    hub.answers["/api/models/new/model/revision/v1"] = about()
    assert look(MODEL, False).status == "ok"


def test_a_token_does_not_follow_to_another_host(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.answers[PATH] = (307, {"Location": "http://127.0.0.2:9/api"}, "")
    with pytest.raises(BadInput, match="status 307"):
        look(MODEL, False)


def test_a_missing_revision_and_a_missing_repository_are_told_apart(hub):
    hub.answers[PATH] = (404, {"X-Error-Code": "RevisionNotFound"}, {})
    with pytest.raises(BadInput, match="org/model has no revision 'v1'"):
        look(MODEL, False)
    hub.answers[PATH] = (401, {"X-Error-Code": "RepoNotFound"}, {})
    with pytest.raises(BadInput, match="org/model is not on the hub, or not visible without HF_TOKEN"):
        look(MODEL, False)


def test_a_gated_model_opens_to_a_token_whose_owner_accepted_the_terms(hub, monkeypatch):
    hub.answers[PATH] = about(gated="manual")
    hub.answers["/api/models/org/model/auth-check"] = lambda headers: (
        (200, {}, {}) if headers.get("authorization") == f"Bearer {TOKEN}" else (403, {}, {})
    )
    with pytest.raises(BadInput, match="is gated; accept its terms"):
        look(MODEL, token_in_cluster=False)
    assert look(MODEL, token_in_cluster=True).status == "skipped"
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert look(MODEL, False).status == "ok"
    monkeypatch.setenv("HF_TOKEN", f"{TOKEN}_other")
    with pytest.raises(BadInput, match=r"not open to this HF_TOKEN \(status 403\)") as refused:
        look(MODEL, False)
    assert TOKEN not in str(refused.value)


def test_another_licence_than_the_recipe_says_is_refused(hub):
    hub.answers[PATH] = about(cardData={"license": "cc-by-nc-4.0"})
    with pytest.raises(BadInput, match=r"is cc-by-nc-4.0 on the hub and Apache-2.0 in the recipe"):
        look(MODEL, False)


@pytest.mark.parametrize(
    ("stated", "card", "tags"),
    [
        ("Llama-3.1", {"license": "llama3.1"}, []),
        ("MRL-0.1", {"license": "other", "license_name": "mrl"}, []),
        ("CC-BY-NC-4.0", {}, ["text-generation", "license:cc-by-nc-4.0"]),
        ("Gemma", {"license": "gemma"}, []),
    ],
)
def test_one_licence_has_many_spellings(hub, stated, card, tags):
    hub.answers[PATH] = about(cardData=card, tags=tags)
    assert look(Repository("base", "models", "org/model", "v1", stated), False).status == "ok"


def test_a_licence_that_the_hub_does_not_know_is_a_warning(hub):
    hub.answers[PATH] = about(cardData=None)
    assert look(MODEL, False).status == "warning"


def test_a_repository_without_safetensors_is_refused(hub):
    hub.answers[PATH] = about(siblings=[{"rfilename": "pytorch_model.bin"}])
    with pytest.raises(BadInput, match="no safetensors weights"):
        look(MODEL, False)


def test_a_data_set_is_looked_at_for_the_very_parts_that_the_run_reads(hub):
    data = Repository("data set org/data", "datasets", "org/data", parts=(("de", "train"), ("de", "test")))
    script = {"data.py": b"", "README.md": b"", "data_de.tsv": b""}
    publish(hub, "dataset", "org/data", script)
    with pytest.raises(BadInput, match=r"no Parquet, JSONL or CSV files of de/train.*benchmarks.source"):
        look(data, False)
    publish(hub, "dataset", "org/data", {"de/test/0000.parquet": b""}, CONVERTED)
    with pytest.raises(BadInput, match=r"files of de/train"):
        look(data, False)
    commit = publish(hub, "dataset", "org/data", {"de/test/0000.parquet": b"", "de/train/0000.parquet": b""}, CONVERTED)
    found = look(data, False)
    assert (found.status, found.remedy) == ("warning", f"pin it in benchmarks.revisions as org/data: {commit}")
    assert look(replace(data, revision=commit), False).status == "ok"
    new = publish(hub, "dataset", "org/data", {"de/test.jsonl": b"", "de/train.jsonl": b""})
    assert look(data, False).remedy.endswith(f"org/data: {new}")
    with pytest.raises(BadInput, match="no revision 'gone'"):
        hub.answers["/api/datasets/org/data/revision/gone"] = (404, {"X-Error-Code": "RevisionNotFound"}, {})
        look(replace(data, revision="gone"), False)


def test_what_benchmarks_read_of_one_repository_is_looked_at_together(hub):
    recipe = load_recipe(
        "8b", ["benchmarks.languages=[de]", "benchmarks.names=[flores_from_english,flores_to_english]"]
    )
    (check,) = [check for check in hub_checks(recipe) if check.object.startswith("data set")]
    files = {f"{split}/{code}.parquet": b"" for split in ("dev", "devtest") for code in ("eng_Latn", "deu_Latn")}
    publish(hub, "dataset", "openlanguagedata/flores_plus", files)
    assert check.look().status == "warning"
    publish(hub, "dataset", "openlanguagedata/flores_plus", {"dev/eng_Latn.parquet": b""})
    with pytest.raises(BadInput, match="files of eng_Latn/devtest"):
        check.look()


def test_a_hub_that_is_away_may_come_back(nobody, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", nobody)
    with pytest.raises(Transient, match="cannot be reached"):
        look(MODEL, False)


def test_everything_that_a_run_downloads_is_checked_once():
    names = [check.object for check in hub_checks(load_recipe("8b"))]
    assert names[:3] == ["base", "reward model", "teacher gemma-2-27b"] and "baseline ministral-8b" in names
    assert "baseline aya-23-8b" not in names  # the same repository as the base
    assert names.count("data set CohereLabs/aya_evaluation_suite") == 1
    assert hub_checks(load_recipe("mini")) == []


def test_a_model_that_is_only_served_has_no_licence_to_compare(hub):
    hub.answers["/api/models/org/model/revision/v1"] = about(cardData={"license": "anything"})
    assert look(Repository("model teachers.a.served", "models", "org/model", "v1"), False).status == "ok"
