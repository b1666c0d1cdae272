"""The sharing agreement's terms of identity as tables, and the overlap report by which firms decide to share. Wiring
only; rows are made in ``xmkt_assets.identity_terms`` and ``xmkt_assets.overlap``."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl

from xmkt_assets import identity_terms as terms
from xmkt_assets import overlap
from xmkt_assets.agreement import Agreement, AgreementError, agreement_path, read_agreement
from xmkt_assets.materialisation import markdown_table, materialised, picture
from xmkt_assets.resources import Warehouse

OWNERS = ["team:compliance"]


class OverlapConfig(dg.Config):
    """Counts below `threshold` (at least 10) are left out, the others rounded to multiples of `rounding` (1 = exact).

    `year` is the year whose ages are meant; without it, the present one.
    """

    threshold: int = overlap.SMALLEST
    rounding: int = overlap.SMALLEST
    year: int | None = None


@dg.asset(
    key=terms.KEYS_TABLE.split("."),
    group_name="staging",
    description=terms.KEYS_DESCRIPTION,
    kinds={"python", "yaml"},
    owners=OWNERS,
    metadata={"dagster/table_name": terms.KEYS_TABLE},
)
def hash_keys(warehouse: Warehouse) -> dg.MaterializeResult:
    """The keys of the agreement that counts in this home: its own file, else the packaged one."""
    rows = terms.hash_key_rows(_agreement(warehouse))
    return _written(warehouse, terms.KEYS_TABLE, rows, terms.KEYS_DESCRIPTION, terms.KEYS_COLUMNS)


@dg.asset(
    key=terms.RULES_TABLE.split("."),
    group_name="staging",
    description=terms.RULES_DESCRIPTION,
    kinds={"python", "yaml"},
    owners=OWNERS,
    metadata={"dagster/table_name": terms.RULES_TABLE},
)
def identifier_rules(warehouse: Warehouse) -> dg.MaterializeResult:
    """The identifiers of the agreement that counts in this home, in the order of precedence."""
    rows = terms.identifier_rule_rows(_agreement(warehouse))
    return _written(warehouse, terms.RULES_TABLE, rows, terms.RULES_DESCRIPTION, terms.RULES_COLUMNS)


@dg.asset(
    key=overlap.TABLE.split("."),
    group_name="staging",
    description=overlap.DESCRIPTION,
    deps=[["staging", "people"]],
    kinds={"python"},
    owners=OWNERS,
    metadata={"dagster/table_name": overlap.TABLE},
)
def overlap_report(
    context: dg.AssetExecutionContext, config: OverlapConfig, warehouse: Warehouse
) -> dg.MaterializeResult:
    """Counts by broad cells, small ones left out; reads people's bands and sides only."""
    read_snapshot = warehouse.snapshot_id()
    counts = overlap.counts_of(warehouse.read(overlap.ATOMS_QUERY, year=config.year or datetime.now(UTC).year))
    try:
        rows = overlap.overlap_report(counts, threshold=config.threshold, rounding=config.rounding)
    except overlap.OverlapError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    hidden = int(rows["is_suppressed"].sum())
    context.log.info("%d of %d cells are left out, with counts below %d.", hidden, rows.height, config.threshold)
    written = warehouse.replace(overlap.TABLE, rows, description=overlap.DESCRIPTION, columns=overlap.COLUMNS)
    shown = {
        "cells_left_out": hidden,
        "threshold": config.threshold,
        "rounding": config.rounding,
        "report": markdown_table(rows.drop("is_suppressed"), limit=rows.height),
        "common_base": picture(overlap.figure(rows), title="people whom one or both firms know, by age band"),
    }
    return materialised(written, rows, read_snapshot_id=read_snapshot, metadata=shown, columns=overlap.COLUMNS)


def _agreement(warehouse: Warehouse) -> Agreement:
    try:
        return read_agreement(Path(warehouse.home))
    except AgreementError as error:
        raise dg.Failure(str(error), allow_retries=False) from error


def _written(
    warehouse: Warehouse, table: str, rows: pl.DataFrame, description: str, columns: Mapping[str, str]
) -> dg.MaterializeResult:
    read_snapshot = warehouse.snapshot_id()
    written = warehouse.replace(table, rows, description=description, columns=columns)
    shown = {"agreement": agreement_path(Path(warehouse.home)).name, "terms": markdown_table(rows)}
    return materialised(written, rows, read_snapshot_id=read_snapshot, metadata=shown, columns=columns)


ASSETS = [hash_keys, identifier_rules, overlap_report]
