"""Intervals of reported numbers: a value with the range a repeated draw of people would give.

Here: the interval itself and the percentile bootstrap over people. Not here: intervals of experiments, which belong
to ``xmkt_assets.evaluation``.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """A number and its 95 % interval; all three in the unit of the number."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap(statistic: Callable[[Floats], float], *, size: int, draws: int, seed: int) -> Interval:
    """Percentile bootstrap (Efron & Tibshirani 1993, ch. 13) of a statistic of weighted rows.

    `statistic` takes one weight per row, how often a draw with replacement took the row, shape (size,).
    Draws on which it is undefined (nan, such as an AUC without positives) are left out.
    """
    rng = np.random.default_rng(seed)
    equal = np.full(size, 1 / size)
    drawn = np.array([statistic(rng.multinomial(size, equal).astype(np.float64)) for _ in range(draws)])
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Interval(statistic(np.ones(size)), float(low), float(high))


def bootstraps(statistics: Sequence[Callable[[Floats], float]], *, size: int, draws: int, seed: int) -> list[Interval]:
    """`bootstrap` of several statistics of the same rows, on the same draws, which are then made once."""
    rng = np.random.default_rng(seed)
    equal = np.full(size, 1 / size)
    drawn = np.empty((draws, len(statistics)))
    for row in drawn:
        weights = rng.multinomial(size, equal).astype(np.float64)
        row[:] = [statistic(weights) for statistic in statistics]
    low, high = np.nanquantile(drawn, [0.025, 0.975], axis=0)
    one = np.ones(size)
    return [Interval(s(one), float(a), float(b)) for s, a, b in zip(statistics, low, high, strict=True)]


def weighted_mean(values: Floats) -> Callable[[Floats], float]:
    """The mean of `values`, shape (n,), as a statistic of weighted rows."""
    return lambda weights: float(values @ weights / weights.sum())


def wilson(successes: int, trials: int) -> Interval:
    """A share with Wilson's 95 % interval (Wilson 1927, JASA 22). Raises ZeroDivisionError without trials."""
    z = 1.959964
    share = successes / trials
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * float(np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2)))
    return Interval(share, middle - half, middle + half)
