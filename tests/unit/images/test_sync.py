"""images.lock is where references are changed; chart and manifests follow."""

import shutil

from images.sync import OURS, ROOT, places, synchronize, with_images
from pipelines.images import LOCK, ROLES, locked_images, pin_images

DIGEST = "sha256:" + "cd" * 32
PUSHED = {role: f"registry.example:5000/ml/expanse-{role}:0.2.0@{DIGEST}" for role in ROLES}


def test_chart_and_manifests_name_the_images_of_the_lock():
    for path in places():
        text = path.read_text("utf-8")
        assert with_images(text, locked_images()) == text, f"{path}: run `python -m images.sync`"
    assert ROOT / "helm" / "expanse" / "values.yaml" in places()
    assert any("manifests" in path.parts for path in places())


def test_a_pinned_lock_reaches_every_file_and_a_second_time_changes_nothing(tmp_path):
    for path in places():
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    lock = tmp_path / "images.lock"
    shutil.copy(LOCK, lock)
    pin_images(PUSHED, lock)
    assert set(synchronize(lock, tmp_path)) == {path for path in places(tmp_path) if DIGEST in path.read_text()}
    for role, reference in PUSHED.items():
        assert reference in (tmp_path / "helm" / "expanse" / "values.yaml").read_text(), role
    found = {match[0] for path in places(tmp_path) for match in OURS.finditer(path.read_text())}
    assert found <= set(PUSHED.values())
    assert synchronize(lock, tmp_path) == []


def test_only_references_are_replaced():
    kept = (
        "the ServingRuntime expanse-serve, priority expanse-training, /path/expanse-serving:1, https://x/expanse-cpu/y"
    )
    assert with_images(kept, PUSHED) == kept
    assert with_images('image: "ghcr.io/o/expanse-cpu:0.1.0"', PUSHED) == f'image: "{PUSHED["cpu"]}"'
    assert with_images(f"image: a/expanse-train@{DIGEST}\n", PUSHED) == f"image: {PUSHED['train']}\n"
