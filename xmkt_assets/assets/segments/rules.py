"""Association rules in Dagster. Wiring only; the sums are in ``xmkt_assets.segments.rules``."""

from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from xmkt_assets.assets.segments.shared import EXPERIMENT, outcome
from xmkt_assets.materialisation import markdown_table, materialised, picture
from xmkt_assets.partitions import DAYS
from xmkt_assets.resources import Tracking, Warehouse
from xmkt_assets.segments.rules.findings import Findings, Limits, association_rules
from xmkt_assets.segments.rules.tables import RULES_COLUMNS, RULES_DESCRIPTION, RULES_TABLE, for_the_page, ranked
from xmkt_assets.tracking import run_tags

TITLES = (
    "select 'course:' || course_id as item, title from staging.courses "
    "union all select 'product:' || product_id, product_name from staging.products"
)


class RulesConfig(dg.Config):
    """How common, how sure and how long a rule must be; fewest_people keeps rules from pointing at persons."""

    min_support_share: float = 0.001
    fewest_people: int = 20
    false_discovery_share: float = 0.05
    longest_antecedent: int = 2


@dg.asset(
    key=["segments", "association_rules"],
    group_name="segments",
    partitions_def=DAYS,
    deps=[["segments", "baskets"], ["staging", "courses"], ["staging", "products"]],
    kinds={"python", "mlflow"},
    owners=["team:data-science"],
)
def association_rules_asset(
    context: dg.AssetExecutionContext, config: RulesConfig, warehouse: Warehouse, tracking: Tracking
) -> dg.MaterializeResult:
    """One row per rule as of a date: people who have these courses, products or topics have that one too.

    Every rule is more than chance gives people who have so much of each kind, with at most 5 % false rules among those
    kept (Benjamini and Hochberg, all rules tried counted). Across the firms only people with something at both count.
    Trap: a rule says what goes together, not what would follow from an offer.
    """
    day, snapshot_id = date.fromisoformat(context.partition_key), warehouse.snapshot_id()
    baskets = warehouse.read("select person_id, item, kind, side from segments.baskets where as_of_on = $day", day=day)
    titles = dict(warehouse.read(TITLES).iter_rows())
    found = association_rules(baskets, titles=titles, limits=Limits(**config.model_dump()))
    shown = ranked(found.rules, titles)
    tags = run_tags(context, snapshot_id=snapshot_id) | outcome(found.reason)
    with tracking.run(f"association_rules {day}", experiment=EXPERIMENT, tags=tags) as run:
        run.params(config.model_dump())
        run.metrics({"rules": found.rules.height, "tested": int(found.scopes["tested"].sum())})
        run.json("scopes.json", found.scopes.to_dicts())
        run.figure("rules.png", shown)
    rows = found.rules.select(pl.lit(day).alias("as_of_on"), pl.all())
    written = warehouse.replace(
        RULES_TABLE, rows, where={"as_of_on": day}, description=RULES_DESCRIPTION, columns=RULES_COLUMNS
    )
    metadata: dict[str, Any] = {
        "outcome": found.reason or "applicable",
        "mlflow/run_id": run.run_id,
        "mlflow/run": dg.MetadataValue.url(tracking.ui_url(run.run_id, EXPERIMENT)),
        "dagster/partition_row_count": rows.height,
        **_pages(found),
        "picture": picture(shown, title="people per rule, beside what chance gives"),
    }
    return materialised(written, rows, read_snapshot_id=snapshot_id, metadata=metadata, columns=RULES_COLUMNS)


def _pages(found: Findings) -> dict[str, Any]:
    return {"rules": markdown_table(for_the_page(found.rules)), "scopes": markdown_table(found.scopes)}


ASSETS = [association_rules_asset]
