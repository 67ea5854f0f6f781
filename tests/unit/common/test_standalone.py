import subprocess
import sys
from pathlib import Path

import pytest

from components.common.artifacts import Reference
from components.common.errors import BadInput
from components.common.standalone import adopt
from components.common.step import stages
from components.common.store import LocalStore, folder_of, open_store
from tests.scored import save_scored, scored

ROOT = Path(__file__).parents[3]


def call(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True)


@pytest.fixture
def rows(tmp_path):
    return save_scored(
        tmp_path / "scored", [scored(f"p{n}", model, reward=n + k) for n in range(3) for k, model in enumerate("ab")]
    )


def test_a_stage_runs_as_a_module_and_as_a_command(rows, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("routing: single\nteacher: a\n")
    options = ["--config", config, "--input", f"scored={rows}", "--output"]
    done = call("-m", "components.arbitrage", *options, tmp_path / "one.json")
    assert done.returncode == 0, done.stderr
    again = call("-m", "pipelines.cli", "step", "arbitrage", *options, tmp_path / "two.json")
    assert again.returncode == 0 and "found" in again.stdout
    one, two = Reference.load(tmp_path / "one.json"), Reference.load(tmp_path / "two.json")
    assert one.digest == two.digest and one.metadata["examples"] == 3
    assert (LocalStore(tmp_path / "store").fetch(one) / "examples.parquet").is_file()


def test_a_stage_keeps_its_work_on_s3_and_finds_it_there(rows, tmp_path, monkeypatch, service, root):
    config = tmp_path / "config.yaml"
    config.write_text("routing: single\nteacher: a\n")
    options = ["--config", config, "--input", f"scored={rows}", "--store", root, "--output"]
    done = call("-m", "components.arbitrage", *options, tmp_path / "one.json")
    assert done.returncode == 0, done.stderr
    monkeypatch.setenv("EXPANSE_SCRATCH", str(tmp_path / "another machine"))
    again = call("-m", "pipelines.cli", "step", "arbitrage", *options, tmp_path / "two.json")
    assert again.returncode == 0 and "found" in again.stdout, again.stderr
    one, two = Reference.load(tmp_path / "one.json"), Reference.load(tmp_path / "two.json")
    assert one == two and one.uri.startswith(f"{root}/arbitrage/")
    next_step = ["--input", f"examples={tmp_path / 'one.json'}", "--store", root, "--output", tmp_path / "three.json"]
    refused = call("-m", "components.sft", *next_step)  # it fetches its input, and says what else it needs
    assert refused.returncode == 2 and "Traceback" not in refused.stderr
    assert (open_store(root).fetch(one) / "examples.parquet").is_file()


def test_a_bucket_that_is_not_there_is_one_sentence_and_exit_2(rows, tmp_path, service):
    done = call(
        "-m",
        "components.arbitrage",
        "--input",
        f"scored={rows}",
        "--store",
        "s3://nowhere/x",
        "--output",
        tmp_path / "o",
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines() == [
        "expanse: There is no bucket 'nowhere'; create it, or correct EXPANSE_STORE or the address."
    ]


def test_wrong_options_are_one_sentence_and_exit_2(rows, tmp_path):
    bad = {
        "scored": "not of the form NAME=PATH",
        f"scored={tmp_path / 'nothing.json'}": "is not an artifact reference",
    }
    for given, words in bad.items():
        done = call("-m", "components.arbitrage", "--input", given, "--output", tmp_path / "out.json")
        assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize("stage", stages())
def test_every_stage_explains_its_options(stage):
    done = call("-m", f"components.{stage}", "--help")
    assert done.returncode == 0 and "--input NAME=PATH" in done.stdout


def test_a_changed_file_in_a_subfolder_is_another_artifact(rows, tmp_path, monkeypatch):
    monkeypatch.setenv("EXPANSE_STORE", (tmp_path / "store").as_uri())
    (rows / "deeper").mkdir()
    (rows / "deeper" / "file").write_text("one")
    first = adopt(rows)
    (rows / "deeper" / "file").write_text("two")
    assert adopt(rows).digest != first.digest


def test_adopting_a_folder_keeps_its_files(rows, tmp_path, monkeypatch):
    monkeypatch.setenv("EXPANSE_STORE", (tmp_path / "store").as_uri())
    reference = adopt(rows)
    assert [path.name for path in folder_of(reference.uri).glob("*.parquet")] == ["scored.parquet"]
    assert adopt(folder_of(reference.uri)).digest == reference.digest


@pytest.mark.parametrize("target", ["nowhere", "/etc/hostname", "/etc", ".", "file"])
def test_a_folder_with_a_link_is_not_adopted(tmp_path, monkeypatch, target):
    monkeypatch.setenv("EXPANSE_STORE", (tmp_path / "store").as_uri())
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    (tmp_path / "folder" / "link").symlink_to(target)
    with pytest.raises(BadInput, match=r"folder/link is a symbolic link; give a copy"):
        adopt(tmp_path / "folder")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("output", ["file/below", "."])
def test_an_output_that_cannot_be_written_is_one_sentence(rows, tmp_path, output):
    (tmp_path / "file").touch()
    options = ["--input", f"scored={rows}", "--store", (tmp_path / "store").as_uri(), "--output", tmp_path / output]
    done = call("-m", "components.arbitrage", *options)
    assert done.returncode == 2 and "cannot be written" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) == 1
    assert not [*tmp_path.glob(".*.new"), *tmp_path.parent.glob(".*.new")]
