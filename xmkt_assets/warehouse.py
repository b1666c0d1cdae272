"""The lake: sessions on it, and transactions that replace a table or a slice of it. Pure: no Dagster.

Here: connections, staging, commits, snapshot ids. Not here: where a lake lies (``lake_address``), who may write when
(``locks``), what the tables mean (``dbt_like_sql/``), how partner files become rows (``raw/``).

Writers compute into temporary tables first, outside any lock, and only the short transaction that replaces rows takes
a turn. What is staged stays, so a transaction that was refused is tried again at little cost. Readers take no lock and
see the last committed snapshot.
"""

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import duckdb

from xmkt_assets.lake_address import (
    QUIET,
    LakeAddress,
    WarehouseError,
    address_of,
    attach_sql,
    connect,
    extension_path,
    literal,
    open_lake,
)
from xmkt_assets.locks import LOCK_WAIT_SECONDS, Turns, advisory_lock, write_lock

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "LOCK_WAIT_SECONDS",
    "Days",
    "Delete",
    "Equal",
    "Lake",
    "LakeAddress",
    "Replace",
    "Scope",
    "Session",
    "Update",
    "WarehouseError",
    "Whole",
    "Written",
    "attach_sql",
    "connect",
    "extension_path",
    "literal",
    "open_lake",
    "write_lock",
]

LOG: Final = logging.getLogger(__name__)
T = TypeVar("T")


class Written(NamedTuple):
    """What one commit did to one table."""

    table: str
    snapshot_id: int
    row_count: int


@dataclass(frozen=True, slots=True)
class Whole:
    """Replace the whole table; its columns may change."""


@dataclass(frozen=True, slots=True)
class Days:
    """Replace the rows whose `column` lies in [start, end)."""

    column: str
    start: date
    end: date


@dataclass(frozen=True, slots=True)
class Equal:
    """Replace the rows that equal every given value; a list means any of its members."""

    values: tuple[tuple[str, object], ...]


Scope = Whole | Days | Equal


@dataclass(frozen=True, slots=True)
class Replace:
    """Put the rows of the temporary table `staged` in place of the rows of `table` that `scope` names."""

    table: str
    staged: str
    scope: Scope
    description: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the rows of `table` for which `condition_sql` holds; ``$name`` in it is bound to `parameters`.

    The condition may read other tables, temporary ones included. It is written by the platform, never by a partner.
    """

    table: str
    condition_sql: str
    parameters: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Update:
    """Set columns (name → SQL) of the rows of `table` for which `condition_sql` holds; bound as in `Delete`."""

    table: str
    values_sql: Mapping[str, str]
    condition_sql: str
    parameters: Mapping[str, object] = field(default_factory=dict)


BeforeCommit = Callable[["Session", "Sequence[Replace | Delete | Update]"], None]


class Lake:
    """One lake; cheap to make, thread-safe, opened on first use and once per process.

    `home` may be an address: a lake whose catalogue or data lie elsewhere.
    """

    def __init__(
        self,
        home: Path | LakeAddress,
        *,
        threads: int | None = None,
        memory_limit: str | None = None,
        lock_wait_seconds: float = LOCK_WAIT_SECONDS,
        before_commit: "BeforeCommit | None" = None,
    ) -> None:
        self.address = home if isinstance(home, LakeAddress) else LakeAddress(home)
        self.home = self.address.home
        self.root = self.address.root
        self._before_commit = before_commit
        self._wait_seconds = lock_wait_seconds
        self._config = {k: v for k, v in {"threads": threads, "memory_limit": memory_limit}.items() if v}

    @contextmanager
    def session(self) -> Iterator["Session"]:
        """A connection of its own with its own temporary tables; closed at the end."""
        config = tuple(sorted(self._config.items()))
        connection = _instance(self.address, config).cursor()
        try:
            connection.execute(QUIET)
            connection.execute("USE lake")
            connection.execute("SET TimeZone = 'UTC'")
            # A table that does not exist yet must not be answered by a Python variable of its name.
            connection.execute("SET python_enable_replacements = false")
            yield Session(connection, self.address, self._before_commit, wait_seconds=self._wait_seconds)
        except BaseException as error:
            # After a fatal error DuckDB answers nothing more on this instance; the next session gets a new one.
            if any(isinstance(e, duckdb.FatalException) for e in (error, error.__cause__)):
                _forget_instance(self.address, config)
            raise
        finally:
            connection.close()

    def read(self, query: str, **params: object) -> "pl.DataFrame":
        """Rows of `query`; ``$name`` in it is bound to the keyword argument of that name.

        As of a snapshot or time: ``snapshots.read_as_of``.
        """
        with self.session() as session:
            return session.read(query, **params)

    def replace(
        self,
        table: str,
        rows: "pl.DataFrame",
        *,
        where: Mapping[str, object] | None = None,
        description: str = "",
        columns: Mapping[str, str] | None = None,
        read_snapshot_id: int | None = None,
    ) -> Written:
        """Replace the rows of `table` equal to `where` (None = the whole table) in one transaction.

        `description` and `columns` (name → meaning) become comments where the table is made.
        """
        import polars as pl

        scope: Scope = Whole() if where is None else Equal(tuple(where.items()))
        if where is not None and (untyped := [name for name, kind in rows.schema.items() if kind == pl.Null]):
            raise WarehouseError(
                f"{table}: the columns {untyped} hold only nulls and no type. Cast them to their type."
            )
        with self.session() as session:
            session.stage_rows("staged_rows", rows)
            change = Replace(table, "staged_rows", scope, description, columns or {})
            return session.commit([change], read_snapshot_id=read_snapshot_id)[0]

    def snapshot_id(self) -> int:
        with self.session() as session:
            return session.snapshot_id()

    def reopen(self) -> None:
        """The next session of this process opens the lake anew: DuckLake holds bounds of columns in memory."""
        with _instances_lock:
            for key in [key for key in _instances if key[1] == self.address]:
                _instances.pop(key)

    def tables(self) -> set[str]:
        """Tables and views of the lake as ``schema.table``."""
        with self.session() as session:
            return session.tables()


class Session:
    """One connection to the lake. Temporary tables live and die with it."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        where: LakeAddress | Path,
        before_commit: "BeforeCommit | None" = None,
        *,
        wait_seconds: float = LOCK_WAIT_SECONDS,
    ) -> None:
        self.connection = connection
        self.address = address_of(where)
        self._before_commit = before_commit
        self._wait_seconds = wait_seconds
        self._is_at_once = False

    @property
    def home(self) -> Path:
        """The home folder the lake lies in."""
        return self.address.home

    @contextmanager
    def beside(self) -> Iterator["Session"]:
        """A second connection to the same lake, with temporary tables of its own."""
        connection = self.connection.cursor()
        try:
            connection.execute(QUIET)
            connection.execute("USE lake")
            connection.execute("SET TimeZone = 'UTC'")
            yield Session(connection, self.address, self._before_commit, wait_seconds=self._wait_seconds)
        finally:
            connection.close()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """What is read in the block is of one snapshot. What is staged in it stays; a `commit` in it is refused.

        Every statement outside it asks the catalogue for the newest snapshot, which takes longer than a small query.
        """
        if self._is_at_once:
            yield
            return
        self.connection.execute("begin transaction")
        self._is_at_once = True
        try:
            yield
        except BaseException:
            with suppress(duckdb.Error):  # what went wrong in the block is what is told
                self.connection.execute("rollback")
            raise
        else:
            self.connection.execute("commit")
        finally:
            self._is_at_once = False

    def read(self, query: str, **params: object) -> "pl.DataFrame":
        return self.connection.sql(query, params=params or None).pl()

    def stage(self, name: str, query: str, params: Mapping[str, object] | None = None) -> None:
        """Compute `query` into the temporary table `name`, outside any lock."""
        self.connection.execute(f"create or replace temp table {name} as {query}", dict(params or {}) or None)

    def stage_rows(self, name: str, rows: "pl.DataFrame") -> None:
        self.connection.register("given_rows", rows)
        self.stage(name, "select * from given_rows")
        self.connection.unregister("given_rows")

    def tables(self) -> set[str]:
        rows = self.connection.execute(
            "select table_schema || '.' || table_name from information_schema.tables where table_catalog = 'lake'"
        ).fetchall()
        return {name for (name,) in rows}

    def snapshot_id(self) -> int:
        row = self.connection.execute("select id from ducklake_current_snapshot('lake')").fetchone()
        return int(row[0]) if row else 0

    def commit(
        self, changes: Sequence[Replace | Delete | Update], *, read_snapshot_id: int | None = None
    ) -> list[Written]:
        """Apply every change in ONE transaction; all or nothing becomes visible.

        A transaction that another writer's made impossible is tried again, from the rows that are staged. The snapshot
        keeps a note of what was done and, where it is told, of the snapshot the rows were made from.
        """
        with self.at_once():
            for change in changes:
                if isinstance(change, Replace):
                    self._refuse_rows_outside(change)
            self.audit(changes)

        note = _note(changes)
        origin = None if read_snapshot_id is None else json.dumps({"snapshot_read": read_snapshot_id})

        def apply() -> list[int]:
            self._leave_note(note, origin)
            return [self._apply(c) if isinstance(c, Replace) else self._alter(c) for c in changes]

        counts, snapshot_id = self._transact(apply, purpose=f"writing {', '.join(c.table for c in changes)}")
        return [Written(c.table, snapshot_id, n) for c, n in zip(changes, counts, strict=True)]

    def _leave_note(self, note: str, origin: str | None) -> None:
        """Write on the snapshot of this transaction what was done, and what it was made from."""
        self.connection.execute(
            "call ducklake_set_commit_message('lake', null, $note, extra_info => $origin)",
            {"note": note, "origin": origin},
        )

    def audit(self, changes: Sequence[Replace | Delete | Update]) -> None:
        """Ask whoever opened the lake whether `changes` may be committed; outside the lock, refuses by an exception."""
        if self._before_commit is not None:
            self._before_commit(self, changes)

    def create_view(self, view: str, query: str) -> int:
        """Create or replace a view; returns the snapshot id."""

        def create() -> None:
            self.connection.execute(f"create schema if not exists {view.split('.', maxsplit=1)[0]}")
            self.connection.execute(f"create or replace view {view} as {query}")

        return self._transact(create, purpose=f"writing {view}")[1]

    def alone(self, purpose: str) -> AbstractContextManager[None]:
        """No other writer of the platform is at work while the block runs, on whichever host: for maintenance.

        A `commit` inside the block would wait for the block; statements go through `connection`.
        """
        return self._turn(is_alone=True, purpose=purpose)

    def columns(self, table: str) -> dict[str, str]:
        """Column name → DuckDB type, of a lake or temporary table; empty when it does not exist."""
        try:
            return {row[0]: row[1] for row in self.connection.execute(f"describe {table}").fetchall()}
        except duckdb.CatalogException:
            return {}

    def _transact(self, action: Callable[[], T], *, purpose: str) -> tuple[T, int]:
        """What `action` returns, done in one transaction, and the snapshot id of that."""
        turns = Turns(purpose)
        for turn in turns:
            try:
                with self._turn(is_alone=turn.is_alone, purpose=purpose):
                    return self._transact_once(action)
            except duckdb.Error as error:
                turns.after(turn, error)
        raise AssertionError("the last turn returns or raises")

    def _transact_once(self, action: Callable[[], T]) -> tuple[T, int]:
        self.connection.execute("begin transaction")
        try:
            done = action()
            self.connection.execute("commit")
        except BaseException:
            with suppress(duckdb.TransactionException):  # a failed commit has rolled back by itself
                self.connection.execute("rollback")
            raise
        return done, self._own_snapshot_id()

    def _turn(self, *, is_alone: bool, purpose: str) -> AbstractContextManager[None]:
        if self.address.is_postgres:
            return advisory_lock(self.connection, is_alone=is_alone, wait_seconds=self._wait_seconds, purpose=purpose)
        return write_lock(self.address.root, wait_seconds=self._wait_seconds, purpose=purpose)

    def _own_snapshot_id(self) -> int:
        """The snapshot this connection has just made. Under the file lock the newest one is its own."""
        if self.address.is_postgres:
            row = self.connection.execute("from ducklake_last_committed_snapshot('lake')").fetchone()
            if row and row[0] is not None:
                return int(row[0])
        return self.snapshot_id()

    def _apply(self, change: Replace) -> int:
        execute = self.connection.execute
        execute(f"create schema if not exists {change.table.split('.', maxsplit=1)[0]}")
        existing = {} if isinstance(change.scope, Whole) else self.columns(change.table)
        if not existing:
            execute(f"create or replace table {change.table} as select * from {change.staged} limit 0")
            if isinstance(change.scope, Days):
                execute(f"alter table {change.table} set partitioned by ({change.scope.column})")
            _comment(execute, change)
        else:
            self._fit_columns(change, existing)
        condition, values = scope_condition(change.scope)
        if existing and condition:
            execute(f"delete from {change.table} where {condition}", values)
        row = execute(f"insert into {change.table} by name select * from {change.staged}").fetchone()
        return int(row[0]) if row else 0

    def _alter(self, change: Delete | Update) -> int:
        query = f"delete from {change.table} where {change.condition_sql}"
        if isinstance(change, Update):
            values = ", ".join(f"{column} = {value}" for column, value in change.values_sql.items())
            query = f"update {change.table} set {values} where {change.condition_sql}"
        row = self.connection.execute(query, dict(change.parameters) or None).fetchone()
        return int(row[0]) if row else 0

    def _refuse_rows_outside(self, change: Replace) -> None:
        """Rows outside the slice that is replaced would stay, and double, with every further run."""
        condition, values = scope_condition(change.scope)
        if not condition:
            return
        outside = f"select count(*) from {change.staged} where not coalesce({condition}, false)"
        row = self.connection.execute(outside, values).fetchone()
        if row and row[0]:
            raise WarehouseError(
                f"{row[0]} new rows of {change.table} lie outside the slice they replace ({str(change.scope)[:200]}). "
                f"Leave them out, or replace the slice they belong to; nothing was written."
            )

    def _fit_columns(self, change: Replace, existing: Mapping[str, str]) -> None:
        """New columns are added, so that history keeps its rows; a changed type is refused by name."""
        staged = self.columns(change.staged)
        for name, kind in staged.items():
            if name not in existing:
                self.connection.execute(f"alter table {change.table} add column {name} {kind}")
                if name in change.columns:
                    _comment_column(self.connection.execute, change, name)
            elif existing[name] != kind:
                raise WarehouseError(
                    f"{change.table}.{name} holds {existing[name]}, the new rows bring {kind}. Cast the column to "
                    f"{existing[name]}, or rebuild every partition of the table after dropping it."
                )
        if lost := sorted(existing.keys() - staged.keys()):
            raise WarehouseError(
                f"{change.table} has the columns {lost}, which the new rows lack. Bring them back (null is allowed), "
                f"or rebuild every partition of the table after dropping it."
            )


_instances: dict[tuple[int, LakeAddress, object], duckdb.DuckDBPyConnection] = {}
_instances_lock = threading.Lock()


def _instance(address: LakeAddress, config: tuple[tuple[str, object], ...]) -> duckdb.DuckDBPyConnection:
    """One DuckDB instance per process and lake: attaching costs far more than a query."""
    key = (os.getpid(), address, config)
    with _instances_lock:
        if key not in _instances or not address.exists():
            _instances[key] = _open(address, dict(config))
        return _instances[key]


def _forget_instance(address: LakeAddress, config: tuple[tuple[str, object], ...]) -> None:
    with _instances_lock:
        _instances.pop((os.getpid(), address, config), None)


def _open(address: LakeAddress, config: Mapping[str, object]) -> duckdb.DuckDBPyConnection:
    if not address.is_remote:
        Path(address.data_path).mkdir(parents=True, exist_ok=True)
    connection = _connect(address, {k: str(v) for k, v in config.items()})
    found = "select current_setting('threads'), current_setting('memory_limit')"
    threads, memory = connection.execute(found).fetchall()[0]
    LOG.info("lake opened: %s; %s threads, %s of memory", address, threads, memory)
    return connection


def _note(changes: Sequence[Replace | Delete | Update]) -> str:
    """What a commit does, in words that name nobody: tables and days, no other values."""
    said = []
    for change in changes:
        match change:
            case Replace(scope=Days(_, start, end)):
                said.append(f"replace {change.table} {start} to {end - timedelta(days=1)}")
            case Replace(scope=Equal(values)):
                days = "".join(f" {value}" for _, value in values if isinstance(value, date))
                said.append(f"replace {change.table}{days}")
            case _:
                said.append(f"{type(change).__name__.lower()} {change.table}")
    return "; ".join(said)


def _connect(address: LakeAddress, config: Mapping[str, str]) -> duckdb.DuckDBPyConnection:
    """Without the lock, so that nobody who only reads waits for a writer; two must not make one SQLite file at once."""
    if address.exists():
        with suppress(WarehouseError):  # perhaps another process is just making it
            return connect(address, read_only=False, config=config)
    if address.is_postgres:
        return connect(address, read_only=False, config=config)
    with write_lock(address.root, purpose="opening the lake"):
        return connect(address, read_only=False, config=config)


def scope_condition(scope: Scope) -> tuple[str, dict[str, object]]:
    """Condition of the rows a scope names, and its parameters; empty for all rows."""
    match scope:
        case Whole():
            return "", {}
        case Days(column, start, end):
            return f"{column} >= $start and {column} < $end", {"start": start, "end": end}
        case Equal(values):
            terms = [_term(column, value, f"value_{i}") for i, (column, value) in enumerate(values)]
            return " and ".join(terms), {f"value_{i}": v for i, (_, v) in enumerate(values) if v is not None}


def _term(column: str, value: object, name: str) -> str:
    if value is None:
        return f"{column} is null"
    return f"{column} in (select unnest(${name}))" if isinstance(value, list) else f"{column} = ${name}"


def _comment(execute: Callable[[str], object], change: Replace) -> None:
    if change.description:
        execute(f"comment on table {change.table} is {literal(change.description)}")
    for column in change.columns:
        _comment_column(execute, change, column)


def _comment_column(execute: Callable[[str], object], change: Replace, column: str) -> None:
    execute(f"comment on column {change.table}.{column} is {literal(change.columns[column])}")
