"""Disks that are full, too small or read-only, whoever writes: one sentence with exit 3, and nothing half-written stays."""

import errno
import os
from pathlib import Path

import pytest

from components.common.artifacts import Provenance
from components.common.errors import Transient
from components.common.store import LocalStore
from tests.disks import on_small_disk, result
from tests.trainable import example, save_examples, save_trainable

pytestmark = pytest.mark.faults
WRITERS = """
import json, random, shutil, sys
from pathlib import Path
from components.common.artifacts import Provenance
from components.common.errors import NoRoomError, Transient
from components.common.store import LocalStore

disk = Path(sys.argv[1])

def python(output):
    (output / "data").write_bytes(bytes(8 << 20))

def table(output):
    from components.common.records import PROMPT, write_records
    rows = [{"id": str(n), "language": "de", "prompt": random.randbytes(50_000).hex()} for n in range(100)]
    write_records(output / "prompts.parquet", rows, PROMPT)

def weights(output):
    import torch
    from safetensors.torch import save_file
    save_file({"x": torch.rand(1 << 21)}, output / "model.safetensors")

def tokenizer(output):
    from tokenizers import Tokenizer, models
    words = {f"word{n}" * 10: n for n in range(100_000)}
    Tokenizer(models.WordLevel({**words, "?": 100_000}, unk_token="?")).save(str(output / "tokenizer.json"))

def copies(output):
    (output / "a").write_bytes(bytes(3 << 20))
    shutil.copytree(output, output / "b")

told = {}
for write in (python, table, weights, tokenizer, copies):
    try:
        LocalStore(disk).produce(Provenance(write.__name__, "", ""), lambda output: write(output) or {})
    except NoRoomError as error:
        told[write.__name__] = str(error)
left = [str(path) for path in disk.rglob("*") if path.is_file() and path.name != "lock"]
print(json.dumps([told, left]))
"""


def test_whoever_meets_a_full_disk_it_is_one_sentence_and_nothing_stays(tmp_path):
    told, left = result(on_small_disk(tmp_path / "disk", "4m", WRITERS))
    assert set(told) == {"python", "table", "weights", "tokenizer", "copies"}
    for sentence in told.values():
        assert "No space left on device (" in sentence and "bytes are free); free some space" in sentence
        assert "\n" not in sentence
    assert left == []


TRAINING = """
import json, os, sys
from pathlib import Path
from components.common.errors import NoRoomError
from components.common.standalone import adopt
from components.common.step import Step, run_step
from components.common.store import LocalStore
disk, model, examples, kept = map(Path, sys.argv[1:5])
os.environ["EXPANSE_STORE"] = kept.as_uri()
inputs = {"model": [adopt(model)], "examples": [adopt(examples)]}
settings = {"learning_rate": 1e-3, "steps": 4, "save_steps": 2, "global_batch_size": 8, "device_batch_size": 8}
step = Step("sft", "sft", json.dumps(settings), inputs)
filler = disk / "filler"
filler.write_bytes(bytes(int(sys.argv[5])))
told = []
for _ in range(2):
    try:
        told.append(run_step(step, LocalStore(disk)).reference.stage)
    except NoRoomError as error:
        told.append(str(error))
    filler.unlink(missing_ok=True)
print(json.dumps(told))
"""


def test_a_checkpoint_that_finds_no_room_ends_the_training_and_a_rerun_with_room_completes(tmp_path):
    model = save_trainable(tmp_path / "model", hidden=64)
    examples = save_examples(tmp_path / "examples", [example(number) for number in range(16)])
    size = sum(path.stat().st_size for path in model.iterdir())
    # Room for the weights of a checkpoint, which come first, and not for the state of the optimizer, twice as large.
    disk = 16 << 20
    done = on_small_disk(tmp_path / "disk", str(disk), TRAINING, model, examples, tmp_path / "kept", disk - 2 * size)
    first, second = result(done)
    assert "No space left on device" in first and "run the same command again" in first
    assert second == "sft"


READ_ONLY = """
import json, subprocess, sys
from pathlib import Path
from components.common.artifacts import Provenance
from components.common.errors import NoRoomError, Transient
from components.common.store import LocalStore
disk = Path(sys.argv[1])
subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
try:
    LocalStore(disk).produce(Provenance("merging", "", ""), lambda output: {})
except Transient as error:
    print(json.dumps([str(error), isinstance(error, NoRoomError)]))
"""


def test_a_read_only_disk_is_said_to_be_one(tmp_path):
    sentence, no_room = result(on_small_disk(tmp_path / "disk", "1m", READ_ONLY))
    assert "Read-only file system" in sentence and "make the folder writable" in sentence and not no_room


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_disk_that_fails_at_the_end_leaves_nothing(tmp_path, monkeypatch, number, call):
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    def produce(output: Path) -> dict[str, int]:
        (output / "data.txt").write_text("hello")
        return {}

    with monkeypatch.context() as patch, pytest.raises(Transient, match=rf"{os.strerror(number)} .*bytes are free"):
        patch.setattr(*((os, "fsync") if call == "fsync" else (Path, "rename")), fail)
        LocalStore(tmp_path).produce(Provenance("merging", "", ""), produce)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["lock"]
    LocalStore(tmp_path).produce(Provenance("merging", "", ""), produce)


MERGING = """
import json, sys
from pathlib import Path
from components.common.errors import NoRoomError
from components.merging.task import Config, run
disk, model = map(Path, sys.argv[1:])
output = disk / "output"
output.mkdir()
try:
    run(Config(), {"models": [model, model]}, output)
except NoRoomError as error:
    print(json.dumps([str(error), [path.name for path in output.iterdir()]]))
"""


def test_a_merge_knows_before_it_starts_that_the_disk_is_too_small(tmp_path):
    model = save_trainable(tmp_path / "model", hidden=64)
    sentence, left = result(on_small_disk(tmp_path / "disk", "64k", MERGING, model))
    needed = int(sentence.split("(")[1].split()[0].replace(",", ""))
    weights = (model / "model.safetensors").stat().st_size
    assert weights < needed < 1.2 * weights and left == []
