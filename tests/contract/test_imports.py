"""Who may import whom, as docs/architecture.md says it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {
    "accelerate", "boto3", "datasets", "kserve", "kubernetes", "mlflow", "peft", "torch", "transformers", "trl", "vllm",
}  # fmt: skip
STAGES = sorted(path.parent.name for path in ROOT.glob("components/*/task.py"))


def imports(path: Path, everywhere: bool = True) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = ast.walk(tree) if everywhere else iter(tree.body)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_common_and_itself_only(stage):
    for path in sources(f"components/{stage}"):
        for module in imports(path):
            parts = module.split(".")
            assert parts[0] not in {"pipelines", "serving", "tests"}, f"{path} imports {module}"
            assert parts[0] != "components" or len(parts) == 1 or parts[1] in {"common", stage}, (
                f"{path} imports {module}"
            )


def test_common_is_a_leaf():
    for path in sources("components/common"):
        for module in imports(path):
            assert module.split(".")[0] not in {"pipelines", "serving"}, f"{path} imports {module}"
            assert not module.startswith("components.") or module.startswith("components.common"), (
                f"{path} imports {module}"
            )


def test_serving_imports_common_only():
    for path in sources("serving"):
        for module in imports(path):
            assert not module.startswith("pipelines"), f"{path} imports {module}"
            assert not module.startswith("components.") or module.startswith("components.common"), (
                f"{path} imports {module}"
            )


@pytest.mark.parametrize("stage", STAGES)
def test_shells_import_their_task_inside_the_body_and_stay_short(stage):
    path = ROOT / "components" / stage / "component.py"
    assert set(imports(path, everywhere=False)) <= {"kfp", "typing", "components.common.shell"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 25, f"{path}: {node.name} is long"


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_has_its_four_files(stage):
    folder = ROOT / "components" / stage
    for name in ("component.py", "README.md", "__init__.py"):
        assert (folder / name).is_file(), f"{folder / name} is missing"
    assert len((folder / "__main__.py").read_text(encoding="utf-8").splitlines()) == 3


COMPILE = """
import sys
from pipelines.cli import main
assert main(["compile", "--recipe", sys.argv[1], "--output", sys.argv[2]]) == 0
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""


@pytest.mark.parametrize("recipe", ["mini", "8b", "32b"])
def test_compiling_loads_none_of_the_heavy_packages(recipe, tmp_path):
    command = [sys.executable, "-c", COMPILE, recipe, str(tmp_path / "pipeline.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.splitlines()[-1].split())
    # kfp itself loads the Kubernetes client when it is imported
    assert not loaded & (HEAVY - {"kubernetes"}), loaded & HEAVY
