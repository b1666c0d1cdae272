"""Dagster's SQLite event log, with batches written as batches and connections kept open.

A range of days makes two Dagster events per asset and day, and every promise of a table two more. The stock SQLite log
opens a new engine for two databases and commits two or three times for every one of them (its `store_event_batch` is a
loop), so a year of days spends more time on bookkeeping than on data. Here a batch of such events, or one alone, is one
transaction per database, the engines of the newest databases stay open, and a commit is not waited for until it is on
the disk: a process that is killed loses nothing, a machine that loses power may lose the last events of its log, never
the log (SQLite's WAL with ``synchronous = normal``).

Everything else is the stock class; ``dagster.yaml`` names this one, and `DAGSTER_EVENT_BATCH_SIZE` (set by
``resources.prepare_home``) turns batches on. ``make bench`` compares the two.
"""

import os
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from dagster import AssetKey, AssetRecordsFilter, EventRecordsResult
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS, DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine, inspect
from sqlalchemy.event import listen

OPEN_DATABASES: Final = 8  # the index and the newest runs; a page that looks through old runs must not hold them all
BUSY_SECONDS: Final = 20
MIRRORED: Final = ASSET_EVENTS | ASSET_CHECK_EVENTS  # events that stand in the index of all runs, too


class BatchingSqliteEventLogStorage(SqliteEventLogStorage):
    """The stock SQLite event log; events of assets and their checks cost two commits, many at once as one alone."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._tables: set[str] = set()
        self._of_thread = threading.local()  # its open transaction on the index, where it has one
        self._stored = 0  # asset events that this process stored
        self._newest: dict[str, tuple[object, EventRecordsResult]] = {}  # question → state of the index, answer
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> "BatchingSqliteEventLogStorage":
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        held: Connection | None = getattr(self._of_thread, "index", None)
        if held is not None and shard == INDEX_SHARD_NAME:
            yield held  # what the stock class writes to the index meanwhile belongs to the same transaction
            return
        with self._db_lock:
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def _initdb(self, engine: Engine, for_index_shard: bool = False) -> None:
        """Make the tables of a database that lacks them: of a run's from an empty database that was made before.

        The stock class reads all its migrations and makes ten tables for every run: a fifth of a second.
        """
        path = Path(engine.url.database or "")
        if for_index_shard or not _put_empty(path):
            if not _has_tables(engine):
                super()._initdb(engine, for_index_shard)
            if not for_index_shard:
                _remember_empty(path)

    def _engine(self, shard: str) -> Engine:
        if shard not in self._engines:
            url = self.conn_string_for_shard(shard)
            self._engines[shard] = create_engine(url, connect_args={"timeout": BUSY_SECONDS})
            listen(self._engines[shard], "connect", _do_not_wait_for_the_disk)
            if len(self._engines) > OPEN_DATABASES:
                self._engines.popitem(last=False)[1].dispose()
        self._engines.move_to_end(shard)
        return self._engines[shard]

    def wipe(self) -> None:
        """Remove every event; the files go, so what is open on them is closed first."""
        self.dispose()
        super().wipe()

    def dispose(self) -> None:
        """Close what is open."""
        while self._engines:
            self._engines.popitem()[1].dispose()
        super().dispose()

    def has_table(self, table_name: str) -> bool:
        """Whether the index has the table; a table once found stays."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def fetch_materializations(
        self,
        records_filter: AssetKey | AssetRecordsFilter,
        limit: int,
        cursor: str | None = None,
        ascending: bool = False,
    ) -> EventRecordsResult:
        """As the stock log says it. For every check of a table Dagster asks twice for the newest materialisation: it is
        read again only when an asset event was stored here meanwhile, or anything by another process."""
        if limit != 1:
            return super().fetch_materializations(records_filter, limit, cursor, ascending)
        question, state = f"{records_filter} {cursor} {ascending}", self._state_of_index()
        before, answer = self._newest.get(question, (None, None))
        if answer is None or before != state:
            answer = super().fetch_materializations(records_filter, limit, cursor, ascending)
            self._newest = {question: (state, answer)}
        return answer

    def _state_of_index(self) -> object:
        """What is another after every asset event stored here, and every commit of another connection."""
        stored = self._stored
        with self.index_connection() as connection:
            driver = connection.connection.dbapi_connection  # the version counts what others than it have committed
            return stored, driver, connection.exec_driver_sql("pragma data_version").scalar()

    def store_event(self, event: EventLogEntry) -> None:
        """Store one event; one that also stands in the index costs one commit there."""
        if event.is_dagster_event and event.dagster_event_type in MIRRORED:
            self._store_mirrored([event])
        else:
            super().store_event(event)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store `events`; other than events of assets and checks of a single run they are stored one by one."""
        if len({e.run_id for e in events}) != 1 or any(e.dagster_event_type not in MIRRORED for e in events):
            super().store_event_batch(events)
        else:
            self._store_mirrored(events)

    def _store_mirrored(self, events: Sequence[EventLogEntry]) -> None:
        """Events of one run: in one transaction of its own database, in one of the index."""
        rows = [self._event_to_row(event) for event in events]
        insert = SqlEventLogStorageTable.insert()
        with self.run_connection(events[0].run_id) as connection:
            connection.execute(insert, rows)
        with self._whole_index_transaction() as connection:
            ids = []
            for row in rows:
                with closing(connection.execute(insert, row)) as result:
                    assert result.inserted_primary_key is not None
                    ids.append(result.inserted_primary_key[0])
            of_assets = [(e, i) for e, i in zip(events, ids, strict=True) if e.dagster_event_type in ASSET_EVENTS]
            if of_assets:
                self._store_asset_event_tags(connection, [e for e, _ in of_assets], [i for _, i in of_assets])
            for event, event_id in self._newest_per_asset(of_assets):
                self._store_asset_event(connection, event, event_id)
            planned: list[dict[str, Any]] = []
            for event, row, event_id in zip(events, rows, ids, strict=True):
                if event.dagster_event_type == DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
                    planned += self._planned_checks(event, row, event_id)
                elif event.dagster_event_type in ASSET_CHECK_EVENTS:
                    self.store_asset_check_event(event, event_id)
            if planned:
                connection.execute(AssetCheckExecutionsTable.insert(), planned)
        self._stored += len(of_assets)

    @staticmethod
    def _planned_checks(event: EventLogEntry, row: Mapping[str, Any], event_id: int) -> list[dict[str, Any]]:
        """The rows of a planned check, one for each of its partitions, as the stock class writes them one by one."""
        planned = event.get_dagster_event().asset_check_planned_data
        subset = planned.partitions_subset
        return [
            {
                "asset_key": planned.asset_key.to_string(),
                "check_name": planned.check_name,
                "partition": partition,
                "run_id": event.run_id,
                "execution_status": AssetCheckExecutionRecordStatus.PLANNED.value,
                "evaluation_event": row["event"],
                "evaluation_event_timestamp": row["timestamp"],
                "evaluation_event_storage_id": event_id,
            }
            for partition in (subset.get_partition_keys() if subset else [None])
        ]

    @contextmanager
    def _whole_index_transaction(self) -> Iterator[Connection]:
        """One transaction on the index, whatever the stock class writes to it within the block."""
        with self.index_connection() as connection:
            self._of_thread.index = connection
            try:
                yield connection
            finally:
                self._of_thread.index = None

    @staticmethod
    def _newest_per_asset(events: Sequence[tuple[EventLogEntry, int]]) -> list[tuple[EventLogEntry, int]]:
        """The last event of each asset and kind: the row an asset keeps is overwritten by every later one."""
        last: dict[object, tuple[EventLogEntry, int]] = {}
        for event, event_id in events:
            key = event.dagster_event.asset_key if event.dagster_event else None
            last.pop((key, event.dagster_event_type), None)  # so that the order stays that of the last events
            last[key, event.dagster_event_type] = (event, event_id)
        return list(last.values())


_empty: list[bytes] = []  # a run's database without events, once this process has made one


def _put_empty(path: Path) -> bool:
    """Put a database without events at `path`, whole or not at all; False where there is none to put, or one there."""
    if not _empty or path.exists():
        return False
    made = path.with_name(f"{path.name}.{uuid4().hex}.new")
    try:
        made.write_bytes(_empty[0])
        os.link(made, path)  # unlike a rename it refuses what another process has put there meanwhile
    except OSError:
        return False
    finally:
        made.unlink(missing_ok=True)
    return True


def _remember_empty(path: Path) -> None:
    """Keep the database at `path` for the runs to come, if it holds no event."""
    if _empty or not path.exists():
        return
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
        connection.execute("begin")
        if connection.execute("select count(*) from event_logs").fetchone() == (0,):
            _empty.append(connection.serialize())
        connection.execute("rollback")


def _has_tables(engine: Engine) -> bool:
    """Whether migrations are noted in the database, which is all that the stock class asks of one that exists."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return False
        return connection.exec_driver_sql("select version_num from alembic_version").first() is not None


def _do_not_wait_for_the_disk(connection: Any, _: object) -> None:
    """For every new connection: a commit is on the disk with the next checkpoint."""
    connection.execute("pragma synchronous = normal")
