"""What the comparisons in benchmarks/ share, and the command that runs them."""

import json
import subprocess
import sys

import pytest

from benchmarks import harness
from benchmarks.__main__ import COMPARISONS, main


def test_the_clock_leaves_the_preparation_out(tmp_path):
    code = harness.timed(
        prepare="time.sleep(0.3)\nfolder = Path(sys.argv[1])", work='(folder / "made").write_text("x" * 10)'
    )
    run = harness.measure(sys.executable, code, [tmp_path])
    assert (tmp_path / "made").read_text() == "x" * 10
    assert 0 < run["wall"] < 0.3 and run["cpu"] < 0.3 and run["memory"] > 1 << 20


def test_a_program_that_fails_ends_the_comparison_with_its_words(tmp_path):
    with pytest.raises(SystemExit, match="ZeroDivisionError"):
        harness.measure(sys.executable, harness.timed("", "1 / 0"), [])


def test_ratios_are_the_rival_over_ours_and_ours_over_the_floor():
    def runs(*walls):
        return [{"wall": wall, "cpu": 2.0, "memory": 100.0} for wall in walls]

    found = harness.ratios({"ours": runs(2, 1, 9), "rival": runs(3, 4, 5), "floor": runs(1, 1, 1)}, "rival")
    assert found == {"wall_ratio": 2.0, "cpu_ratio": 1.0, "memory_ratio": 1.0, "floor_ratio": 2.0}


def test_a_result_says_where_and_with_what_it_was_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    harness.save("thing", ("pydantic",), {"equal": True, "runs": {"ours": []}, "versions": {"rival": "1.0"}})
    result = json.loads((tmp_path / "results" / "thing.json").read_text())
    assert set(result) == {"name", "equal", "runs", "versions", "machine", "commit"}
    assert set(result["versions"]) == {"pydantic", "rival"} and "CPU cores" in result["machine"]
    assert "runs" not in json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", COMPARISONS)
def test_every_comparison_starts(name):
    done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "--runs" in done.stdout, done.stderr


def test_an_unknown_comparison_is_refused(capsys):
    assert main(["merging", "nothing"]) == 2
    assert "There is no comparison 'nothing'" in capsys.readouterr().err
