"""Loading model folders: checked first, then opened with the libraries' own loaders."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.common.model_files import check_model_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

USER, ASSISTANT = "user", "assistant"


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerBase":
    """The tokenizer of a checked model folder, padding on the left as generation needs."""
    from transformers import AutoTokenizer

    check_model_folder(folder, weights=False)
    return AutoTokenizer.from_pretrained(folder, local_files_only=True, padding_side="left")


def load_causal_lm(folder: Path, dtype: str = "auto") -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """A causal language model in evaluation mode, on the GPU if there is one, and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM

    check_model_folder(folder)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True).to(device).eval()
    return model, load_tokenizer(folder)


def load_reward_model(folder: Path, dtype: str = "auto") -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """A sequence classifier with one label in evaluation mode, and its tokenizer."""
    import torch
    from transformers import AutoModelForSequenceClassification

    from components.common.reward_model import register

    register()
    check_model_folder(folder)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=dtype, local_files_only=True)
    return model.to(device).eval(), load_tokenizer(folder)


def conversation(prompt: str, completion: str | None = None) -> list[dict[str, str]]:
    """One user turn, and the assistant's answer when there is one, as the chat template takes them."""
    turns = [{"role": USER, "content": prompt}]
    return turns if completion is None else [*turns, {"role": ASSISTANT, "content": completion}]


def encode_conversations(
    tokenizer: Any, conversations: Sequence[list[dict[str, str]]], add_generation_prompt: bool
) -> list[list[int]]:
    """Token ids of each conversation under the model's own chat template, without padding."""
    encoded = tokenizer.apply_chat_template(
        list(conversations), add_generation_prompt=add_generation_prompt, tokenize=True, return_dict=True
    )
    return [list(ids) for ids in encoded["input_ids"]]
