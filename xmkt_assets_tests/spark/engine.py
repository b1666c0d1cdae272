"""Sail, an engine that speaks Spark Connect, on the tables of `small_lake`; and when two results are the same rows."""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from xmkt_assets_tests.spark.small_lake import tables

TOLERANCE: Final = 1e-9  # relative: engines add floats in different orders
SETTINGS: Final = {"spark.sql.session.timeZone": "UTC", "spark.sql.ansi.enabled": "true"}


@contextmanager
def sail() -> Iterator[Any]:
    """A Spark session on a Sail server in this process; SPARK_REMOTE names another Spark Connect instead."""
    os.environ.setdefault("RUST_LOG", "error")
    from pyspark.sql import SparkSession

    remote = os.environ.get("SPARK_REMOTE")
    server = None
    if not remote:
        from pysail.spark import SparkConnectServer

        server = SparkConnectServer("127.0.0.1", 0)
        server.start(background=True)
        remote = "sc://{}:{}".format(*server.listening_address)
    spark = SparkSession.builder.remote(remote).getOrCreate()
    for name, value in SETTINGS.items():
        spark.conf.set(name, value)
    try:
        yield spark
    finally:
        spark.stop()
        if server:
            server.stop()


def copy_tables(con: duckdb.DuckDBPyConnection, spark: Any, folder: Path) -> None:
    """The same rows for the other engine: a Parquet file a table, read where it lies."""
    found = tables(con)
    for schema in sorted({table.split(".")[0] for table in found}):
        spark.sql(f"create database if not exists {schema}").collect()
    for table in found:
        path = folder / f"{table}.parquet"
        con.execute(f"copy {table} to '{path}'")
        spark.sql(f"create table {table} using parquet location '{path}'").collect()


def differences(wanted: pa.Table, got: pa.Table) -> list[str]:
    """How two results differ as sets of rows that may repeat; empty = the same. Order is no part of a result."""
    if wanted.column_names != got.column_names:
        return [f"columns {got.column_names}, wanted {wanted.column_names}"]
    kinds = [(name, _kind(w.type), _kind(g.type)) for name, w, g in zip(wanted.column_names, wanted, got, strict=True)]
    if unlike := [f"{name} is {g}, wanted {w}" for name, w, g in kinds if w != g]:
        return unlike
    if wanted.num_rows != got.num_rows:
        return [f"{got.num_rows} rows, wanted {wanted.num_rows}"]
    is_float = [kind == "number" for _, kind, _ in kinds]
    pairs = zip(_sorted(wanted, is_float), _sorted(got, is_float), strict=True)
    return [f"{g}, wanted {w}" for w, g in pairs if not _same(w, g)]


def _kind(kind: pa.DataType) -> str:
    """What a type holds; how wide, and in what unit, is each engine's own."""
    if pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale == 0):
        return "whole"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "text"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list of {_kind(kind.value_type)}"
    return "time" if pa.types.is_timestamp(kind) else str(kind)


def _sorted(table: pa.Table, is_float: Sequence[bool]) -> list[tuple[object, ...]]:
    rows = [tuple(_plain(v) for v in row.values()) for row in table.to_pylist()]

    def order(row: tuple[object, ...]) -> tuple[list[str], list[float]]:
        exact = [repr(v) for v, f in zip(row, is_float, strict=True) if not f]
        return exact, [
            math.inf if v is None else round(float(str(v)), 6) for v, f in zip(row, is_float, strict=True) if f
        ]

    return sorted(rows, key=order)


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return int(value) if value.as_tuple().exponent == 0 else float(value)
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    return [_plain(v) for v in value] if isinstance(value, list) else value


def _same(wanted: Sequence[object], got: Sequence[object]) -> bool:
    return all(
        math.isclose(w, g, rel_tol=TOLERANCE, abs_tol=1e-12)
        if isinstance(w, float) and isinstance(g, float)
        else w == g
        for w, g in zip(wanted, got, strict=True)
    )
