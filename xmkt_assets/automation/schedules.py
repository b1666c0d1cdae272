"""Schedules: what the clock starts."""

from typing import Any

import dagster as dg

from xmkt_assets.automation.jobs import AssetJob

Schedule = Any  # Dagster does not export the type of a partitioned job's schedule


def schedules(load: AssetJob) -> list[Schedule]:
    """Every morning the day that has just ended is loaded, whether or not the sensor saw its files.

    Off until somebody turns it on: where the drop sensor runs, it has loaded the day already, and loading twice
    changes nothing but costs a run.
    """
    daily = dg.build_schedule_from_partitioned_job(
        load, name="load_yesterday", hour_of_day=2, minute_of_hour=30, default_status=dg.DefaultScheduleStatus.STOPPED
    )
    return [daily]
