"""Sensors of retraining: when models are trained again, and when the ones there are only score a new day.

A load is followed by `retrain` where enough days have passed since the last training, else by `score_people`: features,
groups, scores and profiles of the new day by the models that stand. Where their drift is major, training follows at
once. Recommenders, their leaderboards and champions come from `retrain` alone. What is known of trainings is asked of
the lake, not of the history of runs, so that runs started by hand count, too.
"""

from datetime import date
from pathlib import Path

import dagster as dg

from xmkt_assets.automation.jobs import LOAD, RETRAIN, SCORE, AssetJob
from xmkt_assets.automation.sensors import ON, newest_day, under_way
from xmkt_assets.resources import Warehouse, retrain_after_days
from xmkt_assets.segments.drift import MAJOR
from xmkt_assets.segments.drift_table import TABLE

# Tag of a load whose models have to be trained again whatever their age: an erasure has taken somebody out of them.
RETRAIN_TAGS = {"xmkt/retrain": "due"}


def after_load_sensor(load: AssetJob, retrain: AssetJob, score: AssetJob) -> dg.SensorDefinition:
    """Loaded days → models or scores as of the newest day, once no other load is under way."""

    @dg.run_status_sensor(
        run_status=dg.DagsterRunStatus.SUCCESS,
        name="retrain_after_load",
        monitored_jobs=[load],
        request_jobs=[retrain, score],
        default_status=ON,
        minimum_interval_seconds=30,
    )
    def retrain_after_load(context: dg.RunStatusSensorContext, warehouse: Warehouse) -> dg.RunRequest | dg.SkipReason:
        """Retrains as of the newest loaded day, or scores it with the models there are while these are young enough
        (setting `retrain_after_days`); several loads in a row are followed by one run."""
        if under_way(context.instance, LOAD):
            return dg.SkipReason("Another load is under way; its success will start the retraining.")
        as_of = newest_day(warehouse)
        if as_of is None:
            return dg.SkipReason("Nothing has been loaded yet.")
        asked_for = RETRAIN_TAGS.items() <= context.dagster_run.tags.items()
        after_days = retrain_after_days(Path(warehouse.home))
        job = RETRAIN if asked_for or is_due(as_of, training_day(warehouse), after_days=after_days) else SCORE
        return dg.RunRequest(
            job_name=job, run_key=f"{job}:{as_of}:{context.dagster_run.run_id}", partition_key=as_of.isoformat()
        )

    return retrain_after_load


def drift_sensor(score: AssetJob, retrain: AssetJob) -> dg.SensorDefinition:
    """Major drift of the day just scored → retraining, once per day and versions that drifted."""

    @dg.run_status_sensor(
        run_status=dg.DagsterRunStatus.SUCCESS,
        name="retrain_after_drift",
        monitored_jobs=[score],
        request_job=retrain,
        default_status=ON,
        minimum_interval_seconds=30,
    )
    def retrain_after_drift(context: dg.RunStatusSensorContext, warehouse: Warehouse) -> dg.RunRequest | dg.SkipReason:
        """Retrains as of the newest day when a model's features or scores on it are no longer those of its training."""
        for job in (LOAD, RETRAIN):
            if under_way(context.instance, job):
                return dg.SkipReason(f"{job} is under way; what follows it looks again.")
        day = newest_day(warehouse)
        if day is None or context.dagster_run.tags.get("dagster/partition") != day.isoformat():
            return dg.SkipReason("An earlier day was scored; models are trained as of the newest one.")
        drifted = drifted_models(warehouse, day)
        if not drifted:
            return dg.SkipReason(f"No model has drifted far by {day}.")
        return dg.RunRequest(run_key=f"drift:{day}:{','.join(drifted)}", partition_key=day.isoformat())

    return retrain_after_drift


def retraining_sensors(made: dict[str, AssetJob]) -> list[dg.SensorDefinition]:
    """Both sensors."""
    return [after_load_sensor(made[LOAD], made[RETRAIN], made[SCORE]), drift_sensor(made[SCORE], made[RETRAIN])]


def is_due(as_of: date, trained: date | None, *, after_days: int) -> bool:
    """Whether models trained as of a day are to be trained again as of another.

    Also when the day they were trained on, or one before it, was loaded again: they learnt from rows that are replaced.
    """
    return trained is None or as_of <= trained or (as_of - trained).days >= after_days


def training_day(warehouse: Warehouse) -> date | None:
    """The day the oldest model in use on the newest profiled day was trained on; None before the first training."""
    if TABLE not in warehouse.lake.tables():
        return None
    newest = f"select max(as_of_on) from {TABLE}"
    found = warehouse.read(f"select min(trained_as_of_on) as day from {TABLE} where as_of_on = ({newest})")["day"]
    return found[0] if found.len() else None


def drifted_models(warehouse: Warehouse, day: date) -> list[str]:
    """Models with a feature or score of major drift on a day, each with its version, in order."""
    if TABLE not in warehouse.lake.tables():
        return []
    found = warehouse.read(
        f"select distinct model, model_version from {TABLE} where as_of_on = $day and level = $level order by all",
        day=day,
        level=MAJOR,
    )
    return [f"{model} {version}" for model, version in found.iter_rows()]
