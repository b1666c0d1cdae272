"""What every Python asset of segments does alike: its MLflow run, the columns of a snapshot, what its page says first.
Wiring only."""

from collections.abc import Mapping
from datetime import date
from typing import Any, Final

import dagster as dg
import polars as pl

from xmkt_assets.resources import Tracking
from xmkt_assets.segments.intervals import Interval
from xmkt_assets.tracking import TrackedRun

EXPERIMENT: Final = "segments"


def register(
    tracking: Tracking, run: TrackedRun, *, name: str, model: object | None, tags: Mapping[str, str]
) -> int | None:
    """Version of the registered model; None where there is no model to register."""
    if model is None:
        return None
    return tracking.register(name, run.run_id, run.pickle("model.pkl", model), tags=tags)


def dated(rows: pl.DataFrame, *, day: date, version: int | None) -> pl.DataFrame:
    return rows.select(pl.lit(day).alias("as_of_on"), pl.all(), pl.lit(version, pl.Int64).alias("model_version"))


def outcome(reason: str | None) -> dict[str, str]:
    return {"outcome": "applicable"} if reason is None else {"outcome": "not applicable", "reason": reason}


def logged(
    tracking: Tracking, run: TrackedRun, *, version: int | None, reason: str | None, rows: pl.DataFrame
) -> dict[str, Any]:
    model = {} if version is None else {"mlflow/model_version": version}
    return {
        "outcome": reason or "applicable",
        "mlflow/run_id": run.run_id,
        "mlflow/run": dg.MetadataValue.url(tracking.ui_url(run.run_id, EXPERIMENT)),
        "dagster/partition_row_count": rows.height,
        **model,
    }


def three(name: str, interval: Interval | None) -> dict[str, float]:
    """An interval as three MLflow metrics, none where there is no interval."""
    return (
        {} if interval is None else {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    )
