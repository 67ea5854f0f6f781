"""Language confusion against the paper's rules, in every script, and its way into results.json."""

import json
from pathlib import Path

import pytest

from components.common.statistics import Bootstrap
from components.evaluation.confusion import Passed, count_passes, english_words, identify, look, pass_rates
from components.evaluation.task import Config, run
from tests.unit.evaluation.conftest import question, save_questions

SENTENCES = {
    "ar": "العاصمة السياسية لكندا هي مدينة أوتاوا وليست تورونتو",
    "cs": "Hlavním městem Kanady je Ottawa, a nikoli Toronto.",
    "de": "Die Hauptstadt von Kanada ist Ottawa und nicht Toronto.",
    "el": "Η πρωτεύουσα του Καναδά είναι η Οτάβα και όχι το Τορόντο.",
    "en": "The capital of Canada is Ottawa and not Toronto.",
    "es": "La capital de Canadá es Ottawa y no Toronto, aunque muchos lo crean.",
    "fa": "پایتخت کانادا شهر اتاوا است و نه تورنتو",
    "fr": "La capitale du Canada est Ottawa et non pas Toronto.",
    "he": "בירת קנדה היא אוטווה ולא טורונטו כפי שרבים חושבים",
    "hi": "कनाडा की राजधानी ओटावा है, टोरंटो नहीं।",
    "id": "Ibu kota Kanada adalah Ottawa dan bukan Toronto.",
    "it": "La capitale del Canada è Ottawa e non Toronto, come molti credono.",
    "ja": "カナダの首都はトロントではなくオタワです。",
    "ko": "캐나다의 수도는 토론토가 아니라 오타와 입니다.",
    "nl": "De hoofdstad van Canada is Ottawa en niet Toronto.",
    "pl": "Stolicą Kanady jest Ottawa, a nie Toronto.",
    "pt": "A capital do Canadá é Ottawa e não Toronto, como muitos pensam.",
    "ro": "Capitala Canadei este Ottawa și nu Toronto, cum cred mulți.",
    "ru": "Столица Канады — Оттава, а не Торонто.",
    "tr": "Kanada'nın başkenti Toronto değil, Ottawa'dır.",
    "uk": "Столиця Канади — Оттава, а не Торонто.",
    "vi": "Thủ đô của Canada là Ottawa chứ không phải Toronto.",
    "zh": "加拿大的首都是渥太华，而不是多伦多。",
}
LATIN = ("cs", "de", "en", "es", "fr", "id", "it", "nl", "pl", "pt", "ro", "tr", "vi")
OTHERS = tuple(code for code in SENTENCES if code not in LATIN)


@pytest.mark.parametrize("code", SENTENCES)
def test_a_sentence_of_every_language_passes_in_its_own_and_fails_in_every_other(code):
    passed = [other for other in SENTENCES if look(SENTENCES[code], other).lines]
    assert passed == [code]


@pytest.mark.parametrize("code", LATIN)
def test_words_are_not_looked_at_where_english_letters_are_the_languages_own(code):
    assert look(SENTENCES[code], code) == Passed(True, None)


@pytest.mark.parametrize("code", OTHERS)
def test_an_english_word_in_another_script_fails_the_words_and_not_the_line(code):
    longer = f"{SENTENCES[code]} {SENTENCES[code]} {SENTENCES[code]}"
    assert look(longer, code) == Passed(True, True)
    assert look(f"{longer} however", code) == Passed(True, False)
    assert look(f"{longer} Ottawa NASA the", code) == Passed(True, True)  # names, capitals, three letters


def test_one_wrong_line_fails_the_answer_and_its_words_are_not_looked_at():
    answer = f"{SENTENCES['ru']}\n\n{SENTENCES['en']}\n{SENTENCES['ru']}"
    assert look(answer, "ru") == Passed(False, None)


@pytest.mark.parametrize(
    ("answer", "language"),
    [
        ("", "de"),
        ("42", "de"),
        ("Yes, of course.", "de"),
        ("One, two three four\nfive six seven eight", "de"),
        ("- - - - - - -", "de"),
        ("东京和大阪是城市", "zh"),
        ("はい、そうです。", "ja"),
    ],
)
def test_lines_below_five_tokens_say_nothing(answer, language):
    assert look(answer, language) == Passed(None, None)


def test_languages_without_spaces_count_two_letters_as_a_token_and_find_words_within_them():
    assert look("东京和大阪都是大城市", "zh").lines is True
    assert look("请先使用pandas读取文件，然后用matplotlib画图", "zh") == Passed(True, True)
    assert look("请先使用python读取文件，然后打印output即可完成任务", "zh") == Passed(True, False)
    assert look("まずファイルを読み込んで、それからデータをanalysisします。", "ja") == Passed(True, False)


def test_marks_and_dashes_are_treated_as_in_the_paper():
    assert look("слово,слово слово слово слово", "ru").lines is None  # a comma joins, as it is removed
    assert look("однажды утром—вечером снова выпал снег", "ru").lines is True
    longer = f"{SENTENCES['ru']} {SENTENCES['ru']}"
    assert look(f"{longer} (however).", "ru") == Passed(True, False)


def test_what_nothing_is_certain_of_is_no_language():
    assert identify("lorem ipsum dolor sit amet") == "unknown"
    assert {"however", "output", "water"} <= english_words() and not {"the", "Ottawa"} & english_words()


def answers(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"answer": answer, "language": code, "group": str(index)} for index, (code, answer) in enumerate(pairs)]


def test_rates_are_over_what_counts_and_languages_count_the_same():
    good, wrong = SENTENCES["ru"] * 2, SENTENCES["en"]
    rows = answers(
        *[("ru", good)] * 6, *[("ru", f"{good} however")] * 2, ("ru", wrong), ("ru", wrong), ("ru", "да"),
        *[("de", SENTENCES["de"])] * 2, *[("de", wrong)] * 2,
    )  # fmt: skip
    found = pass_rates("lcb", count_passes(rows), rows, Bootstrap(200), languages=True)
    lines, words = found["lcb"], found["lcb_words"]
    assert (lines["metric"], lines["n"], lines["skipped"]) == ("line_pass_rate", 14, 1)
    assert lines["languages"]["ru"]["value"] == 0.8 and lines["languages"]["de"]["value"] == 0.5
    assert lines["value"] == pytest.approx(0.65) and lines["low"] < 0.65 < lines["high"]
    assert (words["metric"], words["n"], words["skipped"]) == ("word_pass_rate", 8, 7)
    assert list(words["languages"]) == ["ru"] and words["value"] == 0.75


def test_what_was_never_measured_has_no_entry():
    rows = answers(("ru", "да"), ("de", "ja"))
    assert pass_rates("lcb", count_passes(rows), rows, Bootstrap(200), languages=True) == {}
    rows = answers(("de", SENTENCES["de"]))
    assert list(pass_rates("lcb", count_passes(rows), rows, Bootstrap(200), languages=True)) == ["lcb"]


def test_an_evaluation_says_that_short_answers_were_not_measured(model_folder: Path, tmp_path: Path) -> None:
    folder = save_questions(tmp_path / "questions", lcb=[question(1, "de"), question(1, "el")])
    output = tmp_path / "out"
    output.mkdir()
    config = Config(benchmarks=[{"name": "lcb", "kind": "language_confusion", "max_new_tokens": 2}])
    metrics = run(config, {"model": [model_folder], "questions": [folder]}, output)
    results = json.loads((output / "results.json").read_text())
    assert results["benchmarks"] == {} and metrics == {"regressed": 0}
    assert results["notes"] == ["No answer to lcb had a line of five words, so it was not measured."]
