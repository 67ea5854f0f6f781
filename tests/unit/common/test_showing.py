import math

import pytest

from components.common.artifacts import Reference
from components.common.errors import BadInput
from components.common.showing import describe, show_pages
from components.common.store import LocalStore
from tests.shells import commit


def test_figures_that_json_does_not_know_are_left_out():
    metadata = {"accuracy": 0.5, "loss": math.nan, "worst": -math.inf, "count": 3, "note": "whole"}
    about = describe("evaluate-final", Reference("evaluation", "k", "s3://b/evaluation/k/d", "d", 9, metadata))
    assert about == {
        "step": "evaluate-final", "stage": "evaluation", "digest": "d", "bytes": 9, "location": "s3://b/evaluation/k/d",
        "accuracy": 0.5, "count": 3, "note": "whole",
    }  # fmt: skip


def test_a_stage_cannot_overwrite_what_the_store_says():
    about = describe("base", Reference("weights", "k", "file:///x", "d", 9, {"bytes": 1, "digest": "other"}))
    assert (about["bytes"], about["digest"]) == (9, "d")


def test_a_page_that_the_artifact_lacks_is_named(tmp_path):
    (tmp_path / "made").mkdir()
    store = LocalStore(tmp_path / "store")
    with pytest.raises(BadInput, match=r"report\.html is not in the artifact of the reporting stage"):
        show_pages(store, commit(store, "reporting", tmp_path / "made", "x"), {"report.html": None}, {})
