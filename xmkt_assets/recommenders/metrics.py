"""Ranking metrics of one list against the set of items really bought. Pure arithmetic on hits.

A metric takes `hits`, bool (cases, K): whether the item in place 1…K was bought, and `sizes`, int (cases,): how many
different items were bought. It returns one number per case; the leaderboard shows their mean. To add one: write the
function, add a `Metric` to `METRICS`.

Definitions (places count from 1; n = number of items bought, relevance is 0 or 1):
  hr@k    1 if any bought item is among the first k, else 0 (hit rate)
  ndcg@k  sum over hits of 1/log2(place + 1), divided by the same sum for a perfect list (Järvelin, Kekäläinen 2002)
  mrr@k   1/place of the first hit within k, else 0
  map@k   sum over hits of (hits up to this place)/place, divided by min(n, k)
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from xmkt_assets.recommenders.base import BoolArray, FloatArray, IntArray


def hit_rate(hits: BoolArray, sizes: IntArray, *, k: int) -> FloatArray:
    found: FloatArray = np.asarray(hits[:, :k].any(axis=1), dtype=np.float64)
    return found


def ndcg(hits: BoolArray, sizes: IntArray, *, k: int) -> FloatArray:
    discount = 1 / np.log2(np.arange(k) + 2)
    perfect = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(sizes, k)]
    gained: FloatArray = hits[:, :k] @ discount[: hits[:, :k].shape[1]]
    return _ratio(gained, perfect)


def reciprocal_rank(hits: BoolArray, sizes: IntArray, *, k: int) -> FloatArray:
    top = hits[:, :k]
    return np.where(top.any(axis=1), 1.0 / (top.argmax(axis=1) + 1), 0.0)


def average_precision(hits: BoolArray, sizes: IntArray, *, k: int) -> FloatArray:
    top = hits[:, :k]
    precision = np.cumsum(top, axis=1) / (np.arange(top.shape[1]) + 1)
    summed: FloatArray = (precision * top).sum(axis=1)
    return _ratio(summed, np.minimum(sizes, k).astype(np.float64))


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    """0 where the whole is 0: a case in which nothing was bought cannot be predicted."""
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), 0.0)


class Metric(NamedTuple):
    """A named metric at one cut-off."""

    name: str
    of: Callable[..., FloatArray]
    k: int


METRICS: Final = (
    Metric("hr@1", hit_rate, 1),
    Metric("hr@3", hit_rate, 3),
    Metric("hr@5", hit_rate, 5),
    Metric("hr@10", hit_rate, 10),
    Metric("ndcg@5", ndcg, 5),
    Metric("ndcg@10", ndcg, 10),
    Metric("mrr@5", reciprocal_rank, 5),
    Metric("map@10", average_precision, 10),
)
DEEPEST: Final = max(metric.k for metric in METRICS)


def per_case(hits: BoolArray, sizes: IntArray) -> FloatArray:
    """Every metric for every case, shape (cases, metrics)."""
    return np.column_stack([metric.of(hits, sizes, k=metric.k) for metric in METRICS])
