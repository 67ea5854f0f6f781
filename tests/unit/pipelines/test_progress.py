"""What a person sees of steps that run at the same time."""

import io

from rich.console import Console

from pipelines.progress import display, show_all


def event(kind, name, at, **more):
    return {"event": kind, "name": name, "time": at, **more}


def done(name, at, cached=False):
    return event("finished", name, at, cached=cached, metrics={})


def shown(events):
    text = io.StringIO()
    finished = show_all(events, 3, Console(file=text, width=100))
    return text.getvalue(), finished


def test_each_step_has_the_seconds_from_its_own_start_to_its_own_end():
    started = [event("started", name, at) for name, at in (("a", 0.0), ("b", 1.0), ("c", 5.0))]
    text, finished = shown([*started, done("c", 5.1, cached=True), done("b", 8.0), done("a", 9.0)])
    lines = [line.split() for line in text.splitlines()]
    assert lines == [["1/3", "c", "finished", "before"], ["2/3", "b", "7.0", "s"], ["3/3", "a", "9.0", "s"]]
    assert [each["name"] for each in finished] == ["c", "b", "a"]


def test_steps_that_fail_together_are_told_as_one_failure():
    text, _ = shown([event("started", "a", 0.0), event("started", "b", 0.0), event("failed", "b", 1.0),
                     event("failed", "a", 1.1)])  # fmt: skip
    assert text.split() == ["failed:", "b"]


def test_a_terminal_names_all_that_are_at_work():
    text = io.StringIO()
    console = Console(file=text, width=100, force_terminal=True)
    with display(3, console) as show:
        for each in (event("started", "west", 0.0), event("started", "east", 0.0), event("started", "south", 0.0)):
            show(each)
        show(done("east", 2.0))
    assert "west, south" in text.getvalue() and "1/3" in text.getvalue()
