"""Log-likelihoods of continuations: one forward pass over rows sorted by length, logits only where they are needed.

Requests that differ in their last token alone (the letters A to D of one question) share a row.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.common.canonical import digest
from components.common.journal import Journal
from components.common.sampling import Sample

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Request:
    """Token ids of a context (at least one) and of the continuation (at least one) whose likelihood is asked for."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]


Row = tuple[tuple[int, ...], int]  # the tokens a model reads, and how many of its last predictions count


def log_likelihoods(
    model: Any, requests: Sequence[Request], batch_size: int, journal: Journal | None = None
) -> list[float]:
    """The natural log-likelihood of each continuation given its context, summed over its tokens, in float32.

    Rows longer than the model's context lose tokens on the left, as in lm-eval. Results do not depend on the order of
    the requests, and on the batch size only by rounding. The longest rows come first: what does not fit fails at once.
    A batch that the journal has is not read again.
    """
    import torch

    rows: dict[Row, list[int]] = defaultdict(list)
    for index, request in enumerate(requests):
        rows[_row(request, model.config.max_position_embeddings)].append(index)
    ordered = sorted(rows, key=lambda row: (-len(row[0]), row))
    results = [0.0] * len(requests)
    with torch.inference_mode():
        for start in range(0, len(ordered), batch_size):
            batch = ordered[start : start + batch_size]
            asked = [(place, index) for place, row in enumerate(batch) for index in rows[row]]
            ends = [(place, requests[index]) for place, index in asked]
            key = digest([batch, [(place, request.continuation) for place, request in ends]])[:32]
            scores = _recall(journal, key) or _note(journal, key, _scores(_last_logits(model, batch), ends))
            for (_, index), score in zip(asked, scores, strict=True):
                results[index] = score
    return results


def _row(request: Request, limit: int) -> Row:
    tokens = (request.context + request.continuation)[:-1]
    return tokens[-limit:], min(len(request.continuation), limit)


def _last_logits(model: Any, batch: list[Row]) -> "torch.Tensor":
    """Logits at the last positions of left-padded rows: ``(rows, longest count, vocabulary)``."""
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
    logits: torch.Tensor = output.logits.float()
    return logits


def _scores(logits: "torch.Tensor", asked: list[tuple[int, Request]]) -> list[float]:
    """The summed log-probability of each request's last tokens, at the end of the row that it names."""
    import torch

    keep = logits.shape[1]
    ends = [(place, request.continuation[-keep:]) for place, request in asked]
    places = [place for place, tokens in ends for _ in tokens]
    steps = [step for _, tokens in ends for step in range(keep - len(tokens), keep)]
    targets = [token for _, tokens in ends for token in tokens]
    found = logits[places, steps, targets] - logits.logsumexp(-1)[places, steps]
    return [float(part.sum()) for part in torch.split(found.cpu(), [len(tokens) for _, tokens in ends])]


def _recall(journal: Journal | None, key: str) -> list[float]:
    found = journal.find(key) if journal else None
    return list(json.loads(found.text)) if found else []


def _note(journal: Journal | None, key: str, scores: list[float]) -> list[float]:
    if journal:
        journal.add(key, Sample(json.dumps(scores), "scored", 0))
    return scores
