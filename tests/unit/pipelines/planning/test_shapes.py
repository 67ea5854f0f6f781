"""Parameter counts: against models as transformers builds them, and against the totals that are published."""

import pytest
import torch
import transformers

from pipelines.planning.shapes import PUBLISHED, shape_of

TINY = {
    "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2,
}  # fmt: skip
FAMILIES = {
    "Cohere": {},
    "Cohere2": {},
    "Llama": {"tie_word_embeddings": False},
    "Mistral": {"tie_word_embeddings": False, "head_dim": 16},
    "Qwen2": {"tie_word_embeddings": True},
    "Gemma2": {"head_dim": 16},
    "Mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2, "tie_word_embeddings": False},
}


def tiny(family: str, kind: str, changes: dict) -> torch.nn.Module:
    config = getattr(transformers, f"{family}Config")(**TINY | {"pad_token_id": 0, "num_labels": 1} | changes)
    with torch.device("meta"):
        return getattr(transformers, f"{family}For{kind}")(config)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_count_is_that_of_the_model(family):
    model = tiny(family, "CausalLM", FAMILIES[family])
    shape = shape_of(model.config.to_dict())
    assert shape.parameters == sum(weight.numel() for weight in model.parameters())


def test_a_classifier_has_one_output_instead_of_a_vocabulary():
    model = tiny("Llama", "SequenceClassification", {})
    config = model.config.to_dict() | {"architectures": ["LlamaForSequenceClassification"]}
    assert shape_of(config).parameters == sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize(
    ("name", "total"),
    [
        ("CohereLabs/aya-23-8B", 8_028_033_024),
        ("CohereLabs/aya-23-35B", 34_980_831_232),
        ("CohereLabs/aya-expanse-32b", 32_296_476_672),
        ("meta-llama/Llama-3.1-8B-Instruct", 8_030_261_248),
        ("meta-llama/Llama-3.1-70B-Instruct", 70_553_706_496),
        ("Qwen/Qwen2.5-7B-Instruct", 7_615_616_512),
        ("Qwen/Qwen2.5-32B-Instruct", 32_763_876_352),
        ("google/gemma-2-9b-it", 9_241_705_984),
        ("google/gemma-2-27b-it", 27_227_128_320),
        ("mistralai/Ministral-8B-Instruct-2410", 8_019_808_256),
    ],
)
def test_the_table_gives_the_published_totals(name, total):
    assert PUBLISHED[name].parameters == total


def test_experts_that_rest_are_stored_but_not_computed():
    mixtral = PUBLISHED["mistralai/Mixtral-8x22B-Instruct-v0.1"]
    assert mixtral.parameters == pytest.approx(140.6e9, rel=1e-3)
    assert mixtral.computed == pytest.approx(39e9, rel=1e-2)


@pytest.mark.parametrize("config", [{}, {"model_type": "unheard-of"}, {"model_type": "llama"}])
def test_a_configuration_that_says_too_little_has_no_shape(config):
    assert shape_of(config) is None
