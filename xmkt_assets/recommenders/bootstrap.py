"""Intervals by resampling people, because purchases of one person are not independent of each other.

One set of resamples serves all columns at once, so the difference of two columns' replicates is the paired bootstrap.
"""

from typing import NamedTuple

import numpy as np

from xmkt_assets.recommenders.base import FloatArray, IntArray

_RESAMPLES_AT_ONCE = 50


class Interval(NamedTuple):
    """A mean with its 95 % interval; the bounds are NaN where fewer than two persons allow none."""

    value: float
    low: float
    high: float


def replicate_means(values: FloatArray, persons: IntArray, *, resamples: int, seed: int) -> FloatArray:
    """Means of each column of `values` (cases, columns) over people drawn with replacement: (resamples, columns).

    `persons` is the person's number 0…P-1 of each case. A person drawn twice brings all their cases twice; a mean is
    the sum over cases by the number of cases (ratio estimator). Cluster bootstrap, Davison & Hinkley 1997, § 3.8.
    """
    count = int(persons.max()) + 1
    sums = np.column_stack([np.bincount(persons, weights=column, minlength=count) for column in values.T])
    cases = np.bincount(persons, minlength=count).astype(np.float64)
    generator = np.random.default_rng(seed)
    parts = []
    for start in range(0, resamples, _RESAMPLES_AT_ONCE):
        times = _times_drawn(generator, count, resamples=min(_RESAMPLES_AT_ONCE, resamples - start))
        parts.append((times @ sums) / (times @ cases)[:, None])
    return np.concatenate(parts)


def _times_drawn(generator: np.random.Generator, count: int, *, resamples: int) -> FloatArray:
    drawn = generator.integers(0, count, size=(resamples, count))
    offset = np.arange(resamples)[:, None] * count
    return (
        np.bincount((drawn + offset).ravel(), minlength=resamples * count).reshape(resamples, count).astype(np.float64)
    )


def interval(value: float, replicates: FloatArray, *, persons: int) -> Interval:
    """Percentile interval of the replicates around a value."""
    if persons < 2:
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(replicates, [0.025, 0.975])
    return Interval(value, float(low), float(high))
