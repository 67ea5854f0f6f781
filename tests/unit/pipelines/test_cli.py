import json
import subprocess
import sys
from pathlib import Path

import pytest

from components.common.errors import BadInput
from pipelines.cli import COMMANDS, main, parser
from pipelines.commands.run import refuse_without_gpus
from pipelines.loading import load_recipe

ROOT = Path(__file__).parents[3]


def test_every_option_of_every_command_says_what_it_is_for():
    commands = parser()._subparsers._group_actions[0].choices
    assert list(commands) == list(COMMANDS)
    silent = [f"{name} {each.dest}" for name, command in commands.items() for each in command._actions if not each.help]
    assert silent == []


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"steps": []}'])
def test_a_damaged_summary_is_one_sentence_and_exit_2(tmp_path, capsys, text):
    (tmp_path / "summary.json").write_text(text)
    assert main(["report", "--root", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / 'summary.json'} is not the summary of a run; run the recipe again" in said


def test_a_summary_is_shown_again(tmp_path, capsys):
    summary = {
        "steps": [],
        "gate": "passed",
        "deployment": {},
        "report": None,
        "tracking_uri": "sqlite:///x",
        "model": None,
    }
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    assert main(["report", "--root", str(tmp_path)]) == 0
    assert "passed" in capsys.readouterr().out


def test_a_path_of_another_kind_is_exit_2_and_named(tmp_path, capsys, monkeypatch):
    taken = tmp_path / "taken"
    taken.write_text("")
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.setenv("EXPANSE_STORE", f"file://{taken}/store")
    for arguments, words in (
        (["compile", "--recipe", "mini", "--output", str(folder)], f"{folder} cannot be written: Is a directory"),
        (["compile", "--recipe", "mini", "--output", str(taken / "p.yaml")], f"{taken} cannot be written"),
        (["run", "--root", str(taken)], f"{taken} cannot be written: File exists; give another path"),
        (["merge", "--output", str(taken / "o"), "--input", f"models={ROOT / 'docs'}"], f"{taken}/store"),
    ):
        assert main(arguments) == 2
        assert words in capsys.readouterr().err


def test_a_reader_that_has_enough_ends_the_command_without_a_traceback():
    command = [sys.executable, "-m", "pipelines.cli", "recipe", "--recipe", "mini"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_a_recipe_for_gpus_is_refused_where_there_are_none(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["run", "--recipe", "8b", "--root", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "score-teachers of recipe 8b asks for GPUs (1)" in said and "expanse submit" in said
    assert not (tmp_path / "run").exists()


def test_only_the_chapters_that_need_gpus_are_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    refuse_without_gpus(load_recipe("8b"), "sources")
    with pytest.raises(BadInput, match="score-teachers"):
        refuse_without_gpus(load_recipe("8b"), "arbitrage")
