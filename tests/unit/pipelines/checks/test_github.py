"""A GitHub on loopback: are the files of a data set there, at the commit that a run would read?"""

from components.benchmarks.language_confusion import COMMIT, REPOSITORY
from pipelines.checks.finding import run_checks
from pipelines.checks.github import github_checks
from pipelines.loading import load_recipe

RECIPE = ["benchmarks.names=[language_confusion_monolingual]", "benchmarks.languages=[de]"]
FILE = f"/{REPOSITORY}/{COMMIT}/test_sets/monolingual/okapi/de.csv"


def test_every_file_is_looked_for_at_its_commit(server, monkeypatch):
    monkeypatch.setenv("EXPANSE_GITHUB_RAW", server.url)
    (check,) = github_checks(load_recipe("8b", RECIPE))
    (found,) = run_checks([check])
    assert found.status == "failed" and "okapi/de.csv is not there" in found.sentence
    server.answers[FILE] = (200, {}, "prompt")
    (found,) = run_checks([check])
    assert (found.status, found.sentence) == ("ok", f"https://github.com/{REPOSITORY}@{COMMIT} has all 1 files")
    assert {method for method, _, _ in server.asked} == {"HEAD"}


def test_a_github_that_is_away_may_come_back(nobody, monkeypatch):
    monkeypatch.setenv("EXPANSE_GITHUB_RAW", nobody)
    (found,) = run_checks(github_checks(load_recipe("8b", RECIPE)))
    assert found.status == "transient"


def test_a_recipe_without_such_data_sets_asks_nothing():
    assert github_checks(load_recipe("mini")) == []
    assert github_checks(load_recipe("8b", ["benchmarks.names=[mgsm]"])) == []
    assert github_checks(load_recipe("8b", [*RECIPE, "benchmarks.source=/data/benchmarks"])) == []
