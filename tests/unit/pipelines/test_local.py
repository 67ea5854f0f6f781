"""How many steps a local run works at, with how many threads each, and how it is interrupted."""

import os
import signal
import subprocess
import sys

import pytest

from pipelines.loading import load_recipe
from pipelines.local import MOST_JOBS, LocalRun


@pytest.mark.parametrize(("cores", "jobs"), [(1, 1), (2, 2), (MOST_JOBS, MOST_JOBS), (64, MOST_JOBS)])
def test_the_miniature_fills_the_usable_cores(cores, jobs, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)))
    assert LocalRun(load_recipe("mini"), tmp_path, "release").jobs == jobs
    assert LocalRun(load_recipe("mini"), tmp_path, "release", 3).jobs == 3


def test_steps_of_other_recipes_take_turns(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)))
    assert LocalRun(load_recipe("8b"), tmp_path, "release").jobs == 1


def test_only_the_miniature_is_held_to_one_thread_whatever_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "16")
    monkeypatch.setenv("MKL_NUM_THREADS", "16")
    mini = LocalRun(load_recipe("mini"), tmp_path, "release").environment
    assert (mini["OMP_NUM_THREADS"], mini["MKL_NUM_THREADS"]) == ("1", "1")
    assert LocalRun(load_recipe("8b"), tmp_path, "release").environment["OMP_NUM_THREADS"] == "16"


def test_an_interrupt_is_raised_between_two_events_and_a_second_one_at_once(tmp_path):
    engine = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with LocalRun(load_recipe("mini"), tmp_path, "release") as run, run.hearing_interrupts():
            os.kill(os.getpid(), signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                list(run.read_events(engine))
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
    finally:
        engine.communicate()
