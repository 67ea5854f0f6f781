"""Sampling answers from a language model in process, the same for one prompt whoever shares its batch."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from components.common.canonical import digest
from components.common.decoding import Decoder, choose, end_tokens
from components.common.errors import BadInput
from components.common.memory import exhaustion_explained
from components.common.models import conversation, encode_conversations

if TYPE_CHECKING:
    from components.common.journal import Journal

#: The batch is repacked once so few of its rows are still being written.
REPACK = 0.75


class SamplingSettings(BaseModel):
    """How answers are drawn: ``samples`` per prompt, ``temperature`` 0 is greedy, ``top_p`` 1 keeps all tokens.

    ``batch_size`` counts answers written together; it changes speed and memory, not the answers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    samples: int = Field(default=1, ge=1, le=1024)
    temperature: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_new_tokens: int = Field(default=512, ge=1)
    batch_size: int = Field(default=64, ge=1)
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class Sample:
    """One answer. ``finish_reason`` is "stop", "length", or "too_long" for a prompt that fills the context.

    ``tokens`` counts the written tokens, the end of turn included; ``prompt_tokens`` those that an endpoint has read.
    """

    text: str
    finish_reason: str
    tokens: int
    prompt_tokens: int = 0


#: The answer to a prompt that fills the context, or is longer.
TOO_LONG_PROMPT = Sample("", "too_long", 0)


@dataclass
class _Row:
    """One answer being written: at most ``limit`` tokens, one uniform number for each."""

    prompt: Sequence[int]
    limit: int
    numbers: random.Random
    key: str
    tokens: list[int] = field(default_factory=list)
    answer: Sample = TOO_LONG_PROMPT


def sample(
    model: Any, tokenizer: Any, prompts: Sequence[str], settings: SamplingSettings, journal: "Journal | None" = None
) -> list[list[Sample]]:
    """``settings.samples`` answers for each prompt as one user turn, in the order of the prompts.

    An answer's random numbers come from (seed, prompt, number of the sample) alone, so it depends on no other prompt
    and on no batch size beyond the last bits of floating-point sums. Batches of which the journal has every answer are
    not written again, the others are as they were: a killed run goes on to the very same bytes. Raises BadInput for a
    tokenizer without a chat template and for a model whose logits are not finite, Transient when memory runs out.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise BadInput(f"{tokenizer.name_or_path} has no chat template; add chat_template.jinja to the model folder.")
    if not prompts:
        return []
    encoded = encode_conversations(tokenizer, [conversation(prompt) for prompt in prompts], add_generation_prompt=True)
    context = model.config.get_text_config().max_position_embeddings
    drawn = settings.samples if settings.temperature else 1
    asked = settings.model_dump(exclude={"batch_size"})
    rows = [
        _Row(
            tokens,
            min(settings.max_new_tokens, context - len(tokens)),
            random.Random(f"{settings.seed}/{prompt}/{n}"),
            digest([asked, place, prompt, n])[:32] if journal else "",
        )
        for place, (prompt, tokens) in enumerate(zip(prompts, encoded, strict=True))
        for n in range(drawn)
    ]
    end = end_tokens(model, tokenizer)
    # Longest first: memory runs out at once or never.
    waiting = sorted((row for row in rows if row.limit > 0), key=lambda row: -len(row.prompt))
    with exhaustion_explained("Sampling", f"lower batch_size (now {settings.batch_size}) or max_new_tokens"):
        for start in range(0, len(waiting), settings.batch_size):
            batch = waiting[start : start + settings.batch_size]
            if not _recall(batch, journal):
                _write(Decoder(model), batch, end, settings)
                _finish(tokenizer, batch, end, journal)
    samples = [row.answer for row in rows]
    copies = settings.samples // drawn
    return [samples[start : start + drawn] * copies for start in range(0, len(samples), drawn)]


def _write(decoder: Decoder, rows: list[_Row], end: frozenset[int], settings: SamplingSettings) -> None:
    """Fill the rows' tokens: prefill, then one token per row and step, until all have ended."""
    logits = decoder.start([row.prompt for row in rows], max(row.limit for row in rows))
    running = [True] * len(rows)
    while True:
        uniforms = [row.numbers.random() for row in rows] if settings.temperature else None
        chosen = choose(logits, settings.temperature, settings.top_p, uniforms)
        for index, token in enumerate(chosen):
            if running[index]:
                rows[index].tokens.append(token)
                running[index] = token not in end and len(rows[index].tokens) < rows[index].limit
        if not any(running):
            return
        if sum(running) <= REPACK * len(rows):
            kept = [index for index, alive in enumerate(running) if alive]
            decoder.keep(kept)
            rows, chosen = [rows[index] for index in kept], [chosen[index] for index in kept]
            running = [True] * len(rows)
        logits = decoder.step(chosen)


def _recall(batch: Sequence[_Row], journal: "Journal | None") -> bool:
    """Take the answers of a batch from the journal, if it has all of them."""
    found = [journal.find(row.key) for row in batch] if journal and all(row.key in journal for row in batch) else []
    for row, answer in zip(batch, found, strict=False):
        row.answer = answer or row.answer
    return bool(found)


def _finish(tokenizer: Any, batch: Sequence[_Row], end: frozenset[int], journal: "Journal | None") -> None:
    """Give the rows of a batch their answers, and write them down."""
    texts = tokenizer.batch_decode(
        [row.tokens for row in batch], skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    for row, text in zip(batch, texts, strict=True):
        row.answer = Sample(text, "stop" if row.tokens[-1] in end else "length", len(row.tokens))
        if journal:
            journal.add(row.key, row.answer)
