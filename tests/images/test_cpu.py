"""The cpu image as a cluster runs it: user 65532, read-only root, no capabilities, no network."""

import json
import shlex

import pytest
import yaml

from components.common.artifacts import Reference
from components.common.canonical import canonical_json
from components.common.records import PROMPT, read_records
from components.common.step import code_digest
from images import lock
from pipelines.compiling import compile_recipe
from pipelines.images import code_version
from pipelines.loading import load_recipe

pytestmark = pytest.mark.timeout(2400)  # the first test builds the image
COMPILERS = ("gcc", "g++", "cc", "c++", "clang", "ld", "as", "make", "rustc", "go", "pip", "pip3")


def labels(podman, image):
    return json.loads(podman.run("image", "inspect", "--format", "{{json .Labels}}", image))


def test_the_labels_say_what_it_is_and_of_which_code(podman, image):
    found = labels(podman, image)
    assert found["dev.expanse.code"] == code_version()
    assert found["dev.expanse.role"] == "cpu"
    assert found["org.opencontainers.image.version"] == image.rpartition(":")[2]
    assert found["org.opencontainers.image.base.name"].startswith("docker.io/library/debian")


def test_it_runs_as_its_user_on_a_root_that_nobody_can_write(inside):
    done = inside("sh", "-c", "id -u; id -g; touch /opt/expanse/x || echo refused; touch /tmp/x && echo written")
    assert done.stdout.split() == ["65532", "65532", "refused", "written"], done.stderr


def test_it_has_no_compiler_and_no_installer(inside):
    search = "; ".join(f"command -v {name}" for name in COMPILERS) + "; true"
    assert inside("sh", "-c", search).stdout == ""
    modules = "import importlib.util as u; print([m for m in ('pip', 'ensurepip') if u.find_spec(m)])"
    assert inside("python", "-c", modules).stdout == "[]\n"


def test_nothing_is_left_of_the_build(inside):
    left = inside(
        "sh",
        "-c",
        "ls -A /root/.cache /var/lib/apt/lists /var/cache/apt /etc/pip.conf /run/pip /build /source 2>&1; true",
    )
    assert all(
        "No such file" in line or "denied" in line or line.endswith(":") or not line
        for line in left.stdout.splitlines()
    ), left.stdout


def test_packages_are_the_locked_ones_and_no_others(inside):
    listing = (
        "import importlib.metadata as m, json; print(json.dumps([(d.name, d.version) for d in m.distributions()]))"
    )
    found = {
        lock.canonicalize_name(name): version.split("+")[0]
        for name, version in json.loads(inside("python", "-c", listing).stdout)
    }
    locked = {name: pin.version for each in ("cpu", "torch-cpu") for name, pin in lock.read_lock(each).items()}
    assert found == locked | {"expanse-platform": labels_version()}


def test_every_package_that_the_code_imports_can_be_imported(inside):
    modules = "accelerate babel boto3 datasets kfp kserve kubernetes mlflow pyarrow sacrebleu torch transformers trl"
    done = inside("python", "-c", f"import {', '.join(modules.split())}; print('imported')", user="12345")
    assert done.stdout == "imported\n", done.stderr


def test_the_compiled_pipeline_is_the_one_of_this_working_tree(inside, tmp_path):
    done = inside("expanse", "compile", "--recipe", "8b", "--output", "/shared/8b.yaml")
    assert done.returncode == 0, done.stderr
    compile_recipe(load_recipe("8b", []), tmp_path / "8b.yaml")
    assert (inside.shared / "8b.yaml").read_text() == (tmp_path / "8b.yaml").read_text()


@pytest.fixture
def prompts_task(inside, tmp_path):
    """Runs the task of the prompts stage with the command that KFP's launcher would run in a pod."""
    rows = [
        {"id": f"p{number}", "language": "de", "prompt": f"Wie weit ist es nach Ort {number}?"} for number in range(6)
    ]
    (inside.shared / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    compile_recipe(load_recipe("8b", []), tmp_path / "8b.yaml")
    specification = next(yaml.safe_load_all((tmp_path / "8b.yaml").read_text()))
    container = specification["deploymentSpec"]["executors"]["exec-prompts"]["container"]

    def run(code):
        configuration = canonical_json({"files": ["/shared/prompts.jsonl"], "portions": {"teachers": 4}})
        output = {"name": "prepared", "type": {"schemaTitle": "system.Dataset"}, "uri": "/shared/out/prepared"}
        executor_input = {
            "inputs": {"parameterValues": {"name": "prompts", "code": code, "configuration": configuration}},
            "outputs": {
                "artifacts": {"prepared": {"artifacts": [output]}},
                "outputFile": "/shared/out/executor_output.json",
            },
        }
        arguments = [json.dumps(executor_input) if each == "{{$}}" else each for each in container["args"]]
        store = {"EXPANSE_STORE": "file:///shared/store"}
        return inside(*container["command"], *arguments, environment=store)

    return run


def test_a_stage_runs_as_a_kfp_task(inside, prompts_task):
    done = prompts_task(code_digest("prompts"))
    assert done.returncode == 0, shlex.join(done.args) + done.stdout + done.stderr
    reference = Reference.load(inside.shared / "out" / "prepared")
    folder = inside.shared / reference.uri.removeprefix("file:///shared/")
    assert len(read_records(folder / "teachers.parquet", PROMPT)) == 4


def test_a_task_of_other_code_is_refused_before_it_works(inside, prompts_task):
    done = prompts_task("0" * 64)
    assert done.returncode == 2
    assert "is not what the pipeline was compiled with" in done.stdout
    assert not (inside.shared / "store").exists()


def labels_version():
    return lock.tomllib.loads((lock.ROOT / "pyproject.toml").read_text())["project"]["version"]
