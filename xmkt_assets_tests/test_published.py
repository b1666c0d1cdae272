"""The published file: what is finished, as it stands in one snapshot, and nothing about people beyond it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from xmkt_assets import published
from xmkt_assets.published import publish
from xmkt_assets.purposes import SENSITIVE_TABLES
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
    return {name for (name,) in found} - {"main.catalog"}


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


def test_tables_and_columns_keep_their_comments(target: Path) -> None:
    found = asked(target, "select schema_name || '.' || table_name, comment from duckdb_tables()")
    assert dict(found) | {"main.catalog": None} == {t: f"{SAID}: {t}" for t in FINISHED} | {
        "main.catalog": None,
        "segments.likers": None,
    }
    columns = asked(target, "select column_name, comment from duckdb_columns() where comment is not null")
    assert set(columns) == {(rows.columns[0], "It's the first") for rows in FINISHED.values()}


def test_the_catalog_lists_every_table_with_its_rows_and_the_one_snapshot(lake: Lake, target: Path) -> None:
    listed = asked(target, "select table_name, row_count, description from catalog")
    assert set(listed) == {(t, rows.height, f"{SAID}: {t}") for t, rows in FINISHED.items()} | {
        ("segments.likers", 1, None)
    }
    assert asked(target, "select distinct lake_snapshot_id from catalog") == [(lake.snapshot_id(),)]


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


def test_what_a_killed_publication_left_behind_does_not_stop_the_next(own_lake: Lake) -> None:
    path = own_lake.home / "xmkt.duckdb"
    (path.parent / f".xmkt.duckdb.{os.getpid()}.building").write_bytes(b"half a file")
    publish(own_lake.root, path)
    assert asked(path, "select value from campaigns.a") == [(1,)]
