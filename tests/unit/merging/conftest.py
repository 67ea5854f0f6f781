"""Tiny Cohere models with a word tokenizer, saved as transformers saves them."""

from collections.abc import Callable
from pathlib import Path

import pytest

WORDS = ("<PAD>", "<UNK>", "<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>", "a", "b", "c", "d")
MakeModel = Callable[..., Path]


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    def make(name: str, seed: int = 0, dtype: str = "float32", words: tuple[str, ...] = WORDS, **config) -> Path:
        import torch
        from tokenizers import Tokenizer
        from tokenizers.models import WordLevel
        from transformers import CohereConfig, CohereForCausalLM, PreTrainedTokenizerFast

        sizes = {"vocab_size": 16, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
        heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64}
        ids = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
        torch.manual_seed(seed)
        model = CohereForCausalLM(CohereConfig(**{**sizes, **heads, **ids, **config})).to(getattr(torch, dtype))
        model.save_pretrained(tmp_path / name)
        vocabulary = {word: index for index, word in enumerate(words)}
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer(WordLevel(vocabulary, unk_token="<UNK>")),
            bos_token="<BOS_TOKEN>",
            eos_token="<|END_OF_TURN_TOKEN|>",
            pad_token="<PAD>",
            unk_token="<UNK>",
        )
        tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
        tokenizer.save_pretrained(tmp_path / name)
        return tmp_path / name

    return make


@pytest.fixture
def output(tmp_path: Path) -> Path:
    folder = tmp_path / "output"
    folder.mkdir()
    return folder
