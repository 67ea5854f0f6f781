"""The stage as a whole, on a real tiny model and real folders."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from components.common.errors import BadInput, Transient
from components.common.records import Row, read_records, write_records
from components.evaluation.pairwise import JUDGEMENT
from components.evaluation.results import ANSWER
from components.evaluation.task import Config, run
from tests.tiny import save_tiny_cohere
from tests.unit.evaluation.conftest import WORDS, question, save_questions

BENCHMARKS = [
    {"name": "arena", "kind": "pairwise"},
    {"name": "facts_exact", "kind": "exact_match"},
    {"name": "facts_choice", "kind": "multiple_choice"},
    {"name": "facts_chrf", "kind": "chrf"},
]
CONFIG = Config(name="sft", benchmarks=BENCHMARKS, generation={"max_new_tokens": 12}, bootstrap={"resamples": 200})


@pytest.fixture(scope="session")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [question(number, language) for number in range(6) for language in WORDS]
    choices = [row | {"reference": None, "options": ["eins", "zwei", "drei"], "answer": 1} for row in rows]
    return save_questions(
        tmp_path_factory.mktemp("questions"), arena=rows, facts_exact=rows, facts_choice=choices, facts_chrf=rows
    )


def evaluate(config: Config, output: Path, model: Path, questions: Path, **opponents: Path) -> dict[str, Any]:
    output.mkdir(parents=True)
    inputs = {"model": [model], "questions": [questions]} | {name: [folder] for name, folder in opponents.items()}
    run(config, inputs, output)
    return read(output)


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def rewritten(folder: Path, source: Path, change: Any) -> Path:
    """A copy of an evaluation whose answers to the arena went through ``change``."""
    folder.mkdir()
    rows = [
        row | change(row) if row["benchmark"] == "arena" else row for row in read_records(source / "answers.parquet")
    ]
    write_records(folder / "answers.parquet", rows, ANSWER)
    (folder / "results.json").write_text(json.dumps(read(source) | {"name": "rewritten"}), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory, model_folder: Path, questions: Path) -> Path:
    output = tmp_path_factory.mktemp("evaluations") / "base"
    evaluate(CONFIG.model_copy(update={"name": "base"}), output, model_folder, questions)
    return output


def truth(row: Row) -> Row:
    return {"answer": row["reference"], "finish_reason": "stop"}


def rubbish(row: Row) -> Row:
    return {"answer": "~"}


def test_the_baseline_has_no_win_rate_and_says_so(base: Path) -> None:
    results = read(base)
    assert list(results["benchmarks"]) == ["facts_exact", "facts_choice", "facts_chrf"]
    assert "no win-rate was measured" in results["notes"][0]
    assert (results["regressed"], results["reasons"]) == (False, [])
    assert read_records(base / "judgements.parquet", JUDGEMENT) == []


def test_writes_every_answer(base: Path) -> None:
    rows = read_records(base / "answers.parquet", ANSWER)
    assert len(rows) == 4 * 24
    assert [row["benchmark"] for row in rows[::24]] == ["arena", "facts_exact", "facts_choice", "facts_chrf"]
    by_name = {
        name: [row for row in rows if row["benchmark"] == name] for name in ("arena", "facts_choice", "facts_chrf")
    }
    assert all(row["score"] is None and row["finish_reason"] in ("stop", "length") for row in by_name["arena"])
    assert {row["answer"] for row in by_name["facts_choice"]} <= {"eins", "zwei", "drei"}
    assert {row["reference"] for row in by_name["facts_choice"]} == {"zwei"}
    assert all(0 <= row["score"] <= 100 for row in by_name["facts_chrf"])


def test_figures_have_the_promised_form(base: Path) -> None:
    entry = read(base)["benchmarks"]["facts_choice"]
    assert {"kind", "metric", "value", "low", "high", "n", "languages", "also"} == set(entry)
    assert set(entry["languages"]) == set(WORDS)
    assert set(entry["languages"]["de"]) == {"value", "low", "high", "n"}
    assert set(read(base)["behaviour"]) == {"language_consistency", "mean_length", "truncated"}


def test_the_same_model_draws_with_itself(tmp_path: Path, base: Path, model_folder: Path, questions: Path) -> None:
    results = evaluate(CONFIG, tmp_path / "again", model_folder, questions, baseline=base, previous=base)
    for name in ("arena", "arena_previous"):
        entry = results["benchmarks"][name]
        assert (entry["value"], entry["ties"], entry["opponent"], entry["unparsed"]) == (0.5, 24, "base", 0)
    assert not results["regressed"]


def test_beats_rubbish_and_loses_to_the_truth(tmp_path: Path, base: Path, model_folder: Path, questions: Path) -> None:
    worse = rewritten(tmp_path / "worse", base, rubbish)
    better = rewritten(tmp_path / "better", base, truth)
    results = evaluate(CONFIG, tmp_path / "out", model_folder, questions, baseline=worse, previous=better)
    arena, previous = (results["benchmarks"][name] for name in ("arena", "arena_previous"))
    assert arena["value"] > 0.5 > previous["value"]
    assert previous["high"] < 0.5
    assert results["regressed"]
    assert any("win-rate against rewritten" in reason for reason in results["reasons"])
    judged = read_records(tmp_path / "out" / "judgements.parquet", JUDGEMENT)
    assert len(judged) == 48
    assert {row["opponent"] for row in judged} == {"rewritten"}


def test_headlines_have_stable_names(tmp_path: Path, base: Path, model_folder: Path, questions: Path) -> None:
    inputs = {"model": [model_folder], "questions": [questions], "baseline": [base], "previous": [base]}
    metrics = run(CONFIG, inputs, tmp_path)
    assert set(metrics) == {
        "regressed", "arena/win_rate", "arena/low", "arena/high", "arena_previous/win_rate", "arena_previous/low",
        "arena_previous/high", "facts_exact/accuracy", "facts_choice/accuracy", "facts_chrf/chrf++",
        "language_consistency", "mean_length", "truncated",
    }  # fmt: skip


def test_is_reproducible_to_the_byte(tmp_path: Path, base: Path, model_folder: Path, questions: Path) -> None:
    evaluate(CONFIG.model_copy(update={"name": "base"}), tmp_path / "again", model_folder, questions)
    for name in ("results.json", "answers.parquet", "judgements.parquet"):
        assert (tmp_path / "again" / name).read_bytes() == (base / name).read_bytes()


def test_questions_that_changed_are_refused_before_the_model_is_loaded(
    tmp_path: Path, base: Path, questions: Path
) -> None:
    other = rewritten(tmp_path / "other", base, lambda row: {"prompt": row["prompt"] + "?"})
    start = time.perf_counter()
    with pytest.raises(BadInput, match="'rewritten' has no answer to question '0/de' of 'arena' with this prompt"):
        evaluate(CONFIG, tmp_path / "out", tmp_path / "no-model", questions, baseline=other)
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(
    ("missing", "words"), [("model", "exactly one input 'model'"), ("questions", "needs questions")]
)
def test_refuses_missing_inputs(tmp_path: Path, model_folder: Path, questions: Path, missing: str, words: str) -> None:
    inputs = {"model": [model_folder], "questions": [questions]}
    del inputs[missing]
    with pytest.raises(BadInput, match=words):
        run(CONFIG, inputs, tmp_path)


def test_a_folder_that_is_no_evaluation_is_refused(tmp_path: Path, model_folder: Path, questions: Path) -> None:
    with pytest.raises(BadInput, match=r"results\.json cannot be read"):
        evaluate(CONFIG, tmp_path / "out", model_folder, questions, baseline=tmp_path)


def test_another_batch_size_gives_the_same_answers(
    tmp_path: Path, base: Path, model_folder: Path, questions: Path
) -> None:
    changed = {"generation": {"max_new_tokens": 12, "batch_size": 5}, "choice_batch_size": 3}
    evaluate(Config.model_validate(CONFIG.model_dump() | changed), tmp_path / "out", model_folder, questions)
    before, after = (read_records(folder / "answers.parquet") for folder in (base, tmp_path / "out"))
    assert [row["answer"] for row in before] == [row["answer"] for row in after]


def test_another_model_gives_other_answers(tmp_path: Path, base: Path, questions: Path) -> None:
    other = save_tiny_cohere(tmp_path / "model", seed=1, initializer_range=0.2)
    results = evaluate(CONFIG, tmp_path / "out", other, questions, baseline=base)
    assert results["benchmarks"]["arena"]["ties"] < 24


def test_running_out_of_memory_names_the_settings_to_lower(
    tmp_path: Path, model_folder: Path, questions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("transformers.CohereForCausalLM.forward", full)
    with pytest.raises(Transient, match=r"batch_size \(now 32\)"):
        evaluate(CONFIG, tmp_path / "out", model_folder, questions)
    assert list((tmp_path / "out").iterdir()) == []
