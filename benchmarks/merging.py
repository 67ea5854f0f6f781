"""Linear merge of three 600 MB BF16 checkpoints: ours against mergekit, equality first, then interleaved runs.

    python -m benchmarks.merging [--mergekit PYTHON] [--runs N]

``--mergekit`` (or MERGEKIT_PYTHON) is the Python of an environment with mergekit; the default is this one. Every run
is a process of its own that imports what it needs before the clock starts. Memory is the peak of the whole process,
mapped files included. mergekit runs with the faster of one thread and one per core, as tried first. The floor is a
plain copy: the three models read, one written, through one buffer.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "merging.json"
MODELS, MATRICES = 3, 28

CLOCK = """
import json, sys, time
folder = sys.argv[1]
{prepare}
wall, cpu = time.perf_counter(), time.process_time()
{work}
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
with open("/proc/self/status") as status:
    peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
print("RESULT", json.dumps({{"wall": wall, "cpu": cpu, "memory": peak}}))
"""

OURS = CLOCK.format(
    prepare="""
import torch
from pathlib import Path
from components.merging.task import Config, run
models = sorted(Path(folder).glob("model-*"))
output = Path(folder, "ours")
output.mkdir()
""",
    work='run(Config(), {"models": models}, output)',
)


def mergekit_code(threads: int) -> str:
    options = ["--async-write", "--quiet", "--no-write-model-card", "-j", str(threads)]
    return CLOCK.format(
        prepare="from mergekit.scripts.merge_raw_pytorch import main",
        work=f'main([f"{{folder}}/mergekit.yaml", f"{{folder}}/mergekit", *{options}], standalone_mode=False)',
    )


FLOOR = CLOCK.format(
    prepare="""
from pathlib import Path
models = sorted(Path(folder).glob("model-*/model.safetensors"))
buffer = bytearray(1 << 20)
""",
    work="""
with open(f"{folder}/floor", "wb", buffering=0) as output:
    for index, model in enumerate(models):
        with model.open("rb", buffering=0) as file:
            while read := file.readinto(buffer):
                if index == 0:
                    output.write(memoryview(buffer)[:read])
""",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mergekit", default=os.environ.get("MERGEKIT_PYTHON", sys.executable))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to put 3.6 GB for a while (default: the temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        make_models(folder)
        measure(folder, sys.executable, OURS)
        trials = {n: measure(folder, options.mergekit, mergekit_code(n))["wall"] for n in (1, os.cpu_count() or 1)}
        threads = min(trials, key=lambda count: trials[count])
        subjects = {
            "ours": (sys.executable, OURS),
            "mergekit": (options.mergekit, mergekit_code(threads)),
            "floor": (sys.executable, FLOOR),
        }
        equal = same_values(folder)
        assert equal, "the two merges differ: nothing to compare"
        runs: dict[str, list[dict[str, float]]] = {subject: [] for subject in subjects}
        for _ in range(options.runs):
            for subject, (python, code) in subjects.items():
                runs[subject].append(measure(folder, python, code))
    report(runs, equal, version_of(options.mergekit), threads)


def make_models(folder: Path) -> None:
    import torch
    import yaml
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(0)
    shapes = {"model.embed_tokens.weight": (65_536, 1024)}
    shapes |= {f"model.layers.{index}.weight": (2048, 4096) for index in range(MATRICES)}
    for model in range(MODELS):
        (folder / f"model-{model}").mkdir()
        tensors = {name: torch.randn(shape, generator=generator).bfloat16() for name, shape in shapes.items()}
        save_file(tensors, folder / f"model-{model}" / "model.safetensors", metadata={"format": "pt"})
        (folder / f"model-{model}" / "config.json").write_text('{"model_type": "cohere"}')
    files = [f"{folder}/model-{model}/model.safetensors" for model in range(MODELS)]
    models = [{"model": file, "parameters": {"weight": 1.0}} for file in files]
    config = {"merge_method": "linear", "models": models, "parameters": {"normalize": True}, "dtype": "bfloat16"}
    (folder / "mergekit.yaml").write_text(yaml.safe_dump(config))


def measure(folder: Path, python: str, code: str) -> dict[str, float]:
    """Wall and CPU seconds and peak bytes of one process; what the run before it wrote is removed first."""
    for path in (folder / "ours", folder / "mergekit"):
        if (path.name in code) and path.is_dir():
            shutil.rmtree(path)
    (folder / "floor").unlink(missing_ok=True)
    os.sync()
    done = subprocess.run([python, "-c", code, str(folder)], capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise SystemExit(done.stderr)
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    result: dict[str, float] = json.loads(line.removeprefix("RESULT "))
    return result


def same_values(folder: Path) -> bool:
    import torch
    from safetensors import safe_open

    (theirs,) = (folder / "mergekit").glob("*.safetensors")
    with safe_open(folder / "ours" / "model.safetensors", "pt") as a, safe_open(theirs, "pt") as b:
        return set(a.keys()) == set(b.keys()) and all(torch.equal(a.get_tensor(k), b.get_tensor(k)) for k in a.keys())  # noqa: SIM118


def version_of(python: str) -> str:
    code = "import importlib.metadata as m; print(m.version('mergekit'))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def report(runs: dict[str, list[dict[str, float]]], equal: bool, mergekit: str, threads: int) -> None:
    def median(subject: str, what: str) -> float:
        return statistics.median(run[what] for run in runs[subject])

    ratios = {
        f"{what}_ratio": round(median("mergekit", what) / median("ours", what), 2) for what in ("wall", "cpu", "memory")
    }
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout.strip()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    result = {
        "name": "merging",
        "subject": "components.merging, linear, 3 BF16 checkpoints of 600 MB",
        "rival": f"mergekit-pytorch {mergekit} --async-write -j {threads}",
        "equal": equal,
        "tolerance": 0.0,
        **ratios,
        "floor_ratio": round(median("ours", "wall") / median("floor", "wall"), 2),
        "runs": runs,
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores, {memory:.0f} GiB memory, {platform.system()}",
        "versions": {name: importlib.metadata.version(name) for name in ("torch", "safetensors")}
        | {"mergekit": mergekit},
        "commit": commit,
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({key: value for key, value in result.items() if key != "runs"}, indent=1))


if __name__ == "__main__":
    main()
