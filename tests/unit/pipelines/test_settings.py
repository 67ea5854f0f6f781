import pytest

from components.common.errors import BadInput
from pipelines.images import LOCK, ROLES, is_pinned, locked_images
from pipelines.loading import load_recipe
from pipelines.resources import in_bytes

WRONG = {
    "platform.storee=x": r"platform\.storee: there is no such field",
    "platform.store=/data": r"platform\.store: ",
    "platform.store=http://169.254.169.254/x": r"platform\.store: ",
    "platform.queue=Team A": r"platform\.queue: ",
    "platform.secrets={HF_TOKEN: hf_abc}": r"platform\.secrets\.HF_TOKEN: ",
    "platform.secrets={HF_TOKEN: {secret: tokens}}": r"platform\.secrets\.HF_TOKEN\.key: this field is required",
    "platform.secrets={HF-TOKEN: {secret: tokens, key: a}}": r"platform\.secrets\.HF-TOKEN",
    "platform.scratch={kind: disk}": r"platform\.scratch\.kind: ",
    "platform.scratch={kind: pvc}": r"platform\.scratch: the kind pvc needs a claim",
    "platform.scratch={kind: empty, storage_class: fast}": r"platform\.scratch: only the kind ephemeral",
    "platform.scratch={kind: pvc, claim: shared, size: 1Gi}": r"platform\.scratch: a claim has its own size",
    "platform.scratch={kind: pvc, claim: a.b}": r"platform\.scratch\.claim: ",
    "platform.scratch={kind: pvc, claim: expanse-data}": r"platform: data\.claim: 'expanse-data' is the name of another volume",
    "platform.store=file:///data/store": r"platform: pods share no disk: give store an s3:// address",
    "platform.data={claim: x, folder: ../x}": r"platform\.data\.folder: ",
    "platform.scratch={size: 10GB}": r"platform\.scratch\.size: ",
    "platform.shared_memory=64Gi": r"platform\.shared_memory: 64Gi leaves nothing of resources\.sampling\.memory \(64Gi\)",
    "platform.user=0": r"platform\.user: ",
    "platform.images={gpu: a}": r"platform\.images\.gpu",
    "platform.images={cpu: 'A b'}": r"platform\.images\.cpu",
    "platform.labels={team: 'a b'}": r"platform\.labels\.team",
    "platform={store: 's3://models', config_maps: {EXPANSE_STORE: {config_map: a, key: b}}}": "EXPANSE_STORE is set by",
    "resources.training.nodes=0": r"resources\.training\.nodes: ",
    "resources.merging.nodes=2": r"resources\.merging: several nodes need GPUs",
    "resources.sampling.nodes=2": r"resources: sampling\.nodes: only training spans several nodes",
    "resources.training.gpus=3": r"sft\.common: global_batch_size 128 is not a multiple of device_batch_size 2 x 3 processes",
    "resources.training.cpu=many": r"resources\.training\.cpu: ",
    "resources.training.accelerator=H100": r"resources\.training\.accelerator: ",
    "resources.training.priority_class=high": r"resources\.training\.priority_class: Kueue reads it; name the platform\.queue",
    "resources.training.tolerations=[{key: gpu, operator: Equal}]": "the operator Equal needs a value",
    "resources.training.node_selector={pool: 'a b'}": r"resources\.training\.node_selector\.pool",
}


@pytest.mark.parametrize("override", WRONG)
def test_a_wrong_setting_is_one_sentence_that_names_the_field(override):
    with pytest.raises(BadInput, match=WRONG[override]) as raised:
        load_recipe("8b", [override])
    assert "\n" not in str(raised.value)


def test_a_variable_has_one_source():
    both = "platform={secrets: {A: {secret: s, key: k}}, config_maps: {A: {config_map: c, key: k}}}"
    with pytest.raises(BadInput, match="the variable A comes from a Secret and from a ConfigMap"):
        load_recipe("8b", [both])


def test_training_of_the_32b_recipe_spans_four_nodes_of_eight_gpus():
    machine = load_recipe("32b").resources.training
    assert (machine.gpus, machine.nodes, machine.total_gpus) == (8, 4, 32)
    assert load_recipe("8b").resources.training.total_gpus == 8


def test_quantities_are_binary():
    assert in_bytes("3Gi") == 3 * 2**30
    assert in_bytes("1024Ki") == in_bytes("1Mi")


def test_the_lock_names_every_role():
    assert set(locked_images(LOCK)) == set(ROLES)


@pytest.mark.parametrize("text", ["cpu: a\n", "cpu: a\ntrain: b\nserve: c\ngpu: d\n", "- cpu\n", "cpu: [\n", ""])
def test_a_broken_lock_is_refused_by_name(tmp_path, text):
    path = tmp_path / "images.lock"
    path.write_text(text)
    with pytest.raises(BadInput, match=r"images\.lock"):
        locked_images(path)


def test_a_digest_pins_an_image_and_a_tag_does_not():
    assert is_pinned("registry.example/expanse@sha256:" + "0" * 64)
    assert not is_pinned("registry.example/expanse:1.0")
