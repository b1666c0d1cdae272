"""Dagster's SQLite event log, with batches written as batches.

A range of days makes two Dagster events per asset and day. The stock SQLite log opens two databases and commits
twice for every one of them (its `store_event_batch` is a loop), so a year of days spends more time on bookkeeping
than on data. Here a batch is one transaction per database. Everything else is the stock class; ``dagster.yaml``
names this one, and `DAGSTER_EVENT_BATCH_SIZE` (set by ``resources.prepare_home``) turns batches on.
"""

from collections.abc import Sequence
from typing import Any

from dagster._core.events import ASSET_EVENTS
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.sqlalchemy_compat import db_result
from dagster._serdes import ConfigurableClassData


class BatchingSqliteEventLogStorage(SqliteEventLogStorage):
    """The stock SQLite event log; a batch of asset events of one run costs two commits in all."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> "BatchingSqliteEventLogStorage":
        return cls(inst_data=inst_data, **config_value)

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
