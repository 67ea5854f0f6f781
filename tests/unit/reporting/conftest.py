"""A run as the other stages leave it: evaluations with answers, arbitrage shares, scored rounds and a gate."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.common.languages import LANGUAGES
from components.common.records import SCORED, write_records

TEXTS = {
    "ar": ("اكتب التاريخ 2024/3/5 بالكلمات.", "٥ مارس ٢٠٢٤"),
    "de": ("Schreibe das Datum 2024-3-5 aus.", "5. März 2024"),
    "el": ("Γράψε την ημερομηνία 2024-3-5.", "5 Μαρτίου 2024"),
    "en": ("Write the date 2024-3-5 in words.", "March 5, 2024"),
    "fa": ("تاریخ ۲۰۲۴/۳/۵ را بنویسید.", "۵ مارس ۲۰۲۴"),
    "he": ("כתוב את התאריך 2024-3-5 במילים.", "5 במרץ 2024"),
    "hi": ("दिनांक 2024-3-5 को शब्दों में लिखें।", "5 मार्च 2024"),
    "ja": ("2024-3-5を書いてください。", "2024年3月5日火曜日"),
    "ko": ("2024-3-5 날짜를 쓰세요.", "2024년 3월 5일 화요일"),
    "ru": ("Напишите дату 2024-3-5 словами.", "5 марта 2024 г."),
    "zh": ("请写出日期2024-3-5。", "2024年3月5日星期二"),
}
HOSTILE = '<script>alert("x")</script><img src=http://example.org/x.png onerror=alert(1)>'
#: (name, win-rate against the base, win-rate against the step before, exact match)
STEPS = [
    ("base", None, None, 0.06),
    ("sft", 0.62, 0.62, 0.16),
    ("sft-merge", 0.645, 0.534, 0.21),
    ("offline-dpo", 0.67, 0.543, 0.26),
    ("round-1", 0.69, 0.531, 0.285),
    ("round-2", 0.698, 0.508, 0.29),
    ("round-3", 0.705, 0.518, 0.30),
    ("sft-single", 0.55, None, 0.10),
    ("sft-random", 0.46, None, 0.05),
]
CONTROLS = ("sft-single", "sft-random")
LABELS = {
    "base": "Base",
    "sft": "Arbitrage SFT",
    "sft-merge": "SFT merged",
    "offline-dpo": "Offline DPO",
    "round-1": "Round 1",
    "round-2": "Round 2",
    "round-3": "Round 3",
    "sft-single": "Single teacher",
    "sft-random": "Random teacher",
}


def figure(value: float, half: float, n: int) -> dict[str, Any]:
    return {"value": value, "low": max(0.0, value - half), "high": value + half, "n": n}


def entry(random: Random, kind: str, metric: str, value: float, half: float, **extra: Any) -> dict[str, Any]:
    scale = 100 if metric == "chrf++" else 1
    languages = {}
    for code in LANGUAGES:
        own = min(0.95, max(0.02, value / scale + random.gauss(0, 0.09))) * scale
        languages[code] = figure(own, half * 4, 26)
    return {"kind": kind, "metric": metric, **figure(value, half, 598), "languages": languages, **extra}


def results_of(name: str, previous: str, win: float | None, head: float | None, exact: float) -> dict[str, Any]:
    random = Random(name)
    benchmarks = {}
    if win is not None:
        benchmarks["arena"] = entry(random, "pairwise", "win_rate", win, 0.022, opponent="base")
    if head is not None:
        benchmarks["arena_previous"] = entry(random, "pairwise", "win_rate", head, 0.014, opponent=previous)
    benchmarks["facts_exact"] = entry(random, "exact_match", "accuracy", exact, 0.03)
    benchmarks["facts_choice"] = entry(random, "multiple_choice", "accuracy", 0.42 + exact / 2, 0.035)
    benchmarks["facts_chrf"] = entry(random, "chrf", "chrf++", 30 + 60 * exact, 1.8)
    behaviour = {
        "language_consistency": figure(0.8 + exact / 2, 0.02, 598),
        "mean_length": figure(31 - 20 * exact, 1.2, 598),
        "truncated": figure(0.12 - exact / 4, 0.02, 598),
    }
    return {
        "name": name,
        "judge": "nearest to the truth by chrF (tolerance 0.01)",
        "regressed": False,
        "reasons": [],
        "benchmarks": benchmarks,
        "behaviour": behaviour,
    }


def write_evaluation(folder: Path, results: dict[str, Any], quality: float) -> Path:
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(results))
    answers, judgements = [], []
    for code in LANGUAGES:
        prompt, reference = TEXTS.get(code, (f"Write 2024-3-5 in {LANGUAGES[code].name}.", "5 · 3 · 2024"))
        for index in range(2):
            key = f"{code}-{index}"
            answer = reference if Random(f"{results['name']}{key}").random() < quality else f"{reference} {HOSTILE}" * 2
            row = {"id": key, "group": str(index), "language": code, "benchmark": "arena", "prompt": prompt}
            answers.append({**row, "reference": reference, "answer": answer, "score": None})
            judgements.append(
                {"id": key, "benchmark": "arena", "opponent": "base", "outcome": [0.0, 0.5, 1.0][hash_of(key) % 3]}
            )
    pq.write_table(pa.Table.from_pylist(answers), folder / "answers.parquet")
    if "arena" in results["benchmarks"]:
        pq.write_table(pa.Table.from_pylist(judgements), folder / "judgements.parquet")
    return folder


def hash_of(text: str) -> int:
    return sum(map(ord, text))


def write_shares(folder: Path) -> Path:
    folder.mkdir(parents=True)
    teachers = ["germanic", "romance", "slavic", "asia", "west-asia"]
    rows = []
    for index, code in enumerate(LANGUAGES):
        random = Random(code)
        weights = [random.random() ** 2 + (1.2 if place == index % 5 else 0) for place in range(5)]
        rows += [
            {"language": code, "model": teacher, "share": weight / sum(weights), "mean_reward": 1.0}
            for teacher, weight in zip(teachers, weights, strict=True)
        ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "shares.parquet")
    return folder


def write_round(folder: Path, mean: float, length: int, count: int = 400) -> Path:
    folder.mkdir(parents=True)
    random = Random(str(folder.name))
    rows = [
        {
            "id": str(index),
            "language": "de",
            "prompt": "p",
            "model": "policy",
            "sample": 0,
            "completion": "x" * max(1, round(random.gauss(length, 6))),
            "finish_reason": "length" if index % 11 == 0 else "stop",
            "tokens": 9,
            "reward": None if index % 17 == 0 else random.gauss(mean, 0.8),
            "rejected_because": "looping" if index % 17 == 0 else "",
        }
        for index in range(count)
    ]
    write_records(folder / "scored.parquet", rows, SCORED)
    return folder


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, list[Path]]:
    return write_run(tmp_path)


def write_run(root: Path) -> dict[str, list[Path]]:
    previous, evaluations = "", []
    for name, win, head, exact in STEPS:
        results = results_of(name, previous, win, head, exact)
        evaluations.append(write_evaluation(root / "evaluations" / name, results, 2 * exact))
        previous = name
    gate = root / "gate"
    gate.mkdir()
    low = "The lower end of the interval is 0.683; at least 0.5 is asked for."
    languages = "1 of 23 languages is worse beyond doubt (hi); at most 0 may be."
    rules = [
        {"rule": "arena low ≥ 0.5", "passed": True, "measured": 0.683, "sentence": low},
        {"rule": "languages worse beyond doubt ≤ 0", "passed": False, "measured": 1.0, "sentence": languages},
    ]
    (gate / "gate.json").write_text(json.dumps({"passed": False, "rules": rules}))
    drift = [write_round(root / f"round-{n}", 0.4 + 0.3 * n, 24 + n) for n in (1, 2, 3)]
    return {"evaluations": evaluations, "arbitrage": [write_shares(root / "arbitrage")], "drift": drift, "gate": [gate]}
