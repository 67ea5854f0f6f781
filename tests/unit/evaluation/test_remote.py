"""A model behind an endpoint: our predictor against the same model in process, and servers that answer amiss."""

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from components.common.artifacts import Provenance
from components.common.endpoints import Endpoint, Served
from components.common.errors import BadInput
from components.common.identity import identity
from components.common.inputs import REFERENCE
from components.common.journal import Journal
from components.common.records import read_records
from components.common.sampling import SamplingSettings
from components.common.store import LocalStore, open_store
from components.evaluation.engines import LocalEngine
from components.evaluation.likelihood import Request
from components.evaluation.remote import RemoteEngine
from components.evaluation.settings import Answers
from components.evaluation.task import Config, by_reference, run
from components.evaluation.tokenizers import FILES, load_own_tokenizer
from tests import chat_endpoint
from tests.hub import publish
from tests.servers import NAME, TEXTS, save_chat_model, start_server
from tests.site import site
from tests.tiny import tiny_tokenizer
from tests.unit.evaluation.conftest import WORDS, question, save_questions

CONTEXT = 256
#: Float32 sums in another order, over at most 30 tokens.
TOLERANCE = 2e-4
BENCHMARKS = [
    {"name": "exact", "kind": "exact_match"},
    {"name": "choice", "kind": "multiple_choice"},
    {"name": "plain", "kind": "multiple_choice", "chat": False, "normalise": True},
]


@pytest.fixture(scope="module")
def chat_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_chat_model(tmp_path_factory.mktemp("model") / "tiny", CONTEXT)


@pytest.fixture(scope="module")
def url(chat_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = start_server(chat_folder, tmp_path_factory.mktemp("log") / "log")
    yield f"{server.url}/openai/v1"
    server.stop()


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [question(number, language) for number in range(4) for language in WORDS]
    options = {"options": ["eins", "zwei und drei", "vier"], "answer": 1}
    choices = [row | options for row in rows]
    return save_questions(tmp_path_factory.mktemp("questions"), exact=rows, choice=choices, plain=choices)


def config(answers: dict[str, Any] | None = None, **fields: Any) -> Config:
    settings = {
        "name": "sft",
        "benchmarks": BENCHMARKS,
        "generation": {"max_new_tokens": 8},
        "bootstrap": {"resamples": 100},
    }
    return Config(**settings | ({"answers": {"engine": "openai", **answers}} if answers else {}) | fields)


def at(url: str, **fields: Any) -> dict[str, Any]:
    return {"endpoint": {"url": url, "model": NAME, "concurrency": 4, **fields}}


@contextmanager
def remote(settings: Config, folder: Path, journal: Journal | None = None) -> Iterator[RemoteEngine]:
    with ExitStack() as opened:
        yield RemoteEngine(settings, {"model": [folder]}, journal or Journal(), never, opened)


def never(*_: Any) -> Any:
    raise AssertionError("nothing is to be served")


@pytest.fixture(scope="module")
def local(chat_folder: Path) -> LocalEngine:
    from components.common.models import load_causal_lm

    return LocalEngine(*load_causal_lm(chat_folder), 4, Journal())


def test_likelihoods_are_those_of_the_model_in_process(url: str, chat_folder: Path, local: LocalEngine) -> None:
    tokens = [local.tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    requests = [Request((5, *text[:cut]), tuple(text[cut:])) for text in tokens for cut in (1, len(text) // 2)]
    requests += [Request((5, *tokens[0]), (letter,)) for letter in range(30, 60)]
    with remote(config(at(url)), chat_folder) as engine:
        assert engine.score(requests) == pytest.approx(local.score(requests), abs=TOLERANCE)


def test_answers_are_those_of_the_model_in_process(url: str, chat_folder: Path, local: LocalEngine) -> None:
    settings = SamplingSettings(max_new_tokens=12)
    with remote(config(at(url)), chat_folder) as engine:
        there, here = engine.write(TEXTS, settings), local.write(TEXTS, settings)
    assert [(whole(each.text), each.finish_reason, each.tokens) for each in there] == [
        (whole(each.text), each.finish_reason, each.tokens) for each in here
    ]


def whole(text: str) -> str:
    """Without the bytes of a character that was cut off, which the predictor leaves out."""
    return text.rstrip("\ufffd")


def test_a_question_that_is_too_long_loses_its_beginning(url: str, chat_folder: Path, local: LocalEngine) -> None:
    """Two tokens more than in process: the prompt holds the last token too, and one is written."""
    context = tuple(20 + number % 200 for number in range(CONTEXT + 50))
    kept = context[-(CONTEXT - 1 - 2) :]
    with remote(config(at(url)), chat_folder) as engine:
        (there,) = engine.score([Request(context, (40, 41))])
    assert there == pytest.approx(local.score([Request(kept, (40, 41))])[0], abs=TOLERANCE)


def test_the_whole_evaluation_is_the_same_and_counts_its_tokens(
    tmp_path: Path, url: str, chat_folder: Path, questions: Path
) -> None:
    inputs = {"model": [chat_folder], "questions": [questions]}
    found = []
    for number, settings in enumerate((config(), config(at(url, input_price=1.0, output_price=10.0)))):
        output = tmp_path / str(number) / "output"
        output.mkdir(parents=True)
        metrics = run(settings, inputs, output)
        rows = [row | {"answer": whole(row["answer"])} for row in read_records(output / "answers.parquet")]
        found.append(((output / "results.json").read_bytes(), rows))
    assert found[0] == found[1]
    read, written = metrics["answers/prompt_tokens"], metrics["answers/completion_tokens"]
    assert read > 0 and written > 0
    assert metrics["answers/cost"] == pytest.approx((read * 1.0 + written * 10.0) / 1e6)


class Completions(chat_endpoint.Endpoint):
    """Chats as its parent does; the log-probability of token t is -t/1000, and the likeliest are those it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.likeliest: list[int] = []
        self.change = lambda logprobs: logprobs
        self.said: str | None = None

    def good(self, request: dict[str, Any]) -> bytes:
        if "messages" in request:
            return super().good(request)
        prompt = request["prompt"]
        tokens = [*prompt, 7]
        likeliest = {f"token_id:{token}": -token / 1000 for token in self.likeliest}
        told = {
            "tokens": [f"token_id:{token}" for token in tokens],
            "token_logprobs": [None, *(-token / 1000 for token in tokens[1:])],
            "top_logprobs": [None, *({f"token_id:{token}": -token / 1000} | likeliest for token in tokens[1:])],
        }
        text = tiny_tokenizer().decode(prompt) if self.said is None else self.said
        usage = {"prompt_tokens": len(prompt), "completion_tokens": 1}
        return json.dumps({"choices": [{"text": text, "logprobs": self.change(told)}], "usage": usage}).encode()

    def asked(self, route: str) -> list[dict[str, Any]]:
        paths = [path for path, _ in self.headers]
        return [each for path, each in zip(paths, self.requests, strict=True) if path == f"/v1/{route}"]


@pytest.fixture
def endpoint() -> Iterator[Completions]:
    made = Completions()
    yield made
    made.close()


LETTERS = [Request((5, 20, 30), (letter,)) for letter in (40, 41, 42, 43)]


def test_letters_of_one_question_are_one_request_where_the_likeliest_tokens_tell_them(
    endpoint: Completions, chat_folder: Path
) -> None:
    expected = [-letter / 1000 for letter in (40, 41, 42, 43)]
    for likeliest, requests in (([43, 41, 42], 1), ([41, 99], 3), ([], 4)):
        endpoint.likeliest = likeliest
        with remote(config(at(endpoint.url)), chat_folder) as engine:
            assert engine.score(LETTERS) == pytest.approx(expected)
        assert len(endpoint.asked("completions")) == 1 + requests  # the probe
        endpoint.requests.clear(), endpoint.headers.clear()


def test_tokens_that_are_not_told_by_their_ids_are_asked_for_one_by_one(
    endpoint: Completions, chat_folder: Path
) -> None:
    endpoint.likeliest = [41, 42, 43]
    endpoint.change = lambda told: told | {"tokens": ["x"] * len(told["tokens"])}
    with remote(config(at(endpoint.url)), chat_folder) as engine:
        engine.score(LETTERS)
    assert len(endpoint.asked("completions")) == 1 + 4


AMISS = {
    "none at all": (lambda told: None, "gave 0 for"),
    "those of the answer alone": (lambda told: {name: values[-1:] for name, values in told.items()}, "gave 1 for"),
    "a token added in front": (
        lambda told: told | {"tokens": ["token_id:2", *told["tokens"][:-1]]},
        "does not give the log-probabilities",
    ),
    "not a number": (lambda told: told | {"token_logprobs": [float("nan")] * len(told["tokens"])}, "gave nan"),
    "more than certain": (lambda told: told | {"token_logprobs": [0.7] * len(told["tokens"])}, r"gave 0\.7"),
    "nothing for a token": (lambda told: told | {"token_logprobs": [None] * len(told["tokens"])}, "gave None"),
}


@pytest.mark.parametrize("name", AMISS)
def test_an_endpoint_without_sound_likelihoods_is_refused_before_anything_is_paid_for(
    tmp_path: Path, endpoint: Completions, chat_folder: Path, questions: Path, name: str
) -> None:
    endpoint.change, words = AMISS[name]
    with pytest.raises(BadInput, match=words):
        run(config(at(endpoint.url)), {"model": [chat_folder], "questions": [questions]}, tmp_path)
    assert (len(endpoint.asked("completions")), len(endpoint.requests)) == (1, 1)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (404, "does not give the log-probabilities"),
        (400, "multi|does not give"),
        (401, "refused a request.*status 401"),
    ],
)
def test_an_endpoint_that_refuses_the_request_is_told_apart_from_one_that_refuses_the_key(
    endpoint: Completions, chat_folder: Path, status: int, words: str
) -> None:
    endpoint.cue.append((status, b'{"error": "echo is not supported"}', {}))
    with remote(config(at(endpoint.url)), chat_folder) as engine, pytest.raises(BadInput, match=words):
        engine.write(["a"], SamplingSettings())


def test_a_model_with_another_tokenizer_is_refused(endpoint: Completions, chat_folder: Path) -> None:
    endpoint.said = "something else"
    with remote(config(at(endpoint.url)), chat_folder) as engine, pytest.raises(BadInput, match=r"answers\.tokenizer"):
        engine.write(["a"], SamplingSettings())


def test_without_multiple_choice_neither_a_tokenizer_nor_likelihoods_are_needed(
    tmp_path: Path, endpoint: Completions, questions: Path
) -> None:
    settings = config(at(endpoint.url), benchmarks=BENCHMARKS[:1])
    run(settings, {"questions": [questions]}, tmp_path)
    assert len(endpoint.asked("chat/completions")) == len(endpoint.requests) == 16


def test_multiple_choice_without_a_tokenizer_is_refused_at_once(
    tmp_path: Path, endpoint: Completions, questions: Path
) -> None:
    with pytest.raises(BadInput, match=r"name it as answers\.tokenizer"):
        run(config(at(endpoint.url)), {"questions": [questions]}, tmp_path)
    assert endpoint.requests == []


def test_a_killed_evaluation_asks_for_what_is_missing_and_ends_with_the_same_bytes(
    tmp_path: Path, endpoint: Completions, chat_folder: Path, questions: Path
) -> None:
    inputs = {"model": [chat_folder], "questions": [questions]}
    settings = config(at(endpoint.url, concurrency=1))
    outputs = [tmp_path / name / "output" for name in ("whole", "killed")]
    for each in outputs:
        each.mkdir(parents=True)
    run(settings, inputs, outputs[0])
    needed, asked = endpoint.requests[1:], []
    for failing in (9, 30):
        endpoint.requests = []
        endpoint.cue.extend([*([chat_endpoint.DONE] * failing), (403, b"", {})])
        with pytest.raises(BadInput, match="status 403"):
            run(settings, inputs, outputs[1])
        endpoint.cue.clear()
        asked += endpoint.requests[1:-1]  # the probe, and what was refused
    endpoint.requests = []
    run(settings, inputs, outputs[1])
    asked += endpoint.requests[1:]
    assert len(asked) <= len(needed)
    assert {json.dumps(each) for each in asked} == {json.dumps(each) for each in needed}
    for name in ("results.json", "answers.parquet"):
        assert (outputs[1] / name).read_bytes() == (outputs[0] / name).read_bytes()


def test_a_model_is_served_once_and_not_again_when_only_its_judge_has_failed(
    tmp_path: Path, endpoint: Completions, chat_folder: Path, questions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[str] = []

    @contextmanager
    def bring_up(what: Served, uri: str, label: str) -> Iterator[Endpoint]:
        served.append(f"{uri} {label}")
        yield Endpoint(url=endpoint.url, model=f"served-{len(served)}")

    monkeypatch.setattr("components.evaluation.remote.load_own_tokenizer", lambda *_: load_own_tokenizer(
        Answers(), {"model": [chat_folder]}))  # fmt: skip
    settings = config({"served": {"source": "hf://org/model@v1", "gpus": 0}})
    with monkeypatch.context() as patch, pytest.raises(OSError, match="judge"):
        patch.setattr("components.evaluation.report.judge_all", lambda *_: (_ for _ in ()).throw(OSError("the judge")))
        run(settings, {"questions": [questions]}, tmp_path, bring_up)
    asked = len(endpoint.requests)
    metrics = run(settings, {"questions": [questions]}, tmp_path, bring_up)
    assert served == ["hf://org/model:v1 sft"]
    assert len(endpoint.requests) == asked
    assert metrics["answers/completion_tokens"] == 3 * 16 + asked - 16 - 1
    assert len(read_records(tmp_path / "answers.parquet")) == 48


def test_of_an_artifact_in_a_bucket_nothing_but_the_tokenizer_is_fetched(
    tmp_path: Path, chat_folder: Path, service: Any, root: str
) -> None:
    def copied(output: Path) -> dict[str, Any]:
        return {path.name: shutil.copyfile(path, output / path.name).stat().st_size for path in chat_folder.iterdir()}

    open_store(root).produce(Provenance("sft", "", ""), copied).save(tmp_path / "model" / REFERENCE)
    shutil.rmtree(tmp_path / "scratch")
    service.requests.clear()
    own = load_own_tokenizer(Answers(engine="openai", served=Served()), {"model": [tmp_path / "model"]})
    assert own.context == CONTEXT and own.tokenizer.chat_template
    assert service.requests and not any("safetensors" in str(request) for request in service.requests)


def test_of_an_artifact_or_a_hub_model_nothing_but_the_tokenizer_is_fetched(
    tmp_path: Path, chat_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {path.name: path.read_bytes() for path in chat_folder.iterdir() if path.suffix != ".safetensors"}
    reference = LocalStore(tmp_path / "store").produce(
        Provenance("sft", "", ""), lambda output: {name: (output / name).write_bytes(files[name]) for name in files}
    )
    reference.save(tmp_path / "model" / REFERENCE)
    own = load_own_tokenizer(Answers(engine="openai", served=Served()), {"model": [tmp_path / "model"]})
    assert own.context == CONTEXT and own.tokenizer.chat_template
    with site() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        publish(hub, "model", "org/model", {**files, "model.safetensors": b"large", "extra.txt": b""})
        answers = Answers(engine="openai", served=Served(source="hf://org/model"))
        again = load_own_tokenizer(answers, {})
        fetched = {path.rsplit("/", 1)[1] for _, path, _ in hub.asked if "/resolve/" in path}
    assert fetched == files.keys() & set(FILES)
    assert again.tokenizer("hello")["input_ids"] == own.tokenizer("hello")["input_ids"]


def test_hardware_and_limits_are_not_in_the_key_and_what_answers_is() -> None:
    def key(**answers: Any) -> Any:
        return identity(config(answers))

    assert key(served={"gpus": 1}) == key(served={"gpus": 8, "replicas": 4, "concurrency": 512, "ready_minutes": 5})
    assert key(served={"gpus": 1}) != key(served={"gpus": 1, "max_model_len": 4096})
    assert key(served={}) != key(served={"source": "hf://org/model"}) != identity(config())
    limited = at("http://h/v1", requests_per_minute=5)
    assert key(**at("http://h/v1")) == key(**limited) != key(**at("http://other/v1"))
    assert by_reference(config({"served": {}})) == {"model"} and not by_reference(config())


@pytest.mark.parametrize(
    "answers",
    [{"engine": "openai"}, {"engine": "transformers", "served": {}}, {"tokenizer": "hf://org/name"},
     {"engine": "openai", "served": {}, "endpoint": {"url": "http://h/v1", "model": "m"}},
     {"engine": "openai", "served": {}, "tokenizer": "file:///somewhere"}],
)  # fmt: skip
def test_the_configuration_is_checked(answers: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Answers(**answers)
