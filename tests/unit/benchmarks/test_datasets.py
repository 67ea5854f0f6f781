"""Every data set from two or three invented rows with its published columns, laid out as the hub's downloads are."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from components.benchmarks.registry import DATASETS
from components.benchmarks.task import Config, load, run
from components.common.errors import BadInput
from components.common.languages import LANGUAGES
from components.common.records import QUESTION, read_records


def publish(folder: Path, part: str, rows: list[dict[str, Any]]) -> None:
    path = folder / part
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def mmlu(number: int, answer: str, subject: str = "world_history") -> dict[str, Any]:
    options = {f"option_{letter}": f"Wahl {letter}{number}" for letter in "abcd"}
    row = {
        "sample_id": f"{subject}/test/{number}",
        "subject": subject,
        "question": f" Frage {number}? ",
        "answer": answer,
    }
    return row | options


def test_global_mmlu_shows_five_examples_of_the_same_subject(tmp_path: Path) -> None:
    shots = [mmlu(10 + number, "ABCD"[number % 4]) for number in range(7)] + [mmlu(99, "A", "law")]
    publish(tmp_path, "Global-MMLU/de/dev-00000-of-00001.parquet", shots)
    publish(tmp_path, "Global-MMLU/de/test-00000-of-00001.parquet", [mmlu(1, "C"), mmlu(2, "A", "law")])
    history, law = load("global_mmlu", str(tmp_path), ["de"])
    assert history["options"] == ["A", "B", "C", "D"]
    assert (history["answer"], history["group"]) == (2, "world_history/test/1")
    blocks = history["prompt"].split("\n\n")
    assert blocks[0].endswith("about world history.")
    assert len(blocks) == 7
    assert blocks[1] == "Frage 10?\nA. Wahl a10\nB. Wahl b10\nC. Wahl c10\nD. Wahl d10\nAnswer: A"
    assert blocks[-1] == "Frage 1?\nA. Wahl a1\nB. Wahl b1\nC. Wahl c1\nD. Wahl d1\nAnswer:"
    assert law["prompt"].count("Answer:") == 2


def test_include_has_a_numeric_answer_and_no_stray_space(tmp_path: Path) -> None:
    rows = [
        {"question": f"Frage {number}", "answer": number % 4, "language": "German"}
        | {f"option_{letter}": letter for letter in "abcd"}
        for number in range(3)
    ]
    publish(tmp_path, "include-base-44/German/validation-00000-of-00001.parquet", rows[:2])
    publish(tmp_path, "include-base-44/German/test-00000-of-00001.parquet", rows)
    first, _, third = load("include", str(tmp_path), ["de"])
    assert first["prompt"].startswith("Frage 0\nA. a\nB. b\nC. c\nD. d\nAnswer: A\n\nFrage 1\n")
    assert third["answer"] == 2
    assert len({first["group"], third["group"]}) == 2


def test_xcopa_joins_premise_and_connector(tmp_path: Path) -> None:
    row = {
        "premise": "Bardak kırıldı.",
        "choice1": "Yere düştü.",
        "choice2": "Su içti.",
        "question": "cause",
        "label": 0,
    }
    publish(
        tmp_path, "xcopa/tr/test-00000-of-00001.parquet", [row | {"idx": 4}, row | {"idx": 5, "question": "effect"}]
    )
    cause, effect = load("xcopa", str(tmp_path), ["tr"])
    assert cause["prompt"] == "Bardak kırıldı çünkü"
    assert effect["prompt"] == "Bardak kırıldı bu yüzden"
    assert cause["options"] == ["yere düştü.", "su içti."]
    assert (cause["answer"], cause["group"]) == (0, "4")


def test_xwinograd_scores_what_follows_the_blank(tmp_path: Path) -> None:
    row = {"sentence": "箱に本が入らない。_は大きすぎる。", "option1": "箱", "option2": "本", "answer": "2"}
    publish(tmp_path, "xwinograd/jp/test.parquet", [row])
    (found,) = load("xwinograd", str(tmp_path), ["ja"])
    assert (found["prompt"], found["reference"], found["options"]) == (
        "箱に本が入らない。",
        "は大きすぎる。",
        ["箱", "本"],
    )
    assert (found["answer"], found["language"]) == (1, "ja")
    publish(tmp_path, "xwinograd/jp/test.parquet", [row | {"sentence": "no blank"}])
    with pytest.raises(BadInput, match="row 0 has no text after a blank"):
        load("xwinograd", str(tmp_path), ["ja"])


def test_xstory_cloze_joins_four_sentences(tmp_path: Path) -> None:
    row = {f"input_sentence_{number}": f"Frase {number}." for number in range(1, 5)}
    row |= {"story_id": "s1", "sentence_quiz1": "Bien.", "sentence_quiz2": "Mal.", "answer_right_ending": 2}
    publish(tmp_path, "xstory_cloze/es/eval-00000-of-00001.parquet", [row])
    (found,) = load("xstory_cloze", str(tmp_path), ["es"])
    assert found["prompt"] == "Frase 1. Frase 2. Frase 3. Frase 4."
    assert (found["options"], found["answer"], found["group"]) == (["Bien.", "Mal."], 1, "s1")


def test_mgsm_shows_worked_examples_from_a_jsonl_copy(tmp_path: Path) -> None:
    shots = [
        {"question": f"Frage: Wie viel ist {number} und 1?", "answer_number": number + 1}
        | {"answer": f"Schritt-für-Schritt-Antwort: Die Antwort lautet {number + 1}."}
        for number in range(8)
    ]
    tests = [{"question": "Wie viel ist 20 und 2?", "answer": None, "answer_number": 22}]
    for split, rows in (("train", shots), ("test", tests)):
        path = tmp_path / "mgsm" / "de" / f"{split}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    (found,) = load("mgsm", str(tmp_path), ["de"])
    assert found["prompt"].count("Die Antwort lautet") == 5
    assert found["prompt"].endswith("\n\nFrage: Wie viel ist 20 und 2?\nSchritt-für-Schritt-Antwort:")
    assert (found["reference"], found["group"]) == ("22", "0")
    (tmp_path / "mgsm/de/test.jsonl").write_text('{"question": "halb')
    with pytest.raises(BadInput, match=r"test.jsonl, line 1 is not JSON"):
        load("mgsm", str(tmp_path), ["de"])


def test_flores_goes_both_ways(tmp_path: Path) -> None:
    for code, word in (("eng_Latn", "house"), ("deu_Latn", "Haus")):
        for split in ("dev", "devtest"):
            rows = [{"id": number, "text": f"{word} {split} {number}", "iso_639_3": code[:3]} for number in range(6)]
            publish(tmp_path, f"flores_plus/{split}/{code}.parquet", rows)
    into, out = (load(name, str(tmp_path), ["de"])[3] for name in ("flores_from_english", "flores_to_english"))
    assert into["prompt"].endswith("Translate from English to German.\nEnglish: house devtest 3\nGerman:")
    assert into["prompt"].count("German: Haus dev") == 5
    assert into["reference"] == "Haus devtest 3"
    assert out["prompt"].endswith("Translate from German to English.\nGerman: Haus devtest 3\nEnglish:")
    assert (out["reference"], out["language"], out["group"]) == ("house devtest 3", "de", "3")


@pytest.mark.parametrize(("name", "folder"), [("m_arena_hard", "m-ArenaHard"), ("m_arena_hard_v2", "m-ArenaHard-v2.0")])
def test_m_arena_hard_shares_its_questions_between_languages(tmp_path: Path, name: str, folder: str) -> None:
    for code in ("de", "fr"):
        row = {"question_id": "abc", "category": "hard_prompt", "cluster": "x", "prompt": f"Bitte {code}"}
        publish(tmp_path, f"{folder}/{code}/test-00000-of-00001.parquet", [row])
    rows = load(name, str(tmp_path), ["fr", "de"])
    assert {row["id"] for row in rows} == {"abc/de", "abc/fr"}
    assert {row["group"] for row in rows} == {"abc"}


def test_dolly_picks_language_and_script(tmp_path: Path) -> None:
    rows = [
        {
            "id": number,
            "inputs": f"Text {number}",
            "targets": "",
            "language": language,
            "script": script,
            "source_id": 7,
        }
        for number, (language, script) in enumerate([("zho", "Hant"), ("zho", "Hans"), ("hin", "Deva")])
    ]
    publish(tmp_path, "aya_evaluation_suite/dolly_machine_translated/test-00000-of-00001.parquet", rows)
    (found,) = load("dolly_machine_translated", str(tmp_path), ["zh"])
    assert (found["prompt"], found["group"]) == ("Text 1", "7")
    with pytest.raises(BadInput, match=r"no rows in deu-Latn; it has hin-Deva, zho-Hans, zho-Hant"):
        load("dolly_machine_translated", str(tmp_path), ["de"])


def test_aya_redteaming_tells_global_from_local(tmp_path: Path) -> None:
    folder = tmp_path / "aya_redteaming"
    folder.mkdir()
    rows = [{"prompt": "Bad?", "language": "English", "harm_category": "['Hate Speech']", "global_or_local": scope}
            for scope in ("global", "Local ")]  # fmt: skip
    (folder / "aya_eng.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "aya_english.jsonl").write_text("{}", encoding="utf-8")
    first, second = load("aya_redteaming", str(tmp_path), ["en"])
    assert (first["id"], second["id"], first["prompt"]) == ("global/0/en", "local/1/en", "Bad?")
    (folder / "aya_eng.jsonl").write_text(json.dumps(rows[0] | {"global_or_local": "both"}), encoding="utf-8")
    with pytest.raises(BadInput, match="row 0 is neither global nor local: 'both'"):
        load("aya_redteaming", str(tmp_path), ["en"])


def test_the_stage_writes_question_files_and_counts_them(tmp_path: Path) -> None:
    rows = [{"question_id": str(number), "prompt": f"Bitte {number}"} for number in range(5)]
    publish(tmp_path / "hub", "m-ArenaHard/de/test-00000-of-00001.parquet", rows)
    config = Config(names=["m_arena_hard"], source=str(tmp_path / "hub"), languages=["de"], limit=3)
    assert run(config, {}, tmp_path) == {"m_arena_hard": 3}
    assert len(read_records(tmp_path / "m_arena_hard.parquet", QUESTION)) == 3


def test_refuses_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="there is no data set 'mmlu'"):
        Config(names=["mmlu"])
    with pytest.raises(BadInput, match="none of the languages"):
        load("xcopa", str(tmp_path), ["de"])
    with pytest.raises(BadInput, match=r"has no it/test\*\.parquet, \.jsonl or \.csv"):
        load("xcopa", str(tmp_path), ["it"])
    publish(tmp_path, "m-ArenaHard/de/test.parquet", [{"question": "renamed"}])
    with pytest.raises(BadInput, match="no column 'question_id'"):
        load("m_arena_hard", str(tmp_path), ["de"])


def test_languages_are_those_of_the_report() -> None:
    counts = {name: len(dataset.languages) for name, dataset in DATASETS.items()}
    assert counts == {
        "m_arena_hard": 23,
        "m_arena_hard_v2": 23,
        "dolly_human_edited": 5,
        "dolly_machine_translated": 23,
        "xwinograd": 6,
        "xcopa": 5,
        "xstory_cloze": 7,
        "global_mmlu": 23,
        "include": 20,
        "mgsm": 7,
        "flores_from_english": 22,
        "flores_to_english": 22,
        "language_confusion_monolingual": 15,
        "language_confusion_crosslingual": 14,
        "aya_redteaming": 6,
    }
    assert all(set(dataset.languages) <= set(LANGUAGES) for dataset in DATASETS.values())


def test_a_downloaded_repository_is_read_as_its_card_says(tmp_path: Path) -> None:
    folder = tmp_path / "aya_evaluation_suite"
    row = {"inputs": "Text", "language": "deu", "script": "Latn", "source_id": 7}
    publish(folder, "dolly-mt/test-00000.parquet", [row])
    entry = "{config_name: dolly_machine_translated, data_files: [{split: test, path: 'dolly-mt/test-*'}]}"
    (folder / "README.md").write_text(f"---\nconfigs: [{entry}]\n---\n# Dolly\n---\n", encoding="utf-8")
    assert load("dolly_machine_translated", str(tmp_path), ["de"])[0]["prompt"] == "Text"
    (folder / "README.md").write_text("---\nconfigs: [\n---\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"README.md has no readable metadata"):
        load("dolly_machine_translated", str(tmp_path), ["de"])


def test_lines_and_cells_may_hold_separators_of_unicode(tmp_path: Path) -> None:
    rows = [{"question_id": "1", "prompt": "Zeile\u2028eins\u0085zwei"}, {"question_id": "2", "prompt": "drei"}]
    path = tmp_path / "m-ArenaHard/de/test.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n\n", encoding="utf-8")
    assert [row["prompt"] for row in load("m_arena_hard", str(tmp_path), ["de"])] == [row["prompt"] for row in rows]
    path.unlink()
    cells = 'question_id,prompt\r\n1,Zeile\u2028eins\u0085zwei\r\n2,"dr""ei\nvier"\r\n'
    path.with_suffix(".csv").write_bytes(b"\xef\xbb\xbf" + cells.encode())
    found = [row["prompt"] for row in load("m_arena_hard", str(tmp_path), ["de"])]
    assert found == ["Zeile\u2028eins\u0085zwei", 'dr"ei\nvier']
    path.with_suffix(".csv").write_bytes(b"question_id,prompt\n1,\xff\n")
    with pytest.raises(BadInput, match=r"test.csv cannot be read as UTF-8"):
        load("m_arena_hard", str(tmp_path), ["de"])


def test_worked_examples_of_mgsm_get_back_the_words_that_a_copy_has_lost(tmp_path: Path) -> None:
    plain = {"question": "Was ist 1 und 1?", "answer": "Die Antwort lautet 2.", "answer_number": 2}
    publish(tmp_path, "mgsm/de/train.parquet", [plain])
    publish(tmp_path, "mgsm/de/test.parquet", [plain | {"question": "Was ist 2 und 2?", "answer_number": 4}])
    (found,) = load("mgsm", str(tmp_path), ["de"])
    assert found["prompt"].startswith(
        "Frage: Was ist 1 und 1?\nSchritt-für-Schritt-Antwort: Die Antwort lautet 2.\n\nFrage: Was ist 2"
    )
