"""The whole recipe, from the command line, as a user runs it: real models, real processes, a real MLflow database."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from components.common.artifacts import Reference
from components.common.store import LocalStore
from pipelines.loading import load_recipe
from pipelines.planning.planner import plan

ROOT = Path(__file__).parents[2]
RECIPE = Path(__file__).with_name("quick.yaml")
PLANTED = {
    name: f"planted-{number:032x}"
    for number, name in enumerate(
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "OPENAI_API_KEY", "MLFLOW_TRACKING_PASSWORD")
    )
}
ENVIRONMENT = {**os.environ, **PLANTED, "OMP_NUM_THREADS": "1"}
pytestmark = pytest.mark.timeout(1800)  # whole runs, on machines that do other things too
MARK = "EXPANSE_TEST_ROOT"  # every process of a run inherits it


def command(root: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "pipelines.cli", "run", "--recipe", str(RECIPE), "--root", str(root), *more]


def start(root: Path, *more: str, **options) -> subprocess.Popen:
    return subprocess.Popen(command(root, *more), cwd=ROOT, env=ENVIRONMENT | {MARK: str(root)}, **options)


def run(root: Path, *more: str) -> subprocess.CompletedProcess:
    done = subprocess.run(command(root, *more), cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{log(root)}"
    return done


def log(root: Path) -> str:
    logs = sorted((root / "runs").glob("*/log.txt"))
    return logs[-1].read_text(errors="replace")[-5000:] if logs else ""


def events(root: Path, kind: str) -> list[dict]:
    """The events of one kind of the newest run that has not been torn off in mid-line."""
    folders = sorted((root / "runs").glob("2*"))
    text = (folders[-1] / "events.jsonl").read_text() if folders else ""
    found = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [event for event in found if event["event"] == kind]


def finished(root: Path) -> dict[str, Reference]:
    return {event["name"]: Reference(**event["reference"]) for event in events(root, "finished")}


def processes(root: Path) -> dict[int, str]:
    """What runs of a run that ``start`` began: command lines by process id."""
    mark, found = f"{MARK}={root}\0".encode(), {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            if mark in (folder / "environ").read_bytes() + b"\0":
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def steps_at_work(root: Path) -> list[int]:
    """The forks of the warm worker, newest last; the first of its processes is the worker itself."""
    return sorted(pid for pid, line in processes(root).items() if "components.common.worker" in line)[1:]


def wait_for(true, seconds: float = 300):
    deadline = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < deadline, "it has not come in time"
        time.sleep(0.1)
    return value


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("a run with spaces and ünïcode")
    return root, run(root, "--jobs", "3")


def test_the_run_ends_with_a_table_and_where_everything_lies(whole):
    root, done = whole
    for words in ("What each step gained", "sft-merge", "online-round-3", "final", "gate", "report.html", "serve it"):
        assert words in done.stdout
    assert (root / "report.html").stat().st_size > 10_000


def test_the_summary_says_what_the_table_says(whole):
    root, _ = whole
    summary = json.loads((root / "summary.json").read_text())
    assert summary["recipe"] == "quick"
    names = [step["name"] for step in summary["steps"]]
    ladder = ["base", "sft-single", "sft-arbitrage", "sft-merge", "offline-dpo"]
    assert [name for name in names if name in ladder] == ladder and names[-1] == "final"
    assert all(0 <= step["low"] <= step["win_rate"] <= step["high"] <= 1 for step in summary["steps"][1:])
    assert Path(summary["model"], "model.safetensors").is_file()


@pytest.mark.parametrize(("more", "code"), [((), 0), (("--set", "prompts.files=[/nowhere.jsonl]"), 2)])
def test_a_recipe_that_serves_models_ends_with_a_clean_up_whatever_happens(whole, tmp_path, more, code):
    shutil.copytree(whole[0] / "store", tmp_path / "store")
    served = ("--set", "online.samples.engine=openai", "--set", "online.samples.served.gpus=1")
    nowhere = ENVIRONMENT | {"KUBECONFIG": str(tmp_path / "none")}
    options = command(tmp_path, *served, *more, "--until", "sources")
    done = subprocess.run(options, cwd=ROOT, env=nowhere, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    last = finished(tmp_path)["clean-up"]
    assert last.metadata["removed"] == 0


def test_every_artifact_of_the_run_verifies(whole):
    root, _ = whole
    store = LocalStore(root / "store")
    for reference in finished(root).values():
        store.fetch(reference)


def test_tracking_has_a_parent_a_run_for_each_step_and_the_lineage(whole):
    root, _ = whole
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("expanse")
    runs = client.search_runs([experiment.experiment_id], max_results=200)
    nested = [each for each in runs if "mlflow.parentRunId" in each.data.tags]
    parents = [each for each in runs if "mlflow.parentRunId" not in each.data.tags]
    assert len(parents) == 1 and parents[0].info.status == "FINISHED"
    assert {each.info.run_name for each in nested} == set(finished(root))
    assert {each.data.tags["mlflow.parentRunId"] for each in nested} == {parents[0].info.run_id}
    final = next(each for each in nested if each.info.run_name == "evaluate-final")
    assert "arena/win_rate" in final.data.metrics and "artifact" in final.data.tags
    assert parents[0].data.tags["expanse.configuration"]


def test_each_step_is_told_once_when_it_really_runs(whole):
    root, done = whole
    started = {event["name"]: event["time"] for event in events(root, "started")}
    ended = {event["name"]: event["time"] for event in events(root, "finished")}
    assert len(events(root, "started")) == len(events(root, "finished")) == len(started)
    assert set(started) == set(ended) and not any(event["cached"] for event in events(root, "finished"))
    at_once = [sum(started[each] <= at < ended[each] for each in started) for at in started.values()]
    assert 1 < max(at_once) <= 3
    lines = re.findall(r"^ *\d+/\d+ +(\S+) +[\d.]+ s ", done.stdout, re.MULTILINE)
    assert sorted(lines) == sorted(started)


def test_tracking_has_the_times_at_which_steps_ran(whole):
    root, _ = whole
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("expanse")
    runs = client.search_runs([experiment.experiment_id], "tags.`expanse.step` != ''", max_results=200)
    times = {each.info.run_name: (each.info.start_time / 1000, each.info.end_time / 1000) for each in runs}
    assert {each.data.tags["expanse.cached"] for each in runs} == {"false"}
    for event in events(root, "started"):
        assert times[event["name"]][0] == pytest.approx(event["time"], abs=2)
    for event in events(root, "finished"):
        assert times[event["name"]][1] == pytest.approx(event["time"], abs=2)


def test_one_job_makes_the_same_bytes_as_three(whole, tmp_path):
    root, _ = whole
    run(tmp_path, "--jobs", "1")
    expected = {name: reference.digest for name, reference in finished(root).items()}
    actual = {name: reference.digest for name, reference in finished(tmp_path).items()}
    assert set(actual) == set(expected)
    assert not [name for name in expected if expected[name] != actual[name] and name not in {"register", "deploy"}]


def test_a_step_that_fails_ahead_of_its_turn_ends_the_run_with_its_sentence(tmp_path):
    ghost = "baselines=[{name: ghost, source: 'file:///nowhere/ghost', license: MIT}]"
    process = start(tmp_path, "--jobs", "3", "--set", ghost, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 2, f"{out}\n{err}"
    assert len(err.strip().splitlines()) == 1 and err.startswith("expanse: fetch-ghost: ") and "/nowhere/ghost" in err
    assert out.count("failed") == 1
    assert [event["name"] for event in events(tmp_path, "failed")] == ["fetch-ghost"]
    assert "teacher-west" not in finished(tmp_path), "the run went on for long"
    assert not processes(tmp_path)


def test_a_step_whose_process_is_killed_ends_the_run_as_one_that_can_be_repeated(tmp_path):
    process = start(tmp_path, "--jobs", "3", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: finished(tmp_path) and len(steps_at_work(tmp_path)) == 3)
    os.kill(steps_at_work(tmp_path)[1], signal.SIGKILL)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 3, f"{out}\n{err}"
    assert len(err.strip().splitlines()) == 1 and "was killed (out of memory?); run the same command again" in err
    assert out.count("failed") == len(events(tmp_path, "failed")) == 1
    assert not processes(tmp_path)


def test_an_interrupt_ends_every_process_and_the_same_command_goes_on(tmp_path):
    process = start(tmp_path, "--until", "sources", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                    start_new_session=True)  # fmt: skip
    wait_for(lambda: finished(tmp_path) and len(events(tmp_path, "started")) > 2)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in err and "Traceback" not in err
    assert not processes(tmp_path)
    assert all((each / "manifest.json").is_file() for each in (tmp_path / "store").glob("[!.]*/*"))
    assert "finished before" in run(tmp_path, "--until", "sources").stdout


def test_no_secret_of_the_environment_is_in_anything_that_a_run_says_or_leaves(whole):
    root, done = whole
    assert "planted-" not in done.stdout + done.stderr
    files = [path for path in root.rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert {"events.jsonl", "log.txt", "mlflow.db", "manifest.json", "report.html", "recipe.json"} <= names
    assert [path for path in files if b"planted-" in path.read_bytes()] == []


def test_the_plan_predicts_what_the_run_did(whole):
    root, _ = whole
    real = finished(root)
    planned = {each.step.name: each for each in plan(load_recipe(str(RECIPE))).estimates}
    assert set(planned) == set(real)
    for name, reference in real.items():
        metrics, work, stage = reference.metadata, planned[name].work, planned[name].step.stage
        if stage == "generation":
            assert metrics["completions"] == work.rows
            assert metrics["tokens"] == pytest.approx(work.generated, rel=0.35)  # 5 a completion is assumed
        if stage == "scoring":
            assert metrics["scored"] == work.rows
        if stage in {"arbitrage", "preference"}:
            assert 0 < metrics.get("examples", metrics.get("pairs")) <= work.rows  # nothing dropped is assumed
        if stage == "sft":
            assert metrics["examples"] == pytest.approx(work.rows, rel=0.25)  # parts are drawn by hash
        if stage in {"sft", "dpo", "merging"}:
            assert reference.size == pytest.approx(work.stored, rel=0.1)  # the world fills most of its vocabulary


def test_a_repeat_finds_everything_finished(whole):
    root, _ = whole
    again = run(root)
    lines = [line for line in again.stdout.splitlines() if re.match(r"\s*\d+/\d+ ", line)]
    assert lines and all("finished before" in line for line in lines)


@pytest.mark.faults
def test_a_run_that_is_killed_again_and_again_ends_like_one_that_was_not(whole, tmp_path):
    root, _ = whole
    chance = random.Random(5)
    for steps in (1, 4, 15, 35):
        process = start(tmp_path, "--jobs", "3", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda steps=steps: len(finished(tmp_path)) >= steps)
        time.sleep(chance.uniform(0, 3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_for(lambda: not processes(tmp_path), 60)
    done = run(tmp_path)
    expected = {name: reference.digest for name, reference in finished(root).items()}
    actual = {name: reference.digest for name, reference in finished(tmp_path).items()}
    different = [name for name in expected if expected[name] != actual[name] and name not in {"register", "deploy"}]
    assert not different
    assert "finished before" in done.stdout
    assert not list((tmp_path / "store").rglob("output-*"))


@pytest.mark.faults
def test_a_second_run_in_the_same_folder_is_refused_while_the_first_is_at_work(tmp_path):
    first = subprocess.Popen(
        command(tmp_path), cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("runs/*/events.jsonl")) and time.monotonic() < deadline:
            time.sleep(0.1)
        second = subprocess.run(
            command(tmp_path), cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=60
        )
    finally:
        first.terminate()
        first.wait(timeout=30)
    assert second.returncode == 3
    assert "Another run is at work" in second.stderr and "Traceback" not in second.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--recipe", "nothing"], "There is no recipe 'nothing'"),
        (["run", "--set", "offline.dpo.beta=-1"], "offline.dpo.beta"),
        (["compile", "--recipe", "8b", "--set", "typo=1"], "typo: there is no such field"),
        (["step", "nothing", "--output", "x.json"], "There is no stage 'nothing'"),
        (["serve", "/nowhere"], "/nowhere"),
        (["report", "--root", "/nowhere"], "no run has finished"),
        (["run", "--jobs", "0"], "--jobs 0"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(arguments, words):
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *arguments],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert words in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.faults
def test_a_folder_that_cannot_be_written_is_exit_3():
    done = subprocess.run(
        command(Path("/proc/expanse")), cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 3 and "Cannot write to /proc" in done.stderr
