"""Log-probabilities of tokens: those of a prompt, read part by part, and those of an answer, step by step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

#: Logits that are in memory at once while a prompt is read: 128 MB of them in float32.
CELLS = 1 << 25
ID = "token_id:"


class NotFiniteError(ValueError):
    """The model's logits for a prompt are no finite numbers."""


@dataclass(frozen=True)
class Scored:
    """A token, its natural log-probability (None for the first of a prompt), and the likeliest tokens in its place."""

    token: int
    logprob: float | None
    likeliest: tuple[tuple[int, float], ...] = ()


def read_prompt(model: Any, prompt: Sequence[int], top: int, cells: int = CELLS) -> "tuple[list[Scored], torch.Tensor]":
    """Every token of a prompt with ``top`` alternatives, and the logits of the token after it (1, vocabulary).

    Raises NotFiniteError.
    """
    import torch
    from transformers import DynamicCache

    cache, scored = DynamicCache(), [Scored(prompt[0], None)]
    width = max(1, cells // model.get_input_embeddings().num_embeddings)
    for start in range(0, len(prompt), width):
        part = torch.tensor([list(prompt[start : start + width])], device=model.device)
        positions = torch.arange(start, start + part.shape[1], device=model.device)[None]
        with torch.inference_mode():
            output = model(input_ids=part, position_ids=positions, past_key_values=cache, use_cache=True)
            logits: torch.Tensor = output.logits[0].float()
            if not bool(logits.isfinite().all()):
                raise NotFiniteError
            following = prompt[start + 1 : start + part.shape[1] + 1]
            scored += score(logits[: len(following)], following, top)
    return scored, logits[-1:]


def score(logits: "torch.Tensor", tokens: Sequence[int], top: int) -> list[Scored]:
    """The log-probability of one token per row of ``logits`` (rows, vocabulary), and the ``top`` likeliest beside it."""
    import torch

    if not tokens:
        return []
    with torch.inference_mode():
        every = logits.log_softmax(dim=-1)
        own = every.gather(1, torch.tensor(tokens, device=every.device)[:, None])[:, 0].tolist()
        values, places = every.topk(min(top, every.shape[1]), dim=-1)
    likeliest = [tuple(zip(*row, strict=True)) for row in zip(places.tolist(), values.tolist(), strict=True)]
    return [Scored(*each) for each in zip(tokens, own, likeliest, strict=True)]


def rendered(scored: Sequence[Scored], name: Callable[[int], str]) -> dict[str, Any]:
    """OpenAI's four lists; ``name`` gives a token as text. The token itself is always among the likeliest, as in vLLM."""
    tokens = [name(each.token) for each in scored]
    offsets = [0]
    for token in tokens:
        offsets.append(offsets[-1] + len(token))
    return {
        "tokens": tokens,
        "token_logprobs": [each.logprob for each in scored],
        "top_logprobs": [_likeliest(each, name) for each in scored],
        "text_offset": offsets[:-1],
    }


def _likeliest(each: Scored, name: Callable[[int], str]) -> dict[str, float] | None:
    if each.logprob is None:
        return None
    return {name(each.token): each.logprob} | {name(token): logprob for token, logprob in each.likeliest}
