"""The merging stage on real tiny Cohere models: what it writes, what it refuses, what it costs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from components.common.artifacts import Provenance, write_manifest
from components.common.errors import BadInput, Transient
from components.common.model_files import check_model_folder
from components.merging.task import Config, run

pytestmark = pytest.mark.faults


def merge(output: Path, models: list[Path], base: Path | None = None, **config) -> dict[str, float | int | str]:
    return run(Config(**config), {"models": models, **({"base": [base]} if base else {})}, output)


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for path in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(path).items()}


def change(folder: Path, name: str, change_tensor) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors[name] = change_tensor(tensors[name])
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def edit(path: Path, **fields) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


NORM = "model.norm.weight"


def test_the_merge_of_one_model_is_that_model_and_loads(make_model, output):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = make_model("one", dtype="bfloat16")
    metrics = merge(output, [folder])
    check_model_folder(output)
    before, after = weights_of(folder), weights_of(output)
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert torch.equal(tensor.view(torch.int16), after[name].view(torch.int16))
    assert metrics["note"] == "one model was given: the result is that model"
    model = AutoModelForCausalLM.from_pretrained(output, dtype="auto")
    assert model.dtype == torch.bfloat16
    original = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    ids = torch.tensor([[2, 4, 5, 6]])
    assert torch.equal(model(ids).logits, original(ids).logits)
    tokenizer = AutoTokenizer.from_pretrained(output)
    assert tokenizer.chat_template == AutoTokenizer.from_pretrained(folder).chat_template
    assert tokenizer("a b c").input_ids == AutoTokenizer.from_pretrained(folder)("a b c").input_ids


def test_linear_merges_every_tensor_of_the_files(make_model, output):
    models = [make_model(f"m{seed}", seed) for seed in range(3)]
    merge(output, models, weights=(1, 2, 5))
    first, second, third = map(weights_of, models)
    for name, merged in weights_of(output).items():
        torch.testing.assert_close(merged, (first[name] + 2 * second[name] + 5 * third[name]) / 8)


@pytest.mark.parametrize("method", ["linear", "ties", "dare-ties"])
def test_shards_and_repetition_change_no_byte(make_model, tmp_path, method):
    models = [make_model(f"m{seed}", seed) for seed in range(3)]
    outputs = [tmp_path / name for name in ("whole", "again", "sharded")]
    for folder, shard_size in zip(outputs, (10**9, 10**9, 4000), strict=True):
        folder.mkdir()
        metrics = merge(folder, models, models[0], method=method, shard_size=shard_size)
    whole, again, sharded = outputs
    assert (whole / "model.safetensors").read_bytes() == (again / "model.safetensors").read_bytes()
    check_model_folder(sharded)
    assert metrics["shards"] == len(list(sharded.glob("*.safetensors"))) > 3
    assert max(path.stat().st_size for path in sharded.glob("*.safetensors")) < 8000
    assert all(torch.equal(tensor, weights_of(sharded)[name]) for name, tensor in weights_of(whole).items())


def test_a_sharded_merge_is_read_and_loaded_again(make_model, tmp_path, output):
    from transformers import AutoModelForCausalLM

    first = tmp_path / "first"
    first.mkdir()
    merge(first, [make_model("a", 1), make_model("b", 2)], shard_size=4000)
    merge(output, [first], dtype="bfloat16")
    model = AutoModelForCausalLM.from_pretrained(output, dtype="auto")
    assert model.dtype == torch.bfloat16
    torch.testing.assert_close(model.model.norm.weight, weights_of(first)[NORM].bfloat16())


def test_weights_from_the_numbers_of_examples(make_model, output):
    models = [make_model("a", 1), make_model("b", 2)]
    for folder, examples in zip(models, (100, 300), strict=True):
        write_manifest(folder, Provenance("sft", "code", "configuration"), {"examples": examples})
    metrics = merge(output, models, weights="examples")
    assert metrics["examples"] == 400
    first, second = map(weights_of, models)
    name = "model.embed_tokens.weight"
    torch.testing.assert_close(weights_of(output)[name], 0.25 * first[name] + 0.75 * second[name])


def test_weights_from_examples_need_the_number(make_model, output):
    folder = make_model("a")
    write_manifest(folder, Provenance("sft", "code", "configuration"), {})
    with pytest.raises(BadInput, match="does not count training examples"):
        merge(output, [folder], weights="examples")


def test_mixed_dtypes_need_a_decision(make_model, output):
    models = [make_model("a", 1), make_model("b", 2, dtype="bfloat16")]
    with pytest.raises(BadInput, match=r"is BF16 where .* has F32; set dtype"):
        merge(output, models)
    merge(output, models, dtype="float32")
    assert {tensor.dtype for tensor in weights_of(output).values()} == {torch.float32}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("weights", ["equal", (1.0, 0.0)])
def test_a_value_that_is_not_finite_is_refused_by_tensor(make_model, output, value, weights):
    models = [make_model("a", 1), make_model("b", 2)]

    def spoil(tensor):
        tensor[3] = value
        return tensor

    change(models[1], NORM, spoil)
    with pytest.raises(BadInput, match=rf"b/model.safetensors: tensor '{NORM}' holds NaN or infinity"):
        merge(output, models, weights=weights)
    assert list(output.iterdir()) == []


@pytest.mark.parametrize("method", ["ties", "dare-ties"])
def test_a_base_is_checked_like_the_models(make_model, output, method):
    models, base = [make_model("a", 1), make_model("b", 2)], make_model("base")
    change(base, NORM, lambda tensor: tensor * float("nan"))
    with pytest.raises(BadInput, match=rf"base/model.safetensors: tensor '{NORM}' holds NaN or infinity"):
        merge(output, models, base, method=method)
    edit(base / "config.json", tie_word_embeddings=False)
    with pytest.raises(BadInput, match=r"base/config.json: tie_word_embeddings is False where"):
        merge(output, models, base, method=method)
    assert list(output.iterdir()) == []


def test_overflow_of_the_output_dtype_is_refused(make_model, output):
    folder = make_model("a")
    change(folder, NORM, lambda tensor: tensor * 1e6)
    with pytest.raises(BadInput, match=f"Merging '{NORM}' overflows F16"):
        merge(output, [folder], dtype="float16")


def test_large_sums_are_not_mistaken_for_infinity(make_model, output):
    folder = make_model("a")
    change(folder, NORM, lambda tensor: torch.full_like(tensor, 3e38))
    merge(output, [folder])
    assert weights_of(output)[NORM].unique().tolist() == [pytest.approx(3e38)]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda tensors: tensors.pop(NORM), f"has no tensor '{NORM}'"),
        (lambda tensors: tensors.update(other=torch.ones(2)), "has a tensor 'other'"),
        (lambda tensors: tensors.update({NORM: torch.ones(4, 4)}), r"has shape \(4, 4\) where"),
        (lambda tensors: tensors.update({NORM: torch.ones(16, dtype=torch.float64)}), "is stored as F64"),
        (lambda tensors: tensors.update({NORM: torch.ones(16, dtype=torch.int32)}), "is I32 where .* has F32"),
    ],
)
def test_other_tensors_are_refused(make_model, output, spoil, message):
    models = [make_model("a", 1), make_model("b", 2)]
    tensors = load_file(models[1] / "model.safetensors")
    spoil(tensors)
    save_file(tensors, models[1] / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match=message):
        merge(output, models)


def test_integers_must_agree(make_model, output):
    models = [make_model("a", 1), make_model("b", 2)]
    for folder in models:
        change(folder, NORM, lambda tensor: torch.arange(16))
    merge(output, models)
    assert weights_of(output)[NORM].tolist() == list(range(16))
    change(models[1], NORM, lambda tensor: tensor + 1)
    with pytest.raises(BadInput, match="integers that differ"):
        merge(output, models)


@pytest.mark.parametrize(
    ("field", "value"),
    [("vocab_size", 17), ("tie_word_embeddings", False), ("logit_scale", 0.5), ("use_qk_norm", True)],
)
def test_another_architecture_is_refused_by_field(make_model, output, field, value):
    models = [make_model("a", 1), make_model("b", 2)]
    edit(models[1] / "config.json", **{field: value})
    with pytest.raises(BadInput, match=rf"b/config.json: {field} is {value!r} where"):
        merge(output, models)


def test_another_vocabulary_is_refused_unless_accepted(make_model, output):
    words = ("<PAD>", "<UNK>", "<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>", "b", "a", "c", "d")
    models = [make_model("a", 1), make_model("b", 2, words=words)]
    with pytest.raises(BadInput, match=r"differs from that of .*/a in tokenizer.json \(model\)"):
        merge(output, models)
    merge(output, models, accept_other_tokenizers=True)
    assert (output / "tokenizer.json").read_bytes() == (models[0] / "tokenizer.json").read_bytes()


def test_another_chat_template_is_refused_and_a_padding_setting_is_not(make_model, output):
    models = [make_model("a", 1), make_model("b", 2)]
    edit(models[1] / "tokenizer.json", padding={"strategy": "BatchLongest", "direction": "Left"})
    edit(models[1] / "tokenizer_config.json", name_or_path="elsewhere", padding_side="left")
    merge(output, models)
    (models[1] / "chat_template.jinja").write_text("{{ messages }}")
    with pytest.raises(BadInput, match=r"differs .* in chat_template.jinja"):
        merge(output, models)


def test_a_model_that_would_run_code_is_refused(make_model, output):
    models = [make_model("a", 1), make_model("b", 2)]
    (models[1] / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(BadInput, match="may be a pickle"):
        merge(output, models)


@pytest.mark.parametrize(
    ("config", "count", "message"),
    [
        ({}, 0, "at least one model"),
        ({"method": "slerp"}, 3, "merges exactly 2 models, it was given 3"),
        ({"method": "ties"}, 2, "add --input base=REF"),
        ({"method": "dare-ties"}, 2, "add --input base=REF"),
        ({"weights": (1, 2, 3)}, 2, "weights has 3 numbers for 2 models"),
    ],
)
def test_a_wrong_number_of_models_or_weights_is_refused(make_model, output, config, count, message):
    with pytest.raises(BadInput, match=message):
        merge(output, [make_model(f"m{seed}", seed) for seed in range(count)], **config)


@pytest.mark.parametrize(
    "fields",
    [
        {"weights": (1, -1)},
        {"weights": (0, 0)},
        {"weights": ()},
        {"weights": (1, float("nan"))},
        {"density": 0},
        {"density": 1.1},
        {"t": 0.5},
        {"method": "slerp", "t": 2},
        {"method": "soup"},
        {"shard_size": 0},
        {"unknown": 1},
    ],
)
def test_a_wrong_configuration_is_refused(fields):
    with pytest.raises(ValidationError):
        Config(**fields)


def test_the_disk_is_asked_before_anything_is_written(make_model, output, monkeypatch):
    folder = make_model("a")
    usage = shutil.disk_usage(output)
    monkeypatch.setenv("EXPANSE_SCRATCH", str(output))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(Transient, match=r"2\d,\d{3} bytes are needed, 1,000 bytes are free"):
        merge(output, [folder])
    assert list(output.iterdir()) == []


def test_a_disk_that_fills_up_leaves_nothing_behind(make_model, output):
    import resource
    import signal

    folder = make_model("a")
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, limits[1]))
    try:
        with pytest.raises(Transient, match="bytes are needed"):
            merge(output, [folder])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(output.iterdir()) == []


MEASURE = """
import sys
from pathlib import Path
from components.merging.task import Config, run
peaks = []
for name in ("small", "large"):
    output = Path(sys.argv[1], f"{name}-merged")
    output.mkdir()
    run(Config(), {"models": [Path(sys.argv[1], name)] * 3}, output)
    status = Path("/proc/self/status").read_text().splitlines()
    peaks += [int(line.split()[1]) for line in status if line.startswith("VmHWM")]
print(peaks[1] - peaks[0])
"""


def test_memory_does_not_grow_with_the_models(tmp_path):
    for name, length in (("small", 8_000_000), ("large", 32_000_000)):
        (tmp_path / name).mkdir()
        save_file({"x": torch.ones(length)}, tmp_path / name / "model.safetensors")
        (tmp_path / name / "config.json").write_text('{"model_type": "cohere"}')
    command = [sys.executable, "-c", MEASURE, str(tmp_path)]
    root = Path(__file__).parents[3]
    grown = int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, cwd=root).stdout)
    assert grown < 16_000, f"merging tensors of 128 MB took {grown} KiB more than tensors of 32 MB"
