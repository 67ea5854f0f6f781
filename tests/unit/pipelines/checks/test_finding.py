"""Many checks at once: order, limits, and what the whole comes to."""

import threading
import time

import pytest

from components.common.errors import BadInput, Transient
from pipelines.checks.finding import Check, Finding, ok, run_checks, skipped
from pipelines.checks.showing import conclude, report


def raising(error):
    def look():
        raise error

    return look


def test_findings_come_in_the_order_of_the_checks_whatever_they_do():
    checks = [
        Check("a", lambda: ok("a", "fine")),
        Check("b", raising(BadInput("B is wrong; mend it."))),
        Check("c", raising(Transient("C is away; wait."))),
        Check("d", raising(ZeroDivisionError("by zero"))),
    ]
    found = run_checks(checks)
    assert [(each.object, each.status) for each in found] == [
        ("a", "ok"), ("b", "failed"), ("c", "transient"), ("d", "failed"),
    ]  # fmt: skip
    assert found[1].words == "B is wrong; mend it."
    assert "ZeroDivisionError: by zero" in found[3].words


def test_checks_run_side_by_side():
    barrier = threading.Barrier(5)
    found = run_checks([Check(str(n), lambda n=n: ok(str(n), str(barrier.wait(20)))) for n in range(5)])
    assert {each.status for each in found} == {"ok"}


def test_one_that_hangs_is_given_up_and_holds_up_nobody():
    released, started = threading.Event(), time.monotonic()
    checks = [
        Check("slow", lambda: released.wait(60) and ok("slow", "at last"), seconds=0.2),
        Check("quick", lambda: ok("quick", "here")),
    ]
    slow, quick = run_checks(checks)
    released.set()
    assert time.monotonic() - started < 30
    assert (slow.status, quick.status) == ("transient", "ok") and "0.2 seconds" in slow.words


FAILED, AWAY = Finding("failed", "x", "wrong", "mend it"), Finding("transient", "y", "away")


def test_a_failure_is_bad_input_and_what_may_pass_is_transient():
    with pytest.raises(BadInput, match=r"1 of 2 checks failed \(x\)"):
        conclude([FAILED, AWAY])
    with pytest.raises(Transient, match=r"1 of 1 checks could not be passed now \(y\)"):
        conclude([AWAY])
    conclude([ok("a", "fine"), Finding("warning", "b", "old"), skipped("c", "not configured")])


def test_the_table_shows_brackets_as_they_are(capsys):
    report([Finding("warning", "x", "a list [bold]b[/bold] of [1, 2]")], as_json=False)
    text = capsys.readouterr().out
    assert "[bold]b[/bold] of [1, 2]" in " ".join(text.split()) and "1 warning" in text
