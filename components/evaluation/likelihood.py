"""Log-likelihoods of continuations: one forward pass over rows sorted by length, logits only where they are needed.

Requests that differ in their last token alone (the letters A to D of one question) share a row.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Request:
    """Token ids of a context (at least one) and of the continuation (at least one) whose likelihood is asked for."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]


Row = tuple[tuple[int, ...], int]  # the tokens a model reads, and how many of its last predictions count


def log_likelihoods(model: Any, requests: Sequence[Request], batch_size: int) -> list[float]:
    """The natural log-likelihood of each continuation given its context, summed over its tokens, in float32.

    Rows longer than the model's context lose tokens on the left, as in lm-eval. Results do not depend on the order of
    the requests, and on the batch size only by rounding.
    """
    import torch

    rows: dict[Row, list[int]] = defaultdict(list)
    for index, request in enumerate(requests):
        rows[_row(request, model.config.max_position_embeddings)].append(index)
    ordered = sorted(rows, key=lambda row: (len(row[0]), row))
    results = [0.0] * len(requests)
    with torch.inference_mode():
        for start in range(0, len(ordered), batch_size):
            batch = ordered[start : start + batch_size]
            for row, scores in zip(batch, _last_logprobs(model, batch), strict=True):
                for index in rows[row]:
                    results[index] = _sum(scores, requests[index].continuation)
    return results


def _row(request: Request, limit: int) -> Row:
    tokens = (request.context + request.continuation)[:-1]
    return tokens[-limit:], min(len(request.continuation), limit)


def _last_logprobs(model: Any, batch: list[Row]) -> "list[torch.Tensor]":
    """Log-probabilities at the last ``count`` positions of each row, ``(count, vocabulary)`` each."""
    import torch

    width, keep = max(len(tokens) for tokens, _ in batch), max(count for _, count in batch)
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for index, (tokens, _) in enumerate(batch):
        ids[index, width - len(tokens) :] = torch.tensor(tokens)
        mask[index, width - len(tokens) :] = 1
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    ids, mask, positions = (tensor.to(model.device) for tensor in (ids, mask, positions))
    output = model(input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=keep, use_cache=False)
    logprobs = output.logits.float().log_softmax(-1)
    return [logprobs[index, keep - count :] for index, (_, count) in enumerate(batch)]


def _sum(scores: "torch.Tensor", continuation: tuple[int, ...]) -> float:
    targets = list(continuation[-len(scores) :])
    return float(scores[range(len(targets)), targets].sum())
