"""The published file: finished tables in one native DuckDB file, for tools that know only such files. Pure.

It is built beside the old one and put in its place by one rename, so a reader sees the old file or the new one, never
half of one; who has the old one open goes on reading it. An analyst begins with ``from catalog`` and ``from
catalog_columns``: what there is, what it means, how new it is, which snapshot of the lake it shows. Personal attributes
beyond the pseudonymous ``person_id`` stay in the lake's staging schema and are not published, nor are tables made of
sensitive data. What tables mean is handed in (`Described`); it is written where they are made.
"""

import fcntl
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import duckdb

from xmkt_assets.campaigns.tables import LIST_RUNS  # holds the salts of randomisation
from xmkt_assets.purposes import SENSITIVE_TABLES
from xmkt_assets.showing import sample_columns
from xmkt_assets.snapshots import list_snapshots
from xmkt_assets.warehouse import LakeAddress, connect, literal

LOG: Final = logging.getLogger(__name__)
SCHEMAS: Final = ("segments", "recommenders", "campaigns", "evaluation")
ALSO: Final = ("raw.file_ledger", "staging.courses", "staging.products")
# What says how new a table is, where its maker does not say it.
DAY_COLUMNS: Final = ("as_of_on", "measured_on", "launched_on", "dt")
WRITING: Final = frozenset({"rows", "created", "view created"})  # what a snapshot did that changes what is read
# People's own words, and the salts of lists, stay in the lake.
KEPT_IN: Final = (LIST_RUNS, "segments.review_texts")


def is_published(table: str) -> bool:
    """Whether a table goes into the file. What is made of sensitive data does not: both firms open the file."""
    return table in ALSO or (table.split(".", maxsplit=1)[0] in SCHEMAS and table not in {*SENSITIVE_TABLES, *KEPT_IN})


@dataclass(frozen=True, slots=True)
class Described:
    """What is known of a table besides its rows: in words, from where it is made. `origins` is per column."""

    description: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    grain: str = ""
    owner: str = ""
    day_column: str = ""
    made_by: str = ""
    origins: Mapping[str, str] = field(default_factory=dict)


class Published(NamedTuple):
    """What went into the file."""

    path: Path
    snapshot_id: int
    tables: tuple[tuple[str, int], ...]
    without_meaning: tuple[str, ...]  # columns nobody says the meaning of, as schema.table.column


def publish(lake: LakeAddress | Path, target: Path, *, described: Mapping[str, Described] | None = None) -> Published:
    """Copy the finished tables of the lake's newest snapshot to `target`, replacing it atomically.

    `described` says what they mean; a table it leaves out keeps the comments it has in the lake. One publication at a
    time: another one waits, and then removes what one that was killed has left behind.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    building = target.with_name(f".{target.name}.{os.getpid()}.building")
    with _turn(target):
        for left_behind in target.parent.glob(f".{target.name}.*.building*"):
            left_behind.unlink(missing_ok=True)
        try:
            done = _build(lake, building, described or {})
            _to_disk(building)
            os.replace(building, target)
            _to_disk(target.parent)
        finally:
            building.unlink(missing_ok=True)
            building.with_name(f"{building.name}.wal").unlink(missing_ok=True)
    return done._replace(path=target)


@contextmanager
def _turn(target: Path) -> Iterator[None]:
    """Be the only one who builds `target`. The kernel ends a turn with its process, however that ends."""
    with target.with_name(f".{target.stem}.lock").open("a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            LOG.info("waiting for another publication of %s", target.name)
            fcntl.flock(handle.fileno(), fcntl.LOCK_EX)
        yield


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _build(lake: LakeAddress | Path, building: Path, described: Mapping[str, Described]) -> Published:
    connection = connect(lake, read_only=True)
    try:
        # Rows of a table have no order of their own; keeping the files' one costs a fifth of the time.
        connection.execute("set preserve_insertion_order = false")
        connection.execute(f"attach {literal(building)} as out")
        connection.execute("begin transaction")  # every table is copied from one and the same snapshot
        snapshot_id = _snapshot(connection)
        tables = {name: _copy(connection, name) for name in _finished(connection)}
        words = {name: _described(connection, name, described.get(name, Described())) for name in tables}
        for name, said in words.items():
            _comment(connection, name, said)
        without_meaning = _write_catalog(connection, tables, words, snapshot_id)
        connection.execute("commit")
        connection.execute("use memory")
        connection.execute("detach out")  # writes everything into the one file
    finally:
        connection.close()
    return Published(building, snapshot_id, tuple(tables.items()), without_meaning)


def _snapshot(connection: duckdb.DuckDBPyConnection) -> int:
    row = connection.execute("select id from ducklake_current_snapshot('lake')").fetchone()
    return int(row[0]) if row else 0


def _finished(connection: duckdb.DuckDBPyConnection) -> list[str]:
    rows = connection.execute(
        "select table_schema || '.' || table_name as name from information_schema.tables "
        "where table_catalog = 'lake' order by name"
    ).fetchall()
    return [name for (name,) in rows if is_published(name)]


def _copy(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    schema = table.split(".", maxsplit=1)[0]
    connection.execute(f"create schema if not exists out.{schema}")
    row = connection.execute(f"create table out.{table} as select * from lake.{table}").fetchone()
    return int(row[0]) if row else 0


# ── words ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _described(connection: duckdb.DuckDBPyConnection, table: str, said: Described) -> Described:
    """What is said of a table, filled up with the comments it has in the lake, for the columns it has."""
    schema, name = table.split(".")
    where = f"where database_name = 'lake' and schema_name = {literal(schema)}"
    of_table = connection.execute(
        f"select comment from duckdb_tables() {where} and table_name = {literal(name)} "
        f"union all select comment from duckdb_views() {where} and view_name = {literal(name)}"
    ).fetchone()
    rows = connection.execute(
        f"select column_name, comment from duckdb_columns() {where} and table_name = {literal(name)}"
    ).fetchall()
    days = [said.day_column, *DAY_COLUMNS]
    columns = {column: said.columns.get(column) or comment or "" for column, comment in rows}
    return Described(
        description=said.description or (of_table[0] if of_table and of_table[0] else ""),
        columns=columns,
        grain=said.grain,
        owner=said.owner,
        day_column=next((day for day in days if day in columns), ""),
        made_by=said.made_by,
        origins=said.origins,
    )


def _comment(connection: duckdb.DuckDBPyConnection, table: str, said: Described) -> None:
    if said.description:
        connection.execute(f"comment on table out.{table} is {literal(said.description)}")
    for column, meaning in said.columns.items():
        if meaning:
            connection.execute(f"comment on column out.{table}.{column} is {literal(meaning)}")


# ── the catalog ──────────────────────────────────────────────────────────────────────────────────────────────────────

_CATALOG: Final = {
    "schema_name": ("VARCHAR", "Stage the table belongs to; write schema_name.table_name behind FROM"),
    "table_name": ("VARCHAR", "Table"),
    "row_count": ("BIGINT", "Rows it has in this file"),
    "oldest_on": ("DATE", "First day it speaks of; empty where its rows belong to no day"),
    "newest_on": ("DATE", "Last day it speaks of: how new it is"),
    "day_column": ("VARCHAR", "Column these days stand in"),
    "grain": ("VARCHAR", "Columns that identify a row"),
    "kind": ("VARCHAR", "What it is in the lake: a table, or a view; here both are tables"),
    "is_personal": ("BOOLEAN", "Whether rows are about single people, under a pseudonym"),
    "owner": ("VARCHAR", "Who answers questions about it"),
    "made_by": ("VARCHAR", "File of the repository that makes it"),
    "written_at": ("TIMESTAMP", "When its rows last changed in the lake (UTC); empty where the snapshot is expired"),
    "lake_snapshot_id": ("BIGINT", "Snapshot of the lake this file shows; read again with AT (VERSION => n)"),
    "description": ("VARCHAR", "What a row is, and traps"),
}
_COLUMNS: Final = {
    "schema_name": ("VARCHAR", "Schema of the table, as in catalog"),
    "table_name": ("VARCHAR", "Table, as in catalog"),
    "column_name": ("VARCHAR", "Column"),
    "column_number": ("INTEGER", "Place in the table, from 1"),
    "type": ("VARCHAR", "DuckDB type"),
    "is_personal": ("BOOLEAN", "Whether it leads to, or says something about, a single person"),
    "meaning": ("VARCHAR", "What it says"),
    "comes_from": ("VARCHAR", "Columns it is computed from; empty where Python makes it"),
}


def _write_catalog(
    connection: duckdb.DuckDBPyConnection,
    tables: Mapping[str, int],
    words: Mapping[str, Described],
    snapshot_id: int,
) -> tuple[str, ...]:
    """Both tables to begin with. Returns the columns without a meaning."""
    written, kinds = _last_writes(connection), _kinds(connection)
    lines, columns = list[tuple[Any, ...]](), list[tuple[Any, ...]]()
    for name, rows in tables.items():
        said = words[name]
        of_table = _column_lines(connection, name, said)
        oldest_on, newest_on = _days(connection, name, said.day_column)
        place = (*name.split("."), rows, oldest_on, newest_on, said.day_column or None, said.grain or None)
        people = any(is_personal for *_, is_personal, _, _ in of_table)
        maker = (kinds.get(name, "table"), people, said.owner or None, said.made_by or None, written.get(name))
        lines.append((*place, *maker, snapshot_id, said.description or None))
        columns += of_table
    _fill(connection, "catalog", "Every table of this file; begin here", _CATALOG, lines)
    _fill(connection, "catalog_columns", "Every column of every table of this file", _COLUMNS, columns)
    return tuple(".".join(place) for *place, _, _, _, meaning, _ in columns if not meaning)


def _column_lines(connection: duckdb.DuckDBPyConnection, table: str, said: Described) -> list[tuple[Any, ...]]:
    described = connection.execute(f"describe out.{table}").fetchall()
    return [
        (
            *(*table.split("."), column, number, kind, not sample_columns(table, [column])),
            *(said.columns.get(column) or None, said.origins.get(column) or None),
        )
        for number, (column, kind, *_) in enumerate(described, start=1)
    ]


def _days(connection: duckdb.DuckDBPyConnection, table: str, column: str) -> tuple[Any, Any]:
    if not column:
        return None, None
    row = connection.execute(
        f"select try_cast(min({column}) as date), try_cast(max({column}) as date) from out.{table}"
    ).fetchone()
    return (row[0], row[1]) if row else (None, None)


def _kinds(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    rows = connection.execute(
        "select schema_name || '.' || view_name from duckdb_views() where database_name = 'lake'"
    ).fetchall()
    return {name: "view" for (name,) in rows}


def _last_writes(connection: duckdb.DuckDBPyConnection) -> dict[str, datetime]:
    """Table → when a snapshot that is kept last wrote to it."""
    found: dict[str, datetime] = {}
    for snapshot in list_snapshots(connection):
        for change in snapshot.changes:
            table, _, done = change.partition(": ")
            if WRITING & set(done.split(", ")):
                found.setdefault(table, snapshot.at)
    return found


def _fill(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    description: str,
    columns: Mapping[str, tuple[str, str]],
    lines: list[tuple[Any, ...]],
) -> None:
    typed = ", ".join(f"{column} {kind}" for column, (kind, _) in columns.items())
    connection.execute(f"create table out.{name} ({typed})")
    if lines:
        connection.executemany(f"insert into out.{name} values ({', '.join('?' * len(columns))})", lines)
    connection.execute(f"comment on table out.{name} is {literal(description)}")
    for column, (_, meaning) in columns.items():
        connection.execute(f"comment on column out.{name}.{column} is {literal(meaning)}")
