import json
import random
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from components.common.errors import BadInput
from components.common.records import PROMPT, QUESTION, read_records, write_records
from components.prompts.cleaning import normalise
from components.prompts.contamination import words
from components.prompts.task import Config, run


def prompt(number, **fields):
    language = ["de", "en", "fr"][number % 3]
    return {"id": f"p{number:03}", "language": language, "prompt": f"Wie weit ist es nach Ort {number}?"} | fields


def lines(rows):
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


@pytest.fixture
def prepare(tmp_path):
    def prepare(content, questions=None, **config):
        path = tmp_path / "prompts.jsonl"
        path.write_bytes(content)
        output = tmp_path / f"output-{len(list(tmp_path.iterdir()))}"
        output.mkdir()
        inputs = {}
        if questions is not None:
            folder = tmp_path / f"questions-{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            write_records(folder / "arena.parquet", questions, QUESTION)
            inputs["questions"] = [folder]
        chosen = Config(**({"files": [str(path)], "portions": {"a": 10}, "max_bad_share": 0.5} | config))
        metrics = run(chosen, inputs, output)
        portions = {name: read_records(output / f"{name}.parquet", PROMPT) for name in chosen.portions}
        return portions, {row["where"]: row["reason"] for row in read_records(output / "dropped.parquet")}, metrics

    return prepare


GOOD = [prompt(number) for number in range(12)]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b'{"id": "x", "language": "de", "prompt": "cut\n', "not JSON"),
        (b'{"id": "x", "language": "de", "prompt": "\xff\xfe"}\n', "invalid UTF-8"),
        (b'{"id": "x", "language": "de", "prompt": "\\ud800 alone"}\n', "lone surrogate"),
        (b'{"id": "x", "language": "de", "prompt": NaN}\n', "not JSON"),
        (b'{"id": "x", "language": "de", "prompt": 7}\n', "id, language and prompt must be text"),
        (b'{"id": 7, "language": "de", "prompt": "x"}\n', "id, language and prompt must be text"),
        (b'{"id": "x", "prompt": "x"}\n', "id, language and prompt must be text"),
        (b'["x"]\n', "not an object"),
        (b'{"id": "x", "language": "de", "prompt": "  "}\n', "empty prompt"),
        (b'{"id": "x", "language": "de", "prompt": "\\u200b\\u2060\\u00a0"}\n', "empty prompt"),
        (b'{"id": "x", "language": "de", "prompt": "' + b"a" * 600 + b'"}\n', "over-long prompt"),
        (b"[" * 100_000 + b"\n", "not JSON"),
        (b'{"id": "x", "language": "de", "prompt": "' + b"a" * 11_000_000 + b'"}\n', "over-long line"),
    ],
)
def test_a_bad_line_is_put_aside_with_its_number_and_reason(prepare, bad, reason):
    content = lines(GOOD[:5]) + bad + lines(GOOD[5:])
    portions, dropped, metrics = prepare(content, max_characters=500)
    assert dropped == {"prompts.jsonl:6": reason}
    assert len(portions["a"]) == 10
    assert metrics["read"] == 13


def test_a_bom_crlf_and_blank_lines_do_no_harm(prepare):
    content = b"\xef\xbb\xbf" + lines(GOOD).replace(b"\n", b"\r\n") + b"\n  \n"
    portions, dropped, _ = prepare(content, portions={"a": 12})
    assert portions["a"] == GOOD
    assert dropped == {}


def test_a_last_line_without_its_newline_counts_when_it_is_whole(prepare):
    assert prepare(lines(GOOD)[:-1], portions={"a": 12})[0]["a"] == GOOD


@pytest.mark.parametrize("cut", [3, 20, 45])
def test_a_cut_last_line_always_fails(prepare, cut):
    with pytest.raises(BadInput, match=r"line 12.*middle of this line"):
        prepare(lines(GOOD)[:-cut], max_bad_share=1)


def test_a_last_line_that_is_cut_beyond_what_is_read_of_a_line_fails(prepare):
    with pytest.raises(BadInput, match=r"line 13.*middle of this line"):
        prepare(lines(GOOD) + b'{"id": "x", "language": "de", "prompt": "' + b"a" * 30_000_000, max_bad_share=1)


def test_a_line_of_100_mb_is_not_held_in_memory(prepare):
    tracemalloc.start()
    try:
        assert len(prepare(lines(GOOD[:6]) + b"a" * 100_000_000 + b"\n" + lines(GOOD[6:]))[0]["a"]) == 10
        assert tracemalloc.get_traced_memory()[1] < 250_000_000  # the test itself holds it twice
    finally:
        tracemalloc.stop()


def test_too_many_bad_lines_fail(prepare):
    with pytest.raises(BadInput, match="2 of 14 lines"):
        prepare(b"x\ny\n" + lines(GOOD), max_bad_share=0.1)


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_no_prompts_fail(prepare, content):
    with pytest.raises(BadInput, match="no prompts"):
        prepare(content)


def test_one_prompt_is_enough_for_one(prepare):
    assert prepare(lines(GOOD[:1]), portions={"a": 1})[0]["a"] == GOOD[:1]


def test_too_few_prompts_say_how_many_there_are(prepare):
    with pytest.raises(BadInput, match="ask for 13 prompts and 12 are usable"):
        prepare(lines(GOOD), portions={"a": 6, "b": 7})


def test_duplicates_are_dropped_once_normalised(prepare):
    again = [prompt(3, id="q1"), prompt(4, id="q2", prompt="WIE  weit ist es nach Ｏrt 4"), prompt(5), prompt(6)]
    portions, dropped, metrics = prepare(lines(GOOD + again), portions={"a": 12})
    assert portions["a"] == GOOD
    assert dropped == {"q1": "duplicate", "q2": "duplicate", "p005": "duplicate", "p006": "duplicate"}
    assert metrics["dropped_duplicate"] == 4


def test_the_same_words_in_two_languages_are_two_prompts(prepare):
    portions, dropped, _ = prepare(lines([*GOOD, prompt(3, id="q1", language="fr")]), portions={"a": 13})
    assert len(portions["a"]) == 13 and dropped == {}


@pytest.mark.parametrize(
    ("one", "other"), [("2 + 2", "2 - 2"), ("+3 d", "-3 d"), ("कि", "की"), ("a.b", "a b"), ("résumé", "resume")]
)
def test_what_differs_in_meaning_is_no_duplicate(one, other):
    assert normalise(one) != normalise(other)


def test_one_id_with_two_texts_is_refused(prepare):
    with pytest.raises(BadInput, match=r"'p003' stands for two"):
        prepare(lines([*GOOD, prompt(3, prompt="anders")]))


def test_one_id_in_two_languages_is_refused(prepare):
    with pytest.raises(BadInput, match=r"'p003' stands for two"):
        prepare(lines([*GOOD, prompt(3, language="nl")]))


def test_an_unknown_language_is_refused(prepare):
    with pytest.raises(BadInput, match="'xx'"):
        prepare(lines([*GOOD, prompt(20, language="xx")]))


def test_other_languages_and_scripts_are_dropped(prepare):
    rows = [*GOOD, prompt(20, language="nl"), prompt(21, language="ru"), prompt(22, language="ru", prompt="Как дела?")]
    portions, dropped, _ = prepare(lines(rows), languages=["de", "en", "fr", "ru"], portions={"a": 13})
    assert dropped == {"p020": "language not in the recipe", "p021": "wrong script"}
    assert "p022" in {row["id"] for row in portions["a"]}


def test_a_prompt_may_quote_another_language(prepare):
    quoting = prompt(22, language="ru", prompt="Переведи: " + "the quick brown fox jumps over it " * 4)
    assert prepare(lines([*GOOD, quoting]), languages=["de", "en", "fr", "ru"], portions={"a": 13})[1] == {}


def question(text):
    return {"id": "q", "language": "de", "prompt": text, "group": "q", "reference": "r"}


def test_evaluation_questions_are_kept_out(prepare):
    _, dropped, metrics = prepare(lines(GOOD), [question("wie weit ist es nach  Ort 7")])
    assert dropped == {"p007": "in the evaluation"}
    assert metrics["dropped_in_the_evaluation"] == 1


def test_quoting_a_question_counts_from_ngram_words_on(prepare):
    quoting = prompt(30, prompt="Sag mir: wie weit ist es, nach Rom genau?")
    rows, questions = [*GOOD, quoting], [question("Wie weit ist es nach Rom?")]
    assert prepare(lines(rows), questions)[1] == {}
    assert prepare(lines(rows), questions, ngram=6)[1] == {"p030": "in the evaluation"}


def test_words_are_characters_where_no_spaces_are_written():
    assert words("十二公里 km") == ["十", "二", "公", "里", "km"]
    assert words("नमस्ते, दुनिया!") == ["नमस्ते", "दुनिया"]


def test_parquet_and_world_are_read_too(tmp_path):
    world = tmp_path / "world"
    world.mkdir()
    write_records(world / "prompts.parquet", GOOD, PROMPT)
    write_records(tmp_path / "more.parquet", [prompt(number) for number in range(12, 20)], PROMPT)
    write_records(world / "arena.parquet", [question("Wie weit ist es nach Ort 19?")], QUESTION)
    (tmp_path / "output").mkdir()
    config = Config(files=[str(tmp_path / "more.parquet")], portions={"a": 19})
    metrics = run(config, {"world": [world], "questions": [world]}, tmp_path / "output")
    assert metrics == {"prompts": 19, "read": 20, "dropped": 1, "dropped_in_the_evaluation": 1}


@pytest.mark.parametrize("name", ["missing.jsonl", "prompts.csv"])
def test_a_file_that_is_missing_or_of_another_kind_is_named(tmp_path, name):
    (tmp_path / "prompts.csv").write_text("id,language,prompt\n")
    with pytest.raises(BadInput, match=name):
        run(Config(files=[str(tmp_path / name)], portions={"a": 1}), {}, tmp_path)


def test_a_parquet_file_with_bytes_that_are_no_text_is_refused(tmp_path):
    bad = pa.array([b"\xff\xfe", b"whole"])
    table = {"id": ["a", "b"], "language": ["de", "de"], "prompt": pa.Array.from_buffers(pa.string(), 2, bad.buffers())}
    pq.write_table(pa.table(table), tmp_path / "bad.parquet")
    with pytest.raises(BadInput, match=r"bad\.parquet holds text that is not UTF-8"):
        run(Config(files=[str(tmp_path / "bad.parquet")], portions={"a": 1}), {}, tmp_path)


def test_portions_are_disjoint_stratified_and_independent_of_the_order_of_lines(prepare):
    rows = [prompt(number, language="en" if number % 4 else "de") for number in range(400)]
    sizes = {"a": 100, "round-1": 40, "round-2": 40}
    first, *_ = prepare(lines(rows), portions=sizes)
    random.Random(1).shuffle(rows)
    second, *_ = prepare(lines(rows), portions=sizes)
    assert first == second
    ids = [row["id"] for portion in first.values() for row in portion]
    assert len(set(ids)) == len(ids) == 180
    for name, portion in first.items():
        assert len(portion) == sizes[name]
        assert abs(sum(row["language"] == "de" for row in portion) - len(portion) / 4) <= 1
    other, *_ = prepare(lines(rows), portions=sizes, seed=1)
    assert other != first


@given(st.binary(max_size=200))
@settings(max_examples=150, deadline=None)
def test_any_bytes_between_good_lines_never_crash(tmp_path_factory, noise):
    folder = tmp_path_factory.mktemp("noise")
    (folder / "prompts.jsonl").write_bytes(lines(GOOD) + noise + b"\n" + lines([prompt(50)]))
    config = Config(files=[str(folder / "prompts.jsonl")], portions={"a": 13}, max_bad_share=1)
    run(config, {}, folder)
    assert read_records(folder / "a.parquet", PROMPT)[-1] == prompt(50)


@given(
    st.lists(st.sampled_from([*GOOD[:2], {"id": 1}, None, "x", 3.5, {"id": "p", "language": "xx"}]), max_size=6),
    st.integers(0),
)
@settings(max_examples=100, deadline=None)
def test_a_file_that_ends_anywhere_gives_whole_prompts_or_is_refused(tmp_path_factory, rows, end):
    folder = tmp_path_factory.mktemp("cut")
    content = lines(rows)
    content = content[: end % (len(content) + 1)]
    (folder / "prompts.jsonl").write_bytes(content)
    config = Config(files=[str(folder / "prompts.jsonl")], portions={"a": 1}, max_bad_share=1)
    try:
        run(config, {}, folder)
    except BadInput:
        assert not (folder / "dropped.parquet").exists()
    else:
        assert read_records(folder / "a.parquet", PROMPT)[0] in GOOD[:2]


@pytest.mark.parametrize(
    "fields",
    [{"portions": {}}, {"portions": {"a": 0}}, {"portions": {"../a": 1}}, {"portions": {"dropped": 1}}, {"ngram": -1},
     {"max_bad_share": 2}, {"unknown": 1}],
)  # fmt: skip
def test_the_configuration_is_checked(fields):
    with pytest.raises(ValidationError):
        Config(**({"portions": {"a": 1}} | fields))
