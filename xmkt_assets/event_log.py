"""Dagster's SQLite event log, with batches written as batches and connections kept open.

A range of days makes two Dagster events per asset and day. The stock SQLite log opens a new engine for two databases
and commits twice for every one of them (its `store_event_batch` is a loop), so a year of days spends more time on
bookkeeping than on data. Here a batch is one transaction per database, and the engines of the newest databases stay
open. Everything else is the stock class; ``dagster.yaml`` names this one, and `DAGSTER_EVENT_BATCH_SIZE` (set by
``resources.prepare_home``) turns batches on. ``make bench`` compares the two.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from dagster._core.events import ASSET_EVENTS
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.sqlalchemy_compat import db_result
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine

OPEN_DATABASES: Final = 8  # the index and the newest runs; a page that looks through old runs must not hold them all
BUSY_SECONDS: Final = 20


class BatchingSqliteEventLogStorage(SqliteEventLogStorage):
    """The stock SQLite event log; a batch of asset events of one run costs two commits in all."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._tables: set[str] = set()
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> "BatchingSqliteEventLogStorage":
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def _engine(self, shard: str) -> Engine:
        if shard not in self._engines:
            url = self.conn_string_for_shard(shard)
            self._engines[shard] = create_engine(url, connect_args={"timeout": BUSY_SECONDS})
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

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store `events`; other than asset events of a single run they are stored one by one."""
        if len({e.run_id for e in events}) != 1 or any(e.dagster_event_type not in ASSET_EVENTS for e in events):
            super().store_event_batch(events)
            return
        statements = [self.prepare_insert_event(event) for event in events]
        with self.run_connection(events[0].run_id) as connection:
            for statement in statements:
                connection.execute(statement)
        with self.index_transaction() as connection:
            ids = []
            for statement in statements:
                with db_result(connection, statement) as result:
                    ids.append(result.inserted_primary_key[0])
            self._store_asset_event_tags(connection, events, ids)
            for event, event_id in self._newest_per_asset(events, ids):
                self._store_asset_event(connection, event, event_id)

    @staticmethod
    def _newest_per_asset(events: Sequence[EventLogEntry], ids: Sequence[int]) -> list[tuple[EventLogEntry, int]]:
        """The last event of each asset and kind: the row an asset keeps is overwritten by every later one."""
        last: dict[object, tuple[EventLogEntry, int]] = {}
        for event, event_id in zip(events, ids, strict=True):
            key = event.dagster_event.asset_key if event.dagster_event else None
            last.pop((key, event.dagster_event_type), None)  # so that the order stays that of the last events
            last[key, event.dagster_event_type] = (event, event_id)
        return list(last.values())
