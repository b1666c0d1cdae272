"""Jobs: the things this platform does, each a selection of assets."""

from typing import Final

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition as AssetJob

from xmkt_assets.promises import FULL_LOOK, repeated_on_any_day
from xmkt_assets.segments.standing import STANDING_TAGS
from xmkt_assets.sql_models import SqlModel

__all__ = ["ERASE", "EVALUATE", "LOAD", "MAINTAIN", "PLAN", "RETRAIN", "SCORE", "AssetJob", "jobs"]

LOAD: Final = "load_partner_drops"
RETRAIN: Final = "retrain"
SCORE: Final = "score_people"
PLAN: Final = "plan_campaign"
EVALUATE: Final = "evaluate_and_publish"
ERASE: Final = "erase_people"
MAINTAIN: Final = "maintain_lake"


def jobs(models: dict[str, SqlModel]) -> dict[str, AssetJob]:
    """Every job by name. Snapshot tables of staging (the gates), what reads them and what reads nothing (the rules of
    cleaning) belong to retraining, the rest to loading. Scoring is the part of retraining that ends with the profiles;
    a tag of its runs says that models which stand are used and not fitted."""
    snapshots = dg.AssetSelection.assets(*[t.split(".") for t in of_retraining(models)])
    staging = dg.AssetSelection.groups("staging")
    gates = staging & snapshots
    erasure = dg.AssetSelection.assets(["staging", "erasures"], ["raw", "erased_subjects"])
    looks = [table.split(".") for table, model in models.items() if repeated_on_any_day(model)]
    on_demand = dg.AssetSelection.checks(*[dg.AssetCheckKey(dg.AssetKey(path), FULL_LOOK) for path in looks])
    members = {
        LOAD: (dg.AssetSelection.groups("raw").materializable() | staging) - gates - erasure - on_demand,
        RETRAIN: gates | dg.AssetSelection.groups("segments", "recommenders"),
        SCORE: gates | dg.AssetSelection.groups("segments"),
        PLAN: dg.AssetSelection.groups("campaigns"),
        EVALUATE: dg.AssetSelection.groups("evaluation", "published"),
        ERASE: erasure,
        MAINTAIN: dg.AssetSelection.groups("lake"),
    }
    about = {
        LOAD: "Partner files of a day (or a range of days) → raw tables, quarantine, ledger → staging.",
        RETRAIN: "As of a day: consent gates → profiles → recommender models, champion, recommendations.",
        SCORE: "As of a day: consent gates → profiles, groups and scores by the models there are, and their drift. "
        "Recommenders are not trained: recommendations are those of the last retraining.",
        PLAN: "One campaign plan → campaign list with holdout, and who was left out by which rule.",
        EVALUATE: "Effects and uplift curves of every campaign so far; then the published file.",
        ERASE: "Who asked to be erased leaves tables, snapshots, files, models and logs; receipts are written.",
        MAINTAIN: "Small files are merged, old snapshots expire unless something refers to them, unneeded files go.",
    }
    return {
        name: dg.define_asset_job(
            name, selection=selected, description=about[name], tags=STANDING_TAGS if name == SCORE else None
        )
        for name, selected in members.items()
    }


def of_retraining(models: dict[str, SqlModel]) -> set[str]:
    """Tables that no partner file changes by itself: snapshots, what is made of them, and rules that read no table."""
    found: set[str] = set()
    for table, model in models.items():  # upstream first
        if model.is_snapshot or not model.reads or model.reads & found:
            found.add(table)
    return found
