"""Real exhaustion: a process that may take so much more address space, and work that needs more than that."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = """
import resource, sys
from pathlib import Path
from components.common.errors import ExpanseError
from tests.trainable import example, pair, save_examples, save_pairs, save_trainable

def within(more):
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * resource.getpagesize() + (more << 20)
    resource.setrlimit(resource.RLIMIT_AS, (size, size))

folder = Path(sys.argv[1])
model, output = save_trainable(folder / "model"), folder / "run" / "output"
output.mkdir(parents=True)
LONG = {"steps": 2, "learning_rate": 1e-3, "global_batch_size": 512, "device_batch_size": 512}

def sft():
    from components.sft import training
    from components.sft.task import Config, run
    examples = save_examples(folder / "in", [example(i, completion="x" * 400) for i in range(40)])
    within(400)
    run(Config(**LONG), {"model": [model], "examples": [examples]}, output)

def dpo():
    from components.dpo import training
    from components.dpo.task import Config, run
    pairs = save_pairs(folder / "in", [pair(i, chosen=f"{i}" + "x" * 400) for i in range(400)])
    within(400)
    run(Config(**LONG), {"model": [model], "pairs": [pairs]}, output)

def sampling():
    from components.common.models import load_causal_lm
    from components.common.sampling import SamplingSettings, sample
    loaded = load_causal_lm(model)
    within(400)
    sample(*loaded, [f"{i}" + "x" * 400 for i in range(2000)], SamplingSettings(batch_size=2000, max_new_tokens=8))

def scoring():
    from components.common.models import load_reward_model
    from components.scoring.rewards import score
    from tests.tiny import save_tiny_reward
    loaded = load_reward_model(save_tiny_reward(folder / "reward", max_position_embeddings=2048))
    within(400)
    score(*loaded, [(f"{i}", "two days " * 60) for i in range(4000)], 4000, 2000)

try:
    {"sft": sft, "dpo": dpo, "sampling": sampling, "scoring": scoring}[sys.argv[2]]()
except ExpanseError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize(
    ("work", "advice"),
    [("sft", "lower device_batch_size"), ("dpo", "lower device_batch_size"), ("sampling", "lower batch_size (now 2000)"),
     ("scoring", "lower batch_size (now 4000)")],
)  # fmt: skip
def test_out_of_memory_is_exit_3_with_advice_and_nothing_half_written(tmp_path, work, advice):
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(tmp_path), work]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 3, done.stderr[-2000:]
    assert "ran out of memory" in done.stdout and advice in done.stdout
    assert not list((tmp_path / "run" / "output").iterdir())
