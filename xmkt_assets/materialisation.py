"""What a materialisation says of itself in the Dagster UI: table, rows, columns, snapshots, pictures.

Shared by the SQL assets and the Python assets, so that every table shows the same things under the same names.
"""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from xmkt_assets.known_tables import known_tables
from xmkt_assets.letters import chinese_letters
from xmkt_assets.showing import sample_columns
from xmkt_assets.warehouse import Written

SAMPLE_ROWS: Final = 5

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure


def materialised(
    written: Written,
    rows: "pl.DataFrame",
    *,
    read_snapshot_id: int,
    metadata: Mapping[str, Any] | None = None,
    columns: Mapping[str, str] | None = None,
) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """Result of an asset that wrote `rows`; `metadata` adds what is special to it, `columns` what each column means."""
    types = known_tables().get(written.table, {})
    schema = [
        dg.TableColumn(name, types.get(name, str(kind)), (columns or {}).get(name))
        for name, kind in rows.schema.items()
    ]
    shown = sample_columns(written.table, rows.columns)
    return dg.MaterializeResult(
        metadata={
            **written_metadata(written, read_snapshot_id=read_snapshot_id),
            **column_schema(schema),
            **sample(written.table, rows.select(shown) if shown else None),
            **(metadata or {}),
        },
        data_version=dg.DataVersion(f"snapshot-{written.snapshot_id}"),
    )


def written_metadata(written: Written, *, read_snapshot_id: int, days: int = 1) -> dict[str, Any]:
    """Table name, row count, the lake snapshots read and written, and the statement that reads these rows again.

    Of several `days` there is no one count: `add_day_counts` gives each day its own.
    """
    return {
        "dagster/table_name": written.table,
        **({"dagster/row_count": written.row_count} if days <= 1 else {}),
        "snapshot_read": read_snapshot_id,
        "snapshot_written": written.snapshot_id,
        "read_again": dg.MetadataValue.md(f"`select * from {written.table} at (version => {written.snapshot_id})`"),
    }


def sample(table: str, rows: "pl.DataFrame | None") -> dict[str, Any]:
    """A few rows without personal columns; None = the table shows none."""
    if rows is None:
        return {"sample": f"none: {table} is made of sensitive data, or every column of it is personal"}
    return {"sample": markdown_table(rows.head(SAMPLE_ROWS))}


def column_schema(columns: Iterable[dg.TableColumn]) -> dict[str, Any]:
    return {"dagster/column_schema": dg.TableSchema(columns=list(columns))}


def add_day_counts(context: dg.AssetExecutionContext, counts: Mapping[date, int]) -> None:
    """Row count of each day of a single-run range: metadata of the result itself would be copied on every day."""
    for day, rows in counts.items():
        context.add_asset_metadata({"dagster/partition_row_count": rows}, partition_key=day.isoformat())


def markdown_table(rows: "pl.DataFrame", *, limit: int = 30) -> dg.MarkdownMetadataValue:
    """A frame as a table in the UI; says so when it is cut."""
    head = rows.head(limit)
    lines = ["| " + " | ".join(head.columns) + " |", "|" + "---|" * len(head.columns)]
    lines += ["| " + " | ".join(_cell(v) for v in row) + " |" for row in head.iter_rows()]
    if rows.height > limit:
        lines.append(f"\n… and {rows.height - limit} more rows")
    return dg.MetadataValue.md("\n".join(lines))


def rows_table(rows: Sequence[Mapping[str, object]]) -> dg.MarkdownMetadataValue:
    """A few rows as a table in the UI."""
    import polars as pl

    return markdown_table(pl.DataFrame(list(rows), strict=False))


def picture(figure: "Figure", *, title: str) -> dg.MarkdownMetadataValue:
    """A matplotlib figure as a picture in the UI; `title` is read where pictures are not shown."""
    buffer = io.BytesIO()
    with chinese_letters():
        figure.savefig(buffer, format="png", dpi=90, bbox_inches="tight")
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()})")


def _cell(value: object) -> str:
    text = "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
