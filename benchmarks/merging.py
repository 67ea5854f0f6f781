"""Linear merge of three 600 MB BF16 checkpoints: ours against mergekit, equality first, then interleaved runs.

    python -m benchmarks.merging [--mergekit PYTHON] [--runs N]

``--mergekit`` (or MERGEKIT_PYTHON) is the Python of an environment with mergekit; the default is this one. Every run
is a process of its own that imports what it needs before the clock starts. Memory is the peak of the whole process,
mapped files included. mergekit runs with the faster of one thread and one per core, as tried first. The floor is a
plain copy: the three models read, one written, through one buffer.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import Run, Runs, measure, ratios, save, timed

MODELS, MATRICES = 3, 28

OURS = timed(
    prepare="""
import torch
from components.merging.task import Config, run
folder = sys.argv[1]
models = sorted(Path(folder).glob("model-*"))
output = Path(folder, "ours")
output.mkdir()
""",
    work='run(Config(), {"models": models}, output)',
)


def mergekit_code(threads: int) -> str:
    options = ["--async-write", "--quiet", "--no-write-model-card", "-j", str(threads)]
    return timed(
        prepare="from mergekit.scripts.merge_raw_pytorch import main\nfolder = sys.argv[1]",
        work=f'main([f"{{folder}}/mergekit.yaml", f"{{folder}}/mergekit", *{options}], standalone_mode=False)',
    )


FLOOR = timed(
    prepare="""
folder = sys.argv[1]
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
        fresh(folder, sys.executable, OURS)
        trials = {n: fresh(folder, options.mergekit, mergekit_code(n))["wall"] for n in (1, os.cpu_count() or 1)}
        threads = min(trials, key=lambda count: trials[count])
        subjects = {
            "ours": (sys.executable, OURS),
            "mergekit": (options.mergekit, mergekit_code(threads)),
            "floor": (sys.executable, FLOOR),
        }
        equal = same_values(folder)
        assert equal, "the two merges differ: nothing to compare"
        runs: Runs = {subject: [] for subject in subjects}
        for _ in range(options.runs):
            for subject, (python, code) in subjects.items():
                runs[subject].append(fresh(folder, python, code))
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


def fresh(folder: Path, python: str, code: str) -> Run:
    """Measure one process; what the run before it wrote is removed first."""
    for path in (folder / "ours", folder / "mergekit"):
        if (path.name in code) and path.is_dir():
            shutil.rmtree(path)
    (folder / "floor").unlink(missing_ok=True)
    os.sync()
    return measure(python, code, [folder])


def same_values(folder: Path) -> bool:
    import torch
    from safetensors import safe_open

    (theirs,) = (folder / "mergekit").glob("*.safetensors")
    with safe_open(folder / "ours" / "model.safetensors", "pt") as a, safe_open(theirs, "pt") as b:
        return set(a.keys()) == set(b.keys()) and all(torch.equal(a.get_tensor(k), b.get_tensor(k)) for k in a.keys())  # noqa: SIM118


def version_of(python: str) -> str:
    code = "import importlib.metadata as m; print(m.version('mergekit'))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def report(runs: Runs, equal: bool, mergekit: str, threads: int) -> None:
    result = {
        "subject": "components.merging, linear, 3 BF16 checkpoints of 600 MB",
        "rival": f"mergekit-pytorch {mergekit} --async-write -j {threads}",
        "equal": equal,
        "tolerance": 0.0,
        **ratios(runs, "mergekit"),
        "runs": runs,
        "versions": {"mergekit": mergekit},
    }
    save("merging", ("torch", "safetensors"), result)


if __name__ == "__main__":
    main()
