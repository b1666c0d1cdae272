"""The closing summary of ``make demo`` and ``make real``: what lies where, what was found, where to look next.

Reads finished tables only; computes nothing that a table does not hold.
"""

from pathlib import Path

import polars as pl

from xmkt_assets.console import print_table
from xmkt_assets.resources import Warehouse

STAGES = ("raw", "staging", "segments", "recommenders", "campaigns", "evaluation")


def print_summary(
    warehouse: Warehouse, *, campaign: str | None, truth: pl.DataFrame | None = None, planted: int | None = None
) -> None:
    """Print the summary. `truth` is the simulator's effect per metric; `planted` its count of dirty rows."""
    print("\n" + "═" * 100)
    print_table("Rows per table", rows_per_table(warehouse))
    print_table("Partner files", _files(warehouse, planted=planted))
    print_table("Champion per target", _champions(warehouse))
    if campaign:
        print_table(
            f"Campaign {campaign}: who is on the list, who was left out by which rule", _waterfall(warehouse, campaign)
        )
    print_table(
        "Effects measured" + (" beside the simulator's truth" if truth is not None else ""), _effects(warehouse, truth)
    )
    print_table("Uplift curves (Qini, per person treated)", _curves(warehouse))
    if truth is not None:
        print("\nEvery person and figure above is SIMULATED; the truth is known because the simulator stores its rule.")
    _where_to_look(Path(warehouse.home))


def rows_per_table(warehouse: Warehouse) -> pl.DataFrame:
    """One row per stage and table of the lake with its number of rows."""
    tables = [t for stage in STAGES for t in sorted(warehouse.lake.tables()) if t.split(".")[0] == stage]
    counts = [int(warehouse.read(f"select count(*) from {table}").item()) for table in tables]
    return pl.DataFrame({"table": tables, "rows": counts})


def _files(warehouse: Warehouse, *, planted: int | None) -> pl.DataFrame:
    found = warehouse.read(
        "select partner, count(*) as files, sum(rows_in)::bigint as rows_in, sum(rows_loaded)::bigint as loaded, "
        "sum(rows_quarantined)::bigint as quarantined, sum(rows_duplicate)::bigint as duplicates "
        "from raw.file_ledger group by partner order by partner"
    )
    refused = int(found.select(pl.col("quarantined") + pl.col("duplicates")).sum().item() or 0)
    if planted is not None:
        print(f"\nThe simulator planted {planted} bad or repeated rows; {refused} were kept out.")
    return found


def _champions(warehouse: Warehouse) -> pl.DataFrame:
    query = (
        "select target, outcome, model, model_version, metric, gain, gain_low, gain_high, reason "
        "from recommenders.{}_champion where as_of_on = (select max(as_of_on) from recommenders.{}_champion)"
    )
    frames = [warehouse.read(query.format(target, target)) for target in ("course", "product")]
    return pl.concat(frames)


def _waterfall(warehouse: Warehouse, campaign: str) -> pl.DataFrame:
    return warehouse.read(
        "with placed as ("
        "select 'left out: ' || rule as outcome, step, count(*) as people from campaigns.exclusions "
        "where campaign_id = $id group by rule, step "
        "union all select 'on the list: ' || arm, 99, count(*) from campaigns.campaign_list "
        "where campaign_id = $id group by arm "
        "union all select 'everyone known', 100, count(*) from (select person_id from campaigns.exclusions where "
        "campaign_id = $id union all select person_id from campaigns.campaign_list where campaign_id = $id)) "
        "select outcome, people from placed order by step, outcome",
        id=campaign,
    )


def _effects(warehouse: Warehouse, truth: pl.DataFrame | None) -> pl.DataFrame:
    found = warehouse.read(
        "select campaign_id, arm, metric, treated_mean, control_mean, difference, interval_low, interval_high, "
        "srm_verdict as sample_ratio, status from evaluation.experiment_results "
        "order by campaign_id, arm, is_goal desc, metric"
    )
    if truth is None:
        return found
    known = truth.select("metric", simulated_truth="true_effect")
    joined = found.join(known, on="metric", how="left", maintain_order="left")
    inside = pl.col("simulated_truth").is_between(pl.col("interval_low"), pl.col("interval_high"))
    words = pl.when(inside).then(pl.lit("yes")).when(inside.not_()).then(pl.lit("no")).otherwise(pl.lit("—"))
    return joined.with_columns(truth_in_interval=words)


def _curves(warehouse: Warehouse) -> pl.DataFrame:
    return warehouse.read(
        "select distinct campaign_id, arm, metric, score_name, qini, qini_low, qini_high "
        "from evaluation.uplift_curves where qini is not null order by all limit 24"
    )


def _where_to_look(home: Path) -> None:
    print(
        f"""
Where to look next
  make dev          Dagster on http://localhost:3000 and MLflow on http://localhost:5000, on this home
  make sql          a read-only DuckDB shell on the lake:  select * from campaigns.campaign_list limit 5;
  {home.name}/published/xmkt.duckdb   the finished tables for any DuckDB tool; start with:  from catalog;
  raw.quarantine    the rows that were kept out, as they came, with the reason"""
    )
