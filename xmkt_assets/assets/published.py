"""Published: the native DuckDB file analysts open. Wiring only; copying is in ``xmkt_assets.published``."""

from pathlib import Path

import dagster as dg
import polars as pl

from xmkt_assets import published
from xmkt_assets.materialisation import markdown_table
from xmkt_assets.resources import Warehouse


def published_file(finished: list[dg.AssetKey]) -> dg.AssetsDefinition:
    """The asset of the published file, downstream of every finished table."""

    @dg.asset(
        key=["published", "xmkt_duckdb"],
        group_name="published",
        deps=finished,
        kinds={"duckdb", "file"},
        owners=["team:data-engineering"],
    )
    def xmkt_duckdb(warehouse: Warehouse) -> dg.MaterializeResult:
        """The finished tables in one native DuckDB file, `published/xmkt.duckdb`, replaced in one step.

        Open it with any DuckDB tool; its `catalog` table lists what is inside and which lake snapshot it shows.
        """
        home = Path(warehouse.home)
        done = published.publish(home / "lake", home / "published" / "xmkt.duckdb")
        tables = pl.DataFrame(done.tables, schema={"table": pl.String, "rows": pl.Int64}, orient="row")
        return dg.MaterializeResult(
            metadata={
                "snapshot_read": done.snapshot_id,
                "size_bytes": done.path.stat().st_size,
                "dagster/row_count": int(tables["rows"].sum()),
                "tables": markdown_table(tables, limit=100),
            }
        )

    return xmkt_duckdb
