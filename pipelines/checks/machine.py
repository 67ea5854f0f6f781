"""This machine or pod: Python, packages, GPUs, disks, memory."""

import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

from components.common.errors import BadInput, storage_error
from pipelines.checks.finding import Check, Finding, ok, skipped

DISTRIBUTION = "expanse-platform"
SCRATCH = "EXPANSE_SCRATCH"
PYTHON = (3, 11)
GIGABYTE = 1e9
LITTLE_DISK, LITTLE_MEMORY, LITTLE_SHARED = 10 * GIGABYTE, 4 * GIGABYTE, 1 * GIGABYTE
CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def machine_checks() -> list[Check]:
    """Nothing here needs a network or a cluster. Importing torch may take a while, so it gets its time."""
    return [
        Check("Python", look_at_python),
        Check("packages", look_at_packages),
        Check("GPUs", look_at_gpus, seconds=120),
        Check("scratch disk", look_at_scratch),
        Check("memory", look_at_memory),
        Check("shared memory", look_at_shared_memory),
    ]


def look_at_python() -> Finding:
    """The interpreter is new enough."""
    found = platform.python_version()
    if sys.version_info < PYTHON:
        raise BadInput(f"Python {found} runs here; {PYTHON[0]}.{PYTHON[1]} or newer is needed, make a new environment.")
    return ok("Python", f"{found} on {platform.system()} {platform.machine()}, {os.cpu_count()} CPUs")


def look_at_packages() -> Finding:
    """Every dependency is installed within the range that pyproject.toml states."""
    from packaging.requirements import Requirement

    try:
        stated = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return skipped("packages", f"{DISTRIBUTION} is not installed, so its ranges are not known", "pip install -e .")
    wanted = [Requirement(line) for line in stated]
    wanted = [each for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
    wrong = [problem for each in wanted if (problem := _problem(each.name, str(each.specifier)))]
    if wrong:
        raise BadInput(f"{'; '.join(wrong)}; install what requirements.lock says (make sets it up).")
    return ok("packages", f"all {len(wanted)} are within the ranges of pyproject.toml")


def _problem(name: str, range_: str) -> str:
    from packaging.specifiers import SpecifierSet

    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return f"{name} is not installed"
    fits = SpecifierSet(range_).contains(version, prereleases=True)
    return "" if fits else f"{name} is {version} and {range_} is needed"


def look_at_gpus() -> Finding:
    """What torch sees."""
    import torch

    if not torch.cuda.is_available():
        return ok("GPUs", f"none; torch {torch.__version__} computes on {torch.get_num_threads()} threads")
    devices = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    names = ", ".join(f"{device.name} with {device.total_memory / GIGABYTE:.0f} GB" for device in devices)
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        return Finding("warning", "GPUs", f"{names}, without bfloat16", "set dtype=float32, or use newer cards")
    return ok("GPUs", f"{names}; torch {torch.__version__}")


def look_at_scratch() -> Finding:
    """Where attempts and fetched artifacts lie."""
    folder = Path(os.environ.get(SCRATCH) or tempfile.gettempdir())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise storage_error(error, folder) from error
    free = shutil.disk_usage(folder).free
    sentence = f"{folder} has {free / GIGABYTE:,.0f} GB free"
    if free < LITTLE_DISK:
        return Finding("warning", "scratch disk", sentence, f"free some space, or set {SCRATCH} to a larger disk")
    return ok("scratch disk", sentence)


def look_at_memory() -> Finding:
    """The machine's memory, or the pod's share of it."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = min([whole, *_limits()])
    sentence = f"{limit / GIGABYTE:,.0f} GB" + (f" of the node's {whole / GIGABYTE:,.0f} GB" if limit < whole else "")
    if limit < LITTLE_MEMORY:
        return Finding(
            "warning", "memory", sentence, "give the pod more; importing torch and TRL alone takes about 1 GB"
        )
    return ok("memory", sentence)


def _limits() -> list[int]:
    """What the control group allows; "max" and version 1's huge number are no limits."""
    texts = [path.read_text(encoding="ascii").strip() for path in CGROUP_LIMITS if path.is_file()]
    return [int(text) for text in texts if text.isdigit()]


def look_at_shared_memory() -> Finding:
    """NCCL and data loaders speak through /dev/shm, of which containers get 64 MB unless told otherwise."""
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return skipped("shared memory", "this system has no /dev/shm")
    size = shutil.disk_usage(folder).total
    sentence = f"{size / GIGABYTE:,.1f} GB"
    if size < LITTLE_SHARED:
        remedy = "set platform.shared_memory, training on several GPUs needs it"
        return Finding("warning", "shared memory", sentence, remedy)
    return ok("shared memory", sentence)
