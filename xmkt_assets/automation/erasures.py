"""Sensors of erasure: a waiting request → the erasure; a finished erasure → models and lists without the person.

Runs carry the ids of requests only. The second one asks the lake, not the history of runs, so that it also follows an
erasure that the command ran while no daemon was up.
"""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from xmkt_assets.automation.jobs import ERASE, LOAD, RETRAIN, AssetJob
from xmkt_assets.automation.retraining import RETRAIN_TAGS
from xmkt_assets.automation.sensors import ON, UNFINISHED, newest_day
from xmkt_assets.erasure.requests import pending
from xmkt_assets.erasure.work import ERASURES
from xmkt_assets.resources import Warehouse


def request_sensor(erase: AssetJob) -> dg.SensorDefinition:
    """Waiting requests → one run that carries them all out."""

    @dg.sensor(job=erase, name="new_erasure_requests", minimum_interval_seconds=60, default_status=ON)
    def new_erasure_requests(
        context: dg.SensorEvaluationContext, warehouse: Warehouse
    ) -> dg.RunRequest | dg.SkipReason:
        """Starts when no run is under way, so that none writes what it read before. A failed one is tried daily."""
        waiting = pending(Path(warehouse.home))
        if not waiting:
            return dg.SkipReason("Nobody waits to be erased.")
        if context.instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED), limit=1):
            return dg.SkipReason(f"{len(waiting)} requests wait for the end of the runs that are under way.")
        marks = "\n".join(f"{p.name} {p.stat().st_mtime_ns}" for p in waiting)
        mark = hashlib.sha256(marks.encode()).hexdigest()[:16]
        return dg.RunRequest(run_key=f"{ERASE}:{mark}:{datetime.now(UTC).date()}")

    return new_erasure_requests


def after_erasure_sensor(load: AssetJob, retrain: AssetJob) -> dg.SensorDefinition:
    """Finished erasures → retraining as of the newest day, once per erasure."""

    @dg.sensor(jobs=[load, retrain], name="retrain_after_erasure", minimum_interval_seconds=60, default_status=ON)
    def retrain_after_erasure(
        context: dg.SensorEvaluationContext, warehouse: Warehouse
    ) -> dg.RunRequest | dg.SkipReason:
        """Where one account of the person stays, its day is loaded first: that finds the person anew."""
        found = last_erasure(warehouse)
        day = newest_day(warehouse)
        if found is None or day is None:
            return dg.SkipReason("Nobody has been erased.")
        run_id, has_account_left = found
        if context.cursor == run_id:
            return dg.SkipReason("Models and lists have been asked for since the last erasure.")
        context.update_cursor(run_id)
        job = LOAD if has_account_left else RETRAIN
        return dg.RunRequest(
            job_name=job, run_key=f"{ERASE}:{run_id}:{day}", partition_key=day.isoformat(), tags=RETRAIN_TAGS
        )

    return retrain_after_erasure


def erasure_sensors(made: dict[str, AssetJob]) -> list[dg.SensorDefinition]:
    """Both sensors."""
    return [request_sensor(made[ERASE]), after_erasure_sensor(made[LOAD], made[RETRAIN])]


def last_erasure(warehouse: Warehouse) -> tuple[str, bool] | None:
    """Run of the newest erasure, and whether it left a person's other account; None before the first."""
    if ERASURES not in warehouse.lake.tables():
        return None
    rows = warehouse.read(
        f"select run_id, bool_or(scope = 'account') from {ERASURES} group by run_id "
        "order by max(erased_at) desc, run_id limit 1"
    ).rows()
    return (str(rows[0][0]), bool(rows[0][1])) if rows else None
