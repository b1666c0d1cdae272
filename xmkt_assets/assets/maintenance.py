"""Maintenance of the lake: old snapshots and small files. Wiring only; the work is ``xmkt_assets.maintenance``."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from xmkt_assets import maintenance
from xmkt_assets.erasure.lake import in_words as spans
from xmkt_assets.maintenance import Maintained, Policy, find_pins, maintain, pins_frame
from xmkt_assets.materialisation import markdown_table
from xmkt_assets.resources import Warehouse

KEY = dg.AssetKey(["lake", "maintenance"])


class MaintenanceConfig(dg.Config):
    """Days a snapshot is kept, days an MLflow run keeps its own, hours before a file goes; or only say what would."""

    keep_days: float = 30
    run_days: float = 90
    grace_hours: float = 24
    dry_run: bool = False


@dg.asset(
    key=KEY,
    group_name="lake",
    kinds={"ducklake"},
    owners=["team:data-engineering"],
)
def lake_maintenance(
    context: dg.AssetExecutionContext, config: MaintenanceConfig, warehouse: Warehouse
) -> dg.MaterializeResult:
    """Small files merged, old snapshots expired, files removed that nobody needs. Runs every night.

    A snapshot older than the retention stays while a registered model, a recent MLflow run, a campaign list, an
    evaluation or the published file refers to it. An erasure goes before all of these: what it expired is gone.
    """
    now = datetime.now(UTC).replace(tzinfo=None)
    policy = Policy(keep_days=config.keep_days, run_days=config.run_days, grace_hours=config.grace_hours)
    with warehouse.session() as session:
        pins = find_pins(session.connection, Path(warehouse.home), now=now, policy=policy)
    done = maintain(warehouse.lake, policy, pins=pins, now=now, is_dry_run=config.dry_run, say=context.log.info)
    context.log.info(maintenance.in_words(done))
    return dg.MaterializeResult(metadata=_metadata(done))


def _metadata(done: Maintained) -> dict[str, dg.MetadataValue | str | int | float]:
    return {
        "what_was_done": maintenance.in_words(done),
        "before_and_after": markdown_table(done.frame()),
        "kept_and_why": markdown_table(pins_frame(done.pins, kept=done.kept), limit=100),
        "expired": spans(done.expired) or "none",
        "references_to_snapshots_that_are_gone": len(done.pins_gone),
        "snapshots": done.after.snapshots,
        "files": done.after.files + done.after.files_older,
        "bytes": done.after.bytes + done.after.bytes_older,
        "longest_wait_for_writers_seconds": round(done.longest_turn_seconds, 3),
        "seconds": round(done.seconds, 2),
        "dry_run": str(done.is_dry_run),
    }


ASSETS = [lake_maintenance]
