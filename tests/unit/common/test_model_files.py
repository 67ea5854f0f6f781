"""Model folders that lie, leak or could run code are refused by name, and by BadInput only."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.common.errors import BadInput
from components.common.model_files import check_model_folder, model_tensors
from components.common.safetensors_header import SafetensorsFile

pytestmark = pytest.mark.faults

CONFIG = {"model_type": "cohere", "architectures": ["CohereForCausalLM"], "hidden_size": 2, "vocab_size": 3}
HEADER = {
    "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
}


def safetensors(header: object, length: int = 32, prefix: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if prefix is None else prefix).to_bytes(8, "little") + text + bytes(length)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "model.safetensors").write_bytes(safetensors(HEADER))
    return tmp_path


@pytest.fixture
def sharded(folder: Path) -> Path:
    (folder / "model.safetensors").unlink()
    one, two = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    (folder / one).write_bytes(safetensors({"a": HEADER["a"]}, 24))
    (folder / two).write_bytes(safetensors({"b": {**HEADER["b"], "data_offsets": [0, 8]}}, 8))
    index(folder, {"a": one, "b": two})
    return folder


def index(folder: Path, weight_map: object) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def refused(folder: Path, message: str, weights: bool = True) -> None:
    with pytest.raises(BadInput, match=message):
        check_model_folder(folder, weights)


def test_an_honest_folder_passes(folder):
    (folder / "manifest.json").write_text("{}")
    (folder / "README.md").write_text("a card")
    check_model_folder(folder)
    entry = model_tensors(folder)["b"]
    assert (entry.dtype, entry.shape, entry.elements, entry.size) == ("BF16", (4,), 4, 8)
    assert entry.end == (folder / "model.safetensors").stat().st_size


def test_an_honest_sharded_folder_passes(sharded):
    check_model_folder(sharded)
    assert list(model_tensors(sharded)) == ["a", "b"]


def test_what_the_libraries_save_passes(tmp_path):
    import torch
    from safetensors.torch import save_file
    from transformers import AutoConfig, CohereConfig, Gemma2Config, LlamaConfig, MistralConfig, Qwen2Config

    save_file({"x": torch.ones(3, dtype=torch.float16), "y": torch.tensor(1.0)}, tmp_path / "model.safetensors")
    for config in (CohereConfig(), Gemma2Config(), LlamaConfig(), MistralConfig(), Qwen2Config()):
        config.save_pretrained(tmp_path)
        check_model_folder(tmp_path)
        assert AutoConfig.from_pretrained(tmp_path).model_type == config.model_type


def test_a_tokenizer_folder_needs_no_weights(folder):
    (folder / "model.safetensors").unlink()
    check_model_folder(folder, weights=False)
    refused(folder, "has no safetensors file")


def test_nothing_heavy_is_imported():
    code = (
        "import sys, components.common.model_files; print({'torch', 'transformers', 'safetensors'} & set(sys.modules))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("loader", ["load_tokenizer", "load_causal_lm", "load_reward_model"])
def test_a_folder_is_refused_before_transformers_is_imported(folder, loader):
    (folder / "modeling.py").write_text("raise SystemExit('run')")
    code = f"""
import sys
from pathlib import Path
from components.common import errors, models
try:
    models.{loader}(Path(sys.argv[1]))
except errors.BadInput as error:
    print({{"torch", "transformers", "modeling"}} & set(sys.modules), error)
"""
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.startswith("set()") and "modeling.py is code" in done.stdout


@pytest.mark.parametrize(
    "name",
    [
        "pytorch_model.bin",
        "training_args.bin",
        "a.pt",
        "a.PKL",
        "a.ckpt",
        "checkpoint-1/optimizer.pt",
        "modeling.py",
        "x.so",
    ],
)
def test_pickles_and_code_are_refused_wherever_they_lie(folder, name):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"")
    refused(folder, f"{name} (may be a pickle|is code)", weights=False)


@pytest.mark.parametrize(
    ("file", "fields"),
    [
        ("config.json", {"auto_map": {"AutoModel": "a--b.C"}}),
        ("config.json", {"trust_remote_code": True}),
        ("config.json", {"_attn_implementation_internal": "someone/kernel"}),
        ("config.json", {"attn_implementation": "someone/kernel"}),
        ("config.json", {"_experts_implementation": "x"}),
        ("config.json", {"rope_parameters": [{"deep": {"auto_map": {}}}]}),
        ("config.json", {"quantization_config": {}}),
        ("config.json", {"model_type": None}),
        ("tokenizer_config.json", {"auto_map": {}}),
        ("generation_config.json", {"trust_remote_code": True}),
        ("adapter_config.json", {"base_model_name_or_path": "someone/else"}),
    ],
)
def test_fields_that_could_run_code_are_refused_by_name(folder, file, fields):
    (folder / file).write_text(json.dumps({**(CONFIG if file == "config.json" else {}), **fields}))
    field = "adapter_config" if file == "adapter_config.json" else next(iter(fields))
    refused(folder, f"{file}.*(auto_map|{field}|base model)", weights=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not valid JSON"),
        (b"[]", "not a JSON object"),
        (b'{"model_type": "a", "model_type": "b"}', "'model_type' twice"),
        (b'{"model_type": "a", "logit_scale": NaN}', "the literal NaN"),
        (b'{"model_type": "\xff"}', "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"vocab_size": ' + b"9" * 5000 + b"}", "not valid JSON"),
    ],
)
def test_a_damaged_config_is_refused(folder, text, message):
    (folder / "config.json").write_bytes(text)
    refused(folder, f"config.json.*{message}")


def test_a_missing_folder_or_config_is_refused(folder):
    refused(folder / "nowhere", "is not a folder")
    (folder / "config.json").unlink()
    refused(folder, "config.json cannot be read")


def test_links_that_leave_the_folder_and_pipes_are_refused(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "notes.txt"
    outside.write_text("secret")
    link = folder / "notes.txt"
    for target in (outside, folder / "nowhere", link, outside.parent):
        link.symlink_to(target)
        refused(folder, "notes.txt is a symlink that leaves")
        link.unlink()
    link.symlink_to("config.json")
    check_model_folder(folder)
    link.unlink()
    os.mkfifo(link)
    refused(folder, "neither a file nor a folder")


def tensor(dtype="F32", shape=(2, 3), offsets=(0, 24), **more):
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1234567", "truncated"),
        (safetensors(HEADER, prefix=100_000_001), "over the limit"),
        (safetensors(HEADER, prefix=2**64 - 1), "over the limit"),
        (safetensors(HEADER, prefix=9_999), "announces a header of 9,999 bytes"),
        (safetensors(HEADER, prefix=20), "not valid JSON"),
        (safetensors(HEADER, 31), "is truncated"),
        (safetensors(HEADER, 33), "trailing bytes"),
        (safetensors(b'{"a":1,"a":2}'), "'a' twice"),
        (safetensors([], 0), "not a JSON object"),
        (safetensors({}, 0), "holds no tensor"),
        (safetensors({"__metadata__": {"format": 1}}), "__metadata__"),
        (safetensors({"a": 1}), "not described by dtype"),
        (safetensors(tensor(extra=1), 24), "not described by dtype"),
        (safetensors(tensor("F33"), 24), "unknown dtype 'F33'"),
        (safetensors(tensor(["F32"]), 24), "unknown dtype"),
        (safetensors(tensor(shape=[2, 4]), 24), "needs 32 bytes, its data_offsets give 24"),
        (safetensors(tensor(shape=[-2, -3]), 24), "absurd shape"),
        (safetensors(tensor(shape=[2.0, 3]), 24), "absurd shape"),
        (safetensors(tensor(shape=[True, 6]), 24), "absurd shape"),
        (safetensors(tensor(shape=[2**62, 2**62]), 24), "absurd shape"),
        (safetensors(tensor(shape=[1] * 9), 24), "absurd shape"),
        (safetensors(tensor(shape=[0], offsets=[0, 0]), 0), "absurd shape"),
        (safetensors(tensor(shape="23"), 24), "absurd shape"),
        (safetensors(tensor(offsets=[24, 0]), 24), "no range"),
        (safetensors(tensor(offsets=[0, 24, 25]), 24), "no range"),
        (safetensors(tensor(offsets=[0, "24"]), 24), "no range"),
        (safetensors(tensor(offsets=[8, 32]), 32), "leaves unnamed bytes"),
        (safetensors({**HEADER, "b": {**HEADER["b"], "data_offsets": [16, 24]}}, 24), "tensor 'b' overlaps"),
        (safetensors({**HEADER, "b": {**HEADER["b"], "data_offsets": [32, 40]}}, 40), "tensor 'b' leaves unnamed"),
        (safetensors({"": HEADER["a"]}, 24), "unusable name"),
        (safetensors({"a\n": HEADER["a"]}, 24), "unusable name"),
        (safetensors({"\ud800": HEADER["a"]}, 24), "unusable name"),
    ],
)
def test_a_lying_header_is_refused(folder, content, message):
    (folder / "model.safetensors").write_bytes(content)
    refused(folder, f"model.safetensors.*{message}")


def test_two_files_without_an_index_are_refused(folder):
    (folder / "other.safetensors").write_bytes(safetensors(HEADER))
    refused(folder, "but no model.safetensors.index.json")


ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"a": ONE, "b": "model-3.safetensors"}, "lists the shard 'model-3.safetensors', which is missing"),
        ({"a": ONE}, f"does not list the shard '{TWO}'"),
        ({"a": ONE, "b": TWO, "c": TWO}, f"lists the {TWO} tensor 'c', which is missing"),
        ({"a": ONE, "b": ONE, "c": TWO}, f"lists the {ONE} tensor 'b', which is missing"),
        ({"c": ONE, "b": TWO}, f"lists the {ONE} tensor 'c'"),
        ({"a": ONE, "b": f"../{TWO}"}, "not a file here"),
        ({"a": ONE, "b": 2}, "not a file here"),
        ({}, "weight_map is missing or empty"),
        ([ONE], "weight_map is missing or empty"),
    ],
)
def test_an_index_that_disagrees_with_its_shards_is_refused(sharded, weight_map, message):
    index(sharded, weight_map)
    refused(sharded, message)


def test_a_tensor_in_two_shards_or_listed_twice_is_refused(sharded):
    (sharded / TWO).write_bytes(safetensors(HEADER))
    refused(sharded, f"{TWO}: tensor 'a' is also in {ONE}")
    text = f'{{"weight_map": {{"a": "{ONE}", "a": "{TWO}"}}}}'
    (sharded / "model.safetensors.index.json").write_text(text)
    refused(sharded, "'a' twice")


def test_a_file_that_the_index_hides_is_refused(sharded):
    (sharded / "model.safetensors").write_bytes(safetensors(HEADER))
    refused(sharded, "does not list the shard 'model.safetensors'")


def only_bad_input(path: Path, content: bytes) -> SafetensorsFile | None:
    path.write_bytes(content)
    try:
        return SafetensorsFile.open(path)
    except BadInput:
        return None


HONEST = safetensors(HEADER)
fuzz = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_every_truncation_is_refused(tmp_path):
    assert all(only_bad_input(tmp_path / "x", HONEST[:length]) is None for length in range(len(HONEST)))


@fuzz
@given(position=st.integers(0, len(HONEST) - 33), bit=st.integers(0, 7))
def test_a_flipped_bit_in_the_header_never_hides_or_moves_a_tensor(tmp_path, position, bit):
    content = bytearray(HONEST)
    content[position] ^= 1 << bit
    found = only_bad_input(tmp_path / "x", bytes(content))
    if found is not None:  # another name, shape or dtype of the same size: the manifest's digest tells
        assert sum(entry.size for entry in found.tensors.values()) == 32


@fuzz
@given(header=st.binary(max_size=200), length=st.integers(0, 40), prefix=st.none() | st.integers(0, 2**64 - 1))
def test_random_bytes_are_bad_input(tmp_path, header, length, prefix):
    assert only_bad_input(tmp_path / "x", safetensors(header, length, prefix)) is None


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
described = st.fixed_dictionaries({"dtype": values | st.just("F32"), "shape": values, "data_offsets": values})


@fuzz
@given(header=st.dictionaries(st.text(max_size=5) | st.just("__metadata__"), values | described, max_size=3))
def test_random_headers_are_bad_input(tmp_path, header):
    found = only_bad_input(tmp_path / "x", safetensors(header, 0))
    assert found is None


@fuzz
@given(config=values, weight_map=values)
def test_random_configs_and_indexes_are_bad_input(tmp_path, config, weight_map):
    (tmp_path / "model.safetensors").write_bytes(HONEST)
    (tmp_path / "config.json").write_text(json.dumps(config))
    refused(tmp_path, "config.json")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    index(tmp_path, weight_map)
    refused(tmp_path, "index.json")
