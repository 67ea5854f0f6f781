"""Log-likelihoods from an OpenAI-compatible server: a completion that echoes its prompt with the log-probability of each token.

This is what lm-eval's ``local-completions`` asks, and what vLLM and our own predictor answer. The prompt is token ids,
so that the server adds and merges nothing.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from components.common.addresses import check_url
from components.common.endpoint import Call, EndpointEngine, RefusedError, RetryError, usage_of
from components.common.errors import BadInput, Transient
from components.common.sampling import Sample
from components.evaluation.likelihood import Row

COMPLETIONS = "/completions"
#: Likeliest tokens that are asked for where several continuations share all but their last token: OpenAI's limit.
LIKELIEST = 5
#: A log-probability is at most 0, and this much more by rounding.
ROUNDING = 1e-3
ID = "token_id:"
SECONDS = 60.0
KEYLESS = (401, 403)
PROBE = "Türkiye's capital is Ankara; 日本の首都は東京です。"
REMEDY = (
    "serve the model with vLLM or the platform's predictor, or evaluate it with answers.engine transformers, or take the "
    "multiple-choice benchmarks out"
)


def score_call(engine: EndpointEngine, row: Row, last: Sequence[int]) -> Call:
    """Ask for the log-likelihood of the row's counted tokens followed by each of the tokens ``last``.

    The first of them is certain to be in the reply, the others where they are among the likeliest in its place.
    """
    tokens, count = row
    prompt = [*tokens, last[0]]
    body = {
        "model": engine.model,
        "prompt": prompt,
        "echo": True,
        "logprobs": LIKELIEST if len(last) > 1 else 1,
        "max_tokens": 1,
        "temperature": 0,
        "return_tokens_as_token_ids": True,
    }
    return Call(COMPLETIONS, body, len(prompt) + 1.0, lambda reply: _read(engine, reply, prompt, count, last))


def scores_of(reply: Sample) -> dict[int, float]:
    """The log-likelihoods in an answer to ``score_call``, by last token."""
    if reply.finish_reason == "too_long":
        raise BadInput(
            "A multiple-choice question is longer than the endpoint's context, which it does not state; set "
            "answers.served.max_model_len to it."
        )
    return {int(token): score for token, score in json.loads(reply.text).items()}


def probe(engine: EndpointEngine, tokenizer: Any) -> None:
    """Ask for the log-probabilities of one sentence.

    Raises BadInput where the endpoint does not give those of a prompt, or its model has another tokenizer.
    """
    begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    text = list(tokenizer(PROBE, add_special_tokens=False)["input_ids"])
    row, last = (tuple(begin + text)[:-1], len(text) - 1), text[-1]
    call = score_call(engine, row, (last,))
    told = " ".join(tokenizer.decode(text, skip_special_tokens=True).split())

    def read(reply: bytes) -> Sample:
        scored = call.read(reply)
        if (said := _echo(reply)) and "".join(told.split()) not in "".join(said.split()):
            raise BadInput(
                f"{engine.url}: the model {engine.model} reads {told!r} as {said[:100]!r}, so its tokenizer is another; name "
                "its own as answers.tokenizer."
            )
        return scored

    try:
        engine.ask([Call(call.path, call.body, call.expected, read)])
    except RefusedError as error:
        if error.status in KEYLESS:
            raise
        raise BadInput(
            f"{engine.url} does not give the log-probabilities of a prompt, which multiple choice needs ({str(error)[:300]}); "
            f"{REMEDY}."
        ) from error


def context_of(engine: EndpointEngine) -> int | None:
    """The tokens that the model reads and writes together, as vLLM and our predictor list it; None where that is not said.

    Raises Transient when the endpoint does not answer.
    """
    import httpx

    check_url(engine.url)
    try:
        reply = httpx.get(
            f"{engine.url.rstrip('/')}/models", headers=engine.headers(), timeout=SECONDS, trust_env=False
        )
        listed = {str(each["id"]): each.get("max_model_len") for each in reply.raise_for_status().json()["data"]}
    except httpx.TransportError as error:
        raise Transient(
            f"{engine.url} does not answer ({type(error).__name__}); see that it runs, try again."
        ) from error
    except (httpx.HTTPStatusError, ValueError, KeyError, TypeError, AttributeError):
        return None
    found = listed.get(engine.model)
    return found if isinstance(found, int) and found > 0 else None


def _read(engine: EndpointEngine, body: bytes, prompt: Sequence[int], count: int, last: Sequence[int]) -> Sample:
    try:
        reply = json.loads(body)
        told = reply["choices"][0].get("logprobs") or {}
        values, tokens, likeliest = (told.get(name) or [] for name in ("token_logprobs", "tokens", "top_logprobs"))
        read, written = usage_of(reply)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise RetryError(f"the body is no completion: {type(error).__name__}") from error
    named = [str(token) for token in tokens[: len(prompt)]]
    by_id = all(token.startswith(ID) for token in named)
    if len(values) not in (len(prompt), len(prompt) + 1) or (by_id and named != [f"{ID}{token}" for token in prompt]):
        raise BadInput(
            f"{engine.url} does not give the log-probabilities of a prompt, which multiple choice needs: it gave "
            f"{len(values)} for {len(prompt)} tokens; {REMEDY}."
        )
    before = sum(_checked(engine, value) for value in values[len(prompt) - count : len(prompt) - 1])
    ends = likeliest[len(prompt) - 1] if by_id and len(likeliest) >= len(prompt) else {}
    scores = _ends(last, values[len(prompt) - 1], ends if isinstance(ends, Mapping) else {})
    checked = {str(token): before + _checked(engine, value) for token, value in scores.items()}
    return Sample(json.dumps(checked), "scored", written, read)


def _ends(last: Sequence[int], first: Any, likeliest: Mapping[str, Any]) -> dict[int, Any]:
    """The log-probabilities in the last place that the reply tells, by token."""
    others = {token: likeliest[f"{ID}{token}"] for token in last[1:] if f"{ID}{token}" in likeliest}
    return {last[0]: first, **others}


def _checked(engine: EndpointEngine, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value) or value > ROUNDING:
        raise BadInput(
            f"{engine.url} gave {value!r} as the log-probability of a token, which none can be; see the log of its server, "
            "and switch its prefix cache off (tuning: {enable-prefix-caching: false})."
        )
    return float(value)


def _echo(body: bytes) -> str:
    text = json.loads(body)["choices"][0].get("text")
    return text if isinstance(text, str) else ""
