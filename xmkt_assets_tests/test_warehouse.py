"""The lake: a commit is all or nothing, whoever else writes, reads or is killed meanwhile."""

import json
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest

from xmkt_assets import warehouse
from xmkt_assets.warehouse import (
    Days,
    Equal,
    Lake,
    Replace,
    Session,
    WarehouseError,
    Whole,
    connect,
    extension_path,
)
from xmkt_assets_tests.lake_helper import BACKENDS, LOCAL, SHARED, new_lake, output_of, python, told

DAY = date(2026, 7, 1)
TIMEOUT_SECONDS = 120


@pytest.fixture(scope="module", params=BACKENDS)
def lake(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """One lake of each kind for all tests that write tables of their own."""
    return new_lake(request.param, tmp_path_factory.mktemp("home"))


def days(*numbers: int, value: int = 0, rows: int = 1) -> pl.DataFrame:
    """`rows` rows for each day of July."""
    found = [(date(2026, 7, n), value) for n in numbers for _ in range(rows)]
    return pl.DataFrame(found, schema={"day": pl.Date, "value": pl.Int64}, orient="row")


def commit(lake: Lake, *changes: tuple[str, pl.DataFrame, warehouse.Scope]) -> None:
    """Apply all changes in one transaction."""
    with lake.session() as session:
        for i, (_, rows, _) in enumerate(changes):
            session.stage_rows(f"staged_{i}", rows)
        session.commit([Replace(table, f"staged_{i}", scope) for i, (table, _, scope) in enumerate(changes)])


def rows_of(lake: Lake, table: str) -> list[tuple[object, ...]]:
    return lake.read(f"select * from {table} order by all").rows()


# --- what a replace replaces ---------------------------------------------------------------------------------------


def test_replacing_the_whole_table_leaves_only_the_new_rows_and_columns(lake: Lake) -> None:
    lake.replace("w.whole", pl.DataFrame({"a": [1, 2], "b": ["x", "y"]}))
    written = lake.replace("w.whole", pl.DataFrame({"c": [3.5]}))
    assert lake.read("select * from w.whole").to_dict(as_series=False) == {"c": [3.5]}
    assert (written.table, written.row_count, written.snapshot_id) == ("w.whole", 1, lake.snapshot_id())


def test_replacing_a_slice_leaves_all_other_rows(lake: Lake) -> None:
    plan = pl.DataFrame({"plan": ["a", "a", "b"], "n": [1, 2, 3]})
    lake.replace("w.slice", plan, where=None)
    lake.replace("w.slice", pl.DataFrame({"plan": ["a"], "n": [9]}), where={"plan": "a"})
    assert rows_of(lake, "w.slice") == [("a", 9), ("b", 3)]


def test_a_slice_may_be_named_by_several_columns_and_by_several_values(lake: Lake) -> None:
    frame = pl.DataFrame({"plan": ["a", "a", "b", "c"], "n": [1, 2, 1, 1]})
    lake.replace("w.listed", frame)
    lake.replace("w.listed", frame.clear(), where={"plan": ["a", "c"], "n": 1})
    assert rows_of(lake, "w.listed") == [("a", 2), ("b", 1)]


def test_a_slice_of_no_value_is_the_rows_that_have_none(lake: Lake) -> None:
    frame = pl.DataFrame({"plan": [None, "a"], "n": [1, 2]}, schema={"plan": pl.String, "n": pl.Int64})
    lake.replace("w.nothing", frame)
    for n in (7, 8):
        lake.replace("w.nothing", frame.head(1).with_columns(n=pl.lit(n, pl.Int64)), where={"plan": None})
    assert rows_of(lake, "w.nothing") == [("a", 2), (None, 8)]


def test_an_empty_list_of_values_replaces_nothing(lake: Lake) -> None:
    lake.replace("w.none", days(1))
    lake.replace("w.none", days().clear(), where={"day": []})
    assert rows_of(lake, "w.none") == [(DAY, 0)]


def test_days_are_replaced_from_the_first_to_before_the_end(lake: Lake) -> None:
    window = Days("day", date(2026, 7, 2), date(2026, 7, 4))
    commit(lake, ("w.days", days(1, 2, 3, 4), Days("day", DAY, date(2026, 8, 1))))
    commit(lake, ("w.days", days(3, value=5), window))
    assert rows_of(lake, "w.days") == [(DAY, 0), (date(2026, 7, 3), 5), (date(2026, 7, 4), 0)]


def test_days_of_a_time_column_hold_their_last_microsecond(lake: Lake) -> None:
    late = pl.DataFrame({"seen_at": [datetime(2026, 7, 1, 23, 59, 59, 999999)], "n": [1]})
    for n in (1, 2):
        commit(lake, ("w.times", late.with_columns(n=pl.lit(n)), Days("seen_at", DAY, DAY + timedelta(days=1))))
    assert rows_of(lake, "w.times") == [(datetime(2026, 7, 1, 23, 59, 59, 999999), 2)]


def test_columns_are_matched_by_name_not_by_place(lake: Lake) -> None:
    lake.replace("w.named", pl.DataFrame({"k": [1], "a": ["a"], "b": ["b"]}), where={"k": 1})
    lake.replace("w.named", pl.DataFrame({"b": ["B"], "k": [2], "a": ["A"]}), where={"k": 2})
    assert rows_of(lake, "w.named") == [(1, "a", "b"), (2, "A", "B")]


@pytest.mark.parametrize(
    "scope", [Days("day", DAY, DAY + timedelta(days=1)), Equal((("day", DAY),)), Equal((("day", [DAY]),))]
)
def test_rows_outside_the_slice_are_refused_since_they_would_double(lake: Lake, scope: warehouse.Scope) -> None:
    lake.replace("w.outside", days(1))
    with pytest.raises(WarehouseError, match=r"1 new rows of w\.outside lie outside the slice they replace"):
        commit(lake, ("w.outside", days(1, 2, value=9), scope))
    assert rows_of(lake, "w.outside") == [(DAY, 0)]


def test_a_slice_with_a_column_without_a_type_is_refused_by_name(lake: Lake) -> None:
    with pytest.raises(WarehouseError, match=r"w\.untyped: the columns \['x'\] hold only nulls"):
        lake.replace("w.untyped", pl.DataFrame({"k": [1], "x": [None]}), where={"k": 1})


# --- columns and comments ------------------------------------------------------------------------------------------


def test_a_new_column_is_added_with_nulls_for_the_rows_that_were_there(lake: Lake) -> None:
    lake.replace("w.wider", pl.DataFrame({"k": [1]}), where={"k": 1})
    lake.replace("w.wider", pl.DataFrame({"k": [2], "x": ["new"]}), where={"k": 2}, columns={"x": "What is new"})
    assert rows_of(lake, "w.wider") == [(1, None), (2, "new")]
    assert comments(lake, "wider") == (None, {"x": "What is new"})


def test_a_changed_type_is_refused_by_name_and_leaves_the_rows(lake: Lake) -> None:
    lake.replace("w.typed", pl.DataFrame({"k": [1], "x": [1]}), where={"k": 1})
    with pytest.raises(WarehouseError, match=r"w\.typed\.x holds BIGINT, the new rows bring VARCHAR\. Cast the column"):
        lake.replace("w.typed", pl.DataFrame({"k": [1], "x": ["1"]}), where={"k": 1})
    assert rows_of(lake, "w.typed") == [(1, 1)]


def test_a_lost_column_is_refused_by_name_and_leaves_the_rows(lake: Lake) -> None:
    lake.replace("w.lost", pl.DataFrame({"k": [1], "x": [1], "y": [1]}), where={"k": 1})
    with pytest.raises(WarehouseError, match=r"w\.lost has the columns \['x', 'y'\], which the new rows lack"):
        lake.replace("w.lost", pl.DataFrame({"k": [1]}), where={"k": 1})
    assert rows_of(lake, "w.lost") == [(1, 1, 1)]


def comments(lake: Lake, table: str) -> tuple[str | None, dict[str, str]]:
    of_table = f"database_name = 'lake' and schema_name = 'w' and table_name = '{table}'"
    (on_table,) = lake.read(f"select comment from duckdb_tables() where {of_table}")["comment"]
    columns = f"select column_name, comment from duckdb_columns() where {of_table} and comment is not null"
    return on_table, dict(lake.read(columns).rows())


def test_the_meaning_of_a_table_and_its_columns_arrives_as_comments(lake: Lake) -> None:
    said, of_k = "One row per person's order; 'as is' -- no more", "The order's id; drop table x"
    lake.replace("w.said", pl.DataFrame({"k": [1], "v": [2]}), where={"k": 1}, description=said, columns={"k": of_k})
    assert comments(lake, "said") == (said, {"k": of_k})
    lake.replace("w.said", pl.DataFrame({"k": [1], "v": [3]}), where={"k": 1})
    assert comments(lake, "said") == (said, {"k": of_k})


# --- one transaction -----------------------------------------------------------------------------------------------


def test_all_changes_of_a_commit_share_one_snapshot(lake: Lake) -> None:
    before = lake.snapshot_id()
    commit(lake, ("w.first", days(1), Whole()), ("w.second", days(2), Whole()))
    assert lake.snapshot_id() == before + 1


@pytest.mark.parametrize("failure", ["a refused change", "a table that was never staged", "an exception between"])
def test_a_commit_that_fails_in_the_middle_changes_nothing(
    lake: Lake, failure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(lake, ("w.left", days(1), Whole()), ("w.right", days(1), Whole()))
    before = lake.snapshot_id()
    of_day = Equal((("day", DAY),))
    with lake.session() as session:
        session.stage_rows("good", days(1, value=9))
        session.stage_rows("bad", days(1, value=9).with_columns(pl.col("value").cast(pl.String)))
        changes = [Replace("w.left", "good", of_day), Replace("w.right", "bad", of_day)]
        if failure == "a table that was never staged":
            changes[1] = Replace("w.right", "never_staged", Whole())
        if failure == "an exception between":
            changes[1] = Replace("w.right", "good", of_day)
            monkeypatch.setattr(Session, "_apply", failing_at(2, Session._apply))
        with pytest.raises((WarehouseError, duckdb.Error, KeyboardInterrupt)):
            session.commit(changes)
        monkeypatch.undo()
        assert session.read("select value from w.left")["value"].to_list() == [0]
        session.commit([Replace("w.left", "good", of_day)])  # the session is of use again
    assert rows_of(lake, "w.left") == [(DAY, 9)]
    assert rows_of(lake, "w.right") == [(DAY, 0)]
    assert lake.snapshot_id() == before + 1


def failing_at(nth: int, apply: Callable[[Session, Replace], int]) -> Callable[[Session, Replace], int]:
    """`Session._apply` that is interrupted at its n-th call."""
    calls = iter(range(1, nth + 1))

    def interrupted(self: Session, change: Replace) -> int:
        if next(calls) == nth:
            raise KeyboardInterrupt
        return apply(self, change)

    return interrupted


def test_a_commit_that_fails_at_its_end_raises_its_own_error(lake: Lake) -> None:
    """A failed commit has rolled back already; that there is nothing left to roll back must not hide why."""
    with lake.session() as session:
        session.stage_rows("good", days(1))
        real = session.connection
        session.connection = CommitFails(real)
        with pytest.raises(duckdb.IOException, match="disk is full"):
            session.commit([Replace("w.unwritten", "good", Whole())])
    assert "w.unwritten" not in lake.tables()
    assert_lock_is_free(lake)


def assert_lock_is_free(lake: Lake) -> None:
    with Lake(lake.address, threads=1, lock_wait_seconds=0.5).session() as session, session.alone("looking"):
        pass


def test_after_a_fatal_error_the_next_session_is_of_use_again(lake: Lake) -> None:
    """DuckDB answers nothing more on an instance that broke down, so it must not be handed out again."""
    lake.replace("w.kept", days(1))
    broken = warehouse._instance(lake.address, (("threads", 1),))
    with pytest.raises(WarehouseError), lake.session():
        raise WarehouseError("broke down while reading") from duckdb.FatalException("broke down")
    assert rows_of(lake, "w.kept") == [(DAY, 0)]
    assert warehouse._instance(lake.address, (("threads", 1),)) is not broken


class CommitFails:
    """A connection whose commit fails as a full disk makes it fail."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self.cursor = connection.cursor

    def execute(self, query: str, *args: object) -> duckdb.DuckDBPyConnection:
        if query == "commit":
            self._connection.execute("rollback")
            raise duckdb.IOException("disk is full")
        return self._connection.execute(query, *args)


# --- snapshots -----------------------------------------------------------------------------------------------------


def test_snapshot_ids_grow_and_an_old_one_reads_the_old_rows(lake: Lake) -> None:
    written = [lake.replace("w.versions", days(1, value=n), where={"day": DAY}) for n in range(3)]
    ids = [w.snapshot_id for w in written]
    assert ids == sorted(set(ids))
    assert [lake.read(f"select value from w.versions at (version => {i})")["value"][0] for i in ids] == [0, 1, 2]
    lake.replace("w.versions", pl.DataFrame({"other": [1]}))
    assert lake.read(f"select value from w.versions at (version => {ids[0]})")["value"].to_list() == [0]


def test_a_copied_home_reads_and_writes_its_own_files(tmp_path: Path) -> None:
    first = Lake(tmp_path / "first")
    first.replace("w.moved", days(1))
    shutil.copytree(first.home, tmp_path / "second")
    second = Lake(tmp_path / "second")
    second.replace("w.moved", days(2), where={"day": date(2026, 7, 2)})
    shutil.rmtree(first.root / "data")
    assert rows_of(second, "w.moved") == [(DAY, 0), (date(2026, 7, 2), 0)]


# --- reading -------------------------------------------------------------------------------------------------------


def test_parameters_are_bound_never_pasted(lake: Lake) -> None:
    lake.replace("w.bound", pl.DataFrame({"name": ["o'brien; drop table w.bound", "x"]}))
    found = lake.read("select * from w.bound where name = $name", name="o'brien; drop table w.bound")
    assert found.height == 1
    assert "w.bound" in lake.tables()


def test_a_table_that_does_not_exist_is_not_answered_by_a_python_variable(lake: Lake) -> None:
    """DuckDB would read a frame called `query` or `params` of the calling function, or a module called `field`."""
    with lake.session() as session:
        query = days(1)
        assert query.height == 1
        assert session.columns("w.time") == {}
        with pytest.raises(duckdb.CatalogException):
            session.connection.execute("select * from query")


def test_sessions_do_not_see_each_others_staged_tables(lake: Lake) -> None:
    with lake.session() as one, lake.session() as two:
        one.stage_rows("mine", days(1))
        assert one.columns("mine") == {"day": "DATE", "value": "BIGINT"}
        assert two.columns("mine") == {}


def test_a_view_is_read_as_a_table_and_follows_it(lake: Lake) -> None:
    lake.replace("w.base", days(1, value=1))
    with lake.session() as session:
        snapshot = session.create_view("v.doubled", "select day, 2 * value as value from w.base")
    assert snapshot == lake.snapshot_id()
    lake.replace("w.base", days(1, value=4))
    assert rows_of(lake, "v.doubled") == [(DAY, 8)]
    assert {"w.base", "v.doubled"} <= lake.tables()


def test_times_are_read_in_utc_whatever_the_machine_says(lake: Lake) -> None:
    assert lake.read("select cast('2026-07-01T08:00:00+08:00' as timestamptz)::varchar as at")["at"][0] == (
        "2026-07-01 00:00:00+00"
    )


def test_a_home_may_have_any_name(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "o'brien [1] 家 x*")
    lake.replace("w.odd", days(1))
    lake.replace("w.odd", days(1, value=2), where={"day": DAY})
    with read_only(lake) as analyst:
        assert analyst.execute("select value from w.odd").fetchall() == [(2,)]


@contextmanager
def read_only(lake: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    """The lake as an analyst opens it in a shell of their own."""
    connection = connect(lake.address, read_only=True)
    yield connection
    connection.close()


def test_a_long_query_draws_no_bar_into_the_output_of_a_program(lake: Lake) -> None:
    asked = "select current_setting('enable_progress_bar')"
    with lake.session() as session, session.beside() as beside, read_only(lake) as analyst:
        for connection in (session.connection, beside.connection, analyst):
            assert connection.execute(asked).fetchall() == [(False,)]


def test_an_analyst_reads_the_lake_and_cannot_write_it(lake: Lake) -> None:
    lake.replace("w.analyst", days(1))
    with read_only(lake) as analyst:
        assert analyst.execute("select count(*) from w.analyst").fetchall() == [(1,)]
        with pytest.raises(duckdb.Error, match=r"(?i)read.only"):
            analyst.execute("delete from w.analyst")
        lake.replace("w.analyst", days(1, 2))
        assert analyst.execute("select count(*) from w.analyst").fetchall() == [(2,)]


def test_a_missing_extension_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(WarehouseError, match=r"pip install duckdb-extension-no-such==\d"):
        extension_path("no_such")


# --- several at once -----------------------------------------------------------------------------------------------

WRITER = """
import sys
from datetime import date
import polars as pl
from xmkt_assets.warehouse import Lake
from xmkt_assets_tests.lake_helper import of_command_line
where, number, commits, rows, days = of_command_line(sys.argv[1]), *map(int, sys.argv[2:])
lake, ids = Lake(where, threads=1), []
for i in range(commits):
    day, stamp = date(2026, 7, 1 + (number + i) % days), 1000 * number + i
    frame = pl.DataFrame({"day": [day] * rows, "stamp": [stamp] * rows, "n": list(range(rows))})
    ids.append(lake.replace("w.shared", frame, where={"day": day}).snapshot_id)
print(*ids)
"""

READER = """
import sys, json, time
from pathlib import Path
from xmkt_assets.warehouse import connect
from xmkt_assets_tests.lake_helper import of_command_line
done, days = Path(sys.argv[2]), int(sys.argv[3])
queries, seen, wrong = 0, set(), []
connection = connect(of_command_line(sys.argv[1]), read_only=True, config={"threads": "1"})
while True:
    is_last = done.exists()
    found = connection.execute(
        "select day, count(*), count(distinct stamp), sum(n), min(stamp) from w.shared group by day order by day"
    ).fetchall()
    queries += 1
    seen |= {(str(row[0]), row[4]) for row in found}
    wrong += [str(row) for row in found if tuple(row[1:4]) != (200, 1, 19900)]
    wrong += ["days"] if len(found) != days else []
    if is_last:
        break
    time.sleep(0.05)
print(json.dumps({"queries": queries, "seen": len(seen), "wrong": wrong}))
"""


@pytest.mark.parametrize(("backend", "writers", "commits", "slices"), [(LOCAL, 4, 8, 4), (SHARED, 4, 15, 4)])
def test_processes_that_replace_slices_of_one_table_all_succeed_while_another_reads_whole_slices_only(
    tmp_path: Path, backend: str, writers: int, commits: int, slices: int
) -> None:
    """Postgres refuses one of two that replace slices of one table at once; tried again, 60 of 60 commits succeed."""
    lake, done = new_lake(backend, tmp_path), tmp_path / "done"
    first = pl.DataFrame({"day": [date(2026, 7, 1 + i % slices) for i in range(200 * slices)], "stamp": 0})
    lake.replace("w.shared", first.with_columns(pl.col("stamp").cast(pl.Int64), n=pl.int_range(200).over("day")))
    reader = python(READER, told(lake.address), done, slices)
    processes = [python(WRITER, told(lake.address), n, commits, 200, slices) for n in range(1, writers + 1)]
    ids = [int(i) for process in processes for i in output_of(process).splitlines()[-1].split()]
    done.touch()
    read = json.loads(output_of(reader).splitlines()[-1])
    assert len(set(ids)) == writers * commits  # each commit has a snapshot of its own
    assert read["wrong"] == []
    assert read["queries"] >= 5
    assert read["seen"] > slices  # it did read while they wrote
    last = rows_of(lake, "w.shared")
    assert len(last) == 200 * slices
    newest = range(commits - slices, commits)
    assert {row[1] for row in last} <= {1000 * n + i for n in range(1, writers + 1) for i in newest}


def test_threads_of_one_process_wait_for_each_other(lake: Lake) -> None:
    lake.replace("w.threads", days(1, 2))
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            for value in range(3):
                lake.replace("w.threads", days(number, value=value), where={"day": date(2026, 7, number)})
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_SECONDS)
    assert failures == []
    assert rows_of(lake, "w.threads") == [(DAY, 2), (date(2026, 7, 2), 2)]


KILLED = """
import sys, time
from datetime import date
import polars as pl
from xmkt_assets.warehouse import Lake, Replace, Session, Equal, Whole
from xmkt_assets_tests.lake_helper import of_command_line
day = date(2026, 7, 1)
apply = Session._apply
def slow(self, change):
    if change.table == "w.second":
        print("amid the transaction", flush=True)
        time.sleep(600)
    return apply(self, change)
Session._apply = slow
with Lake(of_command_line(sys.argv[1])).session() as session:
    session.stage_rows("rows", pl.DataFrame({"day": [day], "value": [9]}))
    session.commit([Replace("w.first", "rows", Equal((("day", day),))), Replace("w.second", "rows", Whole())])
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_writer_killed_amid_its_transaction_leaves_the_old_rows_and_a_free_lock(tmp_path: Path, backend: str) -> None:
    lake = new_lake(backend, tmp_path)
    commit(lake, ("w.first", days(1), Whole()), ("w.second", days(1), Whole()))
    snapshot = lake.snapshot_id()
    writer = python(KILLED, told(lake.address))
    assert writer.stdout is not None
    assert writer.stdout.readline() == "amid the transaction\n"
    writer.send_signal(signal.SIGKILL)
    writer.communicate(timeout=TIMEOUT_SECONDS)
    assert (rows_of(lake, "w.first"), rows_of(lake, "w.second")) == ([(DAY, 0)], [(DAY, 0)])
    assert lake.snapshot_id() == snapshot
    assert_lock_is_free(lake)
    lake.replace("w.first", days(1, value=5), where={"day": DAY})
    with read_only(lake) as analyst:
        assert analyst.execute("select value from w.first").fetchall() == [(5,)]
