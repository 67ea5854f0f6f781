"""The language confusion prompts from a clone, and from a GitHub on loopback."""

from pathlib import Path

import pytest

from components.benchmarks import github
from components.benchmarks.language_confusion import COMMIT, REPOSITORY, TARGETS
from components.benchmarks.task import Config, load, run
from components.common.errors import BadInput, Transient
from components.common.records import QUESTION, read_records
from tests.site import site

MONO = 'prompt,source,language\n"Zeile eins\nund ""zwei""",okapi,de\nZweite Bitte,okapi,de\n'
CROSS = "prompt,location,phrasing,language,source\nReply in German. Why?,Start,reply in {language_requested},de,okapi\n"


def put(folder: Path, name: str, text: str) -> None:
    path = folder / "language-confusion/test_sets" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr(github, "PAUSE", 0.0)
    with site() as running:
        monkeypatch.setenv("EXPANSE_GITHUB_RAW", running.url)
        yield running


def file(task: str, source: str, code: str, commit: str = COMMIT) -> str:
    return f"/{REPOSITORY}/{commit}/test_sets/{task}/{source}/{code}.csv"


def test_a_clone_is_read_with_one_id_for_each_request(tmp_path: Path) -> None:
    put(tmp_path, "monolingual/okapi/de.csv", MONO)
    first, second = load("language_confusion_monolingual", str(tmp_path), ["de"])
    assert first["prompt"] == 'Zeile eins\nund "zwei"'
    assert (first["id"], second["id"], first["language"]) == ("okapi/0/de", "okapi/1/de", "de")
    assert len({first["group"], second["group"]}) == 2
    with pytest.raises(BadInput, match=r"test_sets/monolingual/aya/tr"):
        load("language_confusion_monolingual", str(tmp_path), ["tr"])


def test_one_request_for_several_languages_is_one_group(tmp_path: Path) -> None:
    for source in ("okapi", "sharegpt", "complex_prompts"):
        for code in ("de", "fr"):
            put(tmp_path, f"crosslingual/{source}/{code}.csv", CROSS)
    rows = load("language_confusion_crosslingual", str(tmp_path), ["de", "fr"])
    assert len(rows) == 6 and len({row["id"] for row in rows}) == 6
    assert {row["group"] for row in rows} == {"okapi/0", "sharegpt/0", "complex_prompts/0"}
    assert len(TARGETS) == 14


def test_it_comes_from_github_at_one_commit(hub, tmp_path: Path) -> None:
    hub.answers[file("monolingual", "okapi", "de")] = (200, {}, MONO)
    made = run(Config(names=["language_confusion_monolingual"], languages=["de"]), {}, tmp_path)
    assert made["language_confusion_monolingual.source"] == f"https://github.com/{REPOSITORY}@{COMMIT}"
    assert len(read_records(tmp_path / "language_confusion_monolingual.parquet", QUESTION)) == 2
    hub.answers[file("monolingual", "okapi", "de", "v2")] = (200, {}, MONO)
    config = Config(names=["language_confusion_monolingual"], languages=["de"], revisions={REPOSITORY: "v2"})
    assert str(run(config, {}, tmp_path)["language_confusion_monolingual.source"]).endswith("@v2")


def test_what_is_not_there_is_named_and_what_fails_is_tried_again(hub) -> None:
    with pytest.raises(BadInput, match=r"okapi/de.csv is not there \(status 404\); .*benchmarks.revisions"):
        load("language_confusion_monolingual", "hub", ["de"])
    hub.answers[file("monolingual", "okapi", "de")] = (503, {}, "")
    with pytest.raises(Transient, match="status 503"):
        load("language_confusion_monolingual", "hub", ["de"])
    replies = iter([(429, {}, ""), (200, {}, MONO)])
    hub.answers[file("monolingual", "okapi", "de")] = lambda headers: next(replies)
    assert len(load("language_confusion_monolingual", "hub", ["de"])) == 2
