"""Replacing one day of a table in the lake beside the same in a native DuckDB file.

The peer lets nobody read while it writes; that is what the lake is for, and not what is measured here.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from itertools import count
from pathlib import Path
from typing import Final

import duckdb

from xmkt_assets.warehouse import Days, Lake, Replace, Session
from xmkt_assets_tests.benchmarks.measure import Comparison, seconds_of, take_turns

SIZES: Final = {"days": 30, "rows_per_day": 100_000, "small_rows_per_day": 1_000}
FIRST: Final = date(2026, 7, 1)
TABLE: Final = "staging.views"
# `version` shows afterwards that the day's rows were replaced and no others were touched.
_ROWS: Final = """
    select
        md5(cast(r.i as varchar)) as view_id,
        'u' || hash(r.i) % 20000 as user_id,
        cast(d.day as timestamp) + to_seconds(cast(hash(r.i, 1) % 86400 as bigint)) as viewed_at,
        cast(d.day as date) as viewed_on,
        cast(hash(r.i, 2) % 7200 as bigint) as dwell_seconds,
        cast($version as bigint) as version
    from range($rows) as r(i)
    cross join generate_series(cast($first as timestamp), cast($last as timestamp), interval 1 day) as d(day)
"""


def run(sizes: Mapping[str, int], repeats: int) -> list[Comparison]:
    return [
        _compare(sizes["days"], rows, repeats=3 * repeats)
        for rows in (sizes["small_rows_per_day"], sizes["rows_per_day"])
    ]


def _compare(days: int, rows: int, *, repeats: int) -> Comparison:
    with (
        tempfile.TemporaryDirectory() as folder,
        Lake(Path(folder)).session() as session,
        duckdb.connect(f"{folder}/native.duckdb") as native,
    ):
        whole = Days("viewed_on", FIRST, FIRST + timedelta(days=days))
        session.stage("new_rows", _ROWS, _values(rows, FIRST, FIRST + timedelta(days=days - 1), version=0))
        session.commit([Replace(TABLE, "new_rows", whole)])
        native.execute("create schema staging")
        native.execute(
            f"create table {TABLE} as {_ROWS}", _values(rows, FIRST, whole.end - timedelta(days=1), version=0)
        )
        ours, peer = take_turns(
            seconds_of(_in_lake(session, rows, days)), seconds_of(_in_native(native, rows, days)), repeats=repeats
        )
        _refuse_difference(session.connection, native)
    what = f"replace 1 of {days} days, {rows:,} rows"
    return Comparison(what, "delete + insert in a .duckdb file", ours, peer)


def _in_lake(session: Session, rows: int, days: int) -> Callable[[], None]:
    turns = _days(days)

    def replace() -> None:
        version, day = next(turns)
        session.stage("new_rows", _ROWS, _values(rows, day, day, version=version))
        session.commit([Replace(TABLE, "new_rows", Days("viewed_on", day, day + timedelta(days=1)))])

    return replace


def _in_native(native: duckdb.DuckDBPyConnection, rows: int, days: int) -> Callable[[], None]:
    turns = _days(days)

    def replace() -> None:
        version, day = next(turns)
        native.execute(f"create or replace temp table new_rows as {_ROWS}", _values(rows, day, day, version=version))
        native.execute("begin transaction")
        native.execute(f"delete from {TABLE} where viewed_on = $day", {"day": day})
        native.execute(f"insert into {TABLE} by name select * from new_rows")
        native.execute("commit")

    return replace


def _days(days: int) -> Iterator[tuple[int, date]]:
    """(version, day) of each turn, going through the days in an order that is not theirs."""
    return ((turn, FIRST + timedelta(days=turn * 7 % days)) for turn in count(1))


def _values(rows: int, first: date, last: date, *, version: int) -> dict[str, object]:
    return {"rows": rows, "first": first, "last": last, "version": version}


def _refuse_difference(lake: duckdb.DuckDBPyConnection, native: duckdb.DuckDBPyConnection) -> None:
    facts = f"select viewed_on, version, count(*), sum(dwell_seconds) from {TABLE} group by all order by all"
    assert lake.execute(facts).fetchall() == native.execute(facts).fetchall(), "lake and native file differ"
