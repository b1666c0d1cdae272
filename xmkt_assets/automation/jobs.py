"""Jobs: the four things this platform does, each a selection of assets."""

from typing import Final

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition as AssetJob

from xmkt_assets.sql_models import SqlModel

__all__ = ["EVALUATE", "LOAD", "PLAN", "RETRAIN", "AssetJob", "jobs"]

LOAD: Final = "load_partner_drops"
RETRAIN: Final = "retrain"
PLAN: Final = "plan_campaign"
EVALUATE: Final = "evaluate_and_publish"


def jobs(models: dict[str, SqlModel]) -> dict[str, AssetJob]:
    """Every job by name. Snapshot tables of staging (the gates) belong to retraining, the rest to loading."""
    snapshots = dg.AssetSelection.assets(*[[m.schema, m.name] for m in models.values() if m.is_snapshot])
    staging = dg.AssetSelection.groups("staging")
    gates = staging & snapshots
    members = {
        LOAD: (dg.AssetSelection.groups("raw").materializable() | staging) - gates,
        RETRAIN: gates | dg.AssetSelection.groups("segments", "recommenders"),
        PLAN: dg.AssetSelection.groups("campaigns"),
        EVALUATE: dg.AssetSelection.groups("evaluation", "published"),
    }
    about = {
        LOAD: "Partner files of a day (or a range of days) → raw tables, quarantine, ledger → staging.",
        RETRAIN: "As of a day: consent gates → profiles → recommender models, champion, recommendations.",
        PLAN: "One campaign plan → campaign list with holdout, and who was left out by which rule.",
        EVALUATE: "Effects and uplift curves of every campaign so far; then the published file.",
    }
    return {name: dg.define_asset_job(name, selection=members[name], description=about[name]) for name in members}
