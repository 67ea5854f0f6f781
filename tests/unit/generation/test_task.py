import json
import random
from contextlib import nullcontext

import pytest
from pydantic import ValidationError

from components.common.errors import BadInput
from components.common.records import COMPLETION, PROMPT, read_records, write_records
from components.generation import engines, shards
from components.generation.task import Config, ThroughEnglish, run
from tests.tiny import TEXTS, save_tiny_cohere

LANGUAGES = ["de", "en", "ru"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_cohere(tmp_path_factory.mktemp("generation") / "model", initializer_range=0.5)


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generation") / "prompts"
    folder.mkdir()
    source = random.Random(0)
    rows = [
        {
            "id": f"p{n:02}",
            "language": LANGUAGES[n % 3],
            "prompt": source.choice(TEXTS)[: source.randint(4, 40)] + str(n),
        }
        for n in range(20)
    ]
    write_records(folder / "arbitrage.parquet", rows, PROMPT)
    return folder


@pytest.fixture
def output(tmp_path):
    folder = tmp_path / "attempt" / "output"
    folder.mkdir(parents=True)
    return folder


def config(**fields):
    settings = {
        "model": "tiny",
        "portion": "arbitrage",
        "samples": 2,
        "temperature": 1.0,
        "max_new_tokens": 6,
        "shard": 6,
    }
    return Config(**(settings | fields))


def rows_of(output):
    return read_records(output / "completions.parquet", COMPLETION)


def counted(monkeypatch, fail_at=None):
    """Count the prompts that are answered; ``fail_at`` kills the run in that call."""
    calls = []

    def sample(model, tokenizer, prompts, settings):
        calls.append(list(prompts))
        if len(calls) == fail_at:
            raise KeyboardInterrupt
        return original(model, tokenizer, prompts, settings)

    original = engines.sample
    monkeypatch.setattr(engines, "sample", sample)
    return calls


def test_every_prompt_has_its_samples_in_order(model, prompts, output):
    metrics = run(config(), {"prompts": [prompts], "model": [model]}, output)
    rows = rows_of(output)
    assert [(row["id"], row["sample"]) for row in rows] == [(f"p{n:02}", k) for n in range(20) for k in range(2)]
    assert {row["model"] for row in rows} == {"tiny"}
    assert metrics == {
        "completions": 40,
        "tokens": sum(row["tokens"] for row in rows),
        "cut": sum(row["finish_reason"] != "stop" for row in rows),
    }


def test_shards_and_batches_change_nothing(model, prompts, tmp_path):
    found = []
    for number, changes in enumerate([{}, {"shard": 1}, {"shard": 500, "batch_size": 3}]):
        output = tmp_path / str(number) / "output"
        output.mkdir(parents=True)
        run(config(**changes), {"prompts": [prompts], "model": [model]}, output)
        found.append(rows_of(output))
    assert found[0] == found[1] == found[2]


@pytest.mark.faults
def test_a_killed_run_goes_on_after_the_last_finished_shard(model, prompts, output, tmp_path, monkeypatch):
    inputs = {"prompts": [prompts], "model": [model]}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        counted(patch, fail_at=3)
        run(config(), inputs, output)
    with monkeypatch.context() as patch:
        calls = counted(patch)
        run(config(), inputs, output)
    assert [len(call) for call in calls] == [6, 2]
    other = tmp_path / "whole" / "output"
    other.mkdir(parents=True)
    run(config(), inputs, other)
    assert (output / "completions.parquet").read_bytes() == (other / "completions.parquet").read_bytes()


@pytest.mark.faults
def test_an_evicted_run_goes_on_on_another_machine(model, prompts, tmp_path, monkeypatch, service, root):
    monkeypatch.setenv("EXPANSE_STORE", root)
    inputs = {"prompts": [prompts], "model": [model]}
    outputs = [tmp_path / name / "generation-key" / "output" for name in ("first", "second")]
    for each in outputs:
        each.mkdir(parents=True)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        counted(patch, fail_at=3)
        run(config(), inputs, outputs[0])
    with monkeypatch.context() as patch:
        calls = counted(patch)
        run(config(), inputs, outputs[1])
    assert [len(call) for call in calls] == [6, 2]
    ids = [(row["id"], row["sample"]) for row in rows_of(outputs[1])]
    assert ids == [(f"p{n:02}", k) for n in range(20) for k in range(2)]


@pytest.mark.faults
def test_a_damaged_shard_is_drawn_again(model, prompts, output, monkeypatch):
    inputs = {"prompts": [prompts], "model": [model]}
    run(config(), inputs, output)
    expected = rows_of(output)
    first = sorted((output.parent / "scratch").rglob("*.parquet"))[0]
    first.write_bytes(first.read_bytes()[:-20])
    calls = counted(monkeypatch)
    run(config(), inputs, output)
    assert [len(call) for call in calls] == [6]
    assert rows_of(output) == expected


@pytest.mark.parametrize("change", ["model", "seed", "prompts"])
def test_shards_of_another_run_are_never_taken(model, prompts, output, tmp_path, change):
    run(config(), {"prompts": [prompts], "model": [model]}, output)
    first = rows_of(output)
    if change == "model":
        model = save_tiny_cohere(tmp_path / "other", seed=1, initializer_range=0.5)
    if change == "prompts":
        prompts = tmp_path / "prompts"
        prompts.mkdir()
        write_records(prompts / "arbitrage.parquet", [{"id": "p00", "language": "de", "prompt": "anders"}], PROMPT)
    run(config(seed=int(change == "seed")), {"prompts": [prompts], "model": [model]}, output)
    assert rows_of(output) != first


@pytest.mark.parametrize(("results", "stopped"), [({"regressed": True, "reasons": ["length"]}, True),
                                                  ({"regressed": False, "reasons": []}, False)])  # fmt: skip
def test_a_regressed_round_draws_nothing(model, prompts, output, tmp_path, results, stopped):
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "results.json").write_text(json.dumps(results))
    inputs = {"prompts": [prompts], "guard": [tmp_path / "guard"]} | ({} if stopped else {"model": [model]})
    metrics = run(config(), inputs, output)
    assert len(rows_of(output)) == metrics["completions"] == (0 if stopped else 40)
    assert ("stopped" in metrics) is stopped


def test_a_guard_that_is_none_is_refused(prompts, output, tmp_path):
    with pytest.raises(BadInput, match=r"results\.json"):
        run(config(), {"prompts": [prompts], "guard": [tmp_path]}, output)


def test_a_missing_portion_names_those_there_are(model, prompts, output):
    with pytest.raises(BadInput, match=r"round-9.*arbitrage"):
        run(config(portion="round-9"), {"prompts": [prompts], "model": [model]}, output)


def test_through_english_translates_each_whole_answer_and_leaves_english_out(model, prompts, output, monkeypatch):
    calls = []

    def fake(text, reason="stop"):
        return shards.Sample(text, reason, 3)

    def answer(asked, settings, journal):
        calls.append((list(asked), settings))
        if settings.temperature:
            return [[fake(f"{prompt} A"), fake("cut", "length")] for prompt in asked]
        return [[fake(f"<{prompt}>")] for prompt in asked]

    opened = nullcontext(engines.Engines(answer, answer))
    words = ThroughEnglish(answer="EN {prompt}", translate="TO {language}: {text}")
    run(config(through_english=words, shard=50), {"prompts": [prompts], "model": [model]}, output, lambda *_: opened)
    rows = rows_of(output)
    assert {row["language"] for row in rows} == {"de", "ru"}
    assert rows[0]["completion"] == f"<TO German: EN {rows[0]['prompt']} A>"
    assert (rows[1]["completion"], rows[1]["finish_reason"]) == ("", "length")
    assert calls[1][1].temperature == 0 and calls[1][1].samples == 1


def test_the_translator_is_loaded_once(model, prompts, output, tmp_path, monkeypatch):
    loaded = []
    original = engines._local
    monkeypatch.setattr(engines, "_local", lambda folder: loaded.append(folder) or original(folder))
    inputs = {"prompts": [prompts], "model": [model], "translator": [save_tiny_cohere(tmp_path / "translator", 2)]}
    run(config(through_english=ThroughEnglish(), shard=4), inputs, output)
    assert loaded == [model, tmp_path / "translator"]
    assert len(rows_of(output)) == 26


@pytest.mark.parametrize(
    "fields",
    [{"engine": "openai"}, {"endpoint": {"url": "http://h/v1", "model": "m"}}, {"samples": 0}, {"temperature": -1},
     {"top_p": 0}, {"unknown": 1}, {"through_english": {"answer": "no prompt"}}, {"through_english": {"translate": "{x}"}},
     {"engine": "openai", "endpoint": {"url": "file:///etc", "model": "m"}}],
)  # fmt: skip
def test_the_configuration_is_checked(fields):
    with pytest.raises(ValidationError):
        config(**fields)


def test_an_endpoint_writes_the_same_table(prompts, output, monkeypatch):
    from components.common.endpoint import EndpointEngine

    def sample(self, prompts, settings, journal):
        assert (self.url, self.model, self.api_key_variable, self.concurrency) == ("http://h/v1", "m", "KEY", 3)
        return [[shards.Sample(f"{prompt}{n}", "stop", 1) for n in range(settings.samples)] for prompt in prompts]

    monkeypatch.setattr(EndpointEngine, "sample", sample)
    endpoint = {"url": "http://h/v1", "model": "m", "api_key_variable": "KEY", "concurrency": 3}
    run(config(engine="openai", endpoint=endpoint), {"prompts": [prompts]}, output)
    rows = rows_of(output)
    assert len(rows) == 40
    assert rows[1]["completion"] == rows[1]["prompt"] + "1"
