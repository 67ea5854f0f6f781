"""Multiple choice: the option with the highest log-likelihood is the model's choice (ties: the first)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.common.errors import BadInput
from components.common.models import conversation, encode_conversations
from components.common.records import Row
from components.evaluation.engines import Engine
from components.evaluation.likelihood import Request
from components.evaluation.settings import Benchmark

DELIMITER = " "  # between plain context and option, as in lm-eval
#: Questions whose tokens are in memory together: five-shot questions of all languages would fill it.
TOGETHER = 4096


@dataclass(frozen=True)
class Choice:
    """The options' log-likelihoods, the option chosen by them, and the one chosen by log-likelihood per character."""

    log_likelihoods: tuple[float, ...]
    chosen: int
    chosen_normalised: int


def choose(engine: Engine, questions: Sequence[Row], benchmark: Benchmark) -> list[Choice]:
    """Score every option of every question, each as ``benchmark.chat`` and ``benchmark.cloze`` say."""
    return [
        choice
        for start in range(0, len(questions), TOGETHER)
        for choice in _choose(engine, questions[start : start + TOGETHER], benchmark)
    ]


def _choose(engine: Engine, questions: Sequence[Row], benchmark: Benchmark) -> list[Choice]:
    pairs = [_pairs(question, benchmark.cloze) for question in questions]
    encode = _encode_chat if benchmark.chat else encode_plain
    flat = [pair for options in pairs for pair in options]
    scores = iter(engine.score(encode(engine.tokenizer, flat)))
    return [_choice([(next(scores), continuation) for _, continuation in options]) for options in pairs]


def encode_plain(tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> list[Request]:
    """Tokens of ``context + " " + continuation``, split where the tokens of the context alone end (lm-eval's rule)."""
    contexts = [context.rstrip() for context, _ in pairs]
    wholes = [context + DELIMITER + continuation for context, (_, continuation) in zip(contexts, pairs, strict=True)]
    begin = () if tokenizer.bos_token_id is None else (tokenizer.bos_token_id,)
    requests = []
    for head, whole in zip(_tokens(tokenizer, contexts), _tokens(tokenizer, wholes), strict=True):
        cut = min(len(head), len(whole) - 1) if begin else max(1, min(len(head), len(whole) - 1))
        requests.append(Request(begin + tuple(whole[:cut]), tuple(whole[cut:])))
    return requests


def _encode_chat(tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> list[Request]:
    if not getattr(tokenizer, "chat_template", None):
        raise BadInput(f"{tokenizer.name_or_path} has no chat template; set chat: false, or add chat_template.jinja.")
    contexts = encode_conversations(
        tokenizer, [conversation(context) for context, _ in pairs], add_generation_prompt=True
    )
    continuations = _tokens(tokenizer, [continuation for _, continuation in pairs])
    return [Request(tuple(head), tuple(tail)) for head, tail in zip(contexts, continuations, strict=True)]


def _pairs(question: Row, cloze: bool) -> list[tuple[str, str]]:
    if cloze:
        return [(question["prompt"] + option, question["reference"]) for option in question["options"]]
    return [(question["prompt"], option) for option in question["options"]]


def _tokens(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    encoded: list[list[int]] = tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return encoded


def _choice(scored: list[tuple[float, str]]) -> Choice:
    scores = [score for score, _ in scored]
    normalised = [score / len(continuation) for score, continuation in scored]
    return Choice(tuple(scores), scores.index(max(scores)), normalised.index(max(normalised)))
