"""From messages to tokens, within the limits."""

import threading
from typing import Any

from components.common.errors import BadInput
from components.common.models import encode_conversations
from serving.batch import Tokens
from serving.limits import Limits, Refused


class Encoder:
    """Encodes conversations and raw prompts; safe to call from several threads.

    The lock is for transformers, which switches settings of the shared tokenizer for the length of a call.
    """

    def __init__(self, tokenizer: Any, context: int, vocabulary: int, limits: Limits) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._lock = threading.Lock()
        self._characters = context * limits.characters_per_token
        self.context = context

    def conversation(self, messages: list[dict[str, str]]) -> Tokens:
        """The tokens of a chat up to where the assistant's answer begins; special tokens in messages are plain text."""
        self._check_length(sum(len(message["content"]) for message in messages))
        try:
            with self._lock:
                (tokens,) = encode_conversations(self._tokenizer, [messages], add_generation_prompt=True)
        except (BadInput, ValueError) as error:
            reason = error.__cause__ or error
            raise Refused(400, f"The model's chat template refuses these messages: {reason}.", "messages") from error
        return self._checked(tokens)

    def text(self, prompt: str) -> Tokens:
        """The tokens of a raw prompt; here the caller writes the turns, so special tokens are what they say."""
        self._check_length(len(prompt))
        with self._lock:
            return self._checked(self._tokenizer.encode(prompt))

    def tokens(self, prompt: list[int]) -> Tokens:
        """A raw prompt that is token ids already."""
        if max(prompt, default=0) >= self._vocabulary:
            message = f"The prompt has the token {max(prompt)}, but the model knows {self._vocabulary:,} tokens."
            raise Refused(400, message, "prompt")
        return self._checked(prompt)

    def decode(self, tokens: Tokens) -> str:
        """Tokens as text, special ones as they are written."""
        with self._lock:
            return str(self._tokenizer.decode(tokens, clean_up_tokenization_spaces=False))

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
