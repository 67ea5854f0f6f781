"""The lock of the images: roles to references, and the code that they were built from."""

import pytest

from components.common.errors import BadInput
from pipelines.cli import main
from pipelines.images import (
    LOCK,
    ROLES,
    built_from,
    code_version,
    is_pinned,
    locked_images,
    pin_images,
    stale_images,
)

DIGEST = "sha256:" + "ab" * 32
PUSHED = {role: f"registry.example/expanse-{role}:0.1.0@{DIGEST}" for role in ROLES}


@pytest.fixture
def lock(tmp_path):
    path = tmp_path / "images.lock"
    lines = [f"{role}: ghcr.io/expanse-platform/expanse-{role}:0.1.0\n" for role in ROLES]
    path.write_text(LOCK.read_text().splitlines(keepends=True)[0] + "".join(lines))
    return path


def test_the_shipped_lock_names_an_image_for_every_role():
    assert set(locked_images()) == set(ROLES)


def test_pinning_writes_references_and_the_code_and_keeps_what_the_file_says(lock):
    head = lock.read_text().splitlines()[0]
    pin_images(PUSHED, lock)
    assert dict(locked_images(lock)) == PUSHED
    assert all(is_pinned(reference) for reference in locked_images(lock).values())
    assert built_from(lock) == code_version()
    assert lock.read_text().startswith(head + "\n")
    assert [path.name for path in lock.parent.iterdir()] == [lock.name]


def test_pinning_one_role_leaves_the_others(lock):
    before = dict(locked_images(lock))
    pin_images({"serve": PUSHED["serve"]}, lock)
    assert dict(locked_images(lock)) == before | {"serve": PUSHED["serve"]}


def test_images_of_other_code_are_said_to_be_stale(lock):
    pin_images(PUSHED, lock)
    assert stale_images(lock) is None
    lock.write_text(lock.read_text().replace(code_version(), "f" * 64))
    assert "other code (ffffffffffff)" in stale_images(lock)


def test_unpinned_images_are_never_stale(lock):
    assert built_from(lock) is None
    assert stale_images(lock) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cpu: a\ntrain: b\n", "must map each of the roles cpu, train, serve"),
        ("cpu: a\ntrain: b\nserve: c\nother: d\n", "and nothing else"),
        ("cpu: a\ntrain: b\nserve: c\ncode: 12\n", "code is 12, no sha256"),
        ("cpu: [", "not readable as YAML"),
    ],
)
def test_a_bad_lock_is_refused_in_a_sentence(lock, text, words):
    lock.write_text(text)
    with pytest.raises(BadInput, match=words):
        locked_images(lock)


def test_a_lock_that_cannot_be_replaced_stays_whole(lock):
    before = lock.read_text()
    (lock.parent / ".images.lock.new").mkdir()
    with pytest.raises(BadInput, match="cannot be written: Is a directory"):
        pin_images(PUSHED, lock)
    assert lock.read_text() == before


def test_compile_says_that_the_pinned_images_are_of_other_code(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("pipelines.images.built_from", lambda lock: "f" * 64)
    assert main(["compile", "--recipe", "8b", "--output", str(tmp_path / "8b.yaml")]) == 0
    assert "of other code (ffffffffffff)" in capsys.readouterr().err
