"""What clients may send.

Fields of OpenAI's interface that the server does not act on are accepted at their neutral value only: nothing that
would change an answer is ignored in silence.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from serving.limits import Limits, Refused
from serving.sampling import Sampling

INT64 = 1 << 63
Temperature = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
TopP = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=-INT64, lt=INT64)]
#: Below this temperature the quotient overflows and the choice is the greedy one anyway.
COLDEST = 1e-3


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class SamplingFields(_Strict):
    """The settings that every protocol shares."""

    temperature: Temperature | None = None
    top_p: TopP | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    seed: Seed | None = None
    stop: str | list[str] | None = None

    def sampling(self, limits: Limits, prompt: int, context: int, default_tokens: int) -> Sampling:
        """Settings for prompts of at most ``prompt`` tokens; raises Refused naming the field that is out of bounds."""
        room = context - prompt
        asked = self._wanted()
        wanted = min(default_tokens, room) if asked is None else asked
        if wanted > limits.max_tokens:
            raise Refused(400, f"max_tokens is {wanted}, at most {limits.max_tokens} are allowed.", "max_tokens")
        if wanted > room:
            message = f"The prompt has {prompt} tokens, max_tokens is {wanted}, and the model reads {context} tokens"
            raise Refused(400, f"{message}; ask for at most {room}.", "max_tokens", "context_length_exceeded")
        temperature = 1.0 if self.temperature is None else self.temperature
        top_p = 1.0 if self.top_p is None else self.top_p
        cold = temperature < COLDEST
        return Sampling(wanted, 0.0 if cold else temperature, top_p, self.seed, self._stops(limits))

    def _wanted(self) -> int | None:
        return self.max_tokens

    def _stops(self, limits: Limits) -> tuple[str, ...]:
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        if len(stops) > limits.stop_strings:
            raise Refused(400, f"stop has {len(stops)} strings, at most {limits.stop_strings} are allowed.", "stop")
        if any(not 0 < len(stop) <= limits.stop_characters for stop in stops):
            raise Refused(400, f"A stop string has 1 to {limits.stop_characters} characters.", "stop")
        return tuple(stops)


class StreamOptions(_Strict):
    """``include_usage`` asks for a last event with the token counts."""

    include_usage: bool = False


class _OpenAIFields(SamplingFields):
    model: str
    n: Annotated[int, Field(ge=1)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    frequency_penalty: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None

    def choices(self, limits: Limits, prompts: int) -> int:
        """How many answers to each prompt; raises Refused when there would be too many."""
        wanted = self.n or 1
        if wanted * prompts > limits.choices:
            raise Refused(400, f"{prompts} prompts times n = {wanted} is more than {limits.choices} answers.", "n")
        return wanted


class TextPart(_Strict):
    """A part of a message; other kinds than text are not served."""

    type: Literal["text"]
    text: str


class ChatMessage(_Strict):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: str | None = None

    def plain(self) -> dict[str, str]:
        """The message as the chat template takes it."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class ChatRequest(_OpenAIFields):
    """The body of a chat completions request."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: Literal[False] | None = None
    tools: Annotated[list[Any], Field(max_length=0)] | None = None
    store: Literal[False] | None = None

    def _wanted(self) -> int | None:
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


#: More are refused unseen, whatever the limits on answers are.
MOST_PROMPTS = 1024
Prompts = list[str] | list[list[int]]


def _prompts(value: Any) -> Prompts:
    """One prompt or several, each a text or token ids; by hand, since a validator would note every wrong token."""
    several = value if isinstance(value, list) and value and type(value[0]) is not int else [value]
    if len(several) > MOST_PROMPTS:
        raise ValueError(f"has {len(several)} prompts, at most {MOST_PROMPTS} are looked at")
    if all(type(prompt) is str for prompt in several) or all(map(_is_token_ids, several)):
        return several
    raise ValueError("must be a text, a list of token ids, or a list of either, and not empty")


def _is_token_ids(prompt: Any) -> bool:
    return isinstance(prompt, list) and bool(prompt) and all(type(token) is int and token >= 0 for token in prompt)


class CompletionRequest(_OpenAIFields):
    """The body of a completions request; ``return_tokens_as_token_ids`` is vLLM's, and names tokens "token_id:17"."""

    prompt: Annotated[Prompts, PlainValidator(_prompts)]
    echo: bool | None = None
    best_of: Literal[1] | None = None
    logprobs: Annotated[int, Field(ge=0)] | None = None
    return_tokens_as_token_ids: bool | None = None
    suffix: None = None

    def check(self, limits: Limits) -> None:
        """Raise Refused for log-probabilities that are streamed or too many."""
        if self.stream and (self.echo or self.logprobs is not None):
            raise Refused(400, "Echoes and log-probabilities are not streamed; ask without stream.", "stream")
        if (self.logprobs or 0) > limits.logprobs:
            raise Refused(400, f"logprobs is {self.logprobs}, at most {limits.logprobs} are allowed.", "logprobs")


Schema = TypeVar("Schema", bound=BaseModel)


def parse(schema: type[Schema], document: Any) -> Schema:
    """A request of the given kind; raises Refused naming the first field that is wrong, and nothing that was sent."""
    try:
        return schema.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        param = ".".join(str(part) for part in first["loc"])[:200]
        raise Refused(400, f"{param}: {first['msg']}.", param) from error
