"""Loading model folders: checked first, then opened with the libraries' own loaders."""

import copy
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.common.canonical import digest
from components.common.chat_templates import check_chat_template, refusals_explained
from components.common.errors import BadInput
from components.common.memory import exhaustion_explained
from components.common.model_files import check_model_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MORE = "give the step a machine with more memory, or serve the model on several GPUs"
USER, ASSISTANT = "user", "assistant"


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerBase":
    """The tokenizer of a checked model folder, padding on the left as generation needs."""
    check_model_folder(folder, weights=False)  # before transformers is imported, here and below
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, padding_side="left")
    check_chat_template(tokenizer)
    return tokenizer


def load_causal_lm(folder: Path, dtype: str = "auto") -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """A causal language model in evaluation mode, on the GPU if there is one, and its tokenizer."""
    check_model_folder(folder)
    import torch
    from transformers import AutoModelForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    with exhaustion_explained(f"Loading {folder}", MORE):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True).to(device).eval()
    return model, load_tokenizer(folder)


def load_reward_model(folder: Path, dtype: str = "auto") -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """A sequence classifier with one label in evaluation mode, and its tokenizer."""
    check_model_folder(folder)
    import torch
    from transformers import AutoModelForSequenceClassification

    from components.common.reward_model import register

    register()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with exhaustion_explained(f"Loading {folder}", MORE):
        model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=dtype, local_files_only=True)
        model = model.to(device).eval()
    return model, load_tokenizer(folder)


def conversation(prompt: str, completion: str | None = None) -> list[dict[str, str]]:
    """One user turn, and the assistant's answer when there is one, as the chat template takes them."""
    turns = [{"role": USER, "content": prompt}]
    return turns if completion is None else [*turns, {"role": ASSISTANT, "content": completion}]


def encode_conversations(
    tokenizer: Any, conversations: Sequence[list[dict[str, str]]], add_generation_prompt: bool
) -> list[list[int]]:
    """Token ids of each conversation under the model's own chat template, without padding.

    Control tokens that users wrote into their text are encoded as the letters that they are.
    """
    control = tuple(str(token) for token in tokenizer.added_tokens_decoder.values())
    plain = [not any(token in turn["content"] for turn in turns for token in control) for turns in conversations]
    safe = [turns for turns, is_plain in zip(conversations, plain, strict=True) if is_plain]
    encoded = iter(_apply_template(tokenizer, safe, add_generation_prompt))
    return [
        next(encoded) if is_plain else _encode_as_text(tokenizer, turns, add_generation_prompt)
        for turns, is_plain in zip(conversations, plain, strict=True)
    ]


def _apply_template(tokenizer: Any, conversations: list[list[dict[str, str]]], generation: bool) -> list[list[int]]:
    if not conversations:
        return []
    with refusals_explained(tokenizer):
        encoded = tokenizer.apply_chat_template(
            conversations, add_generation_prompt=generation, tokenize=True, return_dict=True
        )
    return [list(ids) for ids in encoded["input_ids"]]


def _encode_as_text(tokenizer: Any, turns: list[dict[str, str]], generation: bool) -> list[int]:
    """The template around marks, then the contents in place of the marks, their control tokens switched off."""
    marks = [f"expanse-{digest([turns, index])}" for index in range(len(turns))]
    marked = [{**turn, "content": mark} for turn, mark in zip(turns, marks, strict=True)]
    with refusals_explained(tokenizer):
        rest = tokenizer.apply_chat_template(marked, add_generation_prompt=generation, tokenize=False)
    ids: list[int] = []
    for mark, turn in zip(marks, turns, strict=True):
        if rest.count(mark) != 1:
            raise BadInput(
                f"The chat template of {tokenizer.name_or_path} does not write every message once; replace it."
            )
        before, rest = rest.split(mark)
        ids += tokenizer.encode(before, add_special_tokens=False)
        ids += _as_letters(tokenizer).encode(turn["content"], add_special_tokens=False).ids
    ids += tokenizer.encode(rest, add_special_tokens=False)
    return ids


@lru_cache(maxsize=2)
def _as_letters(tokenizer: Any) -> Any:
    """The tokenizer's backend without control tokens: those of tool calls and thoughts too, which do not count as special."""
    from tokenizers import AddedToken

    backend = copy.deepcopy(tokenizer.backend_tokenizer)
    control = tokenizer.added_tokens_decoder.values()
    backend.add_special_tokens([AddedToken(each.content, normalized=each.normalized) for each in control])
    backend.encode_special_tokens = True
    backend.no_truncation()
    backend.no_padding()
    return backend
