"""mergekit 0.1.5 as the oracle: the same numbers bit for bit, for SLERP within a few units in the last place."""

import subprocess
import sys

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from components.merging.methods import METHODS, Options

pytest.importorskip("mergekit", reason="mergekit is not installed: pip install mergekit==0.1.5")

WEIGHTS = [0.5, 0.3, 0.9]
MAIN = "from mergekit.scripts.merge_raw_pytorch import main; main()"


@pytest.fixture
def files(tmp_path):
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(37, 53, generator=generator)
    tensors = [base, *(base + 0.1 * torch.randn(37, 53, generator=generator) for _ in WEIGHTS)]
    for index, tensor in enumerate(tensors):
        save_file({"x": tensor}, tmp_path / f"{index}.safetensors")
    return tmp_path, tensors


def mergekit(folder, method, models, parameters, base=None, **each):
    entries = [
        {"model": str(folder / f"{index}.safetensors"), "parameters": {"weight": weight, **each}}
        for index, weight in models
    ]
    config = {"merge_method": method, "models": entries, "parameters": parameters, "dtype": "float32"}
    if base is not None:
        config["base_model"] = str(folder / f"{base}.safetensors")
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-c", MAIN, str(folder / "config.yaml"), str(folder / "merged")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (shard,) = (folder / "merged").glob("*.safetensors")
    return load_file(shard)["x"]


def ours(method, tensors, weights, base=None, **options):
    flat = base if base is None else base.flatten()
    merged = METHODS[method].merge([tensor.flatten() for tensor in tensors], weights, flat, Options(**options))
    return merged.reshape(tensors[0].shape)


@pytest.mark.parametrize("normalize", [True, False])
def test_linear(files, normalize):
    folder, (_, *tensors) = files
    theirs = mergekit(folder, "linear", list(enumerate(WEIGHTS, 1)), {"normalize": normalize})
    assert torch.equal(ours("linear", tensors, WEIGHTS, normalize=normalize), theirs)


def test_slerp(files):
    folder, (_, first, second, _) = files
    theirs = mergekit(folder, "slerp", [(1, 1.0), (2, 1.0)], {"t": 0.3}, base=1)
    torch.testing.assert_close(ours("slerp", [first, second], [1, 1], t=0.3), theirs, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("normalize", "density"), [(True, 0.2), (True, 1.0), (False, 0.5)])
def test_ties(files, normalize, density):
    folder, (base, *tensors) = files
    theirs = mergekit(
        folder, "ties", list(enumerate(WEIGHTS, 1)), {"normalize": normalize}, base=0, density=density
    )
    assert torch.equal(ours("ties", tensors, WEIGHTS, base, density=density, normalize=normalize), theirs)


def test_dare_ties_that_keeps_everything(files):
    folder, (base, *tensors) = files
    theirs = mergekit(folder, "dare_ties", list(enumerate(WEIGHTS, 1)), {"normalize": True}, base=0, density=1.0)
    assert torch.equal(ours("dare-ties", tensors, WEIGHTS, base, key="k", density=1.0), theirs)
