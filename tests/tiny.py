"""Tiny real models for tests: a byte-level tokenizer and random Cohere weights, saved as transformers saves them."""

from functools import cache
from pathlib import Path
from typing import Any

TEXTS = (
    "Hello world, how are you today? The answer is twelve kilometres.",
    "Guten Tag, wie geht es dir? Am 5. März 2024 waren es zwölf Kilometer.",
    "Bonjour, comment allez-vous ? Il y a trois jours.",
    "Привет, как дела? Через двенадцать дней.",
    "こんにちは、お元気ですか。十二キロメートル",
    "你好，世界。十二公里",
    "مرحبا بالعالم، كيف حالك؟",
    "नमस्ते दुनिया, आप कैसे हैं?",
)


@cache
def tiny_tokenizer() -> Any:
    """Byte-level BPE learnt from ``TEXTS``: Aya's special tokens and chat template, padding 0, start of text 5."""
    from components.miniature.tokenizer import train_tokenizer

    return train_tokenizer(TEXTS * 4, 400)


def tiny_config(**config: Any) -> Any:
    """The shape of both models: hidden 32, two layers; any field may be replaced."""
    from transformers import CohereConfig

    tokenizer = tiny_tokenizer()
    shape = {
        "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "logit_scale": 1.0,
        "initializer_range": 0.1, "tie_word_embeddings": True, "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
    }  # fmt: skip
    return CohereConfig(**(shape | config))


def save_tiny_cohere(folder: Path, seed: int = 0, **config: Any) -> Path:
    """A causal language model with random weights: config, safetensors, generation config and tokenizer."""
    import torch
    from transformers import CohereForCausalLM

    torch.manual_seed(seed)
    return _save(CohereForCausalLM(tiny_config(**config)), folder)


def save_tiny_reward(folder: Path, seed: int = 0, **config: Any) -> Path:
    """A reward model with random weights: one score for a conversation."""
    import torch

    from components.common.reward_model import register

    torch.manual_seed(seed)
    return _save(register()(tiny_config(num_labels=1, **config)), folder)


def _save(model: Any, folder: Path) -> Path:
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder
