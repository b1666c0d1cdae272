"""The lake: DuckLake tables under one home folder. Pure: no Dagster.

Here: attaching, the write lock, transactions that replace a table or a slice of it, snapshot ids, the published
native file. Not here: what the tables mean (``dbt_like_sql/``), how partner files become rows (``raw/``).

Writers compute into temporary tables first and take the one file lock only for the short transaction that
replaces rows: SQLite catalogs lose about half the commits of two unlocked writers, none with the lock
(measured; see ``README.md``, "Parallel use"). Readers take no lock and see the last committed snapshot.
"""

import fcntl
import importlib.util
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Final, NamedTuple

import duckdb
import polars as pl

LOG: Final = logging.getLogger(__name__)
EXTENSIONS: Final = ("ducklake", "sqlite_scanner")
LOCK_WAIT_SECONDS: Final = 600.0


class WarehouseError(RuntimeError):
    """The lake refused a write or could not be opened; the message says what to do."""


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


def extension_path(name: str) -> str:
    """File of a DuckDB extension that came as a wheel. LOAD by full path never asks the network."""
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    if spec is None or not spec.submodule_search_locations:
        package = f"duckdb-extension-{name.replace('_', '-')}=={duckdb.__version__}"
        raise WarehouseError(f"The DuckDB extension {name} is not installed. Run: pip install {package}")
    root = Path(next(iter(spec.submodule_search_locations)))
    return str(root / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension")


def attach_sql(root: Path, *, read_only: bool) -> tuple[str, ...]:
    """Statements that open the lake under `root` in any DuckDB 1.5.5 shell, the analyst's included."""
    loads = tuple(f"LOAD {literal(extension_path(name))}" for name in EXTENSIONS)
    # The catalog remembers where its files lay; overriding it keeps a moved or copied home readable.
    options = [f"DATA_PATH {literal(root / 'data')}", "OVERRIDE_DATA_PATH true"]
    options += ["META_JOURNAL_MODE 'WAL'", "META_BUSY_TIMEOUT 5000"]
    options += ["READ_ONLY"] if read_only else []
    catalog = literal(f"ducklake:sqlite:{root / 'catalog.sqlite'}")
    attach = f"ATTACH {catalog} AS lake ({', '.join(options)})"
    return (*loads, "SET TimeZone = 'UTC'", attach, "USE lake")


class Lake:
    """One lake under ``home/lake``; cheap to make, thread-safe, opened on first use and once per process."""

    def __init__(self, home: Path, *, threads: int | None = None, memory_limit: str | None = None) -> None:
        self.home = home
        self.root = home / "lake"
        self._config = {k: v for k, v in {"threads": threads, "memory_limit": memory_limit}.items() if v}

    @contextmanager
    def session(self) -> Iterator["Session"]:
        """A connection of its own with its own temporary tables; closed at the end."""
        config = tuple(sorted(self._config.items()))
        connection = _instance(self.root, config).cursor()
        try:
            connection.execute("USE lake")
            connection.execute("SET TimeZone = 'UTC'")
            # A table that does not exist yet must not be answered by a Python variable of its name.
            connection.execute("SET python_enable_replacements = false")
            yield Session(connection, self.root)
        except BaseException as error:
            # After a fatal error DuckDB answers nothing more on this instance; the next session gets a new one.
            if any(isinstance(e, duckdb.FatalException) for e in (error, error.__cause__)):
                _forget_instance(self.root, config)
            raise
        finally:
            connection.close()

    def read(self, query: str, **params: object) -> pl.DataFrame:
        """Rows of `query`; ``$name`` in it is bound to the keyword argument of that name."""
        with self.session() as session:
            return session.read(query, **params)

    def replace(
        self,
        table: str,
        rows: pl.DataFrame,
        *,
        where: Mapping[str, object] | None = None,
        description: str = "",
        columns: Mapping[str, str] | None = None,
    ) -> Written:
        """Replace the rows of `table` equal to `where` (None = the whole table) in one transaction.

        `description` and `columns` (name → meaning) become comments where the table is made.
        """
        scope: Scope = Whole() if where is None else Equal(tuple(where.items()))
        if where is not None and (untyped := [name for name, kind in rows.schema.items() if kind == pl.Null]):
            raise WarehouseError(
                f"{table}: the columns {untyped} hold only nulls and no type. Cast them to their type."
            )
        with self.session() as session:
            session.stage_rows("staged_rows", rows)
            return session.commit([Replace(table, "staged_rows", scope, description, columns or {})])[0]

    def snapshot_id(self) -> int:
        with self.session() as session:
            return session.snapshot_id()

    def tables(self) -> set[str]:
        """Tables and views of the lake as ``schema.table``."""
        with self.session() as session:
            return session.tables()


class Session:
    """One connection to the lake. Temporary tables live and die with it."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, root: Path) -> None:
        self.connection = connection
        self._root = root
        self._committed = 0

    @property
    def home(self) -> Path:
        """The home folder the lake lies in."""
        return self._root.parent

    @contextmanager
    def beside(self) -> Iterator["Session"]:
        """A second connection to the same lake, with temporary tables of its own."""
        connection = self.connection.cursor()
        try:
            connection.execute("USE lake")
            connection.execute("SET TimeZone = 'UTC'")
            yield Session(connection, self._root)
        finally:
            connection.close()

    def read(self, query: str, **params: object) -> pl.DataFrame:
        return self.connection.sql(query, params=params or None).pl()

    def stage(self, name: str, query: str, params: Mapping[str, object] | None = None) -> None:
        """Compute `query` into the temporary table `name`, outside any lock."""
        self.connection.execute(f"create or replace temp table {name} as {query}", dict(params or {}) or None)

    def stage_rows(self, name: str, rows: pl.DataFrame) -> None:
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

    def commit(self, changes: Sequence[Replace | Delete | Update]) -> list[Written]:
        """Apply every change in ONE transaction under the write lock; all or nothing becomes visible."""
        for change in changes:
            if isinstance(change, Replace):
                self._refuse_rows_outside(change)
        with self._transaction():
            counts = [self._apply(c) if isinstance(c, Replace) else self._alter(c) for c in changes]
        return [Written(c.table, self._committed, n) for c, n in zip(changes, counts, strict=True)]

    def create_view(self, view: str, query: str) -> int:
        """Create or replace a view; returns the snapshot id."""
        with self._transaction():
            self.connection.execute(f"create schema if not exists {view.split('.', maxsplit=1)[0]}")
            self.connection.execute(f"create or replace view {view} as {query}")
        return self._committed

    def columns(self, table: str) -> dict[str, str]:
        """Column name → DuckDB type, of a lake or temporary table; empty when it does not exist."""
        try:
            return {row[0]: row[1] for row in self.connection.execute(f"describe {table}").fetchall()}
        except duckdb.CatalogException:
            return {}

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with write_lock(self._root):
            self.connection.execute("begin transaction")
            try:
                yield
                self.connection.execute("commit")
                self._committed = self.snapshot_id()  # still under the lock, so it is this commit's own
            except BaseException:
                with suppress(duckdb.TransactionException):  # a failed commit has rolled back by itself
                    self.connection.execute("rollback")
                raise

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
        condition, values = _condition(change.scope)
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
        condition, values = _condition(change.scope)
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


@contextmanager
def write_lock(root: Path, *, wait_seconds: float = LOCK_WAIT_SECONDS) -> Iterator[None]:
    """Hold the lake's one write lock. Waits with a log line every 10 s, then gives up with `WarehouseError`."""
    path = root / "write.lock"
    root.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as handle:
        _acquire(handle.fileno(), path, wait_seconds=wait_seconds)
        try:
            handle.truncate(0)
            handle.write(f"process {os.getpid()} since {datetime.now().isoformat(timespec='seconds')}\n")
            handle.flush()
            yield
        finally:
            fcntl.flock(handle.fileno(), fcntl.LOCK_UN)


def _acquire(descriptor: int, path: Path, *, wait_seconds: float) -> None:
    started = time.monotonic()
    told = started
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            now = time.monotonic()
            holder = path.read_text(encoding="utf-8").strip() or "an unnamed process"
            if now - started > wait_seconds:
                raise WarehouseError(
                    f"The lake's write lock {path.name} was held for {wait_seconds:.0f} s by {holder}. "
                    f"Wait for that run to end or stop it, then run again; nothing was written."
                ) from None
            if now - told > 10:
                told = now
                LOG.info("waiting %.0f s for the lake's write lock, held by %s", now - started, holder)
            time.sleep(0.01)
        else:
            return


_instances: dict[tuple[int, str, object], duckdb.DuckDBPyConnection] = {}
_instances_lock = threading.Lock()


def _instance(root: Path, config: tuple[tuple[str, object], ...]) -> duckdb.DuckDBPyConnection:
    """One DuckDB instance per process and lake: attaching costs far more than a query."""
    key = (os.getpid(), str(root), config)
    with _instances_lock:
        if key not in _instances or not (root / "catalog.sqlite").exists():
            _instances[key] = _attach(root, dict(config))
        return _instances[key]


def _forget_instance(root: Path, config: tuple[tuple[str, object], ...]) -> None:
    with _instances_lock:
        _instances.pop((os.getpid(), str(root), config), None)


def _attach(root: Path, config: Mapping[str, object]) -> duckdb.DuckDBPyConnection:
    (root / "data").mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(config={k: str(v) for k, v in config.items()})
    with write_lock(root):  # two processes must not create the catalog at once
        for statement in attach_sql(root, read_only=False):
            connection.execute(statement)
    return connection


def _condition(scope: Scope) -> tuple[str, dict[str, object]]:
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


def literal(text: object) -> str:
    """`text` as a SQL string."""
    return "'" + str(text).replace("'", "''") + "'"
