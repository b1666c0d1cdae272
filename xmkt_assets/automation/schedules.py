"""Schedules: what the clock starts."""

from typing import Any

import dagster as dg

from xmkt_assets.automation.jobs import AssetJob

Schedule = Any  # Dagster does not export the type of a partitioned job's schedule


def schedules(load: AssetJob, *, maintain: AssetJob) -> list[Schedule]:
    """Every morning the day that has just ended is loaded, whether or not the sensor saw its files; the lake is tidied
    every night.

    Loading is off until somebody turns it on: where the drop sensor runs, it has loaded the day already, and loading
    twice changes nothing but costs a run.
    """
    daily = dg.build_schedule_from_partitioned_job(
        load, name="load_yesterday", hour_of_day=2, minute_of_hour=30, default_status=dg.DefaultScheduleStatus.STOPPED
    )
    nightly = dg.ScheduleDefinition(
        name="tidy_up_every_night",
        job=maintain,
        cron_schedule="30 4 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Merges small files, expires old snapshots that nothing refers to, removes what nobody needs.",
    )
    return [daily, nightly]
