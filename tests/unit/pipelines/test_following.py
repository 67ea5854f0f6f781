"""What a person sees of a run while it goes on, and why it failed: KFP lists Argo's nodes."""

import pytest

from components.common.errors import BadInput, Transient
from pipelines.following import follow
from pipelines.kfp_api import connect
from pipelines.submitting import Run
from tests.kfp_server import node, run_of

CHAPTERS = {"route": "arbitrage", "score": "arbitrage", "sft-slavic": "sft", "clean-up": "clean-up"}


@pytest.fixture
def run(kfp):
    return Run(connect(kfp.url), kfp.url, "r1", CHAPTERS)


def changes(run, **options):
    return [str(change) for change in follow(run, poll_seconds=0.0, **options)]


def test_each_change_of_a_chapter_or_step_is_one_line(kfp, run):
    kfp.states = [
        run_of("PENDING"),
        run_of(
            "RUNNING",
            node("root", "RUNNING"),
            node("arbitrage", "RUNNING", start=1),
            node("arbitrage-driver", "SUCCEEDED"),
        ),
        run_of(
            "RUNNING",
            node("route", "RUNNING", start=3),
            node("score", "RUNNING", start=2),
            node("arbitrage", "RUNNING", start=1),
        ),
        run_of(
            "RUNNING",
            node("route", "SUCCEEDED", start=3),
            node("score", "RUNNING", start=2),
            node("executor", "RUNNING"),
        ),
        run_of("SUCCEEDED", node("score", "SUCCEEDED", start=2), node("arbitrage", "SUCCEEDED")),
    ]
    assert changes(run) == [
        "arbitrage: running", "arbitrage/score: running", "arbitrage/route: running", "arbitrage/route: succeeded",
        "arbitrage: succeeded", "arbitrage/score: succeeded",
    ]  # fmt: skip


def test_a_step_of_the_root_graph_is_its_own_chapter(kfp, run):
    kfp.states = [run_of("SUCCEEDED", node("clean-up", "SUCCEEDED"))]
    assert changes(run) == ["clean-up: succeeded"]


def failure(run):
    with pytest.raises(BadInput) as caught:
        changes(run)
    return str(caught.value)


def test_a_failure_names_the_step_and_the_last_sentence_of_its_last_attempt(kfp, run):
    attempts = [node(f"executor({number})", "FAILED", f"pod-{number}") for number in (0, 1)]
    kfp.states = [
        run_of(
            "FAILED",
            node("arbitrage", "FAILED", "dag"),
            node("route", "FAILED", "a", ("b",)),
            node("executor", "FAILED", "b", ("pod-0", "pod-1")),
            *attempts,
        )
    ]
    kfp.logs = {
        "pod-0": "expanse: the disk is full.\n",
        "pod-1": "INFO go\nexpanse: first.\nexpanse: the bucket is gone.\n",
    }
    assert failure(run) == f"route failed: the bucket is gone; see {run.link}"


def test_the_step_that_failed_first_is_the_one_that_is_named(kfp, run):
    kfp.states = [run_of("FAILED", node("score", "FAILED", "s", start=9), node("sft-slavic", "FAILED", "t", start=4))]
    kfp.logs = {"s": "expanse: late.", "t": "expanse: early."}
    assert failure(run).startswith("sft-slavic failed: early; see")


def test_a_driver_that_failed_names_its_step_and_an_error_of_kfp_is_enough(kfp, run):
    error = {"code": 13, "message": "failed to\nresolve inputs"}
    kfp.states = [run_of("FAILED", node("route-driver", "FAILED", error=error))]
    assert failure(run) == f"route failed: failed to resolve inputs; see {run.link}"


def test_a_log_that_is_gone_leaves_the_step_and_the_link(kfp, run):
    kfp.states = [run_of("FAILED", node("route", "FAILED", "gone"))]
    assert failure(run) == f"route failed; see {run.link}"


def test_a_run_that_fails_without_a_step_says_what_kfp_says(kfp, run):
    kfp.states = [run_of("FAILED", error={"code": 2, "message": "workflow is too large"})]
    assert failure(run) == f"The run failed (workflow is too large); see {run.link}"


@pytest.mark.parametrize(("state", "words"), [("CANCELED", "was cancelled"), ("SKIPPED", "The run skipped")])
def test_a_run_that_was_stopped_is_no_success(kfp, run, state, words):
    kfp.states = [run_of(state)]
    assert words in failure(run)


def test_a_server_that_goes_away_for_a_while_is_asked_again(kfp, run):
    kfp.states = [503, 502, run_of("SUCCEEDED", node("score", "SUCCEEDED"))]
    assert changes(run) == ["arbitrage/score: succeeded"]


def test_a_server_that_stays_away_is_left_with_the_link(kfp, run):
    kfp.states = [503]
    times = iter(range(0, 100_000, 200))
    with pytest.raises(Transient, match=r"answered 503.*The run goes on: http"):
        changes(run, clock=lambda: float(next(times)))


def test_a_token_that_is_refused_in_between_does_not_hide_the_run(kfp, run):
    kfp.states = [401]
    assert "The run goes on: http" in failure(run)
