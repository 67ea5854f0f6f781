"""The images, built for real: podman, on a Debian base that debootstrap makes, in a storage of its own."""

import ast
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from images.build import BASE, Engine, build
from pipelines.images import Role

NEEDED = ("podman", "debootstrap")
PIP_OPTIONS = ("index-url", "extra-index-url", "find-links", "trusted-host", "proxy", "timeout")


@pytest.fixture(scope="session")
def scratch(tmp_path_factory):
    """A folder that is emptied at the end: the storage takes gigabytes."""
    folder = tmp_path_factory.mktemp("images")
    folder.parent.chmod(0o755)
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def podman(scratch) -> Iterator[Engine]:
    """podman with a storage of its own; limits of containers are at most those of this process."""
    missing = [program for program in NEEDED if not shutil.which(program)]
    if missing:
        pytest.skip(f"{' and '.join(missing)} missing; `make image-tools` installs what is needed on Debian, as root")
    if os.geteuid() != 0:
        pytest.skip("debootstrap needs root")
    files, processes = (
        min(resource.getrlimit(which)[1], 4096) for which in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC)
    )
    settings = scratch / "containers.conf"
    settings.write_text(
        f'[containers]\ndefault_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]\n'
    )
    os.environ["CONTAINERS_CONF"] = str(settings)
    options = ["--root", str(scratch / "storage"), "--runroot", str(scratch / "run")]
    engine = Engine(str(shutil.which("podman")), options)
    yield engine
    engine.run("rmi", "--all", "--force")
    del os.environ["CONTAINERS_CONF"]


@pytest.fixture(scope="session")
def base(podman, scratch) -> str:
    """A minimal Debian 12 under the name that the Dockerfiles stand on."""
    root = scratch / "debian"
    subprocess.run(["debootstrap", "--variant=minbase", "bookworm", root], check=True, stdout=subprocess.DEVNULL)
    archive = scratch / "debian.tar"
    subprocess.run(["tar", "--create", "--numeric-owner", "--directory", root, "--file", archive, "."], check=True)
    shutil.rmtree(root)
    podman.run("import", "--quiet", str(archive), BASE)
    archive.unlink()
    trial = [podman.program, *podman.options, "run", "--rm", "--network=none", BASE, "true"]
    started = subprocess.run(trial, capture_output=True, text=True)
    if started.returncode:
        pytest.skip(f"podman cannot start a container here: {started.stderr.strip()}")
    return BASE


@pytest.fixture(scope="session")
def build_image(podman, base, scratch) -> Callable[[Role], str]:
    """Builds the image of a role, with torch from wherever this machine's pip finds it; returns its reference."""
    pip_flags = _pip_flags(scratch)

    def build_image(role: Role) -> str:
        started = time.monotonic()
        flags = ["--pull=never", "--layers=false", "--network", "host", "--build-arg", "TORCH_INDEX=", *pip_flags]
        reference = build(Engine(podman.program, podman.options, flags), role, "expanse.example/test")
        size = int(podman.run("image", "inspect", "--format", "{{.Size}}", reference))
        print(f"\nThe {role} image: {size / 1e9:.2f} GB, built in {time.monotonic() - started:.0f} s.")
        return reference

    return build_image


@pytest.fixture(scope="session")
def image(build_image) -> str:
    """The reference of the cpu image."""
    return build_image("cpu")


@pytest.fixture
def inside(podman, image, tmp_path):
    """Run a command in the image as a cluster would: read-only root, no rights, no network; ``/shared`` is a folder here."""
    shared = tmp_path / "shared"
    shared.mkdir()
    os.chown(shared, 65532, 65532)

    def inside(*command: str, environment: dict[str, str] | None = None, user: str | None = None):
        flags = [
            "--rm",
            "--network=none",
            "--read-only",
            "--tmpfs=/tmp",
            "--cap-drop=all",
            "--security-opt=no-new-privileges",
        ]
        flags += [f"--volume={shared}:/shared", *([f"--user={user}"] if user else [])]
        flags += [f"--env={name}={value}" for name, value in (environment or {}).items()]
        whole = [podman.program, *podman.options, "run", *flags, image, *command]
        return subprocess.run(whole, capture_output=True, text=True, timeout=300)

    inside.shared = shared
    return inside


def _pip_flags(scratch: Path) -> list[str]:
    """This machine's configuration of pip as a secret of the build, and the local folders that it names as volumes."""
    folder = scratch / "pip"
    folder.mkdir()
    settings, volumes = {}, {folder: Path("/run/pip")}
    listed = subprocess.run(["python3", "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    for line in listed.stdout.splitlines():
        key, _, value = line.partition("=")
        section, _, option = key.rpartition(".")
        text = ast.literal_eval(value)
        if section not in ("global", "install", ":env:"):
            continue
        if option == "cert":
            shutil.copy(text, folder / "ca.crt")
            settings["cert"] = "/run/pip/ca.crt"
        elif option in PIP_OPTIONS:
            settings[option] = text
            volumes |= {path: path for path in map(_local_folder, text.split()) if path}
    lines = ["[global]", *(f"{option} = {value}" for option, value in settings.items())]
    (folder / "pip.conf").write_text("\n".join(lines) + "\n")
    flags = ["--secret", f"id=pip.conf,src={folder / 'pip.conf'}"]
    return flags + [part for here, there in volumes.items() for part in ("--volume", f"{here}:{there}:ro")]


def _local_folder(text: str) -> Path | None:
    """A simple index on disk links to files beside it, so its parent is needed."""
    path = Path(urlsplit(text).path)
    if urlsplit(text).scheme not in ("", "file") or not path.is_dir():
        return None
    return path.parent if text.startswith("file:") and path.parent != Path("/") else path
