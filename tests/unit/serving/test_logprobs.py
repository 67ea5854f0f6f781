"""Log-probabilities of prompts and answers over HTTP, against the model's own logits in this process."""

import concurrent.futures
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import torch

from serving.logprobs import read_prompt
from tests.servers import NAME, TEXTS

COMPLETIONS = "/openai/v1/completions"
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def loaded(model_folder: Path) -> tuple[Any, Any]:
    from components.common.models import load_causal_lm

    return load_causal_lm(model_folder)


@pytest.fixture(scope="module")
def prompts(loaded: tuple[Any, Any]) -> list[list[int]]:
    return [[5, *loaded[1](text, add_special_tokens=False)["input_ids"]] for text in TEXTS]


def direct(model: Any, tokens: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=torch.tensor([tokens])).logits[0].float().log_softmax(-1)


def ask(http: httpx.Client, prompt: Any, **fields: Any) -> list[dict[str, Any]]:
    request = {
        "model": NAME,
        "prompt": prompt,
        "temperature": 0,
        "max_tokens": 1,
        "logprobs": 1,
        "echo": True,
        **fields,
    }
    answer = http.post(COMPLETIONS, json=request)
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"]


def test_an_echo_tells_the_log_probability_of_every_token_of_several_prompts(
    http: httpx.Client, loaded: tuple[Any, Any], prompts: list[list[int]]
) -> None:
    choices = ask(http, prompts, return_tokens_as_token_ids=True)
    assert [choice["index"] for choice in choices] == list(range(len(prompts)))
    for prompt, choice in zip(prompts, choices, strict=True):
        told, expected = choice["logprobs"], direct(loaded[0], prompt)
        answer = int(expected[-1].argmax())
        assert told["tokens"] == [f"token_id:{token}" for token in (*prompt, answer)]
        own = [float(expected[place, token]) for place, token in enumerate((*prompt[1:], answer))]
        assert told["token_logprobs"][0] is None and told["top_logprobs"][0] is None
        assert told["token_logprobs"][1:] == pytest.approx(own, abs=TOLERANCE)
        best = [float(row.max()) for row in expected]
        assert [max(place.values()) for place in told["top_logprobs"][1:]] == pytest.approx(best, abs=TOLERANCE)


def test_the_likeliest_tokens_are_told_beside_the_token_itself(
    http: httpx.Client, loaded: tuple[Any, Any], prompts: list[list[int]]
) -> None:
    (choice,) = ask(http, prompts[0], logprobs=5, return_tokens_as_token_ids=True)
    expected = direct(loaded[0], prompts[0])
    for place, told in enumerate(choice["logprobs"]["top_logprobs"][1:-1]):
        values, tokens = expected[place].topk(5)
        likeliest = {f"token_id:{token}" for token in (*tokens.tolist(), prompts[0][place + 1])}
        assert set(told) == likeliest
        assert sorted(told.values())[-5:] == pytest.approx(sorted(values.tolist()), abs=TOLERANCE)


def test_texts_and_offsets_of_the_tokens_make_up_the_echo(client: openai.OpenAI) -> None:
    text = "hello world, how are you?"
    whole = client.completions.create(model=NAME, prompt=text, temperature=0, max_tokens=3, logprobs=0, echo=True)
    told = whole.choices[0].logprobs
    assert whole.choices[0].text.startswith(text)
    assert "".join(told.tokens[:-3]) == text  # an answer of random tokens may hold halves of characters
    assert told.text_offset == [len("".join(told.tokens[:place])) for place in range(len(told.tokens))]
    assert whole.usage.completion_tokens == 3 and len(told.token_logprobs) == whole.usage.total_tokens


def test_without_an_echo_the_answer_alone_is_told(client: openai.OpenAI, http: httpx.Client) -> None:
    plain = client.completions.create(model=NAME, prompt="hello", temperature=0, max_tokens=6)
    told = client.completions.create(model=NAME, prompt="hello", temperature=0, max_tokens=6, logprobs=2)
    assert told.choices[0].text == plain.choices[0].text
    assert len(told.choices[0].logprobs.token_logprobs) == 6 and plain.choices[0].logprobs is None
    (echoed,) = ask(http, "hello", max_tokens=6, logprobs=2)
    last = echoed["logprobs"]["token_logprobs"][-6:]
    assert last == pytest.approx(told.choices[0].logprobs.token_logprobs, abs=TOLERANCE)
    assert echoed["text"] == "hello" + plain.choices[0].text


def test_an_answer_after_an_echo_is_the_same_beside_other_requests(
    http: httpx.Client, prompts: list[list[int]]
) -> None:
    def one(number: int) -> tuple[str, list[float]]:
        (choice,) = ask(http, prompts[number % len(prompts)], max_tokens=1 + number % 4 * 8)
        return choice["text"], choice["logprobs"]["token_logprobs"][1:]

    alone = [one(number) for number in range(24)]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        together = list(pool.map(one, range(24)))
    assert [text for text, _ in together] == [text for text, _ in alone]
    for (_, now), (_, then) in zip(together, alone, strict=True):
        assert now == pytest.approx(then, abs=TOLERANCE)


def test_a_prompt_is_scored_alike_in_parts_of_any_length(loaded: tuple[Any, Any], prompts: list[list[int]]) -> None:
    model, _ = loaded
    vocabulary = model.get_input_embeddings().num_embeddings
    whole, next_logits = read_prompt(model, prompts[1], 2)
    for width in (1, 3, 7):
        parts, after = read_prompt(model, prompts[1], 2, cells=width * vocabulary)
        assert [each.token for each in parts] == prompts[1]
        assert [each.logprob for each in parts[1:]] == pytest.approx(
            [each.logprob for each in whole[1:]], abs=TOLERANCE
        )
        assert after.tolist()[0] == pytest.approx(next_logits.tolist()[0], abs=1e-3)


REFUSED = {
    "a stream of them": ({"stream": True}, "stream"),
    "more than five": ({"logprobs": 6}, "logprobs"),
    "fewer than none": ({"logprobs": -1}, "logprobs"),
    "a token that is none": ({"prompt": [5, 10**6]}, "prompt"),
    "a negative token": ({"prompt": [-1]}, "prompt"),
    "no tokens": ({"prompt": []}, "prompt"),
    "tokens and texts": ({"prompt": ["a", 1]}, "prompt"),
    "a context that is full": ({"prompt": [20] * 2048}, "messages"),
    "no room for the answer": ({"prompt": [20] * 2047, "max_tokens": 2}, "max_tokens"),
    "too many at once": ({"prompt": [[20] * 1100] * 32}, "prompt"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_out_of_bounds_is_refused(http: httpx.Client, name: str) -> None:
    fields, param = REFUSED[name]
    request = {"model": NAME, "prompt": [5, 20], "max_tokens": 1, "logprobs": 1, "echo": True, **fields}
    answer = http.post(COMPLETIONS, json=request)
    assert answer.status_code == 400 and answer.json()["error"]["param"].startswith(param), answer.text


def test_the_context_is_listed_with_the_model(http: httpx.Client) -> None:
    assert http.get("/openai/v1/models").json()["data"][0]["max_model_len"] == 2048
