"""From messages to tokens: the model's chat template, with special tokens inside a client's text taken as text."""

import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from serving.batch import Tokens
from serving.limits import Limits, Refused


class Encoder:
    """Encodes conversations and raw prompts within the limits; safe to call from several threads."""

    def __init__(self, tokenizer: Any, context: int, limits: Limits) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = tokenizer
        self._backend = tokenizer.backend_tokenizer
        self._literal = Tokenizer.from_str(self._backend.to_str())
        self._literal.encode_special_tokens = True
        special = sorted(tokenizer.all_special_tokens, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, special)))
        self._characters = context * limits.characters_per_token
        self.context = context

    def conversation(self, messages: Sequence[Mapping[str, str]]) -> Tokens:
        """The tokens of a chat up to where the assistant's answer begins."""
        self._check_length(sum(len(message["content"]) for message in messages))
        quoted: list[str] = []
        mark = f"\ue000{secrets.token_hex(8)}\ue001"

        def quote(match: re.Match[str]) -> str:
            quoted.append(match.group())
            return mark

        safe = [{**message, "content": self._special.sub(quote, message["content"])} for message in messages]
        first, *rest = self._render(safe).split(mark)
        tokens = self._encode(self._backend, first)
        for literal, text in zip(quoted, rest, strict=True):
            tokens += self._encode(self._literal, literal) + self._encode(self._backend, text)
        return self._checked(tokens)

    def text(self, prompt: str) -> Tokens:
        """The tokens of a raw prompt; here the caller writes the turns, so special tokens are what they say."""
        self._check_length(len(prompt))
        return self._checked(list(self._backend.encode(prompt, add_special_tokens=True).ids))

    def _render(self, messages: Sequence[Mapping[str, str]]) -> str:
        from jinja2 import TemplateError

        try:
            text: str = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except TemplateError as error:
            raise Refused(400, f"The model's chat template refuses these messages: {error}.", "messages") from error
        return text

    def _encode(self, backend: Any, text: str) -> list[int]:
        return list(backend.encode(text, add_special_tokens=False).ids)

    def _check_length(self, characters: int) -> None:
        if characters > self._characters:
            raise self._too_long(f"{characters:,} characters")

    def _checked(self, tokens: list[int]) -> Tokens:
        if not tokens:
            raise Refused(400, "The prompt is empty; send some text.", "prompt")
        if len(tokens) >= self.context:
            raise self._too_long(f"{len(tokens):,} tokens")
        return tuple(tokens)

    def _too_long(self, length: str) -> Refused:
        message = f"The prompt has {length}, but the model reads {self.context:,} tokens; shorten it."
        return Refused(400, message, "messages", "context_length_exceeded")
