"""Data sets on a hub on loopback: scripts, raw files, the hub's own conversion, pinned commits."""

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from components.benchmarks.hub import CONVERTED
from components.benchmarks.parts import part_files
from components.benchmarks.task import Config, load, run
from components.common.errors import BadInput
from components.common.records import QUESTION, read_records
from tests.hub import publish

SCRIPT = {"README.md": b"", "mgsm.py": b"raise SystemExit", "mgsm_de.tsv": b"Frage\t3\n", "exemplars.py": b""}
TASK = {"question": "Wie viel ist 20 und 2?", "answer": None, "answer_number": 22}
SHOT = {
    "question": "Frage: Wie viel ist 1 und 1?",
    "answer": "Schritt-für-Schritt-Antwort: Die Antwort lautet 2.",
    "answer_number": 2,
}


def parquet(*rows: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows)), buffer)
    return buffer.getvalue()


def jsonl(*rows: dict[str, Any]) -> bytes:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()


def mgsm(test: dict[str, Any] = TASK) -> dict[str, bytes]:
    return {"de/train/0000.parquet": parquet(SHOT), "de/test/0000.parquet": parquet(test)}


def test_a_script_is_never_run_and_its_rows_come_from_the_conversion(hub, tmp_path):
    publish(hub, "dataset", "juletxara/mgsm", SCRIPT)
    commit = publish(hub, "dataset", "juletxara/mgsm", mgsm(), CONVERTED)
    made = run(Config(names=["mgsm"], languages=["de"]), {}, tmp_path)
    assert made == {"mgsm": 1, "mgsm.source": f"hf://juletxara/mgsm@{commit}"}
    (row,) = read_records(tmp_path / "mgsm.parquet", QUESTION)
    assert (row["reference"], row["prompt"].count("Frage:")) == ("22", 2)
    assert not any(path.endswith((".py", ".tsv")) for _, path, _ in hub.asked)


def test_a_main_branch_that_has_parquet_itself_is_read_there(hub):
    publish(hub, "dataset", "juletxara/mgsm", mgsm() | {"mgsm.py": b""})
    assert len(load("mgsm", "hub", ["de"])) == 1
    assert not any(CONVERTED.replace("/", "%2F") in path for _, path, _ in hub.asked)


def test_raw_files_beside_a_script_are_read(hub):
    row = {"sentence": "箱に本が入らない。_は大きすぎる。", "option1": "箱", "option2": "本", "answer": "2"}
    publish(hub, "dataset", "Muennighoff/xwinograd", {"xwinograd.py": b"", "test/jp.jsonl": jsonl(row)})
    (found,) = load("xwinograd", "hub", ["ja"])
    assert (found["prompt"], found["answer"]) == ("箱に本が入らない。", 1)


def test_xstory_cloze_comes_from_the_conversion(hub):
    row = {f"input_sentence_{number}": f"Frase {number}." for number in range(1, 5)}
    row |= {"story_id": "s1", "sentence_quiz1": "Bien.", "sentence_quiz2": "Mal.", "answer_right_ending": 2}
    publish(hub, "dataset", "juletxara/xstory_cloze", {"xstory_cloze.py": b"", "spring2016.val.es.tsv": b""})
    publish(hub, "dataset", "juletxara/xstory_cloze", {"es/eval/0000.parquet": parquet(row)}, CONVERTED)
    (found,) = load("xstory_cloze", "hub", ["es"])
    assert (found["answer"], found["language"]) == (1, "es")


def test_a_pinned_commit_is_read_although_the_branch_has_moved(hub, tmp_path):
    commit = publish(hub, "dataset", "juletxara/mgsm", mgsm(), CONVERTED)
    publish(hub, "dataset", "juletxara/mgsm", mgsm(TASK | {"answer_number": 23}))
    config = Config(names=["mgsm"], languages=["de"], revisions={"juletxara/mgsm": commit})
    assert run(config, {}, tmp_path)["mgsm.source"] == f"hf://juletxara/mgsm@{commit}"
    assert read_records(tmp_path / "mgsm.parquet")[0]["reference"] == "22"


def test_a_missing_part_is_named_before_anything_is_read(hub, tmp_path):
    publish(hub, "dataset", "juletxara/mgsm", SCRIPT)
    with pytest.raises(
        BadInput, match=r"juletxara/mgsm@\w+ has no Parquet, JSONL or CSV files of de/train; .*revisions"
    ):
        run(Config(names=["mgsm"], languages=["de"]), {}, tmp_path)
    publish(hub, "dataset", "juletxara/mgsm", {"de/train.jsonl": jsonl(SHOT)}, CONVERTED)
    with pytest.raises(BadInput, match="files of de/train"):
        load("mgsm", "hub", ["de"])
    assert not list(tmp_path.iterdir()) and not any("/resolve/" in path for _, path, _ in hub.asked)


def test_a_repository_that_no_data_set_is_in_cannot_be_pinned():
    with pytest.raises(ValidationError, match="no data set is in the repository 'org/typo'"):
        Config(names=["mgsm"], revisions={"org/typo": "main"})


def test_a_card_says_where_parts_lie(hub):
    card = {"configs": [
        {"config_name": "other", "data_files": [{"split": "test", "path": "data/dolly_machine_translated/*"}]},
        {"config_name": "dolly_machine_translated", "data_files": [
            {"split": "train", "path": "train/*"},
            {"split": "test", "path": ["dolly-machine-translated/test-*", "more/**/x.parquet"]},
        ]},
    ]}  # fmt: skip
    files = ["dolly-machine-translated/test-00000.parquet", "dolly-machine-translated/test/deep.parquet"]
    files += ["more/a/b/x.parquet", "more/x.parquet", "data/dolly_machine_translated/test.parquet", "README.md"]
    found = part_files(files, card, "dolly_machine_translated", "test")
    assert found == ["dolly-machine-translated/test-00000.parquet", "more/a/b/x.parquet", "more/x.parquet"]


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["de/dev-00000.parquet", "de/devtest-00000.parquet"], ["de/dev-00000.parquet"]),
        (["dev/de.parquet", "devtest/de.parquet", "dev/de_AT.parquet"], ["dev/de.parquet"]),
        (["de/dev/0001.parquet", "de/dev/0000.parquet"], ["de/dev/0000.parquet", "de/dev/0001.parquet"]),
        (["de/dev.csv", "de/dev.parquet", "de/dev.jsonl"], ["de/dev.parquet"]),
        (["dev.parquet", "de.parquet", "de/dev.parquet.lock", "x/de/dev.parquet"], []),
    ],
)
def test_folders_say_where_parts_lie_without_a_card(files, found):
    assert part_files(files, {}, "de", "dev") == found
