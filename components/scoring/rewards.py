"""Rewards of a sequence classifier with one label, over the conversation in its own chat template."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.common.errors import BadInput
from components.common.memory import exhaustion_explained
from components.common.models import conversation, encode_conversations


@dataclass(frozen=True)
class Verdict:
    """A finite ``reward``, or None and the reason why there is none."""

    reward: float | None
    reason: str = ""

    def fields(self) -> dict[str, float | str | None]:
        """The columns that SCORED has beyond COMPLETION."""
        return {"reward": self.reward, "rejected_because": self.reason}


def score(
    model: Any, tokenizer: Any, pairs: Sequence[tuple[str, str]], batch_size: int, max_length: int
) -> list[Verdict]:
    """One verdict per (prompt, completion); "too long" beyond ``max_length`` tokens or the model's context.

    Equal pairs are scored once, so that their rewards are equal to the last bit. Conversations are batched by length and
    padded on the right, where causal attention cannot see the padding. Raises BadInput for a model with several labels
    and when no reward at all is finite, Transient when memory runs out.
    """
    _prepare(model, tokenizer)
    distinct = list(dict.fromkeys(pairs))
    encoded = encode_conversations(tokenizer, [conversation(*pair) for pair in distinct], add_generation_prompt=False)
    limit = min(max_length, getattr(model.config.get_text_config(), "max_position_embeddings", max_length))
    order = sorted((index for index, ids in enumerate(encoded) if len(ids) <= limit), key=lambda i: -len(encoded[i]))
    verdicts = {pair: Verdict(None, "too long") for pair in distinct}
    with exhaustion_explained("Scoring", f"lower batch_size (now {batch_size}) or max_length (now {max_length})"):
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            for index, reward in zip(batch, _score_batch(model, [encoded[i] for i in batch]), strict=True):
                verdicts[distinct[index]] = Verdict(reward) if math.isfinite(reward) else Verdict(None, "not finite")
    if order and all(verdicts[distinct[index]].reward is None for index in order):
        raise BadInput(
            "The reward model gave no finite reward at all; its weights are damaged or its dtype is too narrow."
        )
    return [verdicts[pair] for pair in pairs]


def _prepare(model: Any, tokenizer: Any) -> None:
    if model.config.num_labels != 1:
        raise BadInput(f"The reward model has {model.config.num_labels} labels; one that ranks has a single label.")
    if not getattr(tokenizer, "chat_template", None):
        raise BadInput(f"{tokenizer.name_or_path} has no chat template; add chat_template.jinja to the reward model.")
    if model.config.pad_token_id is None:  # without it the model cannot tell where a row of a batch ends
        known = (tokenizer.pad_token_id, tokenizer.eos_token_id)
        model.config.pad_token_id = next((token for token in known if token is not None), 0)


def _score_batch(model: Any, batch: Sequence[list[int]]) -> list[float]:
    import torch

    pad = model.config.pad_token_id
    width = max(map(len, batch))
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in batch], device=model.device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in batch], device=model.device)
    with torch.inference_mode():
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    rewards: list[float] = logits[:, 0].float().tolist()
    return rewards
