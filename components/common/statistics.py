"""Uncertainty of what is measured: the cluster bootstrap, and Wilson's interval for a single rate.

The same question asked in 23 languages is one draw, not 23: its rows rise and fall together. So whole groups are drawn
with replacement and every figure is computed again from the drawn groups (percentile bootstrap, Efron and Tibshirani
1993, chapter 13; for clusters, Davison and Hinkley 1997, section 3.8). A figure is any function of sums over rows: a
mean is ``sum(x) / sum(1)``, corpus chrF++ a function of summed n-gram counts. One pass over group totals thus serves
them all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from components.common.errors import BadInput

Array = NDArray[np.float64]
#: Turns sums over rows (shape ``(..., columns)``) into a figure (shape ``(...)``).
Figure = Callable[[Array], Array]

CELLS = 2_000_000  # counts held at once: 16 MB


@dataclass(frozen=True)
class Estimate:
    """A figure with the bounds of its interval, from ``n`` rows."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are drawn: the number of resamples, the seed, and the share of draws inside the interval."""

    resamples: int = 1000
    seed: int = 0
    confidence: float = 0.95


def ratio(sums: Array) -> Array:
    """The mean from the column pair (sum of weighted values, sum of weights); NaN where there is no weight."""
    weight = sums[..., 1]
    means: Array = np.divide(sums[..., 0], weight, out=np.full(weight.shape, np.nan), where=weight > 0)
    return means


def estimate(statistics: ArrayLike, groups: Sequence[Any], figure: Figure, bootstrap: Bootstrap) -> Estimate:
    """``figure`` of the summed ``statistics`` (one row per observation) with its cluster bootstrap interval.

    The order of the rows does not matter. Raises BadInput for no rows, for lengths that differ, and for NaN or
    infinity.
    """
    table = np.asarray(statistics, dtype=np.float64)
    _check(table, groups)
    draws = figure(resampled_sums(table, groups, bootstrap))
    tail = (1 - bootstrap.confidence) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail])
    return Estimate(float(figure(table.sum(axis=0))), float(low), float(high), len(table))


def resampled_sums(statistics: Array, groups: Sequence[Any], bootstrap: Bootstrap) -> Array:
    """Column sums of ``resamples`` draws of whole groups with replacement; shape ``(resamples, columns)``."""
    names, cluster = np.unique(np.asarray(groups), return_inverse=True)
    totals = np.zeros((len(names), statistics.shape[1]))
    np.add.at(totals, cluster, statistics)
    generator = np.random.default_rng(bootstrap.seed)
    chunk = max(1, CELLS // len(names))
    starts = range(0, bootstrap.resamples, chunk)
    return np.concatenate(
        [_counts(generator, min(chunk, bootstrap.resamples - start), len(names)) @ totals for start in starts]
    )


def bootstrap_mean(
    values: ArrayLike, groups: Sequence[Any], bootstrap: Bootstrap, weights: ArrayLike | None = None
) -> Estimate:
    """The (weighted) mean of ``values`` and its interval, resampled by group."""
    column = np.asarray(values, dtype=np.float64)
    weight = np.ones_like(column) if weights is None else np.asarray(weights, dtype=np.float64)
    return estimate(np.stack([column * weight, weight], axis=1), groups, ratio, bootstrap)


def paired_difference(first: ArrayLike, second: ArrayLike, groups: Sequence[Any], bootstrap: Bootstrap) -> Estimate:
    """The mean of ``first - second`` for values measured on the same rows, and its interval."""
    return bootstrap_mean(np.asarray(first, np.float64) - np.asarray(second, np.float64), groups, bootstrap)


def wilson_interval(successes: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Bounds of a rate (Wilson 1927): of use where all rows agree and a bootstrap cannot vary."""
    if n <= 0 or not 0 <= successes <= n:
        raise BadInput(f"A rate needs 0 <= successes <= n and n > 0, got {successes} of {n}.")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate, spread = successes / n, z * z / n
    centre = (rate + spread / 2) / (1 + spread)
    half = sqrt(rate * (1 - rate) * spread + spread * spread / 4) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def _counts(generator: np.random.Generator, rows: int, clusters: int) -> Array:
    drawn = generator.integers(clusters, size=(rows, clusters)) + np.arange(rows)[:, None] * clusters
    return np.bincount(drawn.ravel(), minlength=rows * clusters).reshape(rows, clusters).astype(np.float64)


def _check(table: Array, groups: Sequence[Any]) -> None:
    if len(table) == 0:
        raise BadInput("There are no rows to estimate from; check that the benchmark has questions.")
    if len(table) != len(groups):
        raise BadInput(f"{len(table)} values came with {len(groups)} groups; give one group per value.")
    if not all(map(isfinite, table.sum(axis=0))):
        raise BadInput("The values hold NaN or infinity; an estimate of them would mean nothing.")
