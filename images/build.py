"""``python -m images.build [ROLE...]``: build the images with buildah, podman or docker; pin them when they are pushed.

``make images`` calls it with REGISTRY, PUSH, BASE and BUILD_FLAGS of its environment; docs/images.md says what they do.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.common.errors import BadInput, ExpanseError, Transient
from images.sync import synchronize
from pipelines.images import LOCK, ROLES, Role, built_from, code_version, pin_images

ROOT = Path(__file__).resolve().parents[1]
REGISTRY = "ghcr.io/expanse-platform"
BASE = "docker.io/library/debian:bookworm-slim"
ENGINES = ("buildah", "podman", "docker")
PLATFORM = "linux/amd64"  # what images/requirements pins the files of


@dataclass(frozen=True)
class Engine:
    """A program that builds images; ``options`` stand before its command, ``flags`` behind ``build``."""

    program: str
    options: Sequence[str] = ()
    flags: Sequence[str] = ()

    @property
    def name(self) -> str:
        """Which of ENGINES it is."""
        return Path(self.program).name

    def run(self, *arguments: str) -> str:
        """Run a command of the program; what it prints is shown and returned. Raises Transient when it fails."""
        command, printed = [self.program, *self.options, *arguments], ""
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout or ():
                print(line, end="", file=sys.stderr)
                printed += line
        if process.returncode:
            what = f"{self.name} {arguments[0]}"
            raise Transient(f"`{what}` of {arguments[-1]} ended with exit code {process.returncode}; see its output.")
        return printed.strip()


def find_engine(flags: Sequence[str] = ()) -> Engine:
    """The first of ENGINES that is installed; raises BadInput when none is."""
    programs = [path for path in map(shutil.which, ENGINES) if path]
    if not programs:
        raise BadInput(f"None of {', '.join(ENGINES)} is installed; on Debian `make image-tools` installs podman.")
    return Engine(programs[0], flags=flags)


def build(engine: Engine, role: Role, registry: str = REGISTRY, base: str = BASE) -> str:
    """Build the image of a role from the working tree; returns its reference, with the project's version as tag."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    reference = f"{registry}/expanse-{role}:{version}"
    given = {"BASE": base, "CODE": code_version(), "REVISION": _revision(), "VERSION": version}
    arguments = [part for name, value in given.items() for part in ("--build-arg", f"{name}={value}")]
    where = ["--platform", PLATFORM, "--file", f"images/{role}/Dockerfile", "--tag", reference]
    engine.run("build", *where, *arguments, *engine.flags, ".")
    return reference


def push(engine: Engine, reference: str, flags: Sequence[str] = ()) -> str:
    """Push an image; returns its reference with the digest that the registry knows it by."""
    if engine.name == "docker":
        engine.run("push", *flags, reference)
        digests = json.loads(engine.run("image", "inspect", "--format", "{{json .RepoDigests}}", reference))
        repository = reference.rpartition(":")[0]
        digest = next((each.partition("@")[2] for each in digests if each.startswith(f"{repository}@")), "")
    else:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "digest")
            engine.run("push", *flags, "--digestfile", str(file), reference)
            digest = file.read_text("utf-8").strip()
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise Transient(f"{engine.name} knows no digest of {reference} after the push; push again.")
    return f"{reference}@{digest}"


def publish(engine: Engine, built: dict[Role, str], lock: Path = LOCK, flags: Sequence[str] = ()) -> None:
    """Push images and pin them in ``lock``, all or none."""
    pin_images({role: push(engine, reference, flags) for role, reference in built.items()}, lock)


def main() -> int:
    """Build the roles that are named, or all; 2 when the input is refused, 3 when the engine fails."""
    parser = argparse.ArgumentParser(prog="python -m images.build", description="Build the container images.")
    parser.add_argument("roles", nargs="*", metavar="ROLE", help=f"of {', '.join(ROLES)}; all if none is named")
    parser.add_argument("--registry", default=REGISTRY)
    parser.add_argument("--base", default=BASE, help="the image that all of them stand on; may be pinned by digest")
    parser.add_argument("--push", action="store_true", help="push, and write the digests into pipelines/images.lock")
    options = parser.parse_args()
    try:
        _execute(options, [role for role in ROLES if role in options.roles] or list(ROLES))
    except ExpanseError as error:
        print(f"images: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _execute(options: argparse.Namespace, roles: Sequence[Role]) -> None:
    unknown = sorted(set(options.roles) - set(ROLES))
    if unknown:
        raise BadInput(f"There is no image {unknown[0]!r}; the roles are {', '.join(ROLES)}.")
    if options.push and set(roles) != set(ROLES) and built_from() != code_version():
        raise BadInput("The other images of images.lock are of other code; push all roles together.")
    engine = find_engine(shlex.split(os.environ.get("BUILD_FLAGS", "")))
    built = {role: build(engine, role, options.registry, options.base) for role in roles}
    for reference in built.values():
        print(reference)
    if options.push:
        publish(engine, built, flags=shlex.split(os.environ.get("PUSH_FLAGS", "")))
        print(f"Pinned; commit {', '.join(str(path.relative_to(ROOT)) for path in [LOCK, *synchronize()])}.")
    else:
        print("Nothing was pushed: images.lock is as it was. PUSH=1 pushes and pins.")


def _revision() -> str:
    """The commit that the image is built from, marked when the working tree has changes; empty outside a repository."""
    if not shutil.which("git"):
        return ""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


if __name__ == "__main__":
    sys.exit(main())
