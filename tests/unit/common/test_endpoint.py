import time

import pytest

from components.common.addresses import check_url
from components.common.endpoint import EndpointEngine
from components.common.endpoints import Endpoint as Settings
from components.common.errors import BadInput, Transient
from components.common.journal import Journal, Usage
from components.common.sampling import Sample, SamplingSettings
from tests.chat_endpoint import DONE, Endpoint

SETTINGS = SamplingSettings(samples=2, temperature=0.7, max_new_tokens=16)


@pytest.fixture
def endpoint():
    made = Endpoint()
    yield made
    made.close()


def engine(endpoint, **fields):
    return EndpointEngine(
        endpoint.url, "m", **({"pause": 0.01, "attempts": 4, "concurrency": 4, "timeout": 20} | fields)
    )


def test_answers_come_in_the_order_of_the_prompts_and_concurrency_is_bounded(endpoint):
    endpoint.delay = 0.01
    prompts = [f"prompt {number}" for number in range(20)]
    answers = engine(endpoint).sample(prompts, SETTINGS)
    assert answers == [[Sample(f"{prompt}!", "stop", 3, 2)] * 2 for prompt in prompts]
    assert 2 <= endpoint.most <= 4
    assert {path for path, _ in endpoint.headers} == {"/v1/chat/completions"}


def test_every_answer_has_its_own_seed_that_does_not_depend_on_the_others(endpoint):
    engine(endpoint).sample(["a", "b"], SETTINGS)
    first = {(each["messages"][0]["content"], each["seed"]) for each in endpoint.requests}
    assert len(first) == 4
    endpoint.requests.clear()
    engine(endpoint).sample(["b"], SETTINGS)
    assert {("b", each["seed"]) for each in endpoint.requests} < first


def test_greedy_answers_are_asked_for_once(endpoint):
    assert engine(endpoint).sample(["a"], SamplingSettings(samples=3)) == [[Sample("a!", "stop", 3, 2)] * 3]
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize(
    "failure",
    [(429, b"{}", {"Retry-After": "0"}), (500, b"", {}), (503, b"busy", {}), "reset", (200, b'{"choi', {}),
     (200, b"[]", {}), (200, b'{"error": "overloaded"}', {}), (429, b"", {"Retry-After": "Mon, 01 Jan 2024 00:00:00 GMT"})],
)  # fmt: skip
def test_what_may_pass_is_tried_again(endpoint, failure):
    endpoint.cue.extend([failure, failure])
    assert engine(endpoint).sample(["a"], SamplingSettings()) == [[Sample("a!", "stop", 3, 2)]]
    assert len(endpoint.requests) == 3


def test_a_slow_attempt_is_abandoned_and_tried_again(endpoint):
    endpoint.cue.append("slow")
    start = time.monotonic()
    assert engine(endpoint, timeout=0.3).sample(["a"], SamplingSettings())[0][0].text == "a!"
    assert time.monotonic() - start < 1.4


def test_attempts_are_bounded(endpoint):
    endpoint.cue.extend([(503, b"", {})] * 50)
    with pytest.raises(Transient, match=r"4 attempts \(status 503\)"):
        engine(endpoint).sample(["a"], SamplingSettings())
    assert len(endpoint.requests) == 4


def test_nobody_there_is_transient(endpoint):
    endpoint.server.shutdown()
    endpoint.server.server_close()
    with pytest.raises(Transient, match="no answer"):
        engine(endpoint, attempts=2).sample(["a"], SamplingSettings())


@pytest.mark.parametrize("status", [400, 401, 403, 404, 301])
def test_a_refusal_ends_everything_at_once_and_keeps_the_key_secret(endpoint, status, monkeypatch):
    monkeypatch.setenv("TINY_KEY", "sk-secret-1234")
    endpoint.delay = 0.05
    endpoint.cue.append((status, b"bad key sk-secret-1234", {}))
    with pytest.raises(BadInput, match=rf"status {status}: bad key \*\*\*"):
        engine(endpoint, api_key_variable="TINY_KEY").sample([str(n) for n in range(200)], SamplingSettings())
    assert len(endpoint.requests) < 20
    assert endpoint.headers[0][1] == "Bearer sk-secret-1234"


def test_a_missing_key_is_named(endpoint, monkeypatch):
    monkeypatch.delenv("TINY_KEY", raising=False)
    with pytest.raises(BadInput, match="TINY_KEY"):
        engine(endpoint, api_key_variable="TINY_KEY").sample(["a"], SamplingSettings())
    assert not endpoint.requests


def test_a_prompt_beyond_the_context_is_an_outcome_of_its_own(endpoint):
    body = b'{"error": {"message": "too long", "code": "context_length_exceeded"}}'
    endpoint.cue.append((400, body, {}))
    answers = engine(endpoint, concurrency=1).sample(["a", "b"], SamplingSettings())
    assert answers == [[Sample("", "too_long", 0)], [Sample("b!", "stop", 3, 2)]]


def test_odd_replies_become_storable_text(endpoint):
    odd = b'{"choices": [{"message": {"content": "a\\ud800b"}, "finish_reason": "length"}]}'
    refused = b'{"choices": [{"message": {"content": null}, "finish_reason": "content_filter"}]}'
    endpoint.cue.extend([(200, odd, {}), (200, refused, {})])
    (first,), (second,) = engine(endpoint, concurrency=1).sample(["a", "b"], SamplingSettings())
    assert (first.text, first.finish_reason, first.tokens) == ("a?b", "length", 0)
    assert (second.text, second.finish_reason) == ("", "content_filter")


def test_too_many_requests_while_others_are_served_is_no_failed_attempt(endpoint):
    endpoint.cue.extend([(429, b"", {"Retry-After": "0"}), DONE] * 12)
    answers = engine(endpoint, attempts=4, concurrency=2).sample([str(n) for n in range(12)], SamplingSettings())
    assert [each.text for (each,) in answers] == [f"{n}!" for n in range(12)]


def test_a_server_that_asks_for_a_pause_is_left_alone_by_everybody(endpoint):
    endpoint.cue.append((429, b"", {"Retry-After": "1"}))
    engine(endpoint, concurrency=1).sample(["a", "b", "c"], SamplingSettings())
    assert endpoint.times[1] - endpoint.times[0] >= 1.0
    assert len(endpoint.requests) == 4


def test_the_limit_of_requests_per_minute_is_kept(endpoint):
    limited = EndpointEngine.of(Settings(url=endpoint.url, model="m", requests_per_minute=600))
    started = time.monotonic()  # not the first arrival: on a busy machine that may be late
    limited.sample([str(n) for n in range(15)], SamplingSettings())
    assert endpoint.times[-1] - started >= (15 - 1 - 600 / 60) / 10


def test_answers_in_the_journal_are_not_asked_for_again(endpoint, tmp_path):
    endpoint.cue.extend([DONE, DONE, (403, b"", {})])
    with pytest.raises(BadInput), Journal(tmp_path / "journal") as first:
        engine(endpoint, concurrency=1).sample(list("abcd"), SETTINGS, first)
    endpoint.requests.clear()
    with Journal(tmp_path / "journal") as second:
        answers = engine(endpoint).sample(list("abcd"), SETTINGS, second)
    assert [each.text for samples in answers for each in samples] == ["a!", "a!", "b!", "b!", "c!", "c!", "d!", "d!"]
    assert len(endpoint.requests) == 6
    assert second.usage == Usage(8 * 2, 8 * 3)
    endpoint.requests.clear()
    with Journal(tmp_path / "journal") as third:
        engine(endpoint).sample(list("ab"), SETTINGS.model_copy(update={"temperature": 0.5}), third)
    assert len(endpoint.requests) == 4


def test_memory_does_not_grow_with_the_number_of_requests(endpoint):
    waiting = []

    def prompts():
        for number in range(30):
            waiting.append(len(endpoint.requests))
            yield str(number)

    EndpointEngine(endpoint.url, "m", concurrency=2).sample(prompts(), SamplingSettings())
    assert all(made - asked <= 2 for made, asked in enumerate(waiting))


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://host/", "http://", "gopher://x/", "http://169.254.169.254/latest", "http://[fe80::1]/",
     "http://[::ffff:169.254.169.254]/", "http://2852039166/", "http://metadata.google.internal/v1", "http://100.100.100.200/",
     "http://user:hunter2@localhost/v1", "http://host:99999/", "http://0.0.0.0/v1", "http://[fd00:ec2::254]/v1",
     "http://127.0.0.1/ v1"],
)  # fmt: skip
def test_addresses_that_no_endpoint_has_are_refused(url):
    with pytest.raises(BadInput) as caught:
        check_url(url)
    assert "hunter2" not in str(caught.value)


def test_ordinary_addresses_pass_and_unknown_names_are_transient():
    check_url("http://127.0.0.1:8000/v1")
    check_url("https://localhost/v1")
    with pytest.raises(Transient, match=r"nowhere\.invalid"):
        check_url("http://nowhere.invalid/v1")
