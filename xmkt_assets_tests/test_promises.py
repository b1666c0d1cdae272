"""The promises of a model, counted in one query: against a second method that counts in Python, row by row."""

from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmkt_assets.promises import STAGED, audit, repeated_on_any_day
from xmkt_assets.sql_models import SqlModel
from xmkt_assets.warehouse import Equal, Lake, Replace, Session, Whole

DAY = date(2026, 7, 1)
EVENTS = """\
-- grain: id
-- partition: day
-- One row per event.
select
    id, -- Id
    kind, -- Kind @accepted(a, b, it's) @not_null
    code, -- Code @unique @references(p.codes.code)
    day -- Day
from raw.events
where day >= $start and day < $end
"""
MODEL = SqlModel("p", "events", "dbt_like_sql/p/events.sql", EVENTS)
KNOWN = {1, 2}
Row = tuple[int | None, str | None, int | None, date | None]

_ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(0, 5),
        st.sampled_from([None, "a", "b", "it's", "c", ""]),
        st.none() | st.integers(0, 4),
        st.sampled_from([None, DAY, DAY, DAY - timedelta(days=1), DAY + timedelta(days=1)]),
    ),
    max_size=8,
)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with Lake(tmp_path_factory.mktemp("promises"), threads=1).session() as made:
        made.stage_rows("known_codes", pl.DataFrame({"code": [*sorted(KNOWN), None]}))
        made.commit([Replace("p.codes", "known_codes", Whole())])
        yield made


def frame(rows: list[Row]) -> pl.DataFrame:
    return pl.DataFrame(
        rows, schema={"id": pl.Int64, "kind": pl.String, "code": pl.Int64, "day": pl.Date}, orient="row"
    )


def broken_by_hand(rows: list[Row]) -> dict[str, int]:
    """Nulls repeat each other as an id does, and refer to nothing."""
    ids, codes = Counter(row[0] for row in rows), Counter(row[2] for row in rows)
    return {
        "grain_is_unique": sum(n > 1 for n in ids.values()),
        "id_not_null": sum(row[0] is None for row in rows),
        "day_is_in_range": sum(row[3] != DAY for row in rows),
        "kind_accepted": sum(row[1] not in (None, "a", "b", "it's") for row in rows),
        "kind_not_null": sum(row[1] is None for row in rows),
        "code_unique": sum(n > 1 for n in codes.values()),
        "code_references": sum(row[2] is not None and row[2] not in KNOWN for row in rows),
    }


@settings(max_examples=25, deadline=None)
@given(rows=_ROWS)
def test_one_query_counts_what_counting_row_by_row_counts(rows: list[Row], session: Session) -> None:
    session.stage_rows(STAGED, frame(rows))
    found = audit(session, MODEL, [DAY])
    assert {a.check.name: a.broken for a in found} == broken_by_hand(rows)
    assert all(min(a.broken, 5) == a.sample.height for a in found)


@pytest.mark.parametrize(("days_apart", "is_seen"), [(1, True), (31, True), (32, False), (-31, True), (-32, False)])
def test_an_id_is_looked_for_31_days_either_side(days_apart: int, is_seen: bool, session: Session) -> None:
    other = DAY + timedelta(days=days_apart)
    session.stage_rows("elsewhere", frame([(7, "a", 1, other), (8, "a", 2, DAY)]))
    session.commit([Replace("p.events", "elsewhere", Whole())])
    session.stage_rows(STAGED, frame([(7, "a", 4, DAY)]))
    broken = {a.check.name: a for a in audit(session, MODEL, [DAY]) if a.broken}
    assert ("grain_is_unique" in broken) == is_seen
    if is_seen:
        (row,) = broken["grain_is_unique"].sample.to_dicts()
        assert row == {"id": 7, "times": 2, "first_on": min(DAY, other), "last_on": max(DAY, other)}
    session.commit([Replace("p.events", "elsewhere", Equal((("id", [7, 8]),)))])
    session.connection.execute("drop table p.events")


def test_only_a_table_of_events_is_looked_through_day_by_day() -> None:
    assert repeated_on_any_day(MODEL) is not None
    snapshot = EVENTS.replace("-- grain: id\n-- partition: day", "-- grain: as_of_on, id\n-- partition: as_of_on")
    assert repeated_on_any_day(SqlModel("p", "s", "s.sql", snapshot.replace("day -- Day", "as_of_on -- Day"))) is None
    whole = EVENTS.replace("-- partition: day\n", "")
    assert repeated_on_any_day(SqlModel("p", "w", "w.sql", whole)) is None
