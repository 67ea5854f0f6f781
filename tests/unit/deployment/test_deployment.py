import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from components.common.errors import BadInput, Transient
from components.deployment.backend import LocalBackend
from components.deployment.task import Config, run

ROOT = Path(__file__).parents[3]
PROBES = ({"language": "en", "prompt": "hello"}, {"language": "zh", "prompt": "你好"})
CONFIG = Config(name="tiny", probes=PROBES, max_tokens=8)


def registration(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "registration.json").write_text(text)
    return folder


def children(of: int) -> list[int]:
    """The processes whose parent is ``of``."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            found += [int(entry.name)] if parent == of else []
    return found


def test_a_registered_model_is_deployed_probed_and_taken_down(model_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.mkdir()
    taken = registration(tmp_path / "registration", '{"registered": true, "reason": ""}')
    before = children(os.getpid())
    metrics = run(CONFIG, {"model": [model_folder], "registration": [taken]}, output)
    document = json.loads((output / "deployment.json").read_text())
    transcript = document["transcript"]
    assert document["deployed"] is True and document["model"]["name"] == "tiny" and metrics["deployed"] == 1
    assert [entry["protocol"] for entry in transcript] == ["chat", "chat", "stream", "v1", "v2"]
    assert [entry["language"] for entry in transcript] == ["en", "zh", "en", "en", "en"]
    assert len({entry["answer"] for entry in transcript if entry["language"] == "en"}) == 1
    assert children(os.getpid()) == before


def test_a_model_that_is_not_registered_is_not_deployed(model_folder: Path, tmp_path: Path) -> None:
    refused = registration(tmp_path / "registration", '{"registered": false, "reason": "arena/win_rate fell"}')
    output = tmp_path / "output"
    output.mkdir()
    assert run(CONFIG, {"model": [model_folder], "registration": [refused]}, output)["deployed"] == 0
    document = json.loads((output / "deployment.json").read_text())
    assert document["deployed"] is False and "arena/win_rate fell" in document["reason"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"registered": "yes"}', '{"registered": 1}'])
def test_a_registration_that_says_nothing_is_refused(model_folder: Path, tmp_path: Path, text: str) -> None:
    folder = registration(tmp_path / "registration", text)
    with pytest.raises(BadInput, match=r"registration\.json"):
        run(CONFIG, {"model": [model_folder], "registration": [folder]}, tmp_path)


def test_a_model_that_the_predictor_refuses_is_bad_input_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(BadInput, match=r"config\.json"):
        run(CONFIG, {"model": [tmp_path / "model"]}, tmp_path)


def test_a_predictor_that_is_not_ready_in_time_is_transient_and_ends(model_folder: Path) -> None:
    before = children(os.getpid())
    with pytest.raises(Transient, match="not ready within"), LocalBackend(0.2).deployed(model_folder, "tiny"):
        pass
    assert children(os.getpid()) == before


def test_the_predictor_dies_with_the_step_even_when_it_is_killed(model_folder: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from components.deployment.backend import LocalBackend\n"
        "with LocalBackend(120).deployed(Path(sys.argv[1]), 'tiny') as url: print(url, flush=True); time.sleep(120)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(model_folder)], cwd=ROOT, stdout=subprocess.PIPE) as step:
        assert step.stdout.readline().startswith(b"http://127.0.0.1:")
        (predictor,) = children(step.pid)
        step.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{predictor}/cmdline").exists() and Path(f"/proc/{predictor}/cmdline").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.05)


WRONG = (
    {"probes": ()}, {"mode": "kserve"}, {"served": {}}, {"name": "a/b"}, {"mode": "kserve", "served": {}, "name": "A"},
    {"mode": "kserve", "name": "a", "served": {"source": "hf://org/name"}}, {"mode": "elsewhere"},
)  # fmt: skip


@pytest.mark.parametrize("fields", WRONG)
def test_a_configuration_needs_a_probe_a_known_mode_and_its_fields(fields: dict) -> None:
    with pytest.raises(ValidationError):
        Config(**({"probes": PROBES} | fields))


def test_the_task_is_light() -> None:
    heavy = "{'torch', 'transformers', 'kserve', 'mlflow'}"
    code = f"import sys, components.deployment.task; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
