"""The published file: finished tables in one native DuckDB file, for tools that know only such files. Pure.

It is built beside the old one and put in its place by one rename, so a reader sees the old file or the new one,
never half of one. Which snapshot it shows is in its ``catalog`` table. Personal attributes beyond the pseudonymous
``person_id`` stay in the lake's staging schema and are not published, nor are tables made of sensitive data.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

import duckdb

from xmkt_assets.purposes import SENSITIVE_TABLES
from xmkt_assets.warehouse import attach_sql, literal

SCHEMAS: Final = ("segments", "recommenders", "campaigns", "evaluation")
ALSO: Final = ("raw.file_ledger", "staging.courses", "staging.products")


def is_published(table: str) -> bool:
    """Whether a table goes into the file. What is made of sensitive data does not: both firms open the file."""
    return table in ALSO or (table.split(".", maxsplit=1)[0] in SCHEMAS and table not in SENSITIVE_TABLES)


class Published(NamedTuple):
    """What went into the file."""

    path: Path
    snapshot_id: int
    tables: tuple[tuple[str, int], ...]


def publish(lake_root: Path, target: Path) -> Published:
    """Copy the finished tables of the lake's newest snapshot to `target`, replacing it atomically."""
    target.parent.mkdir(parents=True, exist_ok=True)
    building = target.with_name(f".{target.name}.{os.getpid()}.building")
    _remove(building)
    try:
        done = _build(lake_root, building)
        os.replace(building, target)
    finally:
        _remove(building)
    return done._replace(path=target)


def _build(lake_root: Path, building: Path) -> Published:
    connection = duckdb.connect()
    try:
        for statement in attach_sql(lake_root, read_only=True):
            connection.execute(statement)
        connection.execute(f"attach {literal(building)} as out")
        connection.execute("begin transaction")  # every table is copied from one and the same snapshot
        row = connection.execute("select id from ducklake_current_snapshot('lake')").fetchone()
        snapshot_id = int(row[0]) if row else 0
        counts = tuple((name, _copy(connection, name)) for name in _finished(connection))
        _write_catalog(connection, counts, snapshot_id)
        connection.execute("commit")
        connection.execute("use memory")
        connection.execute("detach out")
    finally:
        connection.close()
    return Published(building, snapshot_id, counts)


def _remove(building: Path) -> None:
    for path in (building, building.with_name(f"{building.name}.wal")):
        path.unlink(missing_ok=True)


def _finished(connection: duckdb.DuckDBPyConnection) -> list[str]:
    rows = connection.execute(
        "select table_schema || '.' || table_name as name from information_schema.tables "
        "where table_catalog = 'lake' order by name"
    ).fetchall()
    return [name for (name,) in rows if is_published(name)]


def _copy(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    schema = table.split(".", maxsplit=1)[0]
    connection.execute(f"create schema if not exists out.{schema}")
    connection.execute(f"create table out.{table} as select * from lake.{table}")
    for statement in _comments(connection, table):
        connection.execute(statement)
    row = connection.execute(f"select count(*) from out.{table}").fetchone()
    return int(row[0]) if row else 0


def _comments(connection: duckdb.DuckDBPyConnection, table: str) -> Iterable[str]:
    schema, name = table.split(".")
    where = f"database_name = 'lake' and schema_name = '{schema}' and table_name = '{name}'"
    for (comment,) in connection.execute(f"select comment from duckdb_tables() where {where}").fetchall():
        if comment:
            yield f"comment on table out.{table} is {literal(comment)}"
    columns = f"select column_name, comment from duckdb_columns() where {where} and comment is not null"
    for column, comment in connection.execute(columns).fetchall():
        yield f"comment on column out.{table}.{column} is {literal(comment)}"


def _write_catalog(
    connection: duckdb.DuckDBPyConnection, counts: tuple[tuple[str, int], ...], snapshot_id: int
) -> None:
    connection.execute(
        "create table out.catalog (table_name VARCHAR, row_count BIGINT, description VARCHAR, lake_snapshot_id BIGINT)"
    )
    for name, rows in counts:
        schema, table = name.split(".")
        connection.execute(
            "insert into out.catalog select $name, $rows, max(comment), $snapshot from duckdb_tables() "
            "where database_name = 'lake' and schema_name = $schema and table_name = $table",
            {"name": name, "rows": rows, "snapshot": snapshot_id, "schema": schema, "table": table},
        )
