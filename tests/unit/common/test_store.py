import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.common.artifacts import MANIFEST, Provenance, Reference, read_manifest, verify
from components.common.errors import BadInput, Transient
from components.common.store import LocalStore, open_store, scratch

pytestmark = pytest.mark.faults

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
PROVENANCE = Provenance("merging", "c" * 64, "d" * 64, {"models": ["a" * 64]})


def write(text: str):
    def produce(output: Path) -> dict[str, int]:
        (output / "data.txt").write_text(text)
        return {"letters": len(text)}

    return produce


def test_a_committed_artifact_is_found_fetched_and_verified(tmp_path):
    store = LocalStore(tmp_path)
    assert store.find("merging", PROVENANCE.key) is None
    made = store.produce(PROVENANCE, write("hello"))
    assert store.find("merging", PROVENANCE.key) == made
    assert (store.fetch(made) / "data.txt").read_text() == "hello"
    assert made.size == 5 and made.metadata == {"letters": 5}


def test_finished_work_is_not_done_again(tmp_path):
    store = LocalStore(tmp_path)
    first = store.produce(PROVENANCE, write("first"))
    assert store.produce(PROVENANCE, write("second")) == first


def test_equal_content_has_an_equal_digest_wherever_it_lies(tmp_path):
    one = LocalStore(tmp_path / "a").produce(PROVENANCE, write("x"))
    two = LocalStore(tmp_path / "b").produce(PROVENANCE, write("x"))
    assert one.digest == two.digest and one.uri != two.uri


@pytest.mark.parametrize("damage", ["change", "truncate", "zeros", "remove", "folder"])
def test_a_damaged_file_is_refused_by_name_and_a_rerun_repairs_it(tmp_path, damage):
    store = LocalStore(tmp_path)
    made = store.produce(PROVENANCE, write("hello"))
    path = store.fetch(made) / "data.txt"
    {
        "change": lambda: path.write_text("hellO"),
        "truncate": lambda: path.write_text("hell"),
        "zeros": lambda: path.write_bytes(bytes(5)),  # what a power cut leaves of data that was not synced
        "remove": path.unlink,
        "folder": lambda: (path.unlink(), path.mkdir()),
    }[damage]()
    with pytest.raises(BadInput, match=r"data\.txt"):
        store.fetch(made)
    assert store.find("merging", PROVENANCE.key) is None
    assert store.produce(PROVENANCE, write("hello")) == made
    assert (store.fetch(made) / "data.txt").read_text() == "hello"


def test_a_reference_to_another_content_leaves_the_artifact_alone(tmp_path):
    store = LocalStore(tmp_path)
    made = store.produce(PROVENANCE, write("hello"))
    with pytest.raises(BadInput, match="not the manifest"):
        store.fetch(replace(made, digest="0" * 64))
    assert store.find("merging", PROVENANCE.key) == made


def test_everything_is_on_the_disk_before_the_manifest_and_the_artifact_have_their_names(tmp_path, monkeypatch):
    done: list[tuple[str, str]] = []
    fsync, rename = os.fsync, Path.rename

    def noted_fsync(descriptor: int) -> None:
        fsync(descriptor)
        done.append(("sync", Path(f"/proc/self/fd/{descriptor}").readlink().name))

    def noted_rename(self: Path, target: Path) -> Path:
        done.append(("rename", target.name))
        return rename(self, target)

    def produce(output: Path) -> dict[str, int]:
        (output / "inner").mkdir()
        (output / "inner" / "data.txt").write_text("hello")
        return {}

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "rename", noted_rename)
    LocalStore(tmp_path).produce(PROVENANCE, produce)
    done = [(kind, "output" if name.startswith("output-") else name) for kind, name in done]
    assert done == [
        ("sync", "inner"), ("sync", "data.txt"), ("sync", f".{MANIFEST}"), ("rename", MANIFEST), ("sync", "output"),
        ("rename", PROVENANCE.key), ("sync", "merging"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["bell\a", "line\nbreak", "folder/latin-\udce9"])
def test_a_name_that_readers_would_refuse_is_not_committed(tmp_path, name):
    def produce(output: Path) -> dict[str, int]:
        (output / name).parent.mkdir(exist_ok=True)
        (output / name).touch()
        return {}

    with pytest.raises(BadInput, match="leaves its folder or is no file's"):
        LocalStore(tmp_path).produce(PROVENANCE, produce)
    assert LocalStore(tmp_path).find("merging", PROVENANCE.key) is None


@pytest.mark.parametrize("target", ["/etc/passwd", "data.txt", "nowhere", "."])
def test_a_symbolic_link_is_not_committed(tmp_path, target):
    def produce(output: Path) -> dict[str, int]:
        (output / "data.txt").touch()
        (output / "link").symlink_to(target)
        return {}

    with pytest.raises(BadInput, match="link is a symbolic link; put the file itself there"):
        LocalStore(tmp_path).produce(PROVENANCE, produce)
    assert LocalStore(tmp_path).find("merging", PROVENANCE.key) is None


def test_a_planted_file_is_refused_by_name(tmp_path):
    store = LocalStore(tmp_path)
    made = store.produce(PROVENANCE, write("hello"))
    (store.fetch(made) / "chat_template.jinja").write_text("{{ evil }}")
    with pytest.raises(BadInput, match=r"chat_template\.jinja is not in the manifest"):
        store.fetch(made)


def test_another_manifest_than_the_referenced_one_is_refused(tmp_path):
    store = LocalStore(tmp_path)
    made = store.produce(PROVENANCE, write("hello"))
    with pytest.raises(BadInput, match="not the manifest"):
        verify(store.fetch(made), "0" * 64)


def test_a_failed_attempt_leaves_nothing_but_its_scratch(tmp_path):
    store = LocalStore(tmp_path)

    def fail(output: Path) -> dict[str, int]:
        (output / "half.txt").write_text("half")
        (scratch(output) / "checkpoint").write_text("kept")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        store.produce(PROVENANCE, fail)
    assert store.find("merging", PROVENANCE.key) is None
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["lock", "checkpoint"]

    def resume(output: Path) -> dict[str, int]:
        (output / "data.txt").write_text((scratch(output) / "checkpoint").read_text())
        return {}

    assert (store.fetch(store.produce(PROVENANCE, resume)) / "data.txt").read_text() == "kept"


def test_a_folder_without_a_readable_manifest_is_replaced(tmp_path):
    store = LocalStore(tmp_path)
    torn = tmp_path / "merging" / PROVENANCE.key
    torn.mkdir(parents=True)
    (torn / MANIFEST).write_text('{"files"')
    assert store.find("merging", PROVENANCE.key) is None
    assert store.fetch(store.produce(PROVENANCE, write("whole"))).joinpath("data.txt").read_text() == "whole"


KILLED = """
import os, signal, sys
from pathlib import Path
from components.common import artifacts, store
point = sys.argv[2]
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
def produce(output):
    if point == "before-write": die()
    (output / "data.txt").write_text("hello")
    if point == "after-write": die()
    return {}
rename = Path.rename
def renamed(self, target):
    what = "artifact" if self.name.startswith("output-") else "manifest"
    if point == f"before-{what}": die()
    result = rename(self, target)
    if point == f"after-{what}": die()
    return result
Path.rename = renamed
store.LocalStore(Path(sys.argv[1])).produce(artifacts.Provenance("merging", "c", "d"), produce)
"""


POINTS = ["before-write", "after-write", "before-manifest", "after-manifest", "before-artifact", "after-artifact"]


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_any_point_leaves_the_whole_artifact_or_none(tmp_path, point):
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), point], cwd=Path.cwd())
    assert killed.returncode == -signal.SIGKILL
    store, provenance = LocalStore(tmp_path), Provenance("merging", "c", "d")
    found = store.find("merging", provenance.key)
    assert (found is not None) == (point == "after-artifact")
    assert store.fetch(store.produce(provenance, write("hello"))).joinpath("data.txt").read_text() == "hello"
    assert not list(tmp_path.rglob("output-*"))


def attempt(root: str, barrier, results) -> None:
    barrier.wait()

    def produce(output: Path) -> dict[str, int]:
        time.sleep(0.2)
        (output / "pid").write_text(str(os.getpid()))
        return {}

    reference = LocalStore(Path(root)).produce(PROVENANCE, produce)
    results.put((os.getpid(), reference.digest))


def test_of_attempts_alive_at_once_one_commits_and_the_others_find_it(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(3), context.Queue()
    processes = [context.Process(target=attempt, args=(str(tmp_path), barrier, results)) for _ in range(3)]
    for process in processes:
        process.start()
    digests = {results.get(timeout=30)[1] for _ in processes}
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(digests) == 1


def test_a_full_disk_is_transient_and_says_how_much_is_free(tmp_path):
    def produce(output: Path) -> dict[str, int]:
        raise OSError(28, "No space left on device")

    with pytest.raises(Transient, match=r"bytes are free.*run the same command again"):
        LocalStore(tmp_path).produce(PROVENANCE, produce)


@pytest.mark.parametrize("uri", ["ftp://host/x", "http://host/x", "/plain/path", ""])
def test_unknown_schemes_are_refused(uri):
    with pytest.raises(BadInput, match="unknown scheme"):
        open_store(uri)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b", "bell\a"])
def test_a_manifest_may_not_name_files_outside_its_folder(tmp_path, name):
    store = LocalStore(tmp_path)
    folder = store.fetch(store.produce(PROVENANCE, write("x")))
    document = json.loads((folder / MANIFEST).read_text())
    document["files"][name] = {"sha256": "0" * 64, "size": 1}
    (folder / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(BadInput, match="leaves its folder"):
        verify(folder)


@settings(max_examples=50)
@given(stage=TEXT, key=TEXT, size=st.integers(0), value=st.floats(allow_nan=False) | TEXT | st.integers())
def test_a_reference_survives_its_file(tmp_path_factory, stage, key, size, value):
    path = tmp_path_factory.mktemp("reference") / "r.json"
    reference = Reference(stage, key, "file:///x", "d", size, {"value": value})
    reference.save(path)
    assert Reference.load(path) == reference


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
FILES = st.dictionaries(TEXT, st.fixed_dictionaries({"size": JSON, "sha256": JSON}) | JSON, max_size=3)
MANIFESTS = st.fixed_dictionaries(
    {"provenance": st.just({"stage": "s", "code": "c", "configuration": "d"}) | JSON, "metadata": JSON, "files": FILES}
)


@settings(max_examples=200, deadline=None)
@given(document=MANIFESTS | JSON)
def test_a_manifest_of_any_content_is_bad_input_or_verifies(tmp_path_factory, document):
    folder = tmp_path_factory.mktemp("artifact")
    (folder / MANIFEST).write_text(json.dumps(document))
    with suppress(BadInput):
        read_manifest(folder)
    with suppress(BadInput):
        verify(folder)
        assert document["files"] == {}


@settings(max_examples=200, deadline=None)
@given(document=JSON | st.fixed_dictionaries(dict.fromkeys(("stage", "key", "uri", "digest", "size"), JSON)))
def test_a_reference_of_any_content_is_bad_input_or_made_of_texts(tmp_path_factory, document):
    path = tmp_path_factory.mktemp("reference") / "r.json"
    path.write_text(json.dumps(document))
    with suppress(BadInput):
        loaded = Reference.load(path)
        assert isinstance(loaded.uri, str) and isinstance(loaded.digest, str)


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, '{"stage": 1, "unknown": 2}', "\x00"])
def test_what_is_no_reference_is_refused_by_name(tmp_path, text):
    path = tmp_path / "reference.json"
    path.write_text(text)
    with pytest.raises(BadInput, match=r"reference\.json is not an artifact reference"):
        Reference.load(path)
