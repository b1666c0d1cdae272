"""Run one SQL model on rows written by hand: input rows in, output rows out, nothing mocked but the storage."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path

import duckdb
import polars as pl

from xmkt_assets.sql_models import SqlModel

FOLDER = Path(__file__).parent.parent / "dbt_like_sql"
Rows = pl.DataFrame | Sequence[Mapping[str, object]]


def read_model(table: str) -> SqlModel:
    schema, name = table.split(".")
    path = FOLDER / schema / f"{name}.sql"
    return SqlModel(schema, name, f"dbt_like_sql/{schema}/{name}.sql", path.read_text(encoding="utf-8"))


def run_model(table: str, inputs: Mapping[str, Rows], *, day: date | None = None) -> pl.DataFrame:
    """Rows of `table` computed from `inputs` (``schema.table`` → rows), sorted by grain.

    Every table the model reads must be given, so that a test cannot forget one; give an empty frame with its schema
    where there are no rows.
    """
    model = read_model(table)
    missing = model.reads - inputs.keys()
    assert not missing, f"{table} also reads {sorted(missing)}: give rows (or an empty frame) for them"
    with duckdb.connect(config={"threads": "1"}) as con:
        con.execute("set TimeZone='UTC'")
        for name, rows in inputs.items():
            _create(con, name, rows)
        params = _bounds(model, day)
        frame = con.sql(model.sql, params=params).pl() if params else con.sql(model.sql).pl()
    return frame.sort(list(model.grain))


def _create(con: duckdb.DuckDBPyConnection, table: str, rows: Rows) -> None:
    frame = rows if isinstance(rows, pl.DataFrame) else pl.DataFrame(list(rows), infer_schema_length=None)
    con.execute(f"create schema if not exists {table.split('.', maxsplit=1)[0]}")
    con.register("given", frame)
    con.execute(f"create table {table} as select * from given")
    con.unregister("given")


def _bounds(model: SqlModel, day: date | None) -> dict[str, datetime]:
    if not model.parameters:
        return {}
    assert day is not None, f"{model.table} is partitioned: give day="
    start = datetime.combine(day, time())
    return {k: v for k, v in {"start": start, "end": start + timedelta(days=1)}.items() if k in model.parameters}
