"""Probabilities per person in Dagster. Wiring only; the sums are in ``xmkt_assets.segments.risk``."""

from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from xmkt_assets.assets.segments.shared import EXPERIMENT, dated, logged, outcome, register, three
from xmkt_assets.materialisation import markdown_table, materialised, picture
from xmkt_assets.partitions import DAYS
from xmkt_assets.resources import Tracking, Warehouse
from xmkt_assets.segments import pictures, risk, tables
from xmkt_assets.tracking import run_tags


class RiskConfig(dg.Config):
    """The seed of folds, trees and intervals."""

    seed: int = 7


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
    tags = run_tags(context, snapshot_id=snapshot_id) | outcome(found.reason)
    with tracking.run(f"claim_risk {day}", experiment=EXPERIMENT, tags=tags) as run:
        run.params({"seed": config.seed, "folds": risk.FOLDS, "features": ", ".join(risk.FEATURES)})
        run.metrics({"people_scored": found.scores.height, **_risk_metrics(found.report)})
        if found.report:
            run.params({"chosen": found.report.chosen})
            run.json("candidates.json", [{c: str(v) for c, v in s._asdict().items()} for s in found.report.candidates])
            run.figure("calibration.png", pictures.calibration(found.report))
        version = register(tracking, run, name="claim_risk", model=found.model, tags=tags)
    rows = dated(found.scores, day=day, version=version)
    written = warehouse.replace(
        "segments.claim_risk",
        rows,
        where={"as_of_on": day},
        description=tables.RISK_DESCRIPTION,
        columns=tables.RISK_COLUMNS,
    )
    metadata = {
        **logged(tracking, run, version=version, reason=found.reason, rows=rows),
        **_risk_metadata(found),
    }
    return materialised(written, rows, read_snapshot_id=snapshot_id, metadata=metadata, columns=tables.RISK_COLUMNS)


def _risk_metrics(report: risk.RiskReport | None) -> dict[str, float]:
    if report is None:
        return {}
    metrics = {"examples": report.examples, "claimants": report.claimants, "base_log_loss": report.base_log_loss}
    for score in report.candidates:
        for name, interval in (("auc", score.auc), ("brier", score.brier), ("log_loss", score.log_loss)):
            metrics |= three(f"{score.name}_{name}", interval)
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


ASSETS = [claim_risk]
