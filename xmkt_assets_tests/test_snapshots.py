"""Older states of the lake: found by number or time, read as they were, compared row by row."""

import json
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import duckdb
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xmkt_assets import snapshots, sql
from xmkt_assets.lake_address import connect
from xmkt_assets.snapshots import SnapshotError, as_of_session, list_snapshots, read_as_of, resolve
from xmkt_assets.table_diff import diff, rows_of
from xmkt_assets.warehouse import Days, Delete, Lake, Replace, Update

DAY = date(2026, 7, 1)
EXPIRE = "call ducklake_expire_snapshots('lake', versions => {})"


def courses(**prices: int) -> pl.DataFrame:
    return pl.DataFrame({"course_id": list(prices), "price_fen": list(prices.values())})


class History(NamedTuple):
    """Three prices of one course, and two views over each other, made with the first."""

    lake: Lake
    ids: list[int]

    def copied(self, home: Path) -> "History":
        """The same in a home of its own."""
        shutil.copytree(self.lake.home, home, dirs_exist_ok=True)
        return History(Lake(home, threads=1), self.ids)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake for tests that write a table of their own."""
    return Lake(tmp_path_factory.mktemp("tables"), threads=1)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    """Read from it only."""
    lake = Lake(tmp_path_factory.mktemp("history"), threads=1)
    lake.replace("staging.courses", courses(c1=100))
    with lake.session() as session:
        session.create_view("staging.dear", "select course_id, price_fen * 2 as twice_fen from staging.courses")
        first = session.create_view("segments.dearest", "select max(twice_fen) as dearest_fen from staging.dear")
    second = lake.replace("staging.courses", courses(c1=200, c2=50)).snapshot_id
    third = lake.replace("staging.courses", courses(c1=300)).snapshot_id
    return History(lake, [first, second, third])


@pytest.fixture
def own(history: History, tmp_path: Path) -> History:
    """To be changed."""
    return history.copied(tmp_path)


def times(lake: Lake) -> dict[int, datetime]:
    with lake.session() as session:
        return {s.snapshot_id: s.at for s in list_snapshots(session.connection)}


def found(lake: Lake, asked: snapshots.Asked, *, now: datetime | None = None) -> int:
    with lake.session() as session:
        return resolve(session.connection, asked, now=now)


def refusal(lake: Lake, asked: snapshots.Asked, *, now: datetime | None = None) -> str:
    with pytest.raises(SnapshotError) as refused:
        found(lake, asked, now=now)
    return str(refused.value)


def expire(lake: Lake, *ids: int) -> None:
    with lake.session() as session:
        session.connection.execute(EXPIRE.format(list(ids)))


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_table_and_the_views_over_it_are_read_as_they_were(history: History) -> None:
    lake, ids = history
    for snapshot_id, price in zip(ids, (100, 200, 300), strict=True):
        past = "select max(price_fen) as fen from staging.courses"
        assert read_as_of(lake, past, snapshot_id).item() == price
        assert read_as_of(lake, "from segments.dearest", snapshot_id).item() == 2 * price
        assert read_as_of(lake, "from lake.segments.dearest", snapshot_id).item() == 2 * price


def test_a_parameter_is_bound_and_the_session_reads_the_newest_state_afterwards(
    history: History,
) -> None:
    lake, ids = history
    query = "select price_fen from staging.courses where course_id = $course"
    assert read_as_of(lake, query, ids[1], course="c2").item() == 50
    with lake.session() as session:
        with snapshots.past(session.connection, lake.address, ids[0]) as past:
            assert past.read(query, course="c1").item() == 100
        assert session.read(query, course="c1").item() == 300


def test_plain_sql_reads_a_view_with_its_tables_as_of_a_snapshot(history: History) -> None:
    lake, ids = history
    assert lake.read(f"from segments.dearest at (version => {ids[1]})").item() == 400
    at = times(lake)[ids[1]].isoformat(sep=" ")
    assert lake.read(f"from segments.dearest at (timestamp => timestamp '{at}')").item() == 400


def test_a_table_that_came_later_is_not_there_and_one_dropped_since_is(own: History) -> None:
    lake, ids = own
    lake.replace("staging.later", courses(c9=1))
    with lake.session() as session:
        session.connection.execute("drop table staging.courses")
    with pytest.raises(duckdb.CatalogException):
        read_as_of(lake, "from staging.later", ids[2])
    assert read_as_of(lake, "from staging.courses", ids[2]).rows() == [("c1", 300)]


def test_nothing_can_be_written_to_a_past_state(history: History) -> None:
    lake, ids = history
    with as_of_session(lake, ids[0]) as past, pytest.raises(duckdb.Error, match="read-only"):
        past.connection.execute("delete from staging.courses")


# ── naming a snapshot ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_snapshot_is_named_by_number_by_time_and_by_the_end_of_a_day(history: History) -> None:
    lake, (first, second, third) = history
    at = times(lake)
    assert [found(lake, asked) for asked in (second, f"{second}", f"snapshot {second}", "now")] == [
        *[second] * 3,
        third,
    ]
    assert found(lake, at[second]) == second
    assert found(lake, at[second] - timedelta(microseconds=1)) == second - 1 == first
    assert found(lake, at[second].isoformat()) == second
    shanghai = (at[second] + timedelta(hours=8)).isoformat() + "+08:00"
    assert found(lake, shanghai) == second
    tomorrow = at[third] + timedelta(days=2)
    assert found(lake, at[third].date(), now=tomorrow) == third
    assert found(lake, at[third].date().isoformat(), now=tomorrow) == third


def test_what_cannot_be_named_is_refused_with_what_can(history: History) -> None:
    lake, (*_, third) = history
    at = times(lake)
    assert f"There is no snapshot 99: the newest is {third}" in refusal(lake, 99)
    assert "is in the future" in refusal(lake, at[third] + timedelta(hours=1), now=at[third])
    assert "is in the future" in refusal(lake, at[third].date(), now=at[third])  # the day has not ended
    assert "is before the first snapshot" in refusal(lake, datetime(2020, 1, 1))
    assert "'last week' is neither a snapshot nor a time" in refusal(lake, "last week")


def test_an_expired_snapshot_is_refused_with_the_oldest_kept_and_its_neighbours(
    own: History,
) -> None:
    lake, (first, second, third) = own
    expire(lake, 0, 1, second)
    said = refusal(lake, second)
    assert f"Snapshot {second} is no longer kept: maintenance has expired it" in said
    assert "The oldest kept is 2 (" in said
    assert f"Nearest to it: {first} (" in said
    assert f" and {third} (" in said
    assert "Snapshot 1 is no longer kept" in refusal(lake, 1)


def test_a_time_whose_snapshot_expired_is_refused_where_duckdb_answers_with_an_older_state(
    own: History,
) -> None:
    lake, (first, second, _) = own
    at = times(lake)[second]
    expire(lake, second)
    silently = lake.read(f"from staging.courses at (timestamp => timestamp '{at.isoformat(sep=' ')}')")
    assert silently.rows() == [("c1", 100)], "the trap that resolve is for"
    assert "may no longer be kept: maintenance has expired it" in refusal(lake, at)
    assert found(lake, times(lake)[first] - timedelta(microseconds=1)) == first - 1


def test_a_time_before_the_oldest_kept_snapshot_is_refused(own: History) -> None:
    lake, (first, _, third) = own
    at = times(lake)[first]
    expire(lake, *range(third))
    assert "is no longer kept: maintenance has expired it" in refusal(lake, at)


def test_an_erasure_is_named_as_the_reason(own: History) -> None:
    lake, (first, _, third) = own
    erasures = pl.DataFrame({"erased_at": [datetime(2026, 8, 1, 12)], "first_readable_snapshot": [third]})
    lake.replace("staging.erasures", erasures)
    expire(lake, *range(third))
    assert "an erasure at 2026-08-01 12:00:00 UTC removed every older state for good" in refusal(lake, first)


def test_snapshots_are_listed_newest_first_with_the_tables_they_changed(tmp_path: Path) -> None:
    lake = Lake(tmp_path, threads=1)
    lake.replace("staging.courses", courses(c1=1), where={"course_id": "c1"})
    lake.replace("staging.courses", courses(c2=2), where={"course_id": "c2"})
    with lake.session() as session:
        session.commit([Delete("staging.courses", "course_id = 'c1'")])
        session.create_view("staging.few", "from staging.courses")
        listed = list_snapshots(session.connection)
        assert list_snapshots(session.connection, limit=1) == listed[:1]
    assert [s.changes for s in listed[:4]] == [
        ("staging.few: view created",),
        ("staging.courses: rows",),
        ("staging.courses: rows",),
        ("staging: schema created", "staging.courses: created, rows"),
    ]
    assert listed == sorted(listed, reverse=True)
    assert abs(listed[0].at - datetime.now(UTC).replace(tzinfo=None)) < timedelta(minutes=5)


# ── differences ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_difference_names_added_removed_and_changed_rows_with_old_and_new_values(lake: Lake) -> None:
    before = lake.replace("staging.courses", courses(kept=1, gone=2, dear=3)).snapshot_id
    after = lake.replace("staging.courses", courses(kept=1, new=4, dear=5)).snapshot_id
    with lake.session() as session:
        made = diff(session.connection, "staging.courses", before, after, key=["course_id"])
        back = diff(session.connection, "staging.courses", after, before, key=["course_id"])
        none = diff(session.connection, "staging.courses", after, "now", key=["course_id"])
    assert (made.added_count, made.removed_count, made.changed_count) == (1, 1, 1)
    assert made.added.rows() == [("new", 4)] == back.removed.rows()
    assert made.removed.rows() == [("gone", 2)] == back.added.rows()
    assert made.changed.rows() == [("dear", "price_fen", "3", "5")]
    assert made.columns == {"price_fen": 1}
    assert none.is_empty
    assert rows_of(made).rows() == [
        ("added", "new", "price_fen=4"),
        ("removed", "gone", "price_fen=2"),
        ("changed", "dear", "price_fen: 3 → 5"),
    ]
    assert "1 rows added, 1 removed, 1 changed" in made.in_words()


def test_a_difference_is_summarised_per_partition(lake: Lake) -> None:
    def write(day: int, *values: int) -> int:
        rows = pl.DataFrame({"day": date(2026, 7, day), "n": range(len(values)), "value": values})
        with lake.session() as session:
            session.stage_rows("staged", rows)
            scope = Days("day", date(2026, 7, day), date(2026, 7, day + 1))
            return session.commit([Replace("staging.daily", "staged", scope)])[0].snapshot_id

    write(1, 1, 2)
    write(2, 1, 2)
    before = write(3, 1)
    write(2, 1, 9, 3)
    after = write(4, 7)
    with lake.session() as session:
        made = diff(session.connection, "staging.daily", before, after, key=["day", "n"])
    assert made.by == "day"
    assert made.partitions.rows() == [(date(2026, 7, 2), 1, 0, 1), (date(2026, 7, 4), 1, 0, 0)]


def test_a_difference_over_a_new_column_compares_the_shared_ones_and_says_so(lake: Lake) -> None:
    before = lake.replace("staging.courses", courses(c1=1, c2=2)).snapshot_id
    after = lake.replace("staging.courses", courses(c1=1, c2=3).with_columns(level=pl.lit("A"))).snapshot_id
    with lake.session() as session:
        made = diff(session.connection, "staging.courses", before, after, key=["course_id"])
    assert made.new_columns == ("level",)
    assert made.changed.rows() == [("c2", "price_fen", "2", "3")]


def test_a_key_that_does_not_tell_rows_apart_is_refused(lake: Lake) -> None:
    before = lake.replace("staging.courses", pl.DataFrame({"k": [1, 1], "v": [1, 2]})).snapshot_id
    after = lake.replace("staging.courses", pl.DataFrame({"k": [1, 1], "v": [1, 3]})).snapshot_id
    with lake.session() as session:
        with pytest.raises(SnapshotError, match="does not tell the rows of"):
            diff(session.connection, "staging.courses", before, after, key=["k"])
        with pytest.raises(SnapshotError, match="has no column absent at both snapshots"):
            diff(session.connection, "staging.courses", before, after, key=["absent"])
        with pytest.raises(SnapshotError, match="is not there at snapshot 0"):
            diff(session.connection, "staging.courses", 0, after, key=["k"])


ROWS = st.dictionaries(
    st.tuples(st.integers(1, 3), st.integers(0, 4)), st.one_of(st.none(), st.integers(0, 2)), max_size=8
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return Lake(tmp_path_factory.mktemp("diffs"), threads=1)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(old=ROWS, new=ROWS, others=st.integers(0, 3))
def test_differences_are_those_of_two_dictionaries(
    shared: Lake, old: dict[tuple[int, int], int | None], new: dict[tuple[int, int], int | None], others: int
) -> None:
    def write(rows: dict[tuple[int, int], int | None]) -> int:
        frame = pl.DataFrame(
            [(DAY + timedelta(days=d), k, v) for (d, k), v in rows.items()],
            schema={"day": pl.Date, "k": pl.Int64, "v": pl.Int64},
            orient="row",
        )
        with shared.session() as session:
            session.stage_rows("staged", frame)
            scope = Days("day", DAY, DAY + timedelta(days=9))
            return session.commit([Replace("staging.t", "staged", scope)])[0].snapshot_id

    before = write(old)
    with shared.session() as session:  # what happens in between must not matter
        session.commit([Delete("staging.t", f"k = {others}"), Update("staging.t", {"v": "1"}, f"k < {others}")])
    after = write(new)
    with shared.session() as session:
        made = diff(session.connection, "staging.t", before, after, key=["day", "k"], limit=99)
    as_keys = {(DAY + timedelta(days=d), k) for d, k in new.keys() - old.keys()}
    assert {row[:2] for row in made.added.rows()} == as_keys
    assert made.removed_count == len(old.keys() - new.keys())
    changed = {
        (DAY + timedelta(days=d), k): (old[d, k], new[d, k])
        for d, k in old.keys() & new.keys()
        if old[d, k] != new[d, k]
    }
    text = {key: tuple(None if v is None else str(v) for v in values) for key, values in changed.items()}
    assert {(day, k): (o, n) for day, k, _, o, n in made.changed.rows()} == text


# ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def home(history: History, monkeypatch: pytest.MonkeyPatch) -> History:
    monkeypatch.setenv("XMKT_HOME", str(history.lake.home))
    return history


def test_the_command_lists_reads_and_compares(home: History, capsys: pytest.CaptureFixture[str]) -> None:
    _, (first, second, _) = home
    assert snapshots.main(["read", str(first), "from staging.courses", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"course_id": "c1", "price_fen": 100}]
    assert snapshots.main(["diff", "staging.courses", str(first), str(second), "--key", "course_id", "--csv"]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        "what,course_id,values",
        "added,c2,price_fen=50",
        "changed,c1,price_fen: 100 → 200",
    ]
    assert shown.err.startswith(f"staging.courses, snapshot {first} to {second}: 1 rows added")
    assert snapshots.main(["list", "--limit", "1"]) == 0
    assert "staging.courses" in capsys.readouterr().out
    assert snapshots.main(["read", "99", "from staging.courses"]) == 1
    assert "There is no snapshot 99" in capsys.readouterr().err


def test_the_shell_goes_to_a_snapshot_and_back_and_shows_differences(
    home: History, capsys: pytest.CaptureFixture[str]
) -> None:
    lake, (first, second, _) = home
    query = "select 'twice ' || dearest_fen as said from lake.segments.dearest;"

    def said(*statements: str) -> str:
        shell = sql.Shell(connect(lake.address, read_only=True), lake.address)
        assert shell.run_all(iter(statements))
        return capsys.readouterr().out

    assert "twice 200" in said(f".at {first}", query)
    assert "twice 400" in said(f".at {times(lake)[second].isoformat()}", query)
    assert "twice 600" in said(f".at {first}", ".at now", query)
    assert "1 rows added, 0 removed, 1 changed" in said(f".diff staging.courses {first} {second}")
    assert f"snapshot {first} to {second + 1}: 0 rows added, 0 removed, 1 changed" in said(
        f".at {second}", f".diff staging.courses {first}"
    )
    assert "view created" not in said(".snapshots")
    shell = sql.Shell(connect(lake.address, read_only=True), lake.address)
    assert not shell.run(".at 99")
    assert "There is no snapshot 99" in capsys.readouterr().err
    assert shell.run(query), "what could not be done leaves the shell where it was"


def test_one_statement_is_run_as_of_a_snapshot(home: History, capsys: pytest.CaptureFixture[str]) -> None:
    assert sql.main(["--at", str(home.ids[0]), "select 'fen ' || price_fen as said from staging.courses"]) == 0
    assert "fen 100" in capsys.readouterr().out
    assert sql.main(["--at", "99", "from staging.courses"]) == 1
