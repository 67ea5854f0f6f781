"""Copies in a scratch that is too small for all of them: what nobody uses goes, what somebody uses stays."""

import json
from pathlib import Path

import pytest

from components.common.artifacts import Provenance
from components.common.store import open_store
from tests.disks import on_small_disk, result

pytestmark = pytest.mark.faults
MIB = 1 << 20
PRELUDE = """
import json, multiprocessing, random, sys
from contextlib import suppress
from pathlib import Path
from components.common.artifacts import Reference, verify
from components.common.errors import NoRoomError
from components.common.s3_store import S3Store

scratch, root, references = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
context = multiprocessing.get_context("fork")

def reference(name):
    return Reference.load(references / f"{name}.json")

def fetch(names, ready=None, leave=None):
    for name in names:
        S3Store(root, scratch).fetch(reference(name))
    if ready:
        ready.set()
        leave.wait(60)
    for name in names:
        verify(S3Store(root, scratch)._copies.path(reference(name).digest))

def step(*names):
    "Fetch in a process of its own, as a step does, and see it end well."
    process = context.Process(target=fetch, args=(names,))
    process.start()
    process.join()
    assert process.exitcode == 0, names

def here():
    return [name for name in "abcdef" if (scratch / "artifacts" / reference(name).digest).is_dir()]
"""


@pytest.fixture
def references(root, tmp_path) -> Path:
    """Six artifacts of 3 MiB in the store, and their references by name."""
    for name in "abcdef":

        def produce(output: Path, name: str = name) -> dict[str, int]:
            (output / "weights.bin").write_bytes(name.encode() * 3 * MIB)
            return {}

        made = open_store(root).produce(Provenance("merging", name, ""), produce)
        made.save(tmp_path / "references" / f"{name}.json")
    return tmp_path / "references"


def test_the_copy_that_was_not_used_for_longest_makes_room(tmp_path, root, references):
    program = f"{PRELUDE}\nstep('a'); step('b'); step('c'); step('a'); step('d'); print(json.dumps(here()))"
    done = on_small_disk(tmp_path / "disk", "11m", program, root, references)
    assert result(done) == ["a", "c", "d"]
    (told,) = done.stderr.splitlines()
    copy = tmp_path / "disk" / "artifacts" / json.loads((references / "b.json").read_text())["digest"]
    assert told.startswith(f"Evicted {copy}, last used 20") and told.endswith(" bytes) to make room.")


def test_a_copy_in_use_stays_and_goes_when_its_user_has_ended(tmp_path, root, references):
    program = f"""{PRELUDE}
ready, leave = context.Event(), context.Event()
user = context.Process(target=fetch, args=("abc", ready, leave))
user.start()
assert ready.wait(60)
try:
    fetch("d")
    raise AssertionError("there is no room")
except NoRoomError as error:
    sentence = str(error)
during = here()
leave.set()
user.join()
assert user.exitcode == 0
fetch("d")
print(json.dumps([sentence, during, here()]))
"""
    done = on_small_disk(tmp_path / "disk", "11m", program, root, references)
    sentence, during, after = result(done)
    assert "has too little space: 3,145,728 bytes are needed" in sentence and "EXPANSE_SCRATCH" in sentence
    assert (during, after) == (["a", "b", "c"], ["b", "c", "d"])


def test_a_user_that_is_killed_holds_nothing(tmp_path, root, references):
    program = f"""{PRELUDE}
ready, leave = context.Event(), context.Event()
user = context.Process(target=fetch, args=("abc", ready, leave))
user.start()
assert ready.wait(60)
user.kill()
user.join()
step("d", "e", "f")
print(json.dumps(here()))
"""
    assert result(on_small_disk(tmp_path / "disk", "11m", program, root, references)) == ["d", "e", "f"]


def test_what_a_killed_transfer_has_left_goes_too_but_not_one_at_work(tmp_path, root, references):
    program = f"""{PRELUDE}
from components.common.copies import Copies
left, at_work = "0" * 64, "1" * 64
for sha256 in (left, at_work):
    partial = scratch / "artifacts" / f".{{sha256}}.partial"
    partial.mkdir(parents=True)
    (partial / "weights.bin").write_bytes(bytes(3 << 20))
    (scratch / "artifacts" / f".{{sha256}}.journal").write_text("title")
with Copies(scratch).held(at_work):
    step("a", "b")
print(json.dumps([here(), sorted(path.name for path in (scratch / "artifacts").glob(".*"))]))
"""
    found, left = result(on_small_disk(tmp_path / "disk", "11m", program, root, references))
    assert (found, left) == (["a", "b"], [f".{'1' * 64}.journal", f".{'1' * 64}.partial"])


def test_what_a_killed_attempt_has_half_written_goes_first_and_nothing_else_of_it(tmp_path, root, references):
    program = f"""{PRELUDE}
from components.common.store import locked
attempts = scratch / "attempts" / "0123abcd"
for name, file in (("killed", "half"), ("finished", "manifest.json"), ("at-work", "half")):
    for folder in ("output", "scratch"):
        (attempts / name / folder).mkdir(parents=True)
    (attempts / name / "output" / file).write_bytes(bytes(1 << 20))
    (attempts / name / "scratch" / "checkpoint").touch()
step("a")
with locked(attempts / "at-work"):
    step("b")
left = [str(path.relative_to(attempts)) for path in sorted(attempts.rglob("*")) if path.is_file()]
print(json.dumps([here(), [path for path in left if not path.endswith("lock")]]))
"""
    found, left = result(on_small_disk(tmp_path / "disk", "9m", program, root, references))
    assert found == ["a", "b"]
    assert left == [
        "at-work/output/half", "at-work/scratch/checkpoint", "finished/output/manifest.json",
        "finished/scratch/checkpoint", "killed/scratch/checkpoint",
    ]  # fmt: skip


def test_small_files_find_room_too(tmp_path, root, references):
    program = f"""{PRELUDE}
step("a")
filler = scratch / "filler"
with filler.open("wb", buffering=0) as file, suppress(OSError):
    while file.write(bytes(4096)):
        pass
found = S3Store(root, scratch).files(reference("b"), ["weights.bin"])["weights.bin"]
print(json.dumps([here(), found.stat().st_size]))
"""
    assert result(on_small_disk(tmp_path / "disk", "8m", program, root, references)) == [[], 3 * MIB]


def test_many_steps_at_once_never_lose_a_copy_that_they_use(tmp_path, root, references):
    program = f"""{PRELUDE}
def worker(seed, barrier):
    barrier.wait(60)
    chance = random.Random(seed)
    for _ in range(6):
        step(*chance.sample("abcdef", 2))

barrier = context.Barrier(2)
workers = [context.Process(target=worker, args=(seed, barrier)) for seed in range(2)]
for each in workers:
    each.start()
for each in workers:
    each.join()
print(json.dumps([each.exitcode for each in workers]))
"""
    # Two steps need up to 12 MiB at once, all six artifacts 18 MiB.
    done = on_small_disk(tmp_path / "disk", "13m", program, root, references)
    assert result(done) == [0, 0]
    assert done.stderr.count("Evicted") > 3


def test_an_output_that_finds_no_room_has_it_in_the_next_attempt(tmp_path, root, references):
    program = f"""{PRELUDE}
from components.common.artifacts import Provenance
step("a", "b")
fetch("c")
def produce(output):
    (output / "weights.bin").write_bytes(bytes(5 << 20))
    return {{}}
store, told = S3Store(root, scratch), []
for _ in range(2):
    try:
        told.append(store.produce(Provenance("merging", "large", ""), produce).size)
    except NoRoomError as error:
        told.append(str(error))
print(json.dumps([told, here()]))
"""
    (first, second), left = result(on_small_disk(tmp_path / "disk", "11m", program, root, references))
    assert "No space left on device" in first and "run the same command again" in first
    assert (second, left) == (5 * MIB, ["c"])


def test_a_need_that_is_known_before_the_work_makes_room_for_itself(tmp_path, root, references):
    program = f"""{PRELUDE}
import os
from components.common.copies import require_space
os.environ["EXPANSE_SCRATCH"] = str(scratch)
step("a", "b")
fetch("c")
require_space(scratch, 4 << 20)
found = here()
try:
    require_space(scratch, 10 << 20)
except NoRoomError as error:
    print(json.dumps([found, str(error)]))
"""
    found, sentence = result(on_small_disk(tmp_path / "disk", "11m", program, root, references))
    assert found == ["b", "c"] and "10,485,760 bytes are needed, " in sentence
