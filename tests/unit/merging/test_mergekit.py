"""mergekit 0.1.5 as the oracle: the same numbers bit for bit, for SLERP within a few units in the last place."""

import json
import subprocess
import sys

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from components.merging.methods import METHODS, Options

pytest.importorskip("mergekit", reason="mergekit is not installed: pip install mergekit==0.1.5")

WEIGHTS = [0.5, 0.3, 0.9]
SIGNED = [0.5, -0.3, 0.9]
#: name -> (our method, mergekit's, weights, our options); with a base where the method takes one.
CASES = {
    "linear": ("linear", "linear", WEIGHTS, {}),
    "linear-sum": ("linear", "linear", WEIGHTS, {"normalize": False}),
    "slerp": ("slerp", "slerp", [1.0, 1.0], {"t": 0.3}),
    "ties": ("ties", "ties", WEIGHTS, {"density": 0.2}),
    "ties-whole": ("ties", "ties", WEIGHTS, {"density": 1.0}),
    "ties-sum": ("ties", "ties", WEIGHTS, {"density": 0.5, "normalize": False}),
    "ties-signed": ("ties", "ties", SIGNED, {"density": 0.5}),
    "dare-ties-whole": ("dare-ties", "dare_ties", WEIGHTS, {"density": 1.0}),
}
RUN = """
import json, sys
from mergekit.scripts.merge_raw_pytorch import main
for config, output in json.loads(sys.argv[1]):
    main([config, output], standalone_mode=False)
"""


@pytest.fixture(scope="module")
def tensors():
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(37, 53, generator=generator)
    return [base, *(base + 0.1 * torch.randn(37, 53, generator=generator) for _ in WEIGHTS)]


@pytest.fixture(scope="module")
def theirs(tensors, tmp_path_factory):
    """The folder of mergekit's results, all made by one process because its import takes seconds."""
    folder = tmp_path_factory.mktemp("mergekit")
    for index, tensor in enumerate(tensors):
        save_file({"x": tensor}, folder / f"{index}.safetensors")
    for name, (_, method, weights, options) in CASES.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(configuration(folder, method, weights, options)))
    jobs = json.dumps([[str(folder / f"{name}.yaml"), str(folder / name)] for name in CASES])
    done = subprocess.run([sys.executable, "-c", RUN, jobs], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


def configuration(folder, method, weights, options):
    parameters = {"density": options["density"]} if "density" in options else {}
    models = [
        {"model": str(folder / f"{index}.safetensors"), "parameters": {"weight": weight, **parameters}}
        for index, weight in enumerate(weights, 1)
    ]
    shared = {"t": options["t"]} if method == "slerp" else {"normalize": options.get("normalize", True)}
    base = {"linear": None, "slerp": "1.safetensors"}.get(method, "0.safetensors")
    config = {"merge_method": method, "models": models, "parameters": shared, "dtype": "float32"}
    return config if base is None else {**config, "base_model": str(folder / base)}


@pytest.mark.parametrize("name", CASES)
def test_the_same_numbers(name, tensors, theirs):
    method, _, weights, options = CASES[name]
    base, *models = [tensor.flatten() for tensor in tensors]
    merged = METHODS[method].merge(models[: len(weights)], weights, base, Options(**options)).reshape(37, 53)
    (shard,) = (theirs / name).glob("*.safetensors")
    expected = load_file(shard)["x"]
    if method == "slerp":
        torch.testing.assert_close(merged, expected, atol=1e-6, rtol=1e-6)
    else:
        assert torch.equal(merged, expected)
