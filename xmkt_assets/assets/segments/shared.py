"""What every Python asset of segments does alike: its MLflow run, the columns of a snapshot, what its page says first.
Wiring only."""

import pickle
from collections.abc import Mapping
from datetime import date
from typing import Any, Final

import dagster as dg
import polars as pl

from xmkt_assets.resources import Tracking
from xmkt_assets.segments.intervals import Interval
from xmkt_assets.segments.standing import STANDING_TAGS, StandingModel
from xmkt_assets.tracking import TrackedRun

EXPERIMENT: Final = "segments"


def standing(context: dg.AssetExecutionContext, tracking: Tracking, name: str) -> tuple[StandingModel, int] | None:
    """The model to use instead of a new one, with its version; None = fit one.

    Only in a run tagged `xmkt/models = standing`: the newest version trained as of a day not later than the partition.
    """
    if not STANDING_TAGS.items() <= context.run.tags.items():
        return None
    version = tracking.newest(name, until=date.fromisoformat(context.partition_key))
    if version is None:
        context.log.info(f"{name} has no version up to {context.partition_key}: it is fitted.")
        return None
    try:
        found = tracking.load(name, version)
    except (OSError, AttributeError, ImportError, pickle.UnpicklingError) as error:
        # gone with an erasure (ModelGoneError), or of classes that the code no longer has
        context.log.warning(f"{name} {version} cannot be loaded and is fitted anew: {error}")
        return None
    if not isinstance(found, StandingModel):
        context.log.warning(f"{name} {version} is a {type(found).__name__}, no StandingModel: it is fitted anew.")
        return None
    return found, version


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
