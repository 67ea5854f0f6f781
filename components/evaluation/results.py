"""Figures with their intervals, over all rows and per language, in the form of results.json."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from components.common.records import Row
from components.common.statistics import Array, Bootstrap, Estimate, Figure, estimate, ratio, wilson_interval

#: One row per question. ``score`` is 1 or 0 for a choice or an exact match, sentence chrF++ for chrF++, and null for
#: pairwise benchmarks, whose results are in judgements.parquet, and for answers with no line to look at.
#: ``finish_reason`` and ``tokens`` are null for a choice.
ANSWER = pa.schema(
    [
        ("id", pa.string()),
        ("group", pa.string()),
        ("language", pa.string()),
        ("benchmark", pa.string()),
        ("prompt", pa.string()),
        ("reference", pa.string()),
        ("answer", pa.string()),
        ("score", pa.float32()),
        ("finish_reason", pa.string()),
        ("tokens", pa.int32()),
    ]
)

Entry = dict[str, Any]


def entry(
    statistics: Array, figure: Figure, rows: Sequence[Row], bootstrap: Bootstrap, over_languages: bool = False
) -> Entry:
    """``value``, ``low``, ``high``, ``n`` and the same per language, of ``figure`` over summed ``statistics``.

    ``rows`` give the language and the group of each row of ``statistics``. ``over_languages`` makes the value the mean
    of the languages' figures, each counting the same, instead of the figure of all rows together.
    """
    languages = [row["language"] for row in rows]
    groups = [row["group"] for row in rows]
    names = sorted(set(languages))
    whole = _mean_of_languages(statistics, figure, languages, groups, bootstrap) if over_languages else None
    overall = whole or _estimate(statistics, groups, figure, bootstrap)
    per_language = {}
    for name in names:
        chosen = [index for index, language in enumerate(languages) if language == name]
        own = _estimate(statistics[chosen], [groups[index] for index in chosen], figure, bootstrap)
        per_language[name] = asdict(own)
    return asdict(overall) | {"languages": per_language}


def rate(sums: Array) -> Array:
    """The mean of values between 0 and 1; ``entry`` knows by this function that it deals with a rate."""
    return ratio(sums)


def mean_entry(
    values: ArrayLike, rows: Sequence[Row], bootstrap: Bootstrap, over_languages: bool = False, figure: Figure = rate
) -> Entry:
    """``entry`` for the mean of one value per row; ``figure`` is ``ratio`` where values may lie outside 0 to 1."""
    column = np.asarray(values, dtype=np.float64)
    return entry(np.stack([column, np.ones_like(column)], axis=1), figure, rows, bootstrap, over_languages)


def _estimate(statistics: Array, groups: list[str], figure: Figure, bootstrap: Bootstrap) -> Estimate:
    """The bootstrap's interval, or Wilson's where a rate is 0 or 1: no resample of equal rows can differ from them."""
    found = estimate(statistics, groups, figure, bootstrap)
    if figure is not rate or found.value not in (0.0, 1.0):
        return found
    independent = len(set(groups))
    low, high = wilson_interval(found.value * independent, independent, bootstrap.confidence)
    return Estimate(found.value, low, high, found.n)


def _mean_of_languages(
    statistics: Array, figure: Figure, languages: list[str], groups: list[str], bootstrap: Bootstrap
) -> Estimate:
    names = sorted(set(languages))
    width = statistics.shape[1]
    blocks = np.zeros((len(statistics), len(names), width))
    blocks[range(len(statistics)), [names.index(language) for language in languages]] = statistics

    def mean(sums: Array) -> Array:
        return np.asarray(np.nanmean(figure(sums.reshape(*sums.shape[:-1], len(names), width)), axis=-1))

    return estimate(blocks.reshape(len(statistics), -1), groups, mean, bootstrap)
