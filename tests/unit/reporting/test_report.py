"""The page holds everything it should, loads nothing, and says in words what did not gain."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.common.artifacts import Provenance, Reference, write_manifest
from components.common.errors import BadInput
from components.common.languages import LANGUAGES
from components.reporting.figures import read_steps
from components.reporting.tables import benchmark_table, heat_maps
from components.reporting.task import Config, run
from tests.unit.reporting.conftest import CONTROLS, HOSTILE, LABELS, STEPS, results_of, write_evaluation, write_round

Inputs = dict[str, list[Path]]
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Collects tags and text, and checks that elements nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: Any) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def report(inputs: Inputs, output: Path, **fields: Any) -> str:
    output.mkdir(parents=True)
    names = [folder.name for folder in inputs.get("evaluations", [])]
    steps = tuple(LABELS.get(name, name) for name in names)
    defaults = {"recipe": "mini", "steps": steps, "controls": CONTROLS, "languages": tuple(LANGUAGES)}
    run(Config(**{**defaults, **fields}), inputs, output)
    return (output / "report.html").read_text(encoding="utf-8")


def plain(text: str) -> str:
    return " ".join(text.replace("\u00a0", " ").split())


def change(folder: Path, **fields: Any) -> None:
    path = folder / "results.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_the_page_tells_the_whole_story(inputs: Inputs, tmp_path: Path) -> None:
    page = Page(report(inputs, tmp_path / "out"))
    text = plain(page.text)
    assert "Round 3 wins 70.5 % of comparisons against Base (95 % interval 68.3 to 72.7 %)." in text
    assert "Gains on SFT merged: preferred in 54.3 %." in text
    assert "No clear gain on Round 1: 49.4 to 52.2 % includes one half." in text
    assert "For comparison, not a step of the recipe: worse than Base." in text
    assert "None of these was measured in this run" in text and "21.3" in text and "14,042" in text
    assert "The gate: not passed" in text and "1 of 23 languages is worse beyond doubt (hi)" in text
    assert "nearest to the truth by chrF" in text
    sections = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    expected = ["ladder", "measures", "languages", "answers", "teachers", "drift", "gate", "published", "reading"]
    assert sections == expected
    assert {attributes["href"] for tag, attributes in page.tags if tag == "a"} == {f"#{name}" for name in sections}


def test_the_page_loads_nothing_and_model_text_stays_text(inputs: Inputs, tmp_path: Path) -> None:
    html = report(
        inputs, tmp_path / "out", steps=(*list(LABELS.values())[:6], "<b>R&3</b>", "a", "b"), title="<i>T</i>"
    )
    page = Page(html)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "img", "link", "iframe", "object", "b-r", "video", "base", "form"}
    assert HOSTILE in page.text and "<b>R&3</b>" in page.text and "<i>T</i>" in page.text
    loading = {"src", "srcset", "data", "action", "poster", "xlink:href"}
    for tag, attributes in page.tags:
        assert not loading & set(attributes) and not any(name.startswith("on") for name in attributes)
        assert tag == "a" or "href" not in attributes
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style and "@import" not in style and "@font-face" not in style


def test_pictures_are_named_and_stay_in_their_frames(inputs: Inputs, tmp_path: Path) -> None:
    page = Page(report(inputs, tmp_path / "out"))
    pictures = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert all(each.get("aria-label") or each.get("aria-hidden") or each.get("class") == "dot" for each in pictures)
    positions = [float(value[:-1]) for _, each in page.tags for value in each.values() if _is_percent(value)]
    assert len(positions) > 300 and min(positions) >= 0 and max(positions) <= 100


def _is_percent(value: str | None) -> bool:
    return bool(value and re.fullmatch(r"-?[\d.]+%", value))


def test_right_to_left_answers_carry_language_and_direction(inputs: Inputs, tmp_path: Path) -> None:
    page = Page(report(inputs, tmp_path / "out"))
    answers = [attributes for tag, attributes in page.tags if tag == "dd" and "lang" in attributes]
    assert {each["lang"] for each in answers} == set(LANGUAGES) and all(each["dir"] == "auto" for each in answers)
    assert len(answers) == 4 * len(LANGUAGES)


def test_the_same_inputs_give_the_same_bytes(inputs: Inputs, tmp_path: Path) -> None:
    assert report(inputs, tmp_path / "1") == report(inputs, tmp_path / "2")


def test_the_steps_and_the_table(inputs: Inputs, tmp_path: Path) -> None:
    report(inputs, tmp_path / "out", license="cc-by-nc-4.0", base="tiny")
    steps = json.loads((tmp_path / "out" / "steps.json").read_text())
    assert [step["name"] for step in steps] == [name for name, *_ in STEPS]
    assert set(steps[0]) == {"name", "win_rate", "low", "high", "metrics"} and steps[0]["win_rate"] is None
    assert (steps[6]["win_rate"], steps[6]["metrics"]["facts_exact/accuracy"]) == (0.705, 0.30)
    bounds = [steps[6]["metrics"][f"arena_previous/{side}"] for side in ("low", "high")]
    assert bounds == pytest.approx([0.504, 0.532], abs=1e-3)
    lines = (tmp_path / "out" / "table.txt").read_text().splitlines()
    assert len(lines) == 2 + len(STEPS)
    row = lines[8].split("  ")[0], "70.5% (68.3 to 72.7%)" in lines[8], "51.8% (50.4 to 53.2%)" in lines[8]
    assert row == ("Round 3", True, True) and "30.0% (27.0 to 33.0%)" in lines[8]
    card = (tmp_path / "out" / "model_card.md").read_text()
    assert card.startswith("---\nlicense: cc-by-nc-4.0\nbase_model: tiny\nlanguage: [ar, cs,") and lines[8] in card


def test_the_card_says_from_which_commits_the_models_come(inputs: Inputs, tmp_path: Path) -> None:
    about = {"source": "hf://org/base@v1", "commit": "c0ffee"}
    Reference("weights", "key", "s3://bucket/key", "digest", 1, about).save(tmp_path / "base" / "reference.json")
    report({**inputs, "origins": [tmp_path / "base"]}, tmp_path / "out", base="hf://org/base@v1")
    card = (tmp_path / "out" / "model_card.md").read_text()
    assert "base_model: org/base\n" in card and "\n- `hf://org/base@c0ffee`\n\n## What was measured" in card
    report(inputs, tmp_path / "other", base="file:///models/a@b")
    card = (tmp_path / "other" / "model_card.md").read_text()
    assert "base_model: file:///models/a@b\n" in card and "commits" not in card


def test_language_confusion_stands_beside_the_win_rate(inputs: Inputs, tmp_path: Path) -> None:
    for folder, value in zip(inputs["evaluations"], (0.91, 0.97), strict=False):
        known = json.loads((folder / "results.json").read_text())["benchmarks"]
        rate = {"kind": "language_confusion", "value": value, "low": value - 0.01, "high": value + 0.01, "n": 900}
        added = {"lcb": rate | {"metric": "line_pass_rate"}, "lcb_words": rate | {"metric": "word_pass_rate"}}
        change(folder, benchmarks=known | added)
    text = plain(Page(report(inputs, tmp_path / "out")).text)
    assert "line pass rate" in text and "word pass rate" in text and "97.0 %" in text
    steps = json.loads((tmp_path / "out" / "steps.json").read_text())
    assert [step["metrics"].get("lcb_words/word_pass_rate") for step in steps[:2]] == [0.91, 0.97]


def test_less_harm_is_a_gain_and_the_best(inputs: Inputs, tmp_path: Path) -> None:
    for folder, value in zip(inputs["evaluations"], (0.30, 0.10), strict=False):
        known = json.loads((folder / "results.json").read_text())["benchmarks"]
        rate = {"kind": "safety", "value": value, "low": value - 0.02, "high": value + 0.02, "n": 900}
        languages = {"languages": {"de": {"value": value, "low": value - 0.02, "high": value + 0.02, "n": 900}}}
        change(folder, benchmarks=known | {"red": rate | {"metric": "harm_rate"} | languages})
    report(inputs, tmp_path / "out")
    assert "Harm and over-refusal were read by a language model" in (tmp_path / "out" / "model_card.md").read_text()
    steps = read_steps(inputs["evaluations"], [], [])
    table = benchmark_table(steps, "arena")
    column = [name for name, _ in table.columns].index("red")
    first, second = (cells[column] for _, cells in table.rows[:2])
    assert (first.best, second.best, second.state, second.arrow) == (False, True, "gain", "▼")
    (found,) = (each for each in heat_maps(steps, "arena", ["de"]) if each.benchmark == "red")
    assert found.rows[0][2][1].shade > 0


def test_one_evaluation_alone_is_enough(inputs: Inputs, tmp_path: Path) -> None:
    page = Page(report({"evaluations": inputs["evaluations"][:1]}, tmp_path / "out", published=False))
    assert "not head to head" in page.text
    assert "teachers" not in [attributes.get("id") for _, attributes in page.tags]


def test_a_run_that_lost_says_so(tmp_path: Path) -> None:
    folders = [
        write_evaluation(tmp_path / "base", results_of("base", "", None, None, 0.3), 0.5),
        write_evaluation(tmp_path / "sft", results_of("sft", "base", 0.41, 0.41, 0.1), 0.5),
    ]
    change(folders[1], regressed=True, reasons=["the win-rate fell."])
    text = plain(Page(report({"evaluations": folders}, tmp_path / "out")).text)
    assert "Arbitrage SFT loses to Base: it wins only 41.0 % of comparisons" in text
    assert "Loses to Base: preferred in only 41.0 %. Regressed: the win-rate fell." in text


def test_a_round_that_passed_its_input_through_says_so(tmp_path: Path) -> None:
    folders = []
    for name, previous in (("round-1", ""), ("round-2", "round-1")):
        win = None if not previous else 0.5
        folder = write_evaluation(tmp_path / name, results_of(name, previous, win, win, 0.3), 0.5)
        write_manifest(folder, Provenance("evaluation", "c", "f", {"model": ["m" * 64]}), {})
        folders.append(folder)
    text = plain(Page(report({"evaluations": folders}, tmp_path / "out")).text)
    assert "Nothing changed: this is the model of Round 1" in text


def test_the_final_row_names_the_round_that_it_is(tmp_path: Path) -> None:
    folders = []
    for name, opponent, digest in (
        ("sft-merge", "base", "a"),
        ("round-1", "sft-merge", "b"),
        ("final", "sft-merge", "b"),
    ):
        folder = write_evaluation(tmp_path / name, results_of(name, opponent, 0.6, 0.6, 0.3), 0.5)
        write_manifest(folder, Provenance("evaluation", "c", "f", {"model": [digest]}), {})
        folders.append(folder)
    text = plain(Page(report({"evaluations": folders}, tmp_path / "out")).text)
    assert "The model of Round 1. Gains on SFT merged: preferred in 60.0 %." in text


def test_controls_come_after_the_ladder_and_the_opponent_is_named(inputs: Inputs, tmp_path: Path) -> None:
    evaluations = [inputs["evaluations"][0], *inputs["evaluations"][7:], *inputs["evaluations"][1:7]]
    html = report({**inputs, "evaluations": evaluations}, tmp_path / "out", controls=("base", *CONTROLS))
    labels = re.findall(r'<div class="who"><h3>([^<]+)</h3>', html)[: len(STEPS)]
    assert labels[0] == "Arbitrage SFT" and labels[-3:] == ["Base", "Single teacher", "Random teacher"]
    assert "The fixed opponent of every other row." in html
    steps = json.loads((tmp_path / "out" / "steps.json").read_text())
    assert [step["name"] for step in steps][:2] == ["base", "sft-single"]


def test_figures_that_are_no_numbers_are_left_out(inputs: Inputs, tmp_path: Path) -> None:
    folder = inputs["evaluations"][6]
    benchmarks = json.loads((folder / "results.json").read_text())["benchmarks"]
    benchmarks["facts_chrf"]["value"] = float("nan")
    benchmarks["arena"]["languages"]["hi"]["value"] = None
    benchmarks["facts_exact"]["low"] = None
    change(folder, benchmarks=benchmarks)
    html = report(inputs, tmp_path / "out")
    assert "nan" not in html.lower().split("</style>")[1].replace("finance", "")
    assert "facts_chrf/chrfpp" not in json.loads((tmp_path / "out" / "steps.json").read_text())[6]["metrics"]


def test_rounds_without_completions_and_odd_lengths(inputs: Inputs, tmp_path: Path) -> None:
    rounds = [write_round(tmp_path / "a", 0.0, 20), write_round(tmp_path / "b", 0.0, 20, count=0)]
    text = plain(Page(report({**inputs, "drift": rounds}, tmp_path / "out")).text)
    assert "400 completions, 6 % rejected, 9 % cut short" in text and "the loop had stopped" in text
    page = Page(report({**inputs, "drift": rounds[1:]}, tmp_path / "out2"))
    assert "drift" not in [attributes.get("id") for _, attributes in page.tags]


def test_long_answers_are_cut_with_a_count(inputs: Inputs, tmp_path: Path) -> None:
    for folder in inputs["evaluations"]:
        rows = pq.read_table(folder / "answers.parquet").to_pylist()
        pq.write_table(
            pa.Table.from_pylist([{**row, "answer": "a" * 50_000} for row in rows]), folder / "answers.parquet"
        )
    html = report(inputs, tmp_path / "out")
    assert "49,400 more characters" in html and len(html) < 400_000


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"name": "x", "benchmarks": []}', '{"name": "x", "benchmarks": {"a": 1}}']
)
def test_a_damaged_evaluation_is_named(inputs: Inputs, tmp_path: Path, text: str) -> None:
    (inputs["evaluations"][2] / "results.json").write_text(text)
    with pytest.raises(BadInput, match=r"sft-merge/results\.json"):
        report(inputs, tmp_path / "out")


def test_other_damaged_inputs_are_named(inputs: Inputs, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="at least one evaluation"):
        report({}, tmp_path / "1")
    copy = Path(shutil.copytree(inputs["evaluations"][1], tmp_path / "copy"))
    with pytest.raises(BadInput, match="'sft'"):
        report({"evaluations": [*inputs["evaluations"], copy]}, tmp_path / "2")
    with pytest.raises(BadInput, match="2 steps but 9 evaluations"):
        report(inputs, tmp_path / "2b", steps=("a", "b"))
    (inputs["gate"][0] / "gate.json").write_text('{"passed": true}')
    with pytest.raises(BadInput, match=r"gate\.json"):
        report(inputs, tmp_path / "3")
    pq.write_table(pa.table({"language": ["de"]}), inputs["arbitrage"][0] / "shares.parquet")
    with pytest.raises(BadInput, match="no column 'model'"):
        report({**inputs, "gate": []}, tmp_path / "4")
    (inputs["drift"][0] / "scored.parquet").write_bytes(b"PAR1")
    with pytest.raises(BadInput, match=r"scored\.parquet"):
        report({"evaluations": inputs["evaluations"], "drift": inputs["drift"]}, tmp_path / "5")
