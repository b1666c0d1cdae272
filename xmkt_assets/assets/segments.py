"""Segments: what Python adds to the SQL of this stage. Wiring only; the sums are in ``xmkt_assets.segments``."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from xmkt_assets.materialisation import markdown_table, materialised, picture
from xmkt_assets.partitions import DAYS
from xmkt_assets.resources import Tracking, Warehouse
from xmkt_assets.segments import clusters, pictures, risk, tables
from xmkt_assets.segments.intervals import Interval
from xmkt_assets.tracking import TrackedRun, run_tags

EXPERIMENT = "segments"


class ClustersConfig(dg.Config):
    """How many value groups, and the seed of k-means."""

    k: int = 5
    seed: int = 7


class RiskConfig(dg.Config):
    """The seed of folds, trees and intervals."""

    seed: int = 7


@dg.asset(
    key=["segments", "person_clusters"],
    group_name="segments",
    partitions_def=DAYS,
    deps=[["segments", "person_features"]],
    kinds={"python", "sklearn", "mlflow"},
    pool="training",  # dagster.yaml: one run at a time trains
    owners=["team:data-science"],
    tags={"personal": "yes"},
)
def person_clusters(
    context: dg.AssetExecutionContext, config: ClustersConfig, warehouse: Warehouse, tracking: Tracking
) -> dg.MaterializeResult:
    """One row per consenting person as of a date: the value group the person's behaviour falls into.

    k-means on the logarithms of spending, policies, present interest and time since the first and last event; the names
    (high value, high potential, newcomer, steady, occasional, dormant) follow from the centres by rule. With too few
    people, value_label is 'unknown' and reason says why. Trap: groups are fitted anew each day; compare the label of
    two days, never the cluster number.
    """
    day, snapshot_id = date.fromisoformat(context.partition_key), warehouse.snapshot_id()
    features = warehouse.read("select * from segments.person_features where as_of_on = $day", day=day)
    found = clusters.cluster_people(features, k=config.k, seed=config.seed)
    tags = run_tags(context, snapshot_id=snapshot_id) | _outcome(found.reason)
    sizes = pictures.group_sizes(found.groups)
    with tracking.run(f"person_clusters {day}", experiment=EXPERIMENT, tags=tags) as run:
        run.params({"k": config.k, "seed": config.seed, "features": ", ".join(clusters.FEATURES)})
        run.metrics({"people": found.people.height, "groups": found.groups.height, **_cluster_metrics(found)})
        run.json("groups.json", found.groups.to_dicts())
        run.figure("group_sizes.png", sizes)
        version = _register(tracking, run, name="value_clusters", model=found.model, tags=tags)
    rows = _dated(found.people, day=day, version=version)
    written = warehouse.replace(
        "segments.person_clusters",
        rows,
        where={"as_of_on": day},
        description=tables.CLUSTERS_DESCRIPTION,
        columns=tables.CLUSTERS_COLUMNS,
    )
    metadata = {
        **_logged(tracking, run, version=version, reason=found.reason, rows=rows),
        "groups": dg.MetadataValue.md(clusters.in_words(found.groups)),
        "group_sizes": picture(sizes, title="people per value group"),
        "silhouette": str(found.silhouette or "not applicable"),
        "stability": str(found.stability or "not applicable"),
    }
    return materialised(written, rows, read_snapshot_id=snapshot_id, metadata=metadata, columns=tables.CLUSTERS_COLUMNS)


@dg.asset(
    key=["segments", "claim_risk"],
    group_name="segments",
    partitions_def=DAYS,
    deps=[["segments", "risk_examples"]],
    kinds={"python", "lightgbm", "mlflow"},
    pool="training",  # dagster.yaml: one run at a time trains
    owners=["team:data-science"],
    tags={"personal": "yes"},
)
def claim_risk(
    context: dg.AssetExecutionContext, config: RiskConfig, warehouse: Warehouse, tracking: Tracking
) -> dg.MaterializeResult:
    """One row per insured person as of a date: the probability of at least one claim in the next 60 days.

    The better of logistic regression and LightGBM by out-of-fold log loss, calibrated; the band is against the claim
    share of all insured people (high: twice it or more, low: less than half). Trap: where claims are too few or cannot
    be told apart, claim_risk_share is empty, the band 'unknown', and reason says why; never read that as no risk.
    """
    day, snapshot_id = date.fromisoformat(context.partition_key), warehouse.snapshot_id()
    examples = warehouse.read("select * from segments.risk_examples where as_of_on = $day", day=day)
    found = risk.claim_risk(examples, seed=config.seed)
    tags = run_tags(context, snapshot_id=snapshot_id) | _outcome(found.reason)
    with tracking.run(f"claim_risk {day}", experiment=EXPERIMENT, tags=tags) as run:
        run.params({"seed": config.seed, "folds": risk.FOLDS, "features": ", ".join(risk.FEATURES)})
        run.metrics({"people_scored": found.scores.height, **_risk_metrics(found.report)})
        if found.report:
            run.params({"chosen": found.report.chosen})
            run.json("candidates.json", [{c: str(v) for c, v in s._asdict().items()} for s in found.report.candidates])
            run.figure("calibration.png", pictures.calibration(found.report))
        version = _register(tracking, run, name="claim_risk", model=found.model, tags=tags)
    rows = _dated(found.scores, day=day, version=version)
    written = warehouse.replace(
        "segments.claim_risk",
        rows,
        where={"as_of_on": day},
        description=tables.RISK_DESCRIPTION,
        columns=tables.RISK_COLUMNS,
    )
    metadata = {
        **_logged(tracking, run, version=version, reason=found.reason, rows=rows),
        **_risk_metadata(found),
    }
    return materialised(written, rows, read_snapshot_id=snapshot_id, metadata=metadata, columns=tables.RISK_COLUMNS)


def _register(
    tracking: Tracking, run: TrackedRun, *, name: str, model: object | None, tags: Mapping[str, str]
) -> int | None:
    """Version of the registered model; None where there is no model to register."""
    if model is None:
        return None
    return tracking.register(name, run.run_id, run.pickle("model.pkl", model), tags=tags)


def _dated(rows: pl.DataFrame, *, day: date, version: int | None) -> pl.DataFrame:
    return rows.select(pl.lit(day).alias("as_of_on"), pl.all(), pl.lit(version, pl.Int64).alias("model_version"))


def _outcome(reason: str | None) -> dict[str, str]:
    return {"outcome": "applicable"} if reason is None else {"outcome": "not applicable", "reason": reason}


def _logged(
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


def _three(name: str, interval: Interval | None) -> dict[str, float]:
    """An interval as three MLflow metrics, none where there is no interval."""
    return (
        {} if interval is None else {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    )


def _cluster_metrics(found: clusters.Clustering) -> dict[str, float]:
    return _three("silhouette", found.silhouette) | _three("stability", found.stability)


def _risk_metrics(report: risk.RiskReport | None) -> dict[str, float]:
    if report is None:
        return {}
    metrics = {"examples": report.examples, "claimants": report.claimants, "base_log_loss": report.base_log_loss}
    for score in report.candidates:
        for name, interval in (("auc", score.auc), ("brier", score.brier), ("log_loss", score.log_loss)):
            metrics |= _three(f"{score.name}_{name}", interval)
    return metrics


def _risk_metadata(found: risk.ClaimRisk) -> dict[str, Any]:
    bands = found.scores.group_by("claim_risk_band").agg(
        people=pl.len(), mean_claim_risk_share=pl.col("claim_risk_share").mean()
    )
    metadata: dict[str, Any] = {"bands": markdown_table(bands.sort("mean_claim_risk_share", descending=True))}
    if found.report:
        compared = pl.DataFrame([{c: str(v) for c, v in s._asdict().items()} for s in found.report.candidates])
        metadata |= {
            "candidates": markdown_table(compared),
            "chosen": found.report.chosen,
            "calibration": picture(pictures.calibration(found.report), title="predicted against observed claim share"),
        }
    return metadata


ASSETS = [person_clusters, claim_risk]
