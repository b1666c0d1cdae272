"""The lake's memory: older snapshots, data files, rows and statistics kept in the catalog, its freed pages.

After this only the newest snapshot can be read, and no file or page holds a row that was deleted before. DuckLake does
most of it; three things it leaves are done here on its catalog: deleted rows it had kept inlined (duckdb/ducklake issue
1390), smallest and largest values per table, and the pages the database has freed. All while no other writer is at
work on any host, so none has files that are not committed yet. A query that planned its files before and reads them
after fails once and finds the new ones when it is asked again: DuckDB opens files late.
"""

import logging
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import duckdb

from xmkt_assets.lake_address import CATALOG_SECRET, POSTGRES
from xmkt_assets.locks import METADATA
from xmkt_assets.warehouse import Lake, LakeAddress, Session, literal

LOG: Final = logging.getLogger(__name__)
_WAIT_SECONDS: Final = 60
_OWN_TABLES: Final = "where tablename like 'ducklake%' and schemaname = current_schema()"
_COMPACT: Final = (sys.executable, "-m", "xmkt_assets.erasure.compact")


class CatalogError(RuntimeError):
    """The catalog could not be cleared; the message says what to do."""


class Purged(NamedTuple):
    """What became of the lake's memory."""

    expired: tuple[int, ...]
    first_readable: int
    files_removed: int


def purge(lake: Lake, words: Sequence[str]) -> Purged:
    """Leave only the newest snapshot, physically. May be repeated, also after it was broken off."""
    with lake.session() as session, session.alone("erasing people from older snapshots"):
        execute = session.connection.execute
        execute("call ducklake_rewrite_data_files('lake', delete_threshold => 0)")
        newest = session.snapshot_id()
        older = [i for (i,) in execute("select snapshot_id from ducklake_snapshots('lake')").fetchall() if i < newest]
        if older:
            execute(f"call ducklake_expire_snapshots('lake', versions => {sorted(older)})")
        removed = execute("call ducklake_cleanup_old_files('lake', cleanup_all => true)").fetchall()
        orphans = execute("call ducklake_delete_orphaned_files('lake', cleanup_all => true)").fetchall()
        _clear_catalog(session, words)
        if not lake.address.is_postgres:
            _compact(lake)
    if lake.address.is_postgres:
        with lake.session() as session:
            _compact_postgres(session)
    lake.reopen()  # DuckLake would write the bounds it holds in memory back with the next commit, ids of people and all
    LOG.info("%d older snapshots and %d files are gone", len(older), len(removed) + len(orphans))
    return Purged(tuple(sorted(older)), newest, len(removed) + len(orphans))


def kept(address: LakeAddress) -> list[str]:
    """What lies beyond this platform's reach where the lake is not in the home; for the receipt."""
    said = []
    if address.is_postgres:
        said.append(
            "The Postgres server's write-ahead log and backups: they hold pages of the catalogue as they were (ids "
            "among the smallest and largest values of a data file) until the server recycles them."
        )
    if address.is_remote:
        said.append(
            "The object store: data files that held the person's rows were deleted there, and the tables counted; its "
            "files were not looked through byte by byte. Older versions that a bucket keeps are the store's to expire."
        )
    return said


def in_words(snapshots: Iterable[int]) -> str:
    """Snapshot ids as short as they can be said: 1-7, 9."""
    spans: list[list[int]] = []
    for snapshot in sorted(set(snapshots)):
        if spans and snapshot == spans[-1][1] + 1:
            spans[-1][1] = snapshot
        else:
            spans.append([snapshot, snapshot])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def _clear_catalog(session: Session, words: Sequence[str]) -> None:
    execute = session.connection.execute
    inlined = execute(f"select table_name from {METADATA}.ducklake_inlined_data_tables").fetchall()
    bounds = _bounds_without(session, words)
    execute("begin transaction")
    try:
        for (table,) in inlined:
            execute(f"delete from {METADATA}.{table} where end_snapshot is not null")
        for table_id, column_id, smallest, largest in bounds:
            execute(
                f"update {METADATA}.ducklake_table_column_stats set min_value = $smallest, max_value = $largest "
                f"where table_id = {table_id} and column_id = {column_id}",
                {"smallest": smallest, "largest": largest},
            )
        execute("commit")
    except BaseException:
        execute("rollback")
        raise


def _bounds_without(session: Session, words: Sequence[str]) -> list[tuple[int, int, str | None, str | None]]:
    """Smallest and largest value that is left in every column whose known bounds name somebody.

    Forgetting the bounds would not do: DuckLake takes the next write's for those of the whole table, and DuckDB then
    finds rows outside them no more.
    """
    named = session.connection.execute(
        "select b.table_id, b.column_id, s.schema_name, t.table_name, c.column_name, "
        "case when c.parent_column is not null then c.column_type end "
        f"from {METADATA}.ducklake_table_column_stats as b "
        f"inner join {METADATA}.ducklake_table as t on t.table_id = b.table_id and t.end_snapshot is null "
        f"inner join {METADATA}.ducklake_schema as s on s.schema_id = t.schema_id "
        f"inner join {METADATA}.ducklake_column as c on c.table_id = b.table_id and c.column_id = b.column_id "
        "and c.end_snapshot is null "
        "where exists (select 1 from (select unnest($words) as word) "
        "where contains(b.min_value, word) or contains(b.max_value, word))",
        {"words": list(words) or [" nothing "]},
    ).fetchall()
    found = []
    for table_id, column_id, schema, table, column, nested_type in named:
        query = f'select min("{column}")::varchar, max("{column}")::varchar from "{schema}"."{table}"'
        if nested_type is not None:  # in a list or struct: bounds that hold for every text
            query = "select '', chr(1114111)" if nested_type == "varchar" else "select null, null"
        ((smallest, largest),) = session.connection.execute(query).fetchall()
        found.append((table_id, column_id, smallest, largest))
    return found


def _compact(lake: Lake) -> None:
    """In a process of its own: two libraries with one SQLite file open in one process lose each other's locks."""
    done = subprocess.run(
        [*_COMPACT, str(lake.address.sqlite)], input="", capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode:
        raise CatalogError(_not_compacted(done.stderr))


def _compact_postgres(session: Session) -> None:
    """Write every table of the catalogue anew, without the deleted rows. Who reads the catalogue waits meanwhile.

    It goes through a connection that does not use the lake: one that does has its tables open, and waits for itself.
    """
    with session.connection.cursor() as apart:
        where = session.address.catalog.removeprefix(POSTGRES)
        patient = literal(f"{where} options='-c lock_timeout={_WAIT_SECONDS}s'")
        secret = f", SECRET {CATALOG_SECRET}" if "password" in session.address.options else ""
        apart.execute(f"attach {patient} as compacting (type postgres{secret})")
        try:
            _wait_for_readers(apart)
            for (table,) in _ask(apart, "select quote_ident(tablename) as name from pg_tables " + _OWN_TABLES):
                vacuum = literal(f"vacuum full {table}")
                apart.execute(f"call postgres_execute('compacting', {vacuum}, use_transaction => false)")
        except duckdb.Error as error:
            raise CatalogError(_not_compacted(str(error))) from None
        finally:
            apart.execute("detach compacting")


def _wait_for_readers(apart: duckdb.DuckDBPyConnection) -> None:
    """Rows that somebody may still see would be kept: wait for every transaction that began before."""
    ((now,),) = _ask(apart, "select (txid_current() % 4294967296)::text as id")
    others = (
        "select count(*) as others from pg_stat_activity where datname = current_database() "
        f"and pid <> pg_backend_pid() and age(backend_xmin) > age('{now}'::xid)"
    )
    until = time.monotonic() + _WAIT_SECONDS
    while _ask(apart, others)[0][0]:
        if time.monotonic() > until:
            raise CatalogError(_not_compacted("Readers hold an older state of the catalog."))
        time.sleep(0.2)


def _ask(apart: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    return apart.execute(f"from postgres_query('compacting', {literal(query)})").fetchall()


def _not_compacted(said: str) -> str:
    return (
        f"The catalog could not be compacted: {said.strip()[-300:]} Deleted rows may still lie in its freed pages. "
        "Close long queries and shells on the lake, then run the erasure again."
    )
