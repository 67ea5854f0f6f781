"""Which steps run ahead of their place in the graph, in which order, and what the graph's tasks are told about them."""

import json
import socket
import threading
import time
from dataclasses import replace

import pytest

from components.common import forking
from components.common.run import RUN_FOLDER
from pipelines.ahead import Ahead, Queue
from pipelines.loading import load_recipe
from pipelines.planning.walking import walk

SERVED = ("online.samples.engine=openai", "online.samples.served.gpus=1")


def until(true, seconds=20):
    deadline = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < deadline, "it has not come in time"
        time.sleep(0.01)
    return value


def in_one_slot(steps):
    """The order in which steps run one at a time; each finds its inputs made."""
    queue, order = Queue(steps), []
    while step := queue.take():
        assert set(step.inputs.values()) <= queue.done
        order.append(step.name)
        queue.done.add(step.name)
    return order


@pytest.mark.parametrize(
    ("recipe", "changes", "kept_back"),
    [
        ("mini", (), {"register", "deploy"}),
        ("mini", SERVED, {"register", "deploy", "clean-up"}),
        ("8b", (), {"register", "deploy", "clean-up"}),
    ],
)
def test_everything_runs_ahead_but_what_has_effects(recipe, changes, kept_back):
    steps = walk(load_recipe(recipe, changes))
    order = in_one_slot(steps)
    assert len(set(order)) == len(order)
    assert set(order) == {step.name for step in steps} - kept_back


def test_a_step_behind_one_with_effects_waits_with_it():
    changed = {"gate": {"evaluation": "register"}, "register": {"model": "accept-3"}}
    steps = [
        replace(step, inputs=changed.get(step.name, step.inputs))
        for step in walk(load_recipe("mini"))
        if step.name != "deploy"
    ]
    assert not {"gate", "register", "report"} & set(in_one_slot(steps))


def test_nothing_runs_beyond_the_chapter_that_was_asked_for():
    order = in_one_slot(walk(load_recipe("mini"), "arbitrage"))
    assert order[0] == "world" and "route" in order and not any(name.startswith("sft") for name in order)


def test_the_longest_way_goes_first():
    place = {name: at for at, name in enumerate(in_one_slot(walk(load_recipe("mini"))))}
    assert place["sft-common"] < place["sft-single"]
    assert place["dpo-round-1"] < place["evaluate-sft-single"] and place["sample-2"] < place["evaluate-online-round-1"]
    assert place["teacher-west"] < place["evaluate-base"]


class Running:
    """An Ahead over the mini recipe, whose steps this test ends by hand."""

    def __init__(self, folder, jobs, changes=()):
        self.address = str(folder / "ahead")
        self.ends, self.most = {}, 0
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self.address)
        listener.listen()
        self.ahead = Ahead(walk(load_recipe("mini", changes)), jobs, self.begin, listener)
        self.thread = threading.Thread(target=self.ahead.serve)
        self.thread.start()

    def begin(self, step):
        ours, theirs = socket.socketpair()
        self.ends[step.name] = theirs
        self.most = max(self.most, len(self.ends))
        return ours

    def finish(self, name, exit_code=0):
        end = until(lambda: self.ends.get(name))
        del self.ends[name]
        with end:
            if exit_code is not None:
                end.sendall(json.dumps({"exit_code": exit_code}).encode())

    def arrive(self, name):
        return forking.ask(self.address, {"arrived": name})

    def end(self):
        if self.thread.is_alive():
            self.ahead.end()
            self.thread.join()

    def close(self):
        self.end()
        for end in self.ends.values():
            end.close()


@pytest.fixture
def running(tmp_path):
    made = []

    def start(jobs, changes=()):
        made.append(Running(tmp_path, jobs, changes))
        return made[-1]

    yield start
    for each in made:
        each.close()


def test_as_many_run_at_once_as_there_are_jobs_and_a_task_waits_for_its_own(running):
    run = running(3)
    answers = []
    task = threading.Thread(target=lambda: answers.append(run.arrive("world")))
    task.start()
    run.finish("world")
    task.join(timeout=20)
    assert answers == [{"done": True}]
    until(lambda: len(run.ends) == 3)
    first = set(run.ends)
    run.finish(min(first))
    until(lambda: len(run.ends) == 3 and set(run.ends) != first)
    assert run.most == 3
    assert run.arrive(min(first)) == {"done": True}


def test_a_step_with_effects_is_its_tasks_own_to_do(running):
    run = running(2)
    assert run.arrive("register") == {"done": False}
    assert run.arrive("deploy") == {"done": False}
    assert set(until(lambda: run.ends)) == {"world"}


@pytest.mark.parametrize(("exit_code", "told"), [(2, 2), (3, 3), (1, 1), (None, 3)])
def test_a_failure_ends_what_is_at_work_and_every_task_but_the_exit(running, tmp_path, monkeypatch, exit_code, told):
    monkeypatch.setenv(RUN_FOLDER, str(tmp_path))
    run = running(3, SERVED)
    run.finish("world")
    until(lambda: len(run.ends) == 3)
    bad, *others = run.ends
    answers = []
    task = threading.Thread(target=lambda: answers.append(run.arrive(others[0])))
    task.start()
    until(lambda: others[0] in run.ahead.arrived)
    run.finish(bad, exit_code)
    task.join(timeout=20)
    assert answers[0]["exit_code"] == told and bad in answers[0]["error"]
    for name in others:
        run.ends[name].settimeout(20)
        assert run.ends[name].recv(1) == b"", "its process would go on"
    assert run.arrive("register")["exit_code"] == told
    assert run.arrive("world")["exit_code"] == told
    assert run.arrive("clean-up") == {"done": False}
    assert set(run.ends) == set(others)
    said = (tmp_path / "events.jsonl").exists()
    assert said == (exit_code is None), "a process that is there says itself why it failed"


def test_when_nobody_answers_tasks_do_their_steps_themselves(running):
    run = running(1)
    until(lambda: run.ends)
    answers = []
    task = threading.Thread(target=lambda: answers.append(run.arrive("world")))
    task.start()
    until(lambda: "world" in run.ahead.arrived)
    run.end()
    task.join(timeout=20)
    assert answers == [None]
    assert run.arrive("world") is None
