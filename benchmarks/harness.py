"""What every comparison shares: a clock around a process's work, medians, ratios, and the file that keeps them.

A result is ``results/<name>.json``. Ratios are the rival's median over ours, so above 1 is ahead; ``floor_ratio`` is our
time over that of the physical floor.
"""

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"

Run = dict[str, float]  # wall and cpu in seconds, memory in bytes
Runs = dict[str, list[Run]]

CLOCK = """
import json, os, sys, time
from pathlib import Path
{prepare}
wall, cpu = time.perf_counter(), time.process_time()
{work}
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
with open("/proc/self/status") as status:
    peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
print("RESULT", json.dumps({{"wall": wall, "cpu": cpu, "memory": peak}}))
"""


def timed(prepare: str, work: str) -> str:
    """A program that prepares, imports included, before the clock starts; memory is the peak of its whole process."""
    return CLOCK.format(prepare=prepare, work=work)


def measure(python: str, code: str, arguments: Sequence[Path], environment: Mapping[str, str] | None = None) -> Run:
    """Run a program that ``timed`` made; raises SystemExit with what it wrote when it fails."""
    command = [python, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    result: Run = json.loads(line.removeprefix("RESULT "))
    return result


def ratios(runs: Runs, rival: str) -> dict[str, float]:
    """Medians of ``rival`` over those of ``ours``, and ours over ``floor`` where one was measured."""

    def median(subject: str, what: str) -> float:
        return statistics.median(run[what] for run in runs[subject])

    found = {
        f"{what}_ratio": round(median(rival, what) / median("ours", what), 2) for what in ("wall", "cpu", "memory")
    }
    if "floor" in runs:
        found["floor_ratio"] = round(median("ours", "wall") / median("floor", "wall"), 2)
    return found


def save(name: str, packages: Sequence[str], result: Mapping[str, Any]) -> None:
    """Write results/<name>.json with the machine, the versions of these packages and the commit; print all but the runs."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout.strip()
    versions = {package: importlib.metadata.version(package) for package in packages}
    whole = {"name": name, **result, "machine": _machine(), "commit": commit}
    whole["versions"] = versions | whole.get("versions", {})
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({key: value for key, value in whole.items() if key != "runs"}, indent=1))


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[2]
    cores = f"{platform.machine()}, {os.cpu_count()} CPU cores, {memory:.0f} GiB memory, {platform.system()}"
    return f"{cores}, load average {load:.1f} over 15 minutes"
