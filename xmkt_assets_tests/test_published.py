"""The published file: what is finished, as it stands in one snapshot, and nothing about people beyond it."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from xmkt_assets import published
from xmkt_assets.assets import STAGES
from xmkt_assets.assets.published import describe
from xmkt_assets.definitions import build_defs
from xmkt_assets.known_tables import known_tables
from xmkt_assets.published import Described, is_published, publish
from xmkt_assets.purposes import SENSITIVE_TABLES
from xmkt_assets.resources import REPOSITORY, SQL_FOLDER
from xmkt_assets.sql_models import load_models
from xmkt_assets.warehouse import Lake, Replace, Whole

FINISHED = {
    "segments.person_profile": pl.DataFrame({"person_id": ["a", "b"], "interests": [["x", "y"], []]}),
    "recommenders.course_recommendations": pl.DataFrame({"person_id": ["a"], "score": [0.5]}),
    "campaigns.campaign_list": pl.DataFrame({"person_id": ["a", "b", "c"], "arm": ["treatment", "control", None]}),
    "evaluation.experiment_results": pl.DataFrame({"metric": ["visit"], "is_goal": [True]}),
    "raw.file_ledger": pl.DataFrame({"source_file": ["f"], "rows_in": [3]}),
    "staging.courses": pl.DataFrame({"course_id": ["c1"], "title": ["课程 'one'"]}),
    "staging.products": pl.DataFrame({"product_id": ["p1"]}),
}
PERSONAL = {
    "raw.users": pl.DataFrame({"user_id": ["secret-1"]}),
    "raw.quarantine": pl.DataFrame({"raw_text": ["secret-2"]}),
    "staging.people": pl.DataFrame({"person_id": ["secret-3"]}),
    "staging.identities": pl.DataFrame({"identifier_hash": ["secret-4"]}),
    "staging.gate_profiling": pl.DataFrame({"subject_id": ["secret-5"]}),
    "staging.course_views": pl.DataFrame({"user_id": ["secret-6"]}),
    **{table: pl.DataFrame({"person_id": [f"secret-{table}"]}) for table in SENSITIVE_TABLES},
}
NAME = "schema_name || '.' || table_name"
SAID = "One row per 'thing'; as it is"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(tmp_path_factory.mktemp("home"), threads=1)
    fill(lake, {**FINISHED, **PERSONAL})
    with lake.session() as session:
        session.create_view("segments.likers", "select person_id from segments.person_profile where len(interests) > 0")
    return lake


def fill(lake: Lake, tables: Mapping[str, pl.DataFrame]) -> None:
    """Replace all tables, with their comments, in one transaction."""
    with lake.session() as session:
        changes = []
        for table, rows in tables.items():
            staged = table.replace(".", "_")
            session.stage_rows(staged, rows)
            first = {rows.columns[0]: "It's the first"}
            changes.append(Replace(table, staged, Whole(), f"{SAID}: {table}", first))
        session.commit(changes)


@pytest.fixture(scope="module")
def target(lake: Lake) -> Path:
    path = lake.home / "published" / "xmkt.duckdb"
    publish(lake.root, path)
    return path


@contextmanager
def opened(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect(str(path), read_only=True)
    yield connection
    connection.close()


def asked(path: Path, query: str) -> list[tuple[Any, ...]]:
    with opened(path) as connection:
        return connection.execute(query).fetchall()


def tables(path: Path) -> set[str]:
    found = asked(path, "select table_schema || '.' || table_name from information_schema.tables")
    return {name for (name,) in found} - {"main.catalog", "main.catalog_columns"}


def test_every_finished_table_and_view_is_in_the_file_and_nothing_else(target: Path) -> None:
    assert tables(target) == {*FINISHED, "segments.likers"}


@pytest.mark.parametrize("table", FINISHED)
def test_a_published_table_has_the_rows_columns_and_types_of_the_lake(lake: Lake, target: Path, table: str) -> None:
    with opened(target) as connection:
        out = connection.sql(f"select * from {table} order by all").pl()
    assert out.equals(lake.read(f"select * from {table} order by all"))
    assert out.schema == FINISHED[table].schema


def test_no_row_about_a_person_before_the_gates_and_none_made_of_sensitive_data_is_in_the_file(target: Path) -> None:
    content = target.read_bytes()
    assert b"treatment" in content  # the scan does find what is inside
    assert b"secret-" not in content


OF_THE_FILE = "schema_name not in ('main', 'information_schema', 'pg_catalog')"


def test_tables_and_columns_keep_their_comments(target: Path) -> None:
    found = asked(target, f"select schema_name || '.' || table_name, comment from duckdb_tables() where {OF_THE_FILE}")
    assert dict(found) == {t: f"{SAID}: {t}" for t in FINISHED} | {"segments.likers": None}
    columns = asked(
        target, f"select column_name, comment from duckdb_columns() where comment is not null and {OF_THE_FILE}"
    )
    assert set(columns) == {(rows.columns[0], "It's the first") for rows in FINISHED.values()}


def test_the_catalog_lists_every_table_with_its_rows_and_the_one_snapshot(lake: Lake, target: Path) -> None:
    listed = asked(target, f"select {NAME}, row_count, kind, description from catalog")
    assert set(listed) == {(t, rows.height, "table", f"{SAID}: {t}") for t, rows in FINISHED.items()} | {
        ("segments.likers", 1, "view", None)
    }
    assert asked(target, "select distinct lake_snapshot_id from catalog") == [(lake.snapshot_id(),)]


def test_an_analyst_finds_what_every_column_of_the_catalog_itself_means(target: Path) -> None:
    found = asked(
        target,
        "select table_name, column_name, comment from duckdb_columns() "
        "where not internal and table_name like 'catalog%'",
    )
    assert len(found) > 15
    assert [f"{table}.{column}" for table, column, comment in found if not comment] == []


def test_every_column_is_listed_with_its_type_and_whether_it_leads_to_a_person(target: Path) -> None:
    what = "column_name, column_number, type, is_personal, meaning, comes_from"
    query = f"select {what} from catalog_columns where {NAME} = '{{}}'"
    assert asked(target, query.format("segments.person_profile")) == [
        ("person_id", 1, "VARCHAR", True, "It's the first", None),
        ("interests", 2, "VARCHAR[]", True, None, None),  # the contract grades what people say of themselves
    ]
    assert asked(target, query.format("campaigns.campaign_list"))[1] == ("arm", 2, "VARCHAR", False, None, None)
    assert asked(target, query.format("staging.courses"))[0][3] is False
    personal = dict(asked(target, f"select {NAME}, is_personal from catalog"))
    assert (personal["segments.likers"], personal["staging.products"]) == (True, False)


def test_what_is_handed_in_is_told_of_tables_and_views_and_what_nobody_says_is_named(
    lake: Lake, tmp_path: Path
) -> None:
    words = Described(
        "One row per liker",
        {"person_id": "Who likes"},
        grain="person_id",
        owner="data-science",
        made_by="dbt_like_sql/segments/likers.sql",
        origins={"person_id": "segments.person_profile.person_id"},
    )
    done = publish(lake.root, tmp_path / "x.duckdb", described={"segments.likers": words})
    line = f"select grain, owner, made_by, description from catalog where {NAME} = 'segments.likers'"
    assert asked(done.path, line) == [("person_id", "data-science", words.made_by, "One row per liker")]
    line = f"select meaning, comes_from from catalog_columns where {NAME} = 'segments.likers'"
    assert asked(done.path, line) == [("Who likes", "segments.person_profile.person_id")]
    line = "select comment from duckdb_{} where comment in ('One row per liker', 'Who likes')"
    assert [asked(done.path, line.format(f"{kind}()")) for kind in ("tables", "columns")] == [
        [("One row per liker",)],
        [("Who likes",)],
    ]
    assert set(done.without_meaning) == {f"{t}.{c}" for t, rows in FINISHED.items() for c in rows.columns[1:]}


def test_the_catalog_says_which_days_a_table_speaks_of_and_when_it_was_last_written(tmp_path: Path) -> None:
    lake, day = Lake(tmp_path / "home", threads=1), date(2026, 7, 1)
    began = datetime.now(UTC).replace(tzinfo=None)
    for i in (0, 2):
        rows = pl.DataFrame({"as_of_on": [day + timedelta(days=i)], "person_id": ["a"]})
        lake.replace("segments.person_profile", rows, where={"as_of_on": day + timedelta(days=i)})
    lake.replace("campaigns.exclusions", pl.DataFrame({"rule": ["r"], "seen_on": [day]}))
    between = datetime.now(UTC).replace(tzinfo=None)
    lake.replace("evaluation.uplift_curves", pl.DataFrame(schema={"gain": pl.Float64, "as_of_on": pl.Date}))
    done = publish(
        lake.root, tmp_path / "x.duckdb", described={"campaigns.exclusions": Described(day_column="seen_on")}
    )
    query = f"select {NAME}, day_column, oldest_on, newest_on, row_count from catalog"
    assert set(asked(done.path, query)) == {
        ("segments.person_profile", "as_of_on", day, day + timedelta(days=2), 2),
        ("campaigns.exclusions", "seen_on", day, day, 1),
        ("evaluation.uplift_curves", "as_of_on", None, None, 0),
    }
    written = dict(asked(done.path, f"select {NAME}, written_at from catalog"))
    assert began < written["segments.person_profile"] < written["campaigns.exclusions"] < between
    assert between < written["evaluation.uplift_curves"]


def test_a_lake_without_any_finished_table_gives_an_empty_catalog(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "home", threads=1)
    lake.replace("raw.users", PERSONAL["raw.users"])
    done = publish(lake.root, tmp_path / "x.duckdb")
    assert (done.tables, asked(done.path, "from catalog")) == ((), [])


# ── what the platform's own tables mean ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def platform_words() -> dict[str, Described]:
    python_assets = [asset for stage in STAGES.values() for asset in stage]
    defs = build_defs()
    sql_assets = [a for a in defs.assets or [] if a not in python_assets]
    return describe([*python_assets, *sql_assets], load_models(SQL_FOLDER))


@cache
def published_columns() -> dict[str, tuple[str, ...]]:
    """Every table that is published with its columns, from what makes it."""
    columns = {table: tuple(names) for table, names in known_tables().items()}
    columns |= {table: model.column_names for table, model in load_models(SQL_FOLDER).items()}
    return {table: names for table, names in columns.items() if is_published(table)}


@pytest.mark.parametrize("table", sorted(published_columns()))
def test_somebody_says_what_every_published_table_and_each_of_its_columns_means(
    table: str, platform_words: Mapping[str, Described]
) -> None:
    words = platform_words[table]
    assert [c for c in published_columns()[table] if not words.columns.get(c)] == []
    assert words.description
    assert words.owner
    grain = [column for column in words.grain.split(", ") if column]
    assert set(grain) <= set(published_columns()[table])
    assert grain, f"{table}: add it to GRAINS of assets/published.py"
    assert (REPOSITORY / words.made_by).exists()


def test_where_a_column_comes_from_is_told_of_sql_tables(platform_words: Mapping[str, Described]) -> None:
    origins = platform_words["evaluation.experiment_assignments"].origins
    assert "campaigns.campaign_list.campaign_id" in origins["campaign_id"]


def test_the_result_says_what_was_published(lake: Lake, tmp_path: Path) -> None:
    done = publish(lake.root, tmp_path / "deep" / "it's.duckdb")
    assert done.path == tmp_path / "deep" / "it's.duckdb"
    assert done.snapshot_id == lake.snapshot_id()
    assert dict(done.tables) == {t: rows.height for t, rows in FINISHED.items()} | {"segments.likers": 1}
    assert tables(done.path) == {*FINISHED, "segments.likers"}


@pytest.fixture
def own_lake(tmp_path: Path) -> Lake:
    """A lake with two tables that always change together."""
    lake = Lake(tmp_path / "home", threads=1)
    step(lake, 1)
    return lake


def step(lake: Lake, value: int) -> None:
    rows = pl.DataFrame({"value": [value]})
    fill(lake, {"campaigns.a": rows, "evaluation.z": rows})


def test_a_reader_with_the_old_file_open_keeps_it_whole_while_it_is_replaced(own_lake: Lake) -> None:
    path = own_lake.home / "xmkt.duckdb"
    publish(own_lake.root, path)
    reader, before = duckdb.connect(str(path), read_only=True), path.read_bytes()
    with path.open("rb") as handle:
        step(own_lake, 2)
        publish(own_lake.root, path)
        assert handle.read() == before
    assert reader.execute("select value from campaigns.a").fetchall() == [(1,)]
    reader.close()
    assert asked(path, "select value from campaigns.a") == [(2,)]
    assert [entry.name for entry in path.parent.iterdir() if "duckdb" in entry.name] == ["xmkt.duckdb"]


def test_tables_that_change_while_they_are_copied_are_published_as_of_one_snapshot(
    own_lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = own_lake.home / "xmkt.duckdb"
    copy, before = published._copy, own_lake.snapshot_id()

    def copy_then_write(connection: duckdb.DuckDBPyConnection, table: str) -> int:
        count = copy(connection, table)
        if table == "campaigns.a":
            step(own_lake, 2)
        return count

    monkeypatch.setattr(published, "_copy", copy_then_write)
    done = publish(own_lake.root, path)
    assert own_lake.read("select value from evaluation.z")["value"][0] == 2
    assert asked(path, "select a.value, z.value from campaigns.a, evaluation.z as z") == [(1, 1)]
    assert done.snapshot_id == before


def test_a_publication_that_fails_leaves_the_old_file_and_no_other(
    own_lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = own_lake.home / "xmkt.duckdb"
    publish(own_lake.root, path)
    step(own_lake, 2)

    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(published, "_write_catalog", fail)
    with pytest.raises(OSError, match="no space left"):
        publish(own_lake.root, path)
    assert asked(path, "select value from campaigns.a") == [(1,)]
    assert [entry.name for entry in path.parent.iterdir() if "duckdb" in entry.name] == ["xmkt.duckdb"]


# Builds, and stands still before the file is put in its place.
KILLED = """
import os, sys, time
from pathlib import Path
from xmkt_assets import published
published._to_disk = lambda path: (print("built", flush=True), time.sleep(60))
published.publish(Path(sys.argv[1]), Path(sys.argv[2]))
"""
# Opens the file once, and says for every line of its input what it sees.
READER = """
import sys, duckdb
with duckdb.connect(sys.argv[1], read_only=True) as connection:
    for _ in sys.stdin:
        query = "select value, lake_snapshot_id from campaigns.a, catalog limit 1"
        print(connection.execute(query).fetchall(), flush=True)
"""


def started(script: str, *arguments: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def said(process: "subprocess.Popen[str]", line: str = "") -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    if line:
        process.stdin.write(line + "\n")
        process.stdin.flush()
    return process.stdout.readline().strip()


def test_another_process_that_reads_goes_on_seeing_the_old_file_and_a_new_one_sees_the_new(own_lake: Lake) -> None:
    path = own_lake.home / "xmkt.duckdb"
    old = publish(own_lake.root, path).snapshot_id
    with started(READER, path) as reader:
        assert said(reader, "look") == f"[(1, {old})]"
        step(own_lake, 2)
        new = publish(own_lake.root, path).snapshot_id
        assert said(reader, "look") == f"[(1, {old})]"
        reader.terminate()
    with started(READER, path) as reader:
        assert said(reader, "look") == f"[(2, {new})]"
        reader.terminate()


def test_a_killed_publication_leaves_the_old_file_and_the_next_removes_what_it_left(own_lake: Lake) -> None:
    path = own_lake.home / "published" / "xmkt.duckdb"
    publish(own_lake.root, path)
    step(own_lake, 2)
    with started(KILLED, own_lake.root, path) as process:
        assert said(process) == "built"
        process.send_signal(signal.SIGKILL)
    assert asked(path, "select value from campaigns.a") == [(1,)]
    assert len(list(path.parent.glob(".xmkt.duckdb.*.building"))) == 1
    publish(own_lake.root, path)
    assert asked(path, "select value from campaigns.a") == [(2,)]
    assert sorted(entry.name for entry in path.parent.iterdir()) == [".xmkt.lock", "xmkt.duckdb"]


def test_two_publications_at_once_take_turns(own_lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    path, build = own_lake.home / "xmkt.duckdb", published._build
    at_work, most = list[int](), list[int]()

    def counted(*arguments: Any) -> published.Published:
        at_work.append(1)
        most.append(len(at_work))
        done = build(*arguments)
        at_work.pop()
        return done

    monkeypatch.setattr(published, "_build", counted)
    threads = [threading.Thread(target=publish, args=(own_lake.root, path)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]
    assert asked(path, "select value from campaigns.a") == [(1,)]
