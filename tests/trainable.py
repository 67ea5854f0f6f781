"""Tiny models and tables for the training stages: one token per byte, so every text can be written."""

import random
from pathlib import Path

from components.common.chat import AYA_CHAT_TEMPLATE
from components.common.records import EXAMPLE, PAIR, write_records

SPECIAL = [
    "<PAD>", "<UNK>", "<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>", "<|START_OF_TURN_TOKEN|>",
    "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|SYSTEM_TOKEN|>",
]  # fmt: skip
WORDS = ["lundi", "mardi", "zwölf", "three", "сорок", "7", "12"]


def save_trainable(folder: Path, seed: int = 0, hidden: int = 32, layers: int = 2) -> Path:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import CohereConfig, CohereForCausalLM, PreTrainedTokenizerFast
    from transformers.utils.logging import disable_progress_bar

    vocabulary = {token: i for i, token in enumerate(SPECIAL + sorted(pre_tokenizers.ByteLevel.alphabet()))}
    bytes_only = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_only.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bytes_only, bos_token=SPECIAL[2], eos_token=SPECIAL[3], pad_token=SPECIAL[0],
        unk_token=SPECIAL[1], additional_special_tokens=SPECIAL[4:], chat_template=AYA_CHAT_TEMPLATE,
    )  # fmt: skip
    config = CohereConfig(
        vocab_size=len(vocabulary), hidden_size=hidden, intermediate_size=2 * hidden, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=2, logit_scale=1.0, max_position_embeddings=512,
        initializer_range=0.06, pad_token_id=0, bos_token_id=2, eos_token_id=3,
    )  # fmt: skip
    disable_progress_bar()
    torch.manual_seed(seed)
    CohereForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def phrase(source: random.Random) -> str:
    return " ".join(source.choice(WORDS) for _ in range(source.randint(1, 4)))


def example(index: int, **fields) -> dict:
    source = random.Random(index)
    row = {
        "id": f"p{index:03}", "language": source.choice(["de", "fr"]), "prompt": phrase(source),
        "completion": phrase(source), "model": "teacher", "reward": 1.0, "margin": 0.5,
    }  # fmt: skip
    return row | fields


def pair(index: int, **fields) -> dict:
    source = random.Random(index)
    row = {
        "id": f"p{index:03}", "language": source.choice(["de", "fr"]), "prompt": phrase(source),
        "chosen": f"yes {phrase(source)}", "rejected": f"no {phrase(source)}", "chosen_reward": 1.0,
        "rejected_reward": 0.0, "chosen_model": "a", "rejected_model": "b", "source": "best-worst",
    }  # fmt: skip
    return row | fields


def save_examples(folder: Path, rows: list[dict]) -> Path:
    folder.mkdir(parents=True)
    write_records(folder / "examples.parquet", rows, EXAMPLE)
    return folder


def save_pairs(folder: Path, rows: list[dict]) -> Path:
    folder.mkdir(parents=True)
    write_records(folder / "pairs.parquet", rows, PAIR)
    return folder


class KilledError(Exception):
    pass


def kill_at(monkeypatch, step):
    from components.common.training_loop import Watch

    original = Watch.on_log

    def on_log(self, args, state, control, logs, **rest):
        if state.global_step == step:
            raise KilledError
        original(self, args, state, control, logs=logs, **rest)

    monkeypatch.setattr(Watch, "on_log", on_log)
