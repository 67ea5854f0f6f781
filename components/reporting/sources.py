"""What the report shows beside the evaluations: teacher shares, drift over the online rounds, the gate."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.common.errors import BadInput
from components.common.records import Row, read_records
from components.reporting.charts import Axis, Mark, number_axis
from components.reporting.tables import language_name
from components.reporting.words import PERCENT


@dataclass(frozen=True)
class Band:
    """One teacher's part of a language's bar: start and width in per cent, ``colour`` an index into the palette."""

    teacher: str
    start: float
    width: float
    colour: int
    title: str


@dataclass(frozen=True)
class Shares:
    """``rows`` are (code, language, bands, the largest share in words)."""

    teachers: Sequence[str]
    rows: Sequence[tuple[str, str, Sequence[Band], str]]


@dataclass(frozen=True)
class Drift:
    """``rows`` are (round, reward, length, remark); a mark's whisker is the middle half of the completions."""

    reward: Axis
    length: Axis
    rows: Sequence[tuple[str, Mark | None, Mark | None, str]]


def read_shares(folder: Path, languages: Sequence[str]) -> Shares:
    """shares.parquet of an arbitrage as stacked bars, teachers in the order of their overall share."""
    rows = read_columns(folder / "shares.parquet", ("language", "model", "share"))
    totals: dict[str, float] = {}
    for row in rows:
        totals[row["model"]] = totals.get(row["model"], 0.0) + row["share"]
    teachers = sorted(totals, key=lambda name: (-totals[name], name))
    codes = {row["language"] for row in rows}
    ordered = [code for code in languages if code in codes] + sorted(codes - set(languages))
    share = {(row["language"], row["model"]): float(row["share"]) for row in rows}
    return Shares(teachers, [(code, language_name(code), *_bands(code, teachers, share)) for code in ordered])


def _bands(code: str, teachers: Sequence[str], share: Mapping[tuple[str, str], float]) -> tuple[list[Band], str]:
    bands, start = [], 0.0
    for colour, teacher in enumerate(teachers):
        width = 100 * share.get((code, teacher), 0.0)
        if width > 0:
            title = f"{language_name(code)}: {teacher} {width:.0f}{PERCENT}"
            bands.append(Band(teacher, round(start, 2), round(width, 2), colour % 8, title))
        start += width
    largest = max(bands, key=lambda band: band.width, default=None)
    return bands, f"{largest.teacher} {largest.width:.0f}{PERCENT}" if largest else "no example"


def read_drift(folders: Sequence[Path]) -> Drift | None:
    """Reward and length of the sampled completions of every round; None when no round has any."""
    rounds = [_round(folder / "scored.parquet") for folder in folders]
    rewards = [each["reward"] for each in rounds if each["reward"]]
    lengths = [each["length"] for each in rounds if each["length"]]
    if not rewards or not lengths:
        return None
    reward = number_axis([value for three in rewards for value in three])
    length = number_axis([0.0, *(value for three in lengths for value in three)])
    rows = [
        (
            f"Round {index}",
            _middle(reward, each["reward"], f"Reward in round {index}", 2),
            _middle(length, each["length"], f"Length in round {index}", 0),
            each["note"],
        )
        for index, each in enumerate(rounds, 1)
    ]
    return Drift(reward, length, rows)


def _round(path: Path) -> dict[str, Any]:
    try:
        table = pq.read_table(path, columns=["completion", "reward", "finish_reason"])
    except (OSError, KeyError, ValueError) as error:
        raise BadInput(f"{path} cannot be read as scored completions ({error}); run the scoring again.") from error
    if not table.num_rows:
        return {"reward": None, "length": None, "note": "no completions: the loop had stopped"}
    rewards = table["reward"].drop_null()
    dropped = 1 - len(rewards) / table.num_rows
    cut = pc.mean(pc.equal(table["finish_reason"], "length")).as_py() or 0.0
    return {
        "reward": _quartiles(rewards),
        "length": _quartiles(pc.utf8_length(table["completion"])),
        "note": f"{table.num_rows:,} completions, {_share(dropped)} rejected, {_share(cut)} cut short",
    }


def _share(value: float) -> str:
    return f"{100 * value:.0f}{PERCENT}"


def _quartiles(values: Any) -> tuple[float, float, float] | None:
    if not len(values):
        return None
    low, high = pc.quantile(values, q=[0.25, 0.75]).to_pylist()
    return float(low), float(pc.mean(values).as_py()), float(high)


def _middle(axis: Axis, three: tuple[float, float, float] | None, what: str, digits: int) -> Mark | None:
    if three is None:
        return None
    low, mean, high = (f"{value:.{digits}f}" for value in three)
    title = f"{what}: mean {mean}, middle half {low} to {high}"
    return Mark(axis.at(three[0]), axis.at(three[1]), axis.at(three[2]), "plain", mean, f"{low} to {high}", title)


def read_gate(folder: Path) -> dict[str, Any]:
    """gate.json; raises BadInput when it is not a gate's verdict."""
    path = folder / "gate.json"
    try:
        verdict = json.loads(path.read_text(encoding="utf-8"))
        rules = [{key: rule[key] for key in ("rule", "passed", "sentence")} for rule in verdict["rules"]]
        return {"passed": verdict["passed"] is True, "rules": rules}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path} cannot be read as a gate's verdict ({error}); run the gate again.") from error


def read_columns(path: Path, columns: Sequence[str]) -> list[Row]:
    """The rows of a Parquet file; raises BadInput naming the first of ``columns`` that is missing."""
    rows = read_records(path)
    missing = [name for name in columns if rows and name not in rows[0]]
    if missing:
        raise BadInput(f"{path} has no column {missing[0]!r}; run the step that wrote it again.")
    return rows
