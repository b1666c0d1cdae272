"""What a reader sees of the lake: the state of every watched table, part by part, in one snapshot. No Dagster here.

A part is what a load replaces at once: a day of a feed, or a whole table of the latest state. Its state is the number
of its rows and the sum of their hashes, which does not depend on their order.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import duckdb

from xmkt_assets.warehouse import attach_sql

FEEDS: Final = ("users", "consents", "course_views", "course_orders", "product_views")
LEDGER: Final = "raw.file_ledger"
# Table → SQL of the part a row belongs to.
PARTS: Final[Mapping[str, str]] = {
    LEDGER: "feed || ' ' || dt",
    "raw.quarantine": "feed || ' ' || dt",
    **{f"raw.{feed}": "dt" for feed in FEEDS},
    "staging.users": "'all'",
    "staging.consents": "decided_on",
    "staging.course_views": "viewed_on",
    "staging.course_orders": "ordered_on",
    "staging.product_views": "viewed_on",
}
# These differ between two runs that load the same files.
_OF_THE_RUN: Final = ("loaded_at", "quarantined_at", "run_id")

State = tuple[int, str]
States = dict[str, dict[str, State]]  # table → part → state


class Look(NamedTuple):
    """One snapshot: the states, and the feeds and days whose ledger counts other rows than their table holds."""

    snapshot_id: int
    states: States
    disagreements: tuple[str, ...]


def look(home: Path) -> Look:
    """Everything watched, in one transaction of a connection that can only read."""
    with _reading(home) as connection:
        connection.execute("begin transaction")
        states = {table: _parts(connection, table, part) for table, part in PARTS.items()}
        row = connection.execute("select id from ducklake_current_snapshot('lake')").fetchone()
        return Look(int(row[0]) if row else 0, states, tuple(_disagreements(connection)))


def mixed(seen: Look, *, old: States, new: States) -> list[str]:
    """Parts of which a reader saw neither the old nor the new version, and what disagrees within the snapshot."""
    nothing: State = (0, "None")
    found = list(seen.disagreements)
    for table, parts in seen.states.items():
        for part in parts.keys() | old[table].keys() | new[table].keys():
            allowed = {old[table].get(part, nothing), new[table].get(part, nothing)}
            if parts.get(part, nothing) not in allowed:
                found.append(f"{table} {part}: {parts.get(part, nothing)[0]} rows, neither the old nor the new ones")
    return found


def orphans(home: Path) -> list[Path]:
    """Data files of the lake that its catalog does not know."""
    tables = ("ducklake_data_file", "ducklake_delete_file", "ducklake_files_scheduled_for_deletion")
    with _reading(home) as connection:
        query = " union all ".join(f"select path from __ducklake_metadata_lake.{table}" for table in tables)
        known = {Path(path).name for (path,) in connection.execute(query).fetchall()}
    return [path for path in (home / "lake" / "data").rglob("*.parquet") if path.name not in known]


@contextmanager
def _reading(home: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": "1"}) as connection:
        for statement in attach_sql(home / "lake", read_only=True):
            connection.execute(statement)
        yield connection


def _parts(connection: duckdb.DuckDBPyConnection, table: str, part: str) -> dict[str, State]:
    columns = [row[0] for row in connection.execute(f"describe {table}").fetchall() if row[0] not in _OF_THE_RUN]
    rows = connection.execute(
        f"select cast({part} as varchar), count(*), cast(sum(cast(hash({', '.join(columns)}) as hugeint)) as varchar) "
        f"from {table} group by all"
    ).fetchall()
    return {name: (int(count), str(total)) for name, count, total in rows}


def _disagreements(connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
    """A feed's rows and its ledger are written in one transaction, so no snapshot may have one without the other."""
    for feed in FEEDS:
        rows = connection.execute(
            f"select dt, coalesce(l.n, 0), coalesce(r.n, 0) from (select dt, sum(rows_loaded) as n from {LEDGER} "
            f"where feed = '{feed}' group by dt) as l full join (select dt, count(*) as n from raw.{feed} group by dt) "
            "as r using (dt) where coalesce(l.n, 0) <> coalesce(r.n, 0)"
        ).fetchall()
        yield from (f"{feed} {day}: the ledger says {told} rows, the table holds {held}" for day, told, held in rows)
