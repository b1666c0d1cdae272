"""Popularity baselines: the same order of items for everybody. Every other recommender has to beat these."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from xmkt_assets.recommenders.base import (
    RECENT_DAYS,
    BoolArray,
    Fitted,
    FloatArray,
    History,
    Recommender,
    counts,
    since,
    with_positions,
)


@dataclass(frozen=True)
class FittedPopularity(Fitted):
    """Nothing personal to say: the prior alone orders the items."""

    def score(self, person_ids: Sequence[str], candidates: BoolArray) -> FloatArray:
        return np.full((len(person_ids), len(self.history.item_ids)), np.nan)


@dataclass(frozen=True)
class Popularity(Recommender):
    """Items by number of purchases: ``P_ij = sum_k r_kj``, the same for every person i (k = persons).

    Views do not count: they measure what was shown. Ties fall to the lower item number.
    """

    @property
    def name(self) -> str:
        return "popularity"

    def fit(self, interactions: pl.DataFrame, items: pl.DataFrame, people: pl.DataFrame) -> FittedPopularity:
        history = History.of(interactions, items)
        return FittedPopularity(history, history.bought, None)


@dataclass(frozen=True)
class RecentPopularity(Recommender):
    """Items by purchases of the last `days` days before `as_of` (None = before the newest purchase known).

    Items equal in the window follow their share of all purchases: score = purchases in the window + that share (< 1).
    """

    days: int = RECENT_DAYS
    as_of: datetime | None = None

    @property
    def name(self) -> str:
        return f"popularity_{self.days}d"

    def fit(self, interactions: pl.DataFrame, items: pl.DataFrame, people: pl.DataFrame) -> FittedPopularity:
        history = History.of(interactions, items)
        purchases = with_positions(interactions, history.item_ids).filter(pl.col("event") == "purchase")
        window = counts(since(purchases, days=self.days, as_of=self.as_of), len(history.item_ids))
        return FittedPopularity(history, recent_then_all(window, history.bought), self.days)


def recent_then_all(recent: FloatArray, bought: FloatArray) -> FloatArray:
    """Order by `recent`, ties by the share of all purchases."""
    share: FloatArray = bought / (bought.sum() + 1.0)  # + 1: no division by zero, and always below one purchase
    return recent + share
