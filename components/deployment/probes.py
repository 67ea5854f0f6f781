"""Questions to a running predictor, over every protocol that it speaks."""

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from components.common.errors import BadInput, Transient

if TYPE_CHECKING:
    import httpx

Entry = dict[str, Any]
#: The path of OpenAI's interface at our own predictor.
PREDICTOR = "/openai/v1"


class Probe(BaseModel):
    """One question, and the language that it is asked in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: Annotated[str, Field(min_length=1)]
    prompt: Annotated[str, Field(min_length=1)]


def probe(url: str, name: str, probes: Sequence[Probe], max_tokens: int, seconds: float) -> list[Entry]:
    """A greedy chat for every probe, then the first one again as a stream; of our own predictor also over V1 and V2.

    ``url`` is the base of the OpenAI interface. Our predictor must answer alike over all protocols; others are not held to
    it, since what shares a batch moves their last bits.

    Raises BadInput when an answer is refused, malformed, or differs between protocols; Transient when none comes.
    """
    import httpx

    root, ours = url.removesuffix(PREDICTOR), url.endswith(PREDICTOR)
    with httpx.Client(base_url=root if ours else url.removesuffix("/v1"), timeout=seconds, trust_env=False) as client:
        talk = _Talk(client, name, max_tokens, PREDICTOR if ours else "/v1")
        try:
            chats = [talk.chat(each) for each in probes]
            others = [ask(probes[0]) for ask in ((talk.stream, talk.v1, talk.v2) if ours else (talk.stream,))]
        except httpx.HTTPStatusError as error:
            text = error.response.text[:500]
            raise BadInput(
                f"The predictor answers {error.response.status_code} to {error.request.url}: {text}"
            ) from error
        except httpx.HTTPError as error:
            raise Transient(f"The predictor at {url} does not answer: {type(error).__name__}: {error}") from error
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise BadInput(f"The predictor's answer is not what its protocol says: {error!r}") from error
    for other in others:
        if ours and other["answer"] != chats[0]["answer"]:
            raise BadInput(
                f"The predictor answers {probes[0].prompt!r} otherwise over {other['protocol']} than over chat."
            )
    return [*chats, *others]


class _Talk:
    """One conversation partner; each method asks one question and returns its entry of the transcript."""

    def __init__(self, client: "httpx.Client", name: str, max_tokens: int, openai: str) -> None:
        self._client, self._name, self._openai = client, name, openai
        self._settings = {"max_tokens": max_tokens, "temperature": 0}

    def chat(self, each: Probe) -> Entry:
        answer = self._post(f"{self._openai}/chat/completions", self._chat(each))
        choice = answer["choices"][0]
        more = {"finish_reason": choice["finish_reason"], "tokens": answer["usage"]["completion_tokens"]}
        return _entry("chat", each, choice["message"]["content"]) | more

    def stream(self, each: Probe) -> Entry:
        body = {**self._chat(each), "stream": True}
        with self._client.stream("POST", f"{self._openai}/chat/completions", json=body) as response:
            if response.is_error:
                response.read()
            response.raise_for_status()
            deltas = [event["choices"][0]["delta"] for event in _events(response) if event["choices"]]
        return _entry("stream", each, "".join(delta.get("content") or "" for delta in deltas))

    def v1(self, each: Probe) -> Entry:
        body = {"instances": [each.prompt], "parameters": self._settings}
        return _entry("v1", each, self._post(f"/v1/models/{self._name}:predict", body)["predictions"][0])

    def v2(self, each: Probe) -> Entry:
        tensor = {"name": "input", "shape": [1], "datatype": "BYTES", "data": [each.prompt]}
        body = {"inputs": [tensor], "parameters": self._settings}
        return _entry("v2", each, self._post(f"/v2/models/{self._name}/infer", body)["outputs"][0]["data"][0])

    def _chat(self, each: Probe) -> Entry:
        return {"model": self._name, "messages": [{"role": "user", "content": each.prompt}], **self._settings}

    def _post(self, path: str, body: Entry) -> Any:
        return self._client.post(path, json=body).raise_for_status().json()


def _events(response: "httpx.Response") -> Iterator[Any]:
    """The events of a stream up to its end mark; raises ValueError when the mark does not come."""
    for line in response.iter_lines():
        data = line.removeprefix("data: ")
        if data == "[DONE]":
            return
        if data:
            yield json.loads(data)
    raise ValueError("the stream ended without [DONE]")


def _entry(protocol: str, each: Probe, answer: str) -> Entry:
    return {"protocol": protocol, "language": each.language, "prompt": each.prompt, "answer": answer}
