"""Partitions: the days of the flow and the campaigns. One definition each, used by every asset.

A day partition of an event table holds the rows of that UTC day. A day partition of a snapshot table
(column ``as_of_on``) describes the end of that day and may read all days up to it, never one after it.
"""

from datetime import date, timedelta
from typing import Final

import dagster as dg

from xmkt_assets.resources import settings

DAYS: Final = dg.DailyPartitionsDefinition(start_date=settings().start_on.isoformat())
CAMPAIGNS_NAME: Final = "campaigns"
CAMPAIGNS: Final = dg.DynamicPartitionsDefinition(name=CAMPAIGNS_NAME)

# A snapshot reads its own day and every day before it: ten years is "all" for any partner history.
HISTORY: Final = dg.TimeWindowPartitionMapping(start_offset=-3653, allow_nonexistent_upstream_partitions=True)


def days_of(context: dg.AssetExecutionContext) -> list[date]:
    """The days this run materialises, in order: one, or a contiguous range of a single-run backfill."""
    return [date.fromisoformat(key) for key in context.partition_keys]


def range_tags(first: date, last: date) -> dict[str, str]:
    """Run tags that make one run materialise every day from `first` to `last`, both included."""
    return {
        "dagster/asset_partition_range_start": first.isoformat(),
        "dagster/asset_partition_range_end": last.isoformat(),
    }


def contiguous(days: list[date]) -> list[tuple[date, date]]:
    """Runs of adjacent days as (first, last), in order."""
    spans: list[tuple[date, date]] = []
    for day in sorted(set(days)):
        if spans and day - spans[-1][1] == timedelta(days=1):
            spans[-1] = (spans[-1][0], day)
        else:
            spans.append((day, day))
    return spans
