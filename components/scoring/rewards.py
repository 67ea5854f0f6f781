"""Rewards of a sequence classifier with one label, over the conversation in its own chat template."""

import math
from collections.abc import Sequence
from typing import Any

from components.common.models import conversation, encode_conversations


def score(
    model: Any, tokenizer: Any, pairs: Sequence[tuple[str, str]], batch_size: int, max_length: int
) -> list[float | None]:
    """One reward per (prompt, completion), None where it is not finite or the conversation exceeds ``max_length`` tokens.

    Conversations are batched by length and padded on the right, where causal attention cannot see the padding.
    """
    import torch

    encoded = encode_conversations(tokenizer, [conversation(*pair) for pair in pairs], add_generation_prompt=False)
    order = sorted(
        (index for index, ids in enumerate(encoded) if len(ids) <= max_length), key=lambda i: -len(encoded[i])
    )
    rewards: list[float | None] = [None] * len(pairs)
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            for index, reward in zip(batch, _score_batch(model, [encoded[i] for i in batch]), strict=True):
                rewards[index] = reward if math.isfinite(reward) else None
    return rewards


def _score_batch(model: Any, batch: Sequence[list[int]]) -> list[float]:
    import torch

    pad = model.config.get_text_config().pad_token_id or 0
    width = max(map(len, batch))
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in batch], device=model.device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in batch], device=model.device)
    rewards: list[float] = model(input_ids=ids, attention_mask=mask).logits[:, 0].float().tolist()
    return rewards
