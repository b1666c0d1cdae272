"""The lake's memory: older snapshots, data files, rows and statistics kept in the catalog, its freed pages.

After this only the newest snapshot can be read, and no file or page holds a row that was deleted before. DuckLake does
most of it; three things it leaves are done here on its catalog: deleted rows it had kept inlined (duckdb/ducklake issue
1390), smallest and largest values per table, and the pages SQLite has freed. All under the write lock, so no writer has
files that are not committed yet. A query that planned its files before and reads them after fails once and finds the
new ones when it is asked again: DuckDB opens files late.
"""

import logging
import subprocess
import sys
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from xmkt_assets.warehouse import Lake, Session, write_lock

LOG: Final = logging.getLogger(__name__)
_CATALOG: Final = "__ducklake_metadata_lake"
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
    with lake.session() as session, write_lock(lake.root):
        execute = session.connection.execute
        execute("call ducklake_rewrite_data_files('lake', delete_threshold => 0)")
        newest = session.snapshot_id()
        older = [i for (i,) in execute("select snapshot_id from ducklake_snapshots('lake')").fetchall() if i < newest]
        if older:
            execute(f"call ducklake_expire_snapshots('lake', versions => {sorted(older)})")
        removed = execute("call ducklake_cleanup_old_files('lake', cleanup_all => true)").fetchall()
        orphans = execute("call ducklake_delete_orphaned_files('lake', cleanup_all => true)").fetchall()
        _clear_catalog(session, words)
        _compact(lake)
    LOG.info("%d older snapshots and %d files are gone", len(older), len(removed) + len(orphans))
    return Purged(tuple(sorted(older)), newest, len(removed) + len(orphans))


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
    inlined = execute(f"select table_name from {_CATALOG}.ducklake_inlined_data_tables").fetchall()
    execute("begin transaction")
    try:
        for (table,) in inlined:
            execute(f"delete from {_CATALOG}.{table} where end_snapshot is not null")
        # Unknown is a value DuckLake knows; the next write to the table finds them anew.
        execute(
            f"update {_CATALOG}.ducklake_table_column_stats set min_value = null, max_value = null "
            "where exists (select 1 from (select unnest($words) as word) "
            "where contains(min_value, word) or contains(max_value, word))",
            {"words": list(words) or [" nothing "]},
        )
        execute("commit")
    except BaseException:
        execute("rollback")
        raise


def _compact(lake: Lake) -> None:
    """In a process of its own: two libraries with one SQLite file open in one process lose each other's locks."""
    done = subprocess.run(
        [*_COMPACT, str(lake.root / "catalog.sqlite")], input="", capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode:
        raise CatalogError(
            f"The catalog could not be compacted: {done.stderr.strip()[-300:]} Deleted rows may still lie in its freed "
            f"pages. Close long queries and shells on the lake, then run the erasure again."
        )
