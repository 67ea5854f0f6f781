import json
import math

import pytest
from pydantic import ValidationError
from safetensors.torch import load_file

from components.common.errors import BadInput
from components.common.hashing import stable_fraction
from components.common.model_files import check_model_folder
from components.common.models import load_causal_lm
from components.sft.examples import read_examples
from components.sft.task import Config, run
from tests.trainable import example, save_examples

SHORT = {"steps": 4, "learning_rate": 1e-3, "global_batch_size": 8, "device_batch_size": 8}


def folder(tmp_path, name):
    path = tmp_path / name / "output"
    path.mkdir(parents=True)
    return path


def test_output_is_the_input_folder_with_other_weights(model, examples, output):
    run(Config(**SHORT), {"model": [model], "examples": [examples]}, output)
    check_model_folder(output)
    assert sorted(path.name for path in output.iterdir()) == sorted(path.name for path in model.iterdir())
    for path in model.iterdir():
        same = path.read_bytes() == (output / path.name).read_bytes()
        assert same == (path.suffix != ".safetensors"), path.name
    before, after = load_file(model / "model.safetensors"), load_file(output / "model.safetensors")
    assert {name: tensor.dtype for name, tensor in after.items()} == {name: t.dtype for name, t in before.items()}
    network, tokenizer = load_causal_lm(output)
    assert tokenizer.chat_template and network.generation_config.eos_token_id == 3


def test_stored_dtype_is_kept(model, examples, tmp_path, output):
    import torch

    half = tmp_path / "half"
    network, tokenizer = load_causal_lm(model, dtype="bfloat16")
    network.save_pretrained(half)
    tokenizer.save_pretrained(half)
    run(Config(**SHORT), {"model": [half], "examples": [examples]}, output)
    before, after = load_file(half / "model.safetensors"), load_file(output / "model.safetensors")
    assert before.keys() == after.keys() and {tensor.dtype for tensor in after.values()} == {torch.bfloat16}


def test_the_same_run_gives_the_same_bytes(model, examples, tmp_path):
    first, second = folder(tmp_path, "first"), folder(tmp_path, "second")
    metrics = [run(Config(**SHORT), {"model": [model], "examples": [examples]}, each) for each in (first, second)]
    assert metrics[0] == metrics[1]
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()
    other = run(Config(**SHORT, seed=1), {"model": [model], "examples": [examples]}, folder(tmp_path, "other"))
    assert other != metrics[0]


def test_dropped_examples_are_counted_with_their_reason(model, tmp_path, output):
    rows = [example(i) for i in range(6)] + [example(6, completion="x" * 300), example(7, completion=" \n")]
    examples = save_examples(tmp_path / "examples", rows)
    metrics = run(Config(**SHORT, max_length=120), {"model": [model], "examples": [examples]}, output)
    assert (metrics["examples"], metrics["dropped_too_long"], metrics["dropped_empty"]) == (6, 1, 1)


def test_what_the_model_cannot_read_is_dropped_whatever_max_length_says(model, tmp_path, output):
    rows = [example(i) for i in range(6)] + [example(6, completion="x" * 600)]  # the model reads 512 tokens
    metrics = run(Config(**SHORT, max_length=4096), {
        "model": [model], "examples": [save_examples(tmp_path / "examples", rows)]}, output)  # fmt: skip
    assert (metrics["examples"], metrics["dropped_too_long"]) == (6, 1)


def test_parts_are_disjoint_and_complete(examples):
    parts = [read_examples(examples, None, part) for part in ((0.0, 0.5), (0.5, 1.0))]
    ids = [{row["id"] for row in part} for part in parts]
    assert not ids[0] & ids[1] and len(ids[0] | ids[1]) == 40
    assert all(stable_fraction("part", row["id"]) < 0.5 for row in parts[0])


def test_languages_select_rows(examples):
    assert {row["language"] for row in read_examples(examples, ["fr"], (0.0, 1.0))} == {"fr"}


def test_no_example_left_is_refused(model, examples, output):
    with pytest.raises(BadInput, match="no example to train on"):
        run(Config(**SHORT, languages=["xx"]), {"model": [model], "examples": [examples]}, output)


def test_a_batch_that_does_not_divide_is_refused(model, examples, output, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(BadInput, match="not a multiple of device_batch_size 8 x 3"):
        run(Config(**SHORT), {"model": [model], "examples": [examples]}, output)


@pytest.mark.parametrize("rate", [1e4, 1e18])
def test_a_diverging_run_saves_nothing(model, examples, output, rate):
    with pytest.raises(BadInput, match=r"diverged.*learning_rate"):
        run(Config(**SHORT | {"learning_rate": rate, "steps": 20}), {"model": [model], "examples": [examples]}, output)
    assert not list(output.iterdir())


def test_a_model_with_nan_is_refused(model, examples, tmp_path, output):
    broken = tmp_path / "broken"
    network, tokenizer = load_causal_lm(model)
    network.model.norm.weight.data[0] = math.nan
    network.save_pretrained(broken)
    tokenizer.save_pretrained(broken)
    with pytest.raises(BadInput, match="diverged"):
        run(Config(**SHORT), {"model": [broken], "examples": [examples]}, output)


def test_a_model_without_template_is_refused(model, examples, tmp_path, output):
    import shutil

    bare = tmp_path / "bare"
    shutil.copytree(model, bare)
    (bare / "chat_template.jinja").unlink()
    with pytest.raises(BadInput, match="no chat template"):
        run(Config(**SHORT), {"model": [bare], "examples": [examples]}, output)


def test_a_template_that_hides_the_prompt_is_refused(model, examples, tmp_path, output):
    import shutil

    odd = tmp_path / "odd"
    shutil.copytree(model, odd)
    template = "{% for m in messages %}{{ messages | length }}{{ m['content'] }}{% endfor %}"
    (odd / "chat_template.jinja").write_text(template)
    with pytest.raises(BadInput, match="renders a prompt differently"):
        run(Config(**SHORT), {"model": [odd], "examples": [examples]}, output)


@pytest.mark.parametrize(
    "wrong",
    [{"steps": None}, {"epochs": 1.0}, {"part": (0.5, 0.5)}, {"part": (-1, 1)}, {"learning_rate": math.nan}, {"x": 1}],
)
def test_wrong_configurations_are_refused(wrong):
    with pytest.raises(ValidationError):
        Config(**SHORT | wrong)


def test_bfloat16_needs_a_gpu(model, examples, output):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(BadInput, match="dtype=float32"):
        run(Config(**SHORT, dtype="bfloat16"), {"model": [model], "examples": [examples]}, output)


def test_progress_is_plain_lines(model, examples, output, capfd):
    run(Config(**SHORT | {"steps": 20}), {"model": [model], "examples": [examples]}, output)
    out, err = capfd.readouterr()
    assert len(out.splitlines()) == 10 and out.splitlines()[-1].startswith("step 20/20 loss ")
    assert not err
    assert json.loads((output / "config.json").read_text())["model_type"] == "cohere"
