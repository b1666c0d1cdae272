"""Sensors of the door: late rows → their days of staging are built again; a refusal → a line people see.

What is late, what is refused and what is held back is decided in ``raw``; here only what follows from it.
"""

from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg

from xmkt_assets.automation.jobs import LOAD, AssetJob
from xmkt_assets.automation.sensors import ON, add_alert
from xmkt_assets.partitions import DAYS
from xmkt_assets.raw.books import LEDGER
from xmkt_assets.raw.late import LATE
from xmkt_assets.resources import Warehouse


def late_sensor(load: AssetJob) -> dg.SensorDefinition:
    """Late rows → staging of the earlier days they belong to."""

    @dg.run_status_sensor(
        run_status=dg.DagsterRunStatus.SUCCESS,
        name="rebuild_late_days",
        monitored_jobs=[load],
        request_job=load,
        default_status=ON,
        minimum_interval_seconds=30,
    )
    def rebuild_late_days(
        context: dg.RunStatusSensorContext, warehouse: Warehouse
    ) -> list[dg.RunRequest] | dg.SkipReason:
        """A delivery with rows of earlier days makes those days stale: their staging tables are built again."""
        stale = late_days(warehouse, context.dagster_run.run_id)
        if not stale:
            return dg.SkipReason("The load brought no rows of other days.")
        return [
            dg.RunRequest(
                run_key=f"late:{context.dagster_run.run_id}:{day}",
                partition_key=day.isoformat(),
                asset_selection=[dg.AssetKey(["staging", feed]) for feed in feeds],
            )
            for day, feeds in sorted(stale.items())
        ]

    return rebuild_late_days


def late_days(warehouse: Warehouse, run_id: str) -> dict[date, list[str]]:
    """Earlier days that a load made stale → the feeds concerned; days the same run built anyway are left out."""
    if LATE not in warehouse.lake.tables():
        return {}
    first_day = date.fromisoformat(str(DAYS.get_first_partition_key()))
    rows = warehouse.read(
        f"select event_on, feed from {LATE} where run_id = $run and event_on >= $first_day and (feed, event_on) not in "
        f"(select feed, dt from {LEDGER} where run_id = $run) group by event_on, feed order by event_on, feed",
        run=run_id,
        first_day=first_day,
    )
    stale: dict[date, list[str]] = {}
    for day, feed in rows.iter_rows():
        stale.setdefault(day, []).append(feed)
    return stale


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    name="tell_of_failed_checks",
    default_status=ON,
    minimum_interval_seconds=30,
)
def tell_of_failed_checks(context: dg.RunStatusSensorContext, warehouse: Warehouse) -> None:
    """A run that succeeds with a failed check (a day held back, an unreadable file) adds a line to `alerts.jsonl`."""
    run = context.dagster_run
    found = context.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    evaluations = [entry.dagster_event.asset_check_evaluation_data for entry in found if entry.dagster_event]
    for checked in evaluations:
        if checked.passed or checked.severity is not dg.AssetCheckSeverity.ERROR:
            continue
        add_alert(
            Path(warehouse.home),
            {
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "job": run.job_name,
                "partition": run.tags.get("dagster/partition"),
                "run_id": run.run_id,
                "check": checked.check_name,
                "table": ".".join(checked.asset_key.path),
                "said": {name: str(value.value) for name, value in checked.metadata.items()},
            },
        )


def door_sensors(made: dict[str, AssetJob]) -> list[dg.SensorDefinition]:
    """Both sensors."""
    return [late_sensor(made[LOAD]), tell_of_failed_checks]
