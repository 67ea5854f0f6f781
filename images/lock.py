"""``python -m images.lock``: the locked requirements of every image, derived from requirements.lock.

A role's packages are the closure of what it needs over the metadata of the installed packages. Versions are those of
requirements.lock; each is pinned to the sha256 of the one file that pip takes for the images' platform (linux/amd64,
CPython 3.11), so ``pip install --require-hashes`` accepts no other.
"""

import ast
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from components.common.errors import BadInput
from pipelines.images import ROLES

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "images" / "requirements"
OURS = ("components", "pipelines", "serving")
#: Where PyTorch publishes the builds without CUDA; empty: wherever pip is configured to look.
CPU_INDEX = os.environ.get("TORCH_CPU_INDEX", "https://download.pytorch.org/whl/cpu")
LOCKS = (*ROLES, "torch-cpu", "torch-cuda")
HEAD = "# Made by `python -m images.lock` from requirements.lock for linux/amd64 and CPython 3.11; do not edit.\n"


@dataclass(frozen=True)
class Pin:
    """One file of a package: its version, its sha256, and whether it is a wheel or a source distribution."""

    version: str
    sha256: str
    wheel: bool


def locked_versions() -> dict[str, str]:
    """Name to version of every package in requirements.lock, by normalized names."""
    pairs = (line.split("==") for line in (ROOT / "requirements.lock").read_text("utf-8").split() if "==" in line)
    return {canonicalize_name(name): version for name, version in pairs}


def packages(role: str) -> dict[str, str]:
    """What an image holds besides torch: name to version. ``cpu`` and ``train`` hold all that the project depends on."""
    roots = _imported("serving") if role == "serve" else _declared()
    versions = locked_versions()
    names = sorted(_closure({*roots, "setuptools"}) - {"torch"})
    unknown = [name for name in names if name not in versions]
    if unknown:
        raise BadInput(f"requirements.lock lacks {unknown[0]}, which the {role} image needs; run `make lock`.")
    return {name: versions[name] for name in names}


def write_locks() -> None:
    """Write ``cpu``, ``train``, ``serve``, ``torch-cpu`` and ``torch-cuda``; pip is asked only about what is new in them."""
    old = {name: read_lock(name) for name in LOCKS if (FOLDER / f"{name}.lock").exists()}
    chosen = {role: packages(role) for role in ROLES}
    pins = _pins({name: version for role in chosen.values() for name, version in role.items()}, old)
    for role, names in chosen.items():
        _write(role, {name: pins[name] for name in names})
    torch = locked_versions()["torch"]
    for name, find in (("torch-cpu", _torch_cpu), ("torch-cuda", _torch_cuda)):
        if name not in old or old[name]["torch"].version != torch:
            _write(name, {package: pin for package, pin in find(torch).items() if package not in pins})


def read_lock(name: str) -> dict[str, Pin]:
    """A lock file as name to pin; raises BadInput for a line that pins no file."""
    path, sources, pins = FOLDER / f"{name}.lock", set(), {}
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("--no-binary "):
            sources.add(line.split()[1])
        elif not line.startswith(("#", "--only-binary")):
            match = re.fullmatch(r"([a-z0-9-]+)==(\S+) --hash=sha256:([0-9a-f]{64})", line)
            if not match:
                raise BadInput(f"{path}: {line!r} pins no file by its sha256; run `python -m images.lock`.")
            pins[match[1]] = Pin(match[2], match[3], match[1] not in sources)
    return pins


def _pins(wanted: Mapping[str, str], old: Mapping[str, Mapping[str, Pin]]) -> dict[str, Pin]:
    known = {name: pin for lock in old.values() for name, pin in lock.items() if pin.version == wanted.get(name)}
    new = [f"{name}=={version}" for name, version in sorted(wanted.items()) if name not in known]
    return known | (_ask(new, "--no-deps") if new else {})


def _torch_cpu(version: str) -> dict[str, Pin]:
    return _ask([f"torch=={version}"], "--no-deps", *(["--index-url", CPU_INDEX] if CPU_INDEX else []))


def _torch_cuda(version: str) -> dict[str, Pin]:
    """From the public index alone: a machine's own may hold a build without CUDA under the same version."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL")}
    constraint = ("--constraint", str(ROOT / "requirements.lock"))
    return _ask([f"torch=={version}"], *constraint, environment=kept | {"PIP_CONFIG_FILE": os.devnull})


def _declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return {canonicalize_name(Requirement(text).name) for text in project["dependencies"]}


def _closure(roots: Iterable[str]) -> set[str]:
    """The packages that ``roots`` need, on this platform, with the extras that are asked for."""
    seen: set[tuple[str, str]] = set()
    open_ = [(name, "") for name in roots]
    while open_:
        name, extra = open_.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for text in requires(name) or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                open_ += [(canonicalize_name(needed.name), each) for each in ("", *needed.extras)]
    return {name for name, _ in seen}


def _imported(package: str) -> set[str]:
    """The packages that a folder of ours imports, itself or through modules of ours, inside functions too."""
    known = packages_distributions()
    found: set[str] = set()
    seen: set[Path] = set()
    open_ = sorted((ROOT / package).rglob("*.py"))
    while open_:
        path = open_.pop()
        if path in seen:
            continue
        seen.add(path)
        for module in _modules(path):
            top = module.split(".")[0]
            if top in OURS:
                open_ += _sources(module)
            elif top not in sys.stdlib_module_names:
                found |= {canonicalize_name(name) for name in known.get(top, [top])}
    return found


def _modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module.split(".")[0] in OURS)


def _sources(module: str) -> list[Path]:
    path = ROOT.joinpath(*module.split("."))
    return [each for each in (path.with_suffix(".py"), path / "__init__.py") if each.is_file()]


def _ask(requirements: Sequence[str], *options: str, environment: Mapping[str, str] | None = None) -> dict[str, Pin]:
    """The files that pip would install, by name."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", *options]
        subprocess.run([*command, "--report", str(report), *requirements], check=True, env=environment)
        return dict(_pin(each) for each in json.loads(report.read_text("utf-8"))["install"])


def _pin(item: Mapping[str, Any]) -> tuple[str, Pin]:
    source, metadata = item["download_info"], item["metadata"]
    version = metadata["version"].split("+")[0]
    digest = source["archive_info"]["hashes"]["sha256"]
    return canonicalize_name(metadata["name"]), Pin(version, digest, source["url"].endswith(".whl"))


def _write(name: str, pins: Mapping[str, Pin]) -> None:
    """Only wheels, but for the packages that publish none: what is built from source is named."""
    lines = ["--only-binary :all:", *(f"--no-binary {package}" for package in sorted(pins) if not pins[package].wheel)]
    lines += [f"{package}=={pin.version} --hash=sha256:{pin.sha256}" for package, pin in sorted(pins.items())]
    (FOLDER / f"{name}.lock").write_text(HEAD + "\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    write_locks()
