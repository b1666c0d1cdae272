"""The generated histories are what the benchmarks at size say of them, and both sides come to the same tables."""

from datetime import timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest

from xmkt_assets.contracts import contracts
from xmkt_assets_tests.benchmarks import scale_data, scale_day, scale_graph
from xmkt_assets_tests.benchmarks.measure import Comparison
from xmkt_assets_tests.benchmarks.scale_data import SHARES, WORLD_DAYS, World, chunks, day_on, feeds, rows_of

SMALL = World(events=12_000, people=50, events_per_day=4_000)


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": "1"})


def rows(connection: duckdb.DuckDBPyConnection, feed: str, world: World, first: int, last: int) -> pl.DataFrame:
    query, values = rows_of(feed, world, first, last)
    return connection.sql(query, params=dict(values)).pl()


def test_a_history_is_of_whole_days_that_end_before_the_new_one() -> None:
    assert (SMALL.days, SMALL.last_on) == (3, day_on(WORLD_DAYS - 1) - timedelta(days=1))
    assert SMALL.first_on == SMALL.last_on - timedelta(days=2)
    assert sum(SHARES.values()) == pytest.approx(1)
    assert list(chunks(3, 9, 3)) == [(3, 5), (6, 8), (9, 9)]


@pytest.mark.parametrize("feed", feeds())
def test_every_feed_has_the_columns_of_its_contract_and_one_row_per_key_and_delivery(
    connection: duckdb.DuckDBPyConnection, feed: str
) -> None:
    contract = contracts()[feed]
    found = rows(connection, feed, SMALL, SMALL.first_day, WORLD_DAYS - 2)
    assert found.columns == ["partner", "dt", *contract.column_names, "source_file", "source_row", "loaded_at"]
    assert found.select("partner", "dt", *contract.key).is_duplicated().sum() == 0
    needed = [column.name for column in contract.columns if column.is_required]
    assert found.select(pl.col(needed).is_null().sum()).sum_horizontal().item() == 0
    assert set(found["partner"]) <= set(contract.partners)


def test_a_short_history_is_the_end_of_a_long_one(connection: duckdb.DuckDBPyConnection) -> None:
    """But for ids taken from the day before, which the first day of a history has not."""
    short = SMALL._replace(events=4_000)
    last = WORLD_DAYS - 2
    of_long, of_short = (rows(connection, "course_views", world, last, last) for world in (SMALL, short))
    differing = of_long.join(of_short, on=of_long.columns, how="anti", nulls_equal=True)
    assert (of_long.height, differing.height) == (2280, 1)


def test_repeats_and_late_rows_are_as_many_as_promised(connection: duckdb.DuckDBPyConnection) -> None:
    world = World(events=12_000, people=50, events_per_day=4_000)
    found = rows(connection, "course_views", world, world.first_day, WORLD_DAYS - 2)
    numbers = range(world.first_day * 2280, (WORLD_DAYS - 1) * 2280)
    early = [n for n in numbers if n // 2280 < WORLD_DAYS - 2]
    late = sum(n % 2000 in (13, 1007) for n in early)
    again = sum(n % 2000 == 7 for n in numbers if n // 2280 > world.first_day)
    repeated = sum(n % 2000 == 1007 for n in early if n % 2280)
    assert found.filter(pl.col("viewed_at").dt.date() < pl.col("dt")).height == late > 0
    assert found.height - found["view_id"].n_unique() == again + repeated > 0


def test_both_sides_make_the_same_tables_from_the_same_generated_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the graph, those that show repeats; the whole of it takes its time."""
    tables = ("staging.course_views", "staging.duplicate_events", "staging.courses")
    models = [model for model in scale_graph.in_order() if model.table in tables]
    monkeypatch.setattr(scale_graph, "in_order", lambda: models)
    needed = tuple(sorted(table.removeprefix("raw.") for model in models for table in model.reads))
    for module in (scale_data, scale_graph):
        monkeypatch.setattr(module, "feeds", lambda: tuple(dict.fromkeys(needed)))
    monkeypatch.setattr(scale_graph, "tell", lambda line: None)
    scale_graph.generate(tmp_path / "world", SMALL, memory_gib=1)
    scale_graph.copy_for_peer(tmp_path / "world", memory_gib=1)
    values = {"world": list(SMALL), "days_at_once": 2, "memory": 1}
    ours, peer = (scale_graph.one_side(side, tmp_path / "world", values) for side in ("ours", "peer"))
    assert ours["facts"] == peer["facts"]
    assert ours["facts"]["staging.duplicate_events"][0] > 0
    kept, left_out = (ours["facts"][table][0] for table in tables[:2])
    assert kept < 3 * 2280 <= kept + left_out
    assert (tmp_path / "world" / scale_graph.LOADED / "lake" / "catalog.sqlite").exists()


def test_histories_grow_tenfold_and_end_with_the_whole() -> None:
    sizes = {**scale_day.SIZES, "short_events": 1_000_000}
    assert scale_day.histories({**sizes, "events": 100_000_000}) == [1_000_000, 10_000_000, 100_000_000]
    assert scale_day.histories({**sizes, "events": 3_000_000}) == [1_000_000, 3_000_000]


def test_the_bar_stands_at_the_size_it_was_set_for_only() -> None:
    assert scale_graph.bar_of(100_000_000) == scale_graph.BAR
    assert scale_graph.bar_of(3_000_000) is None
    assert Comparison("a", "b", [1.0], [1.0], scale_graph.bar_of(3_000_000)).bar is None
