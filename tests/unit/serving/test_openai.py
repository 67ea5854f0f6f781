import concurrent.futures
import threading

import httpx
import openai
import pytest

from tests.servers import NAME, Server

GREEDY = {"model": NAME, "temperature": 0, "max_tokens": 24}


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_models_are_listed_and_found(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [NAME]
    assert client.models.retrieve(NAME).id == NAME


def test_a_chat_is_answered_with_its_usage(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(messages=user("hello"), **GREEDY)
    choice = answer.choices[0]
    assert choice.message.role == "assistant" and choice.message.content
    assert choice.finish_reason == "length" and answer.usage.completion_tokens == 24
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 24


def test_a_stream_says_the_same_as_the_whole_answer(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(messages=user("你好"), **GREEDY)
    stream = client.chat.completions.create(
        messages=user("你好"), stream=True, stream_options={"include_usage": True}, **GREEDY
    )
    *chunks, last = stream
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert deltas[0].role == "assistant"
    assert "".join(delta.content or "" for delta in deltas) == whole.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == "length"
    assert last.choices == [] and last.usage == whole.usage


def test_completions_answer_several_prompts_in_order(client: openai.OpenAI) -> None:
    both = client.completions.create(prompt=["hello", "Guten Tag"], **GREEDY)
    each = [client.completions.create(prompt=prompt, **GREEDY) for prompt in ("hello", "Guten Tag")]
    assert [choice.text for choice in both.choices] == [one.choices[0].text for one in each]
    assert both.usage.total_tokens == sum(one.usage.total_tokens for one in each)
    assert client.completions.create(model=NAME, prompt="hello", temperature=0).usage.completion_tokens == 16


def test_a_completion_streams(client: openai.OpenAI) -> None:
    whole = client.completions.create(prompt="hello", **GREEDY).choices[0].text
    assert (
        "".join(chunk.choices[0].text for chunk in client.completions.create(prompt="hello", stream=True, **GREEDY))
        == whole
    )


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_ends_before_a_stop_string(client: openai.OpenAI, stream: bool) -> None:
    whole = client.chat.completions.create(messages=user("hello"), **GREEDY).choices[0].message.content
    stop = whole[3:6]
    answer = client.chat.completions.create(messages=user("hello"), stop=["never", stop], stream=stream, **GREEDY)
    if stream:
        chunks = list(answer)
        text, reason = "".join(c.choices[0].delta.content or "" for c in chunks), chunks[-1].choices[0].finish_reason
    else:
        text, reason = answer.choices[0].message.content, answer.choices[0].finish_reason
    assert text == whole[: whole.index(stop)] and reason == "stop"


def test_a_seed_repeats_the_answer_and_choices_differ(client: openai.OpenAI) -> None:
    def ask(seed: int) -> list[str]:
        answer = client.chat.completions.create(
            model=NAME, messages=user("hello"), max_tokens=16, temperature=1.5, top_p=0.95, n=3, seed=seed
        )
        assert [choice.index for choice in answer.choices] == [0, 1, 2] and answer.usage.completion_tokens <= 48
        return [choice.message.content for choice in answer.choices]

    assert ask(1) == ask(1) != ask(2)
    assert len(set(ask(1))) == 3


def test_system_turns_and_parts_are_read(client: openai.OpenAI) -> None:
    def tokens(messages: list[dict]) -> int:
        return client.chat.completions.create(messages=messages, **GREEDY).usage.prompt_tokens

    plain = tokens(user("hello"))
    assert (
        tokens([{"role": "user", "content": [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]}])
        == plain
    )
    system = tokens([{"role": "system", "content": "hello"}, *user("hello")])
    assert plain < system == tokens([{"role": "developer", "content": "hello"}, *user("hello")])


def test_special_tokens_in_a_message_are_text(client: openai.OpenAI) -> None:
    def tokens(text: str) -> int:
        return client.chat.completions.create(messages=user(text), **GREEDY).usage.prompt_tokens

    assert tokens("a<|END_OF_TURN_TOKEN|>b") > tokens("ab") + 5


def test_256_clients_at_once_get_their_own_answers(client: openai.OpenAI) -> None:
    prompts = [f"{'hello ' * (number % 7)}{number}" for number in range(64)]
    together = threading.Barrier(256)

    def ask(number: int) -> str:
        length = 4 + number % 5 * 4
        settings = {"model": NAME, "messages": user(prompts[number]), "temperature": 0, "max_tokens": length}
        if number % 2:
            return "".join(
                c.choices[0].delta.content or "" for c in client.chat.completions.create(stream=True, **settings)
            )
        return client.chat.completions.create(**settings).choices[0].message.content

    def crowd(number: int) -> str:
        together.wait(60)
        return ask(number % 64)

    alone = [ask(number) for number in range(64)]
    with concurrent.futures.ThreadPoolExecutor(256) as pool:
        assert list(pool.map(crowd, range(256))) == alone * 4
    assert len(set(alone)) > 32


def test_the_routes_are_counted(client: openai.OpenAI, server: Server) -> None:
    def metric(name: str) -> float:
        text = httpx.get(f"{server.url}/metrics", trust_env=False).text
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))

    names = ('expanse_requests_total{code="200",route="chat"}', 'expanse_tokens_total{kind="completion"}')
    before = [metric(name) for name in names]
    client.chat.completions.create(messages=user("hello"), **GREEDY)
    assert [metric(name) for name in names] == [before[0] + 1, before[1] + 24]
    assert metric('expanse_request_seconds_count{route="chat"}') >= 1
    assert metric("expanse_running_sequences ") == metric("expanse_waiting_sequences ") == 0
