"""Data sets on GitHub: every file that a run would read is there, at the commit that it would read."""

from concurrent.futures import ThreadPoolExecutor

from components.benchmarks.dataset import Dataset, Part
from components.benchmarks.github import address, origin
from components.benchmarks.registry import DATASETS
from components.benchmarks.task import languages_of
from components.common.errors import BadInput
from pipelines.checks.finding import Check, Finding, ok
from pipelines.checks.web import ask
from pipelines.recipe import Recipe

AT_ONCE = 8


def github_checks(recipe: Recipe) -> list[Check]:
    """One check per data set that the run would read from there."""
    if recipe.benchmarks is None or recipe.benchmarks.source != "hub":
        return []
    return [_check(dataset, recipe) for dataset in map(DATASETS.__getitem__, recipe.benchmarks.names) if dataset.commit]


def _check(dataset: Dataset, recipe: Recipe) -> Check:
    assert recipe.benchmarks is not None, "github_checks looks first"
    parts = dataset.parts_of(languages_of(dataset, recipe.benchmarks.languages))
    commit = recipe.benchmarks.revisions.get(dataset.hub, dataset.commit)
    return Check(f"data set {dataset.name}", lambda: look(dataset, commit, parts))


def look(dataset: Dataset, commit: str, parts: list[Part]) -> Finding:
    """All files, a few at once; raises BadInput naming the first that is not there."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for url in pool.map(lambda part: _missing(address(dataset.hub, commit, *part)), parts):
            if url:
                raise BadInput(
                    f"{url} is not there; give another commit of {dataset.hub} in benchmarks.revisions, or clone it and "
                    "name its parent folder in benchmarks.source."
                )
    return ok(f"data set {dataset.name}", f"{origin(dataset.hub, commit)} has all {len(parts)} files")


def _missing(url: str) -> str:
    return "" if ask(url, method="HEAD").status_code == 200 else url
