"""The images' requirements are those of requirements.lock, complete and pinned to files."""

import pytest
from packaging.version import Version

from components.common.errors import BadInput
from images import lock
from pipelines.images import ROLES


@pytest.mark.parametrize("role", ROLES)
def test_a_roles_lock_is_the_closure_of_what_it_needs_at_the_locked_versions(role):
    pinned = {name: Version(pin.version) for name, pin in lock.read_lock(role).items()}
    wanted = {name: Version(version) for name, version in lock.packages(role).items()}
    assert pinned == wanted, "requirements.lock or an import has changed; run `python -m images.lock`"


@pytest.mark.parametrize("flavour", ["torch-cpu", "torch-cuda"])
def test_torch_is_the_locked_version_in_both_flavours(flavour):
    assert lock.read_lock(flavour)["torch"].version == lock.locked_versions()["torch"]


def test_torch_with_cuda_brings_its_libraries_and_without_it_none():
    assert set(lock.read_lock("torch-cpu")) == {"torch"}
    assert {"triton", "nvidia-nccl-cu13"} <= set(lock.read_lock("torch-cuda"))


def test_a_package_is_the_same_file_in_every_image():
    files = {}
    for name in ROLES:
        for package, pin in lock.read_lock(name).items():
            assert files.setdefault(package, pin) == pin


def test_the_predictor_carries_no_pipeline_and_no_training():
    serve = set(lock.read_lock("serve"))
    assert not serve & {"kfp", "mlflow", "trl", "datasets", "boto3", "pytest"}
    assert {"kserve", "transformers", "safetensors"} <= serve


def test_no_image_carries_development_tools():
    for role in ROLES:
        assert not set(lock.read_lock(role)) & {"pytest", "mypy", "ruff", "mergekit", "hypothesis", "openai", "pip"}


def test_what_is_built_from_source_is_named_and_little():
    sources = {name for role in ROLES for name, pin in lock.read_lock(role).items() if not pin.wheel}
    assert sources <= {"kfp-server-api"}


def test_a_line_without_a_digest_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "FOLDER", tmp_path)
    (tmp_path / "cpu.lock").write_text("--only-binary :all:\nnumpy==2.4.6\n")
    with pytest.raises(BadInput, match=r"'numpy==2\.4\.6' pins no file"):
        lock.read_lock("cpu")


def test_locks_are_rewritten_without_a_network_when_nothing_is_new(tmp_path, monkeypatch):
    before = {path.name: path.read_text() for path in lock.FOLDER.iterdir()}
    for name, text in before.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(lock, "FOLDER", tmp_path)
    monkeypatch.setattr(lock.sys, "executable", "/nonexistent")  # pip would be asked through it
    lock.write_locks()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


def test_a_package_that_is_not_locked_is_named(monkeypatch):
    versions = lock.locked_versions()
    del versions["pyarrow"]
    monkeypatch.setattr(lock, "locked_versions", lambda: versions)
    with pytest.raises(BadInput, match="lacks pyarrow, which the cpu image needs"):
        lock.packages("cpu")
