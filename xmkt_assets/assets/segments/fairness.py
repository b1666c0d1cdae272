"""Fairness in Dagster: how groups of people fare with each score. Wiring only; the sums are in
``xmkt_assets.segments.fairness``, what a model may use at all in ``xmkt_assets.protected``."""

from datetime import date
from typing import Any, Final

import dagster as dg
import polars as pl

from xmkt_assets.materialisation import markdown_table, materialised, picture
from xmkt_assets.partitions import DAYS
from xmkt_assets.resources import Warehouse
from xmkt_assets.segments import fairness
from xmkt_assets.segments.fairness_picture import fairness_picture
from xmkt_assets.segments.targets import TARGETS

KEY: Final = dg.AssetKey(["segments", "fairness"])
CHECK: Final = "groups_fare_alike"
_READ: Final = ("segments.person_features", "segments.person_clusters", *(t.validation_table for t in TARGETS))
_SHOWN: Final = (
    *("target", "attribute", "group_name", "people", "selection_share", "selection_ratio", "observed_share"),
    *("mean_predicted_share", "calibration_ratio", "true_positive_rate", "false_positive_rate", "finding", "reason"),
)


@dg.asset(
    key=KEY,
    group_name="segments",
    partitions_def=DAYS,
    deps=[table.split(".") for table in _READ],
    kinds={"python", "polars"},
    owners=["team:data-science"],
    check_specs=[
        dg.AssetCheckSpec(
            CHECK,
            asset=KEY,
            description=(
                "By gender and age band, no group is selected less than four fifths as often as another beyond chance, "
                "and what is foretold of a group happens 0.8 to 1.25 times as often. It warns and blocks nothing: a "
                "finding is a question to look into, no verdict."
            ),
        )
    ],
)
def group_fairness(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult:
    """One row per target, attribute (gender, age band) and group as of a date: how the group fares with the score.

    Selection (the fifth with the highest predictions, or the value label 'high value') against the group selected most,
    what happened against what was foretold, and true and false positive rates, all out of fold and with 95 % intervals.
    Groups under 30 people are left out. Trap: groups may differ because they behave differently; no model but
    claim_risk may use age, and none gender (xmkt_assets/protected.py).
    """
    day, snapshot_id = date.fromisoformat(context.partition_key), warehouse.snapshot_id()
    rows = _table(warehouse, day=day).select(pl.lit(day).alias("as_of_on"), pl.all())
    written = warehouse.replace(
        "segments.fairness",
        rows,
        where={"as_of_on": day},
        description=fairness.FAIRNESS_DESCRIPTION,
        columns=fairness.FAIRNESS_COLUMNS,
    )
    result = materialised(
        written,
        rows,
        read_snapshot_id=snapshot_id,
        metadata={"dagster/partition_row_count": rows.height, **_shown(rows)},
        columns=fairness.FAIRNESS_COLUMNS,
    )
    return result._replace(check_results=[_checked(rows)])


def _table(warehouse: Warehouse, *, day: date) -> pl.DataFrame:
    def rows(table: str, columns: str) -> pl.DataFrame:
        return warehouse.read(f"select {columns} from {table} where as_of_on = $day", day=day)

    people = rows("segments.person_features", "person_id, gender, age_band")
    labels = rows("segments.person_clusters", "person_id, value_label")
    validated = {t.name: rows(t.validation_table, "person_id, is_positive, predicted_share") for t in TARGETS}
    return pl.concat(
        [
            *(fairness.of_scores(validation, people, target=name) for name, validation in validated.items()),
            fairness.of_labels(labels, people),
        ]
    )


def _shown(rows: pl.DataFrame) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "findings": dg.MetadataValue.md(fairness.in_words(rows)),
        "groups": markdown_table(rows.select(_SHOWN), limit=80),
    }
    if figure := fairness_picture(rows):
        shown["how_groups_fare"] = picture(figure, title="selection and calibration by gender and age band")
    return shown


def _checked(rows: pl.DataFrame) -> dg.AssetCheckResult:
    found = fairness.findings(rows)
    return dg.AssetCheckResult(
        check_name=CHECK,
        asset_key=KEY,
        passed=not found,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(found) or "nothing to look into",
        metadata={"findings": len(found), "groups": rows["people"].count()},
    )


ASSETS = [group_fairness]
