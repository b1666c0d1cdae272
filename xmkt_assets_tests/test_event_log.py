"""The batching event log tells the same story as Dagster's own, in fewer commits."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned
from dagster._core.events import AssetObservationData, StepMaterializationData
from dagster._core.storage.event_log import SqliteEventLogStorage
from sqlalchemy import inspect

from xmkt_assets.event_log import BatchingSqliteEventLogStorage, _put_empty

DAYS = dg.DailyPartitionsDefinition("2026-07-01", end_date="2026-08-01")
FIRST, LAST = "2026-07-03", "2026-07-12"
RANGE = [f"2026-07-{day:02}" for day in range(3, 13)]
VIEWS, ORDERS = dg.AssetKey(["t", "views"]), dg.AssetKey(["t", "orders"])
PLANNED = dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED
CHECK = dg.AssetCheckKey(ORDERS, "adds_up")
STORAGE = """
telemetry:
  enabled: false
event_log_storage:
  module: {module}
  class: {name}
  config:
    base_dir: "{folder}"
"""


@dg.asset(key=VIEWS, code_version="1", partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
def views(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
    for day in context.partition_keys:
        context.add_asset_metadata({"rows": int(day[-2:])}, partition_key=day)
    return dg.MaterializeResult(metadata={"note": "all"}, tags={"kind": "test"})


@dg.asset(
    key=ORDERS,
    code_version="1",
    deps=[VIEWS],
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=[dg.AssetCheckSpec("adds_up", asset=ORDERS)],
)
def orders(context: dg.AssetExecutionContext) -> Iterator[Any]:
    yield dg.AssetObservation(VIEWS, metadata={"seen": 1})
    yield dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True, check_name="adds_up")])


DEFS = dg.Definitions(assets=[views, orders], jobs=[dg.define_asset_job("all_days", [views, orders])])


class Story:
    """What an instance remembers after the same two runs: a range of ten days, then two of them again."""

    def __init__(self, home: Path, storage: type[SqliteEventLogStorage], *, batch_size: int) -> None:
        home.mkdir()
        text = STORAGE.format(module=storage.__module__, name=storage.__name__, folder=home / "runs")
        (home / "dagster.yaml").write_text(text, encoding="utf-8")
        self.batches: list[int] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DAGSTER_EVENT_BATCH_SIZE", str(batch_size))
            patch.setattr(storage, "store_event_batch", self._counting(storage.store_event_batch))
            self.instance = dg.DagsterInstance.from_config(str(home))
            self.runs = [self._run(FIRST, LAST), self._run("2026-07-05", "2026-07-06")]

    def _counting(self, store: Callable[..., None]) -> Callable[..., None]:
        def store_and_count(storage: SqliteEventLogStorage, events: Sequence[dg.EventLogEntry]) -> None:
            self.batches.append(len(events))
            store(storage, events)

        return store_and_count

    def _run(self, first: str, last: str) -> dg.ExecuteInProcessResult:
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        job = DEFS.resolve_job_def("all_days")
        return job.execute_in_process(instance=self.instance, tags=tags, run_config=quiet)

    def run_number(self, run_id: str) -> int:
        return [run.run_id for run in self.runs].index(run_id)


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Story, Story]]:
    """The stock log event by event, and ours in batches."""
    home = tmp_path_factory.mktemp("instances")
    with contextlib.ExitStack() as stack:
        stock = Story(home / "stock", SqliteEventLogStorage, batch_size=0)
        ours = Story(home / "ours", BatchingSqliteEventLogStorage, batch_size=1000)
        for story in (stock, ours):
            stack.callback(story.instance.dispose)
        yield stock, ours


def assert_same(stories: tuple[Story, Story], told: Callable[[Story], Any]) -> Any:
    stock, ours = (told(story) for story in stories)
    assert ours == stock
    return ours


def test_our_log_was_used_in_batches_and_the_stock_log_was_not(stories: tuple[Story, Story]) -> None:
    stock, ours = stories
    assert isinstance(ours.instance.event_log_storage, BatchingSqliteEventLogStorage)
    assert not isinstance(stock.instance.event_log_storage, BatchingSqliteEventLogStorage)
    assert len(RANGE) in ours.batches
    assert stock.batches == []


def test_both_logs_know_the_same_materialised_partitions(stories: tuple[Story, Story]) -> None:
    known = assert_same(stories, lambda s: [sorted(s.instance.get_materialized_partitions(k)) for k in (VIEWS, ORDERS)])
    assert known == [RANGE, RANGE]


def test_both_logs_know_the_same_latest_materialisation(stories: tuple[Story, Story]) -> None:
    def latest(story: Story) -> list[tuple[Any, ...]]:
        events = [story.instance.get_latest_materialization_event(key) for key in (VIEWS, ORDERS)]
        return [told(story, event) for event in events if event]

    known = assert_same(stories, latest)
    assert [(number, partition) for number, _, partition, *_ in known] == [(1, "2026-07-06")] * 2


def told(story: Story, event: dg.EventLogEntry) -> tuple[Any, ...]:
    """An event without what differs between any two runs: ids and times."""
    found = event.get_dagster_event()
    metadata, tags = {}, {}
    if found.is_step_materialization:
        made = found.step_materialization_data.materialization
        metadata = {name: value.value for name, value in made.metadata.items()}
        tags = {k: v for k, v in (made.tags or {}).items() if "data_version" not in k and "event_pointer" not in k}
    key = found.asset_key.path if found.asset_key else None
    return story.run_number(event.run_id), found.event_type, found.partition, key, event.step_key, metadata, tags


def test_both_logs_know_the_latest_event_of_every_partition(stories: tuple[Story, Story]) -> None:
    def latest(story: Story) -> dict[str, tuple[Any, ...]]:
        storage = story.instance.event_log_storage
        ids = storage.get_latest_storage_id_by_partition(VIEWS, dg.DagsterEventType.ASSET_MATERIALIZATION)
        records = {r.storage_id: r for r in story.instance.fetch_materializations(VIEWS, limit=100).records}
        return {day: told(story, records[i].event_log_entry) for day, i in ids.items()}

    known = assert_same(stories, latest)
    assert sorted(known) == RANGE
    assert {day for day, event in known.items() if event[0] == 1} == {"2026-07-05", "2026-07-06"}
    assert known["2026-07-07"][5] == {"rows": 7, "note": "all"}


def test_both_logs_tell_every_run_event_for_event(stories: tuple[Story, Story]) -> None:
    def whole(story: Story) -> list[list[tuple[Any, ...]]]:
        logs = [story.instance.all_logs(run.run_id) for run in story.runs]
        return [[told(story, e) for e in log if e.is_dagster_event and not is_engine(e)] for log in logs]

    first, _second = assert_same(stories, whole)
    kinds = [event[1] for event in first]
    assert kinds.count("ASSET_MATERIALIZATION") == kinds.count("ASSET_MATERIALIZATION_PLANNED") == 2 * len(RANGE)
    assert kinds[-1] == dg.DagsterEventType.RUN_SUCCESS


def is_engine(event: dg.EventLogEntry) -> bool:
    return event.get_dagster_event().event_type_value in ("ENGINE_EVENT", "LOGS_CAPTURED", "RESOURCE_INIT_STARTED")


def test_both_logs_keep_the_same_entry_per_asset(stories: tuple[Story, Story]) -> None:
    def entries(story: Story) -> list[tuple[Any, ...]]:
        records = story.instance.get_asset_records([VIEWS, ORDERS])
        return sorted(
            (
                record.asset_entry.asset_key.path,
                story.run_number(str(record.asset_entry.last_run_id)),
                record.asset_entry.last_materialization is not None,
                told(story, record.asset_entry.last_materialization_record.event_log_entry),
            )
            for record in records
        )

    assert len(assert_same(stories, entries)) == 2


def test_both_logs_index_the_same_tags(stories: tuple[Story, Story]) -> None:
    """Which tags are indexed is Dagster's choice; that they are is what a lost batch would change."""

    def tags(story: Story) -> list[tuple[str, str]]:
        with story.instance.event_log_storage.index_connection() as connection:
            rows = connection.exec_driver_sql("select asset_key, key from asset_event_tags order by 1, 2").fetchall()
        return [tuple(row) for row in rows]

    assert len(assert_same(stories, tags)) >= len(RANGE)


def test_both_logs_know_the_same_observations_and_checks(stories: tuple[Story, Story]) -> None:
    def others(story: Story) -> tuple[Any, ...]:
        seen = story.instance.fetch_observations(VIEWS, limit=100).records
        check = story.instance.event_log_storage.get_latest_asset_check_execution_by_key([CHECK])[CHECK]
        return len(seen), check.status, story.run_number(check.run_id)

    assert assert_same(stories, others)[0] == 2


def materialisations(run_id: str, days: Sequence[str]) -> list[dg.EventLogEntry]:
    """Events as a step makes them."""
    return [
        entry(run_id, dg.DagsterEventType.ASSET_MATERIALIZATION, StepMaterializationData(made(day))) for day in days
    ]


def made(day: str) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(VIEWS, partition=day)


def entry(run_id: str, kind: dg.DagsterEventType, data: Any) -> dg.EventLogEntry:
    event = dg.DagsterEvent(kind.value, "job", event_specific_data=data)
    return dg.EventLogEntry(None, "info", "", run_id, 1_782_000_000.0, dagster_event=event)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> BatchingSqliteEventLogStorage:
    return BatchingSqliteEventLogStorage(str(tmp_path_factory.mktemp("log")))


def stored(storage: BatchingSqliteEventLogStorage, run_id: str) -> list[str | None]:
    return [e.get_dagster_event().partition for e in storage.get_logs_for_run(run_id)]


def test_a_batch_of_several_runs_is_stored_with_each_run(storage: BatchingSqliteEventLogStorage) -> None:
    storage.store_event_batch([*materialisations("run-1", RANGE[:2]), *materialisations("run-2", RANGE[2:3])])
    assert stored(storage, "run-1") == RANGE[:2]
    assert stored(storage, "run-2") == RANGE[2:3]
    assert storage.get_materialized_partitions(VIEWS) == set(RANGE[:3])


def test_a_batch_with_other_events_than_those_of_assets_is_stored_whole(storage: BatchingSqliteEventLogStorage) -> None:
    failed = entry("run-3", dg.DagsterEventType.STEP_RESTARTED, None)
    storage.store_event_batch([*materialisations("run-3", RANGE[3:4]), failed, *materialisations("run-3", RANGE[4:5])])
    assert stored(storage, "run-3") == [RANGE[3], None, RANGE[4]]


def test_an_empty_batch_stores_nothing(storage: BatchingSqliteEventLogStorage) -> None:
    storage.store_event_batch([])
    assert storage.get_logs_for_run("run-0") == []


def test_a_batch_costs_two_transactions_however_long_it_is(
    storage: BatchingSqliteEventLogStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    for name in ("run_connection", "index_connection"):
        method = getattr(storage, name)
        monkeypatch.setattr(storage, name, lambda *a, m=method, n=name: opened.append(n) or m(*a))
    storage.store_event_batch(materialisations("run-4", RANGE))
    assert (opened.count("run_connection"), opened.count("index_connection")) == (1, 1)
    SqliteEventLogStorage.store_event_batch(storage, materialisations("run-5", RANGE))
    assert opened.count("run_connection") == 1 + len(RANGE)


def test_an_asset_keeps_the_last_event_of_a_mixed_batch(storage: BatchingSqliteEventLogStorage, tmp_path: Path) -> None:
    """A later observation of another kind must not lose to an earlier materialisation, nor the other way round."""
    seen = entry("run-6", dg.DagsterEventType.ASSET_OBSERVATION, AssetObservationData(dg.AssetObservation(VIEWS)))
    first, second = materialisations("run-6", RANGE[:2])
    batch = [e._replace(timestamp=1_782_000_000.0 + i) for i, e in enumerate([first, seen, second])]
    stock = SqliteEventLogStorage(str(tmp_path))
    for log in (storage, stock):
        log.store_event_batch(batch)
    entries = [log.get_asset_records([VIEWS])[0].asset_entry for log in (storage, stock)]
    assert len({e.last_materialization_record.event_log_entry.timestamp for e in entries}) == 1
    assert len({str(shown_time(log)) for log in (storage, stock)}) == 1


def shown_time(storage: SqliteEventLogStorage) -> object:
    """The time by which Dagster orders assets, as the asset row keeps it."""
    with storage.index_connection() as connection:
        return connection.exec_driver_sql("select last_materialization_timestamp from asset_keys").fetchone()[0]


def test_planned_checks_are_a_batch_too_and_the_index_keeps_all_or_nothing_of_it(
    storage: BatchingSqliteEventLogStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["adds_up", "is_whole"]
    planned = [
        entry("run-7", PLANNED, AssetCheckEvaluationPlanned(asset_key=ORDERS, check_name=name)) for name in names
    ]
    rows = storage._planned_checks

    def fail_at_the_second(event: dg.EventLogEntry, row: Mapping[str, Any], event_id: int) -> list[dict[str, Any]]:
        if event is planned[1]:
            raise OSError("disk full")
        return rows(event, row, event_id)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "_planned_checks", fail_at_the_second)
        with pytest.raises(OSError, match="disk full"):
            storage.store_event_batch(planned)
    assert known_checks(storage, names) == []
    storage.store_event_batch(planned)
    assert known_checks(storage, names) == names


def known_checks(storage: BatchingSqliteEventLogStorage, names: Sequence[str]) -> list[str]:
    keys = [dg.AssetCheckKey(ORDERS, name) for name in names]
    return sorted(key.name for key in storage.get_latest_asset_check_execution_by_key(keys))


def test_the_newest_materialisation_is_the_newest_whoever_stored_it(tmp_path: Path) -> None:
    """It is remembered between two questions: this process's own events and another's must both be seen at once."""
    ours, other = BatchingSqliteEventLogStorage(str(tmp_path)), SqliteEventLogStorage(str(tmp_path))

    def newest() -> str | None:
        found = ours.fetch_materializations(VIEWS, limit=1).records
        return found[0].partition_key if found else None

    assert newest() is None
    for number, storage in enumerate([ours, other, other, ours, ours, other]):
        storage.store_event(materialisations(f"run-{number}", [RANGE[number]])[0])
        assert [newest(), newest()] == [RANGE[number]] * 2


def shape(database: Path) -> object:
    """Tables, indexes and migration of a database, and that it is in WAL mode."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        made = connection.execute("select type, name, sql from sqlite_master order by 1, 2").fetchall()
        noted = connection.execute("select version_num from alembic_version").fetchall()
        return made, noted, connection.execute("pragma journal_mode").fetchone()


def test_the_database_of_a_later_run_is_as_the_stock_log_makes_it_and_holds_only_its_own_events(tmp_path: Path) -> None:
    ours, stock = BatchingSqliteEventLogStorage(str(tmp_path / "o")), SqliteEventLogStorage(str(tmp_path / "s"))
    for number in range(3):
        for storage in (ours, stock):
            storage.store_event_batch(materialisations(f"run-{number}", [RANGE[number]]))
    assert [stored(ours, f"run-{number}") for number in range(3)] == [[day] for day in RANGE[:3]]
    assert shape(tmp_path / "o" / "run-2.db") == shape(tmp_path / "s" / "run-2.db")
    assert sorted(ours.get_all_run_ids()) == sorted(stock.get_all_run_ids())
    assert [path.name for path in (tmp_path / "o").iterdir() if path.suffix == ".new"] == []


def test_a_database_is_made_empty_only_where_there_is_none(tmp_path: Path) -> None:
    """Two processes may open the database of one run at once: the events of the first stay."""
    first, second = (BatchingSqliteEventLogStorage(str(tmp_path)) for _ in range(2))
    first.store_event_batch(materialisations("run-1", RANGE[:1]))
    second.store_event_batch(materialisations("run-1", RANGE[1:2]))
    assert stored(first, "run-1") == stored(second, "run-1") == RANGE[:2]
    before = (tmp_path / "run-1.db").read_bytes()
    assert not _put_empty(tmp_path / "run-1.db")
    assert (tmp_path / "run-1.db").read_bytes() == before


def test_a_file_without_tables_gets_them(tmp_path: Path) -> None:
    """What a process leaves that was killed between opening the file and making its tables."""
    storage = BatchingSqliteEventLogStorage(str(tmp_path))
    (tmp_path / "run-1.db").touch()
    storage.store_event_batch(materialisations("run-1", RANGE[:1]))
    assert stored(storage, "run-1") == RANGE[:1]


def test_planned_checks_are_noted_as_the_stock_log_notes_them(tmp_path: Path) -> None:
    planned = [
        entry("run-1", PLANNED, AssetCheckEvaluationPlanned(asset_key=ORDERS, check_name=name)) for name in ("a", "b")
    ]
    days = dg.DailyPartitionsDefinition("2026-07-01").subset_with_partition_keys(RANGE[:2]).to_serializable_subset()
    of_days = AssetCheckEvaluationPlanned(asset_key=ORDERS, check_name="c", partitions_subset=days)
    planned.append(entry("run-1", PLANNED, of_days))
    noted = []
    for storage in (BatchingSqliteEventLogStorage(str(tmp_path / "o")), SqliteEventLogStorage(str(tmp_path / "s"))):
        storage.store_event_batch(planned)
        with storage.index_connection() as connection:
            columns = [c["name"] for c in inspect(connection).get_columns("asset_check_executions")]
            names = ", ".join(name for name in columns if name != "create_timestamp")
            found = connection.exec_driver_sql(f"select {names} from asset_check_executions order by id").fetchall()
        noted.append([tuple(row) for row in found])
    assert noted[0] == noted[1]
    assert len(noted[0]) == 4
