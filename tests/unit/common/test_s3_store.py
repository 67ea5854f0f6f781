import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.common.artifacts import MANIFEST, Provenance, Reference
from components.common.errors import BadInput, Transient
from components.common.s3_client import Location
from components.common.s3_store import S3Store
from components.common.store import LocalStore, files_of, open_store, scratch, uri_of

pytestmark = pytest.mark.faults

PROVENANCE = Provenance("merging", "c" * 64, "d" * 64, {"models": ["a" * 64]})
MIB = 1 << 20


def write(text: str = "hello", big: int = 0):
    def produce(output: Path) -> dict[str, int]:
        (output / "data.txt").write_text(text)
        (output / "sub").mkdir()
        (output / "sub" / "empty").touch()
        if big:
            (output / "big.bin").write_bytes(bytes(range(256)) * (big // 256))
        return {"letters": len(text)}

    return produce


def never(output: Path) -> dict[str, int]:
    raise AssertionError("finished work is done again")


def keys(service, root) -> list[str]:
    location = Location.parse(root)
    found = service.client().list_objects_v2(Bucket=location.bucket).get("Contents", [])
    return [each["Key"].removeprefix(f"{location.prefix}/") for each in found]


def elsewhere(root: str, path: Path) -> S3Store:
    """The store as another machine sees it, with a scratch of its own."""
    return S3Store(root, path / "elsewhere")


def test_a_committed_artifact_is_found_fetched_and_verified_on_another_machine(service, root, tmp_path):
    made = open_store(root).produce(PROVENANCE, write())
    other = elsewhere(root, tmp_path)
    assert other.find("merging", PROVENANCE.key) == made
    folder = other.fetch(made)
    assert (folder / "data.txt").read_text() == "hello" and (folder / "sub" / "empty").stat().st_size == 0
    assert made.size == 5 and made.metadata == {"letters": 5}
    assert made == Reference(**{**made.__dict__, "uri": f"{root}/merging/{PROVENANCE.key}/{made.digest[:16]}"})
    assert uri_of(folder) == made.uri


def test_an_artifact_lies_as_documented(service, root):
    made = open_store(root).produce(PROVENANCE, write())
    place = f"merging/{PROVENANCE.key}"
    files = [f"{place}/{made.digest[:16]}/{name}" for name in ("data.txt", MANIFEST, "sub/empty")]
    assert keys(service, root) == [".conditional", *files, f"{place}/commit.json"]
    head = service.client().head_object(
        Bucket=Location.parse(root).bucket, Key=f"team/store/{files[0]}", ChecksumMode="ENABLED"
    )
    assert head["ChecksumSHA256"] == "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="
    assert head["Metadata"]["sha256"] == "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


def test_finding_is_one_request(service, root):
    store = open_store(root)
    assert store.find("merging", PROVENANCE.key) is None
    store.produce(PROVENANCE, write())
    service.requests.clear()
    store.find("merging", PROVENANCE.key)
    assert [(each.method, each.path.split("?")[0][-12:]) for each in service.requests] == [("GET", "/commit.json")]


def test_finished_work_is_not_done_again(service, root, tmp_path):
    first = open_store(root).produce(PROVENANCE, write("first"))
    assert elsewhere(root, tmp_path).produce(PROVENANCE, never) == first


def test_what_was_made_or_fetched_here_is_not_transferred_again(service, root, tmp_path):
    store = open_store(root)
    made = store.produce(PROVENANCE, write())
    other = elsewhere(root, tmp_path)
    other.fetch(made)
    service.requests.clear()
    assert store.fetch(made).is_dir() and other.fetch(made).is_dir()
    assert service.requests == []


@pytest.mark.parametrize("damage", ["change", "truncate", "remove", "plant"])
def test_a_damaged_copy_is_fetched_anew(service, root, tmp_path, damage):
    store = open_store(root)
    path = store.fetch(store.produce(PROVENANCE, write())) / "data.txt"
    {
        "change": lambda: path.write_text("hellO"),
        "truncate": lambda: path.write_text("hell"),
        "remove": path.unlink,
        "plant": lambda: path.with_name("tokenizer.py").touch(),
    }[damage]()
    folder = store.fetch(store.find("merging", PROVENANCE.key))
    assert (folder / "data.txt").read_text() == "hello" and not (folder / "tokenizer.py").exists()


@pytest.mark.parametrize("name", ["data.txt", "big.bin", MANIFEST])
def test_a_damaged_object_is_refused_by_name_and_leaves_no_artifact(service, root, tmp_path, name):
    made = open_store(root).produce(PROVENANCE, write(big=MIB))
    location = Location.parse(made.uri) / name
    body = service.client().get_object(Bucket=location.bucket, Key=location.key)["Body"].read()
    service.client().put_object(Bucket=location.bucket, Key=location.key, Body=body[:-1] + b"?")
    other = elsewhere(root, tmp_path)
    with pytest.raises(BadInput, match=rf"{name} .*; remove {root}/merging/{PROVENANCE.key}/ whole, then run"):
        other.fetch(made)
    assert not list((tmp_path / "elsewhere" / "artifacts").glob("[0-9a-f]*"))
    for key in keys(service, root):
        if key.startswith("merging/"):
            service.client().delete_object(Bucket=location.bucket, Key=f"team/store/{key}")
    assert other.find("merging", PROVENANCE.key) is None
    assert S3Store(root, tmp_path / "third").fetch(other.produce(PROVENANCE, write(big=MIB))).is_dir()


def test_names_with_spaces_and_other_letters_are_kept(service, root, tmp_path):
    def produce(output: Path) -> dict[str, int]:
        (output / "größe + 50% & “x”.txt").write_text("ä")
        return {}

    store = open_store(f"{root}/équipe à/a+b %20?c#d")
    made = store.produce(PROVENANCE, produce)
    other = S3Store(f"{root}/équipe à/a+b %20?c#d", tmp_path / "elsewhere")
    assert other.find("merging", PROVENANCE.key) == made
    assert [path.name for path in other.fetch(made).glob("*.txt")] == ["größe + 50% & “x”.txt"]


def test_a_failed_attempt_leaves_nothing_but_its_scratch(service, root, tmp_path):
    store = open_store(root)

    def fail(output: Path) -> dict[str, int]:
        (output / "half.txt").write_text("half")
        (scratch(output) / "checkpoint").write_text("kept")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        store.produce(PROVENANCE, fail)
    assert keys(service, root) == [".conditional"]
    assert [path.name for path in (tmp_path / "scratch").rglob("*") if path.is_file()] == ["lock", "checkpoint"]


@pytest.mark.parametrize(
    "uri",
    ["s3://", "s3:///prefix", "s3://Bucket/x", "s3://b/x", "s3://bucket/../x", "s3://bucket/a//b", "s3://bucket/a/./b",
     "s3://bucket/be\all", "s3://user:secret@bucket/x", "s3://bucket/" + "x" * 256, "s3://bucket/" + "/".join(["y" * 200] * 6)],
)  # fmt: skip
def test_addresses_that_are_none_are_refused(uri):
    with pytest.raises(BadInput):
        open_store(uri)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_every_location_is_refused_or_keeps_its_text(text):
    try:
        location = Location.parse(f"s3://bucket/{text}")
    except BadInput:
        return
    assert str(location) == f"s3://bucket/{text}".rstrip("/") or "/" in (text[:1], text[-1:])
    assert not {"..", ".", ""} & set(location.prefix.split("/")) or not location.prefix


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b", "bell\a", "a" * 256, "data.txt/under"])
def test_a_stored_manifest_may_not_name_files_outside_its_folder(service, root, tmp_path, name):
    made = open_store(root).produce(PROVENANCE, write())
    location = Location.parse(made.uri) / MANIFEST
    document = json.loads(service.client().get_object(Bucket=location.bucket, Key=location.key)["Body"].read())
    document["files"][name] = {"sha256": "0" * 64, "size": 1}
    data = json.dumps(document).encode()
    service.client().put_object(Bucket=location.bucket, Key=location.key, Body=data)
    forged = Reference(**{**made.__dict__, "digest": hashlib.sha256(data).hexdigest()})
    service.requests.clear()
    with pytest.raises(BadInput, match=r"leaves its folder|longer than"):
        elsewhere(root, tmp_path).fetch(forged)
    assert len(service.requests) == 1
    assert not (tmp_path / "outside").exists()


def test_a_symbolic_link_is_refused_before_anything_is_sent(service, root, tmp_path):
    def produce(output: Path) -> dict[str, int]:
        (output / "passwords").symlink_to("/etc/passwd")
        return {}

    with pytest.raises(BadInput, match="symbolic link"):
        open_store(root).produce(PROVENANCE, produce)
    assert keys(service, root) == [".conditional"]


def test_small_files_come_alone(service, root, tmp_path, monkeypatch):
    made = open_store(root).produce(PROVENANCE, write(big=MIB))
    assert files_of(made, ("data.txt", "none"))["data.txt"].read_text() == "hello"
    service.requests.clear()
    monkeypatch.setenv("EXPANSE_SCRATCH", str(tmp_path / "elsewhere"))
    found = files_of(made, ("data.txt", "none"))
    assert list(found) == ["data.txt"] and found["data.txt"].read_text() == "hello"
    assert len(service.requests) == 2  # the manifest and the file


def test_a_local_store_fetches_from_s3_and_the_other_way_round(service, root, tmp_path):
    there = open_store(root).produce(PROVENANCE, write("there"))
    here = LocalStore(tmp_path / "store").produce(PROVENANCE, write("here"))
    assert (LocalStore(tmp_path / "store").fetch(there) / "data.txt").read_text() == "there"
    assert (open_store(root).fetch(here) / "data.txt").read_text() == "here"


def test_a_disk_that_is_too_small_is_predicted(service, root, tmp_path, monkeypatch):
    made = open_store(root).produce(PROVENANCE, write(big=MIB))
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("components.common.s3_download.shutil.disk_usage", lambda _: usage)
    service.requests.clear()
    with pytest.raises(Transient, match=r"1,048,581 bytes are needed, 1,000 bytes are free.*EXPANSE_SCRATCH"):
        elsewhere(root, tmp_path).fetch(made)
    assert service.parts() == []


def test_checkpoints_are_kept_restored_and_forgotten(service, root, tmp_path):
    from components.common.checkpoints import seal

    store, group = open_store(root), f"sft-{PROVENANCE.key}/identity"
    for name in ("checkpoint-4", "checkpoint-8"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "weights").write_text(name)
        seal(folder)
        store.keep(group, name, folder)
    other = elsewhere(root, tmp_path)
    assert other.kept(group) == ["checkpoint-4", "checkpoint-8"] and other.kept("sft-other/identity") == []
    assert other.restore(group, "checkpoint-8", tmp_path / "restored" / "checkpoint-8")
    assert (tmp_path / "restored" / "checkpoint-8" / "weights").read_text() == "checkpoint-8"
    assert not other.restore(group, "checkpoint-5", tmp_path / "restored" / "checkpoint-5")
    other.forget(group, ["checkpoint-4"])
    assert store.kept(group) == ["checkpoint-8"]
    other.forget(f"sft-{PROVENANCE.key}")
    assert store.kept(group) == []


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr("components.common.s3_download.PART", 5 * MIB)
    monkeypatch.setattr("components.common.s3_upload.PART", 5 * MIB)


def test_the_commit_of_a_step_forgets_what_it_had_kept(service, root, tmp_path):
    store = open_store(root)
    kept = store.fetch(store.produce(Provenance("sft", "", ""), write()))
    store.keep(f"merging-{PROVENANCE.key}/identity", "shard", kept)
    store.keep(f"merging-{'0' * 32}/identity", "shard", kept)
    store.produce(PROVENANCE, write())
    assert store.kept(f"merging-{PROVENANCE.key}/identity") == []
    assert store.kept(f"merging-{'0' * 32}/identity") == ["shard"]
