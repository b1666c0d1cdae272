"""Keeping the lake small: merge small files, expire old snapshots, remove what nobody needs. Pure: no Dagster.

Here: which snapshots are kept and for whom (`find_pins`), and the work (`maintain`). Not here: when it runs
(``automation/schedules``), reading an older snapshot (``snapshots``), what an erasure removes (``erasure/lake``).

A snapshot is kept while it is younger than the retention, and after that while something refers to it: a registered
model or a recent MLflow run that learnt from it, a campaign list, an evaluation, the published file. An erasure goes
before every pin: it expires all older snapshots at once, and `Pin.is_kept` is then false for good.

Writers are kept waiting for one short step at a time; readers never. Files are removed only after a grace time, so that
a query that planned its files before may finish. Steps may be broken off at any moment and done again.

Trap: ``ducklake_rewrite_data_files`` of DuckDB 1.5.5 narrows the smallest and largest values known of a table to the
rows of its newest snapshot. DuckDB believes them for older snapshots too: these then lack rows, or sort and group to
values that were never there. So files with deleted rows stay until their slice is replaced, and rows kept in the
catalogue stay there (``ducklake_flush_inlined_data`` changes older snapshots likewise). Merging and expiring touch no
statistics.
"""

import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import duckdb
import polars as pl

from xmkt_assets.campaigns.tables import LIST_RUNS
from xmkt_assets.lake_address import literal
from xmkt_assets.snapshots import METADATA
from xmkt_assets.warehouse import Lake, Session

LOG: Final = logging.getLogger(__name__)
SNAPSHOT_TAG: Final = "warehouse_snapshot"
EXPIRED_AT_ONCE: Final = 250  # snapshots per turn at the lock: .1 s
MERGED_AT_ONCE: Final = 16  # files that one turn makes of small ones
_VACUUM: Final = (sys.executable, "-m", "xmkt_assets.erasure.compact")


@dataclass(frozen=True, slots=True)
class Policy:
    """How long what is kept. `run_days`: MLflow runs that registered no model; registered ones have no end."""

    keep_days: float = 30
    run_days: float = 90
    grace_hours: float = 24
    small_file_bytes: int = 8_000_000
    vacuum_wait_seconds: float = 10

    def __post_init__(self) -> None:
        if min(self.keep_days, self.run_days, self.grace_hours) < 0:
            raise ValueError(
                f"Maintenance keeps {self.keep_days} days, runs {self.run_days} days, grace {self.grace_hours} h; "
                "wanted numbers of at least 0. Correct the run's configuration."
            )


class Pin(NamedTuple):
    """A snapshot that something refers to, and what."""

    snapshot_id: int
    kind: str
    name: str


class Figures(NamedTuple):
    """The lake in numbers; `older` files belong to earlier snapshots only, `waiting` ones to none."""

    snapshots: int
    files: int
    bytes: int
    files_older: int
    bytes_older: int
    files_waiting: int
    delete_files: int
    catalogue_bytes: int | None


class Maintained(NamedTuple):
    """What one maintenance did, or with `is_dry_run` would do."""

    is_dry_run: bool
    before: Figures
    after: Figures
    expired: tuple[int, ...]
    pins: tuple[Pin, ...]
    kept: frozenset[int]  # snapshots of today
    files_merged: int
    files_removed: int
    orphans_removed: int
    is_compacted: bool
    seconds: float
    longest_turn_seconds: float

    @property
    def pins_gone(self) -> list[Pin]:
        """References to snapshots that no longer exist: an erasure took them."""
        return [pin for pin in self.pins if pin.snapshot_id not in self.kept]

    def frame(self) -> pl.DataFrame:
        """Before and after, one row per figure."""
        values = zip(Figures._fields, self.before, self.after, strict=True)
        rows = [(name.replace("_", " "), old, new) for name, old, new in values if old is not None]
        return pl.DataFrame(rows, schema={"figure": pl.String, "before": pl.Int64, "after": pl.Int64}, orient="row")


# ── who refers to which snapshot ─────────────────────────────────────────────────────────────────────────────────────


def find_pins(
    connection: duckdb.DuckDBPyConnection, home: Path, *, now: datetime, policy: Policy | None = None
) -> list[Pin]:
    """Everything that refers to a snapshot, whether it is kept or not. `connection` has the lake open."""
    policy = policy or Policy()
    found = [
        *_model_pins(home, runs_since=now - timedelta(days=policy.run_days)),
        *_list_pins(connection),
        *_evaluation_pins(connection),
        *_published_pins(home),
    ]
    return sorted(set(found))


def pins_frame(pins: Iterable[Pin], *, kept: Iterable[int]) -> pl.DataFrame:
    """One row per snapshot and kind of thing that refers to it."""
    there = set(kept)
    rows = [(*pin, pin.snapshot_id in there) for pin in pins]
    kinds = {"snapshot_id": pl.Int64, "kind": pl.String, "name": pl.String, "is_kept": pl.Boolean}
    frame = pl.DataFrame(rows, schema=kinds, orient="row")
    few = pl.col("name").sort().head(5).str.join(", ")
    names = pl.when(pl.len() > 5).then(few + pl.format(" and {} more", pl.len() - 5)).otherwise(few)
    return frame.group_by("snapshot_id", "kind", "is_kept").agg(names.alias("names")).sort("snapshot_id", "kind")


def _model_pins(home: Path, *, runs_since: datetime) -> Iterator[Pin]:
    """Registered versions, and runs that began lately. MLflow is opened only where there is one: it takes seconds."""
    if not (home / "mlflow" / "mlflow.db").exists():
        return
    from xmkt_assets.tracking import Tracker

    tracker = Tracker(home)
    for version in tracker.versions():
        if (found := version.tags.get(SNAPSHOT_TAG, "")).isdecimal():
            yield Pin(int(found), "model", f"{version.name} {version.version}")
    for run in tracker.runs_since(runs_since):
        if (found := run.data.tags.get(SNAPSHOT_TAG, "")).isdecimal():
            yield Pin(int(found), "run", run.info.run_name)


def _list_pins(connection: duckdb.DuckDBPyConnection) -> Iterator[Pin]:
    """What every campaign list was made from and where it was written, so that it can be made again."""
    query = f"select campaign_id, unnest([snapshot_read, snapshot_id]) from {LIST_RUNS}"
    for campaign, snapshot_id in _rows_if_there(connection, query):
        if snapshot_id is not None:
            yield Pin(int(snapshot_id), "campaign list", campaign)


def _evaluation_pins(connection: duckdb.DuckDBPyConnection) -> Iterator[Pin]:
    """The newest write of every evaluation table and the snapshot that it says it was made from."""
    rows = connection.execute(
        "select max_by(snapshot_id, snapshot_id), max_by(commit_extra_info, snapshot_id), commit_message "
        "from ducklake_snapshots('lake') where commit_message like 'replace evaluation.%' group by commit_message"
    ).fetchall()
    for written, origin, message in rows:
        table = message.split()[1]
        yield Pin(int(written), "evaluation", table)
        read = json.loads(origin or "{}").get("snapshot_read")
        if isinstance(read, int):
            yield Pin(read, "evaluation", table)


def _published_pins(home: Path) -> Iterator[Pin]:
    """The snapshot that the published file shows."""
    path = home / "published" / "xmkt.duckdb"
    if not path.exists():
        return
    with duckdb.connect(str(path), read_only=True) as connection:
        for (snapshot_id,) in _rows_if_there(connection, "select max(lake_snapshot_id) from catalog"):
            if snapshot_id is not None:
                yield Pin(int(snapshot_id), "published file", path.name)


def _rows_if_there(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    try:
        return connection.execute(query).fetchall()
    except duckdb.CatalogException:
        return []


# ── the work ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def maintain(
    lake: Lake,
    policy: Policy,
    *,
    pins: Sequence[Pin],
    now: datetime,
    is_dry_run: bool = False,
    say: Callable[[str], object] = LOG.info,
) -> Maintained:
    """Expire, merge, clean. `now` is naive UTC; `pins` come from `find_pins`."""
    started = time.monotonic()
    with lake.session() as session:
        work = _Work(session, policy, now, is_dry_run, say)
        before = figures(session)
        old = work.old_snapshots(pinned={pin.snapshot_id for pin in pins})
        work.expire(old)
        merged = work.merge()
        removed, orphans = work.clean("cleanup_old_files"), work.clean("delete_orphaned_files")
        is_compacted = bool(old) and not is_dry_run and work.compact()
        return Maintained(
            is_dry_run=is_dry_run,
            before=before,
            after=figures(session),
            expired=tuple(old),
            pins=tuple(pins),
            kept=frozenset(work.snapshots()),
            files_merged=merged,
            files_removed=removed,
            orphans_removed=orphans,
            is_compacted=is_compacted,
            seconds=time.monotonic() - started,
            longest_turn_seconds=work.longest_turn_seconds,
        )


def figures(session: Session) -> Figures:
    """What the catalogue knows of the lake now."""
    current, older = (
        f"select count(*), coalesce(sum(file_size_bytes), 0) from {METADATA}.ducklake_data_file "
        f"where end_snapshot is {word} null"
        for word in ("", "not")
    )
    one = session.connection.execute
    (files, size), (files_older, size_older) = (_row(one(query)) for query in (current, older))
    counts = [
        _row(one(f"select count(*) from {METADATA}.{table}"))[0]
        for table in ("ducklake_snapshot", "ducklake_files_scheduled_for_deletion", "ducklake_delete_file")
    ]
    sqlite = session.address.sqlite
    embedded = None if session.address.is_postgres else sqlite.stat().st_size
    return Figures(counts[0], files, size, files_older, size_older, counts[1], counts[2], embedded)


@dataclass
class _Work:
    """One maintenance on its way; every step waits for its turn at the lock by itself."""

    session: Session
    policy: Policy
    now: datetime
    is_dry_run: bool
    say: Callable[[str], object]
    longest_turn_seconds: float = 0.0

    def snapshots(self) -> dict[int, datetime]:
        rows = self.session.connection.execute(
            "select snapshot_id, snapshot_time at time zone 'UTC' from ducklake_snapshots('lake') order by 1"
        ).fetchall()
        return dict(rows)

    def old_snapshots(self, *, pinned: set[int]) -> list[int]:
        """Older than the retention and referred to by nothing.

        The last one before the retention begins stays: it is the state at the retention's first moment.
        """
        begins = self.now - timedelta(days=self.policy.keep_days)
        known = self.snapshots()
        old = [i for i, at in known.items() if at < begins]
        return [i for i in old[:-1] if i not in pinned]

    def expire(self, old: Sequence[int]) -> None:
        self.say(f"{len(old)} snapshots are older than {self.policy.keep_days:g} days and nothing refers to them")
        if self.is_dry_run:
            return
        for start in range(0, len(old), EXPIRED_AT_ONCE):
            part = list(old[start : start + EXPIRED_AT_ONCE])
            self._turn("expiring snapshots", f"call ducklake_expire_snapshots('lake', versions => {part})")

    def merge(self) -> int:
        """Small neighbours into one; older snapshots read their part of it. Returns the number of files merged."""
        if self.is_dry_run:
            return 0
        options = f"max_compacted_files => {MERGED_AT_ONCE}, max_file_size => {self.policy.small_file_bytes}"
        files = 0
        for schema, table in self._tables():
            where, did_less = f"{literal(table)}, schema => {literal(schema)}", True
            while did_less:
                call = f"call ducklake_merge_adjacent_files('lake', {where}, {options})"
                done = self._turn(f"merging files of {schema}.{table}", call)
                taken, made = (sum(int(str(row[i])) for row in done) for i in (2, 3))
                files += taken
                did_less = made < taken
        if files:
            self.say(f"merged {files} small files")
        return files

    def clean(self, function: str) -> int:
        """Remove files that no snapshot needs since the grace time, or that no load ever committed."""
        before = self.now - timedelta(hours=self.policy.grace_hours)
        if function == "cleanup_old_files" and self.policy.grace_hours and not self.session.address.is_postgres:
            # DuckLake 1.5.5 compares times as texts of two kinds in a SQLite catalogue: all of a day count as its
            # beginning. A day more, so that no reader loses a file within the grace time.
            before -= timedelta(days=1)
        dry = ", dry_run => true" if self.is_dry_run else ""
        when = f"older_than => timestamptz {literal(f'{before.isoformat()}+00')}"
        done = self._turn(function.replace("_", " "), f"call ducklake_{function}('lake', {when}{dry})")
        self.say(f"{function.replace('_', ' ')}: {len(done)} files")
        return len(done)

    def compact(self) -> bool:
        """Give freed pages of an embedded catalogue back. Never mind where readers hold it: next time will do.

        In a process of its own: two libraries with one SQLite file open in one process lose each other's locks.
        """
        if self.session.address.is_postgres:
            return False
        with self.session.alone("compacting the catalogue"):
            try:
                done = subprocess.run(
                    [*_VACUUM, str(self.session.address.sqlite)],
                    input="",
                    capture_output=True,
                    encoding="utf-8",
                    check=False,
                    timeout=self.policy.vacuum_wait_seconds,
                )
            except subprocess.TimeoutExpired:
                self.say("readers hold the catalogue: its freed pages stay until the next time")
                return False
        return done.returncode == 0

    def _tables(self) -> list[tuple[str, str]]:
        """Tables with more than one small file."""
        rows = self.session.connection.execute(
            f"select s.schema_name, t.table_name from {METADATA}.ducklake_data_file as f "
            f"inner join {METADATA}.ducklake_table as t on t.table_id = f.table_id and t.end_snapshot is null "
            f"inner join {METADATA}.ducklake_schema as s on s.schema_id = t.schema_id "
            f"where f.end_snapshot is null and f.file_size_bytes < {self.policy.small_file_bytes} "
            "group by all having count(*) > 1 order by all"
        ).fetchall()
        return [(str(schema), str(table)) for schema, table in rows]

    def _turn(self, purpose: str, statement: str) -> list[tuple[object, ...]]:
        with self.session.alone(purpose):
            started = time.monotonic()
            done = self.session.connection.execute(statement).fetchall()
            self.longest_turn_seconds = max(self.longest_turn_seconds, time.monotonic() - started)
        return done


def _row(result: duckdb.DuckDBPyConnection) -> tuple[int, ...]:
    row = result.fetchone()
    assert row is not None
    return tuple(int(value) for value in row)


def in_words(done: Maintained) -> str:
    """One sentence for a log."""
    would = "would have " if done.is_dry_run else ""
    return (
        f"Maintenance {would}expired {len(done.expired)} snapshots, merged {done.files_merged} files, removed "
        f"{done.files_removed} that nothing needs and {done.orphans_removed} that no load finished; {len(done.kept)} "
        f"snapshots are kept, {len({p.snapshot_id for p in done.pins} & done.kept)} of them referred to."
    )
