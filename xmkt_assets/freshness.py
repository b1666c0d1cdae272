"""Freshness: how old a table may grow before its page says so. Thin: a policy per table, no run is started by it.

A table that every load rebuilds is late when the delivery it waits for is: by the contract, a feed comes every
``frequency_days``, and its last rows ``late_days`` later. What retraining makes may wait a week. Tables that follow a
request or a plan (campaigns, erasures) have no age. Dagster's daemon (``make dev``) compares the time of the last
materialisation with the policy; which days of an event table are there, its partitions show.
"""

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Final

import dagster as dg

from xmkt_assets.contracts import contracts
from xmkt_assets.sql_models import SqlModel

GRACE: Final = timedelta(hours=12)  # a delivery of a day is loaded on the day after it
WEEK: Final = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=8), warn_window=timedelta(days=3))
BY_REQUEST: Final = frozenset({"staging.erasures", "raw.erased_subjects", "raw.quarantine_fixes"})
Policy = dg.FreshnessPolicy


def policies(
    tables: Collection[str], models: Mapping[str, SqlModel], retrained: Collection[str]
) -> dict[str, Policy | None]:
    """The policy of each table; None where a table's age says nothing."""
    return {table: _policy(table, models.get(table), table in retrained) for table in tables}


def _policy(table: str, model: SqlModel | None, is_retrained: bool) -> Policy | None:
    stage, _, name = table.partition(".")
    if stage == "campaigns" or table in BY_REQUEST:
        return None
    if is_retrained or stage not in ("raw", "staging"):
        return WEEK
    feeds = contracts()
    read = {name} if stage == "raw" else {t.partition(".")[2] for t in (model.reads if model else ())}
    of_feeds = [(feeds[feed].frequency_days, feeds[feed].late_days) for feed in sorted(read & feeds.keys())]
    return _delivered(*max(of_feeds, key=sum, default=(1, 0)))


def _delivered(frequency_days: int, late_days: int) -> Policy:
    """Warn when the next delivery is overdue, fail when its late rows would be."""
    due = timedelta(days=frequency_days) + GRACE
    return dg.FreshnessPolicy.time_window(fail_window=due + timedelta(days=max(late_days, 1)), warn_window=due)
