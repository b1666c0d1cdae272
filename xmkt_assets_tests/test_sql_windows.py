"""The days around its own that a model reads, found in its query; and the headers that say how they count."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmkt_assets.sql_lint import mistakes_in
from xmkt_assets.sql_models import SqlModel

EVENTS = """\
-- grain: event_id
-- partition: happened_on
-- One row per event.
select
    event_id, -- Id of the event
    cast(happened_at as date) as happened_on -- Day (UTC)
from raw.events
where happened_at >= {since} and happened_at < {until}
"""
SPELLINGS = (
    "interval {n} {unit}",
    "interval '{n}' {unit}",
    "interval '{n} {unit}'",
    "interval ({n}) {unit}",
    "({n} * interval 1 {unit})",
    "to_{unit}s({n})",
    "cast('{n} {unit}' as interval)",
)


def events(since: str = "$start", until: str = "$end", *, headers: str = "") -> SqlModel:
    sql = headers + EVENTS.format(since=since, until=until)
    return SqlModel("staging", "events", "dbt_like_sql/staging/events.sql", sql)


def window(model: SqlModel) -> tuple[int, int]:
    assert mistakes_in(model) == ()
    return model.days_before, model.days_after


def only_mistake(model: SqlModel) -> str:
    (mistake,) = mistakes_in(model)
    return mistake


def test_a_model_of_its_own_day_reads_no_other() -> None:
    assert window(events()) == (0, 0)


@settings(max_examples=40, deadline=None)
@given(
    before=st.integers(0, 400),
    after=st.integers(0, 40),
    unit=st.sampled_from([("day", 1), ("days", 1), ("week", 7), ("weeks", 7), ("DAYS", 1)]),
    spelling=st.sampled_from(SPELLINGS),
)
def test_a_window_is_as_wide_as_it_is_written_however_it_is_spelt(
    before: int, after: int, unit: tuple[str, int], spelling: str
) -> None:
    name, days = unit
    name = name.lower().removesuffix("s") if spelling.startswith("to_") else name
    since = f"$start - {spelling.format(n=before, unit=name)}"
    until = f"$end + {spelling.format(n=after, unit=name)}"
    assert window(events(since, until)) == (before * days, after * days)


@pytest.mark.parametrize(
    ("since", "days"),
    [
        ("cast($start as date) - 27", 27),
        ("$start::date - interval 27 days", 27),
        ("interval (-3) days + $start", 3),
        ("$start - interval 3 days - interval 2 weeks", 17),
        ("($start - interval 3 days) + interval 1 day", 2),
    ],
)
def test_dates_chains_and_brackets_are_read(since: str, days: int) -> None:
    assert window(events(since)) == (days, 0)


def test_the_widest_of_several_windows_counts_wherever_it_stands() -> None:
    more = "$end and event_id not in (select event_id from raw.old where day >= $start - interval 31 days)"
    assert window(events("$start - interval 2 days", more)) == (31, 0)


@pytest.mark.parametrize(
    "harmless",
    ["date_diff('day', happened_at, $end) < 3 and $start", "$start - happened_at < interval 3 days and $end"],
)
def test_how_long_ago_something_was_is_no_window(harmless: str) -> None:
    assert window(events(until=f"$end and {harmless} is not null")) == (0, 0)


@pytest.mark.parametrize(
    "unreadable",
    [
        "$start - interval 1 month",
        "$start - interval 36 hours",
        "$start - days_back * interval 1 day",
        "$start - interval (days_back) day",
        "date_trunc('month', $start)",
        "last_day($start)",
    ],
)
def test_an_offset_of_no_fixed_number_of_days_is_a_mistake_with_its_line(unreadable: str) -> None:
    mistake = only_mistake(events(unreadable))
    assert mistake.startswith("dbt_like_sql/staging/events.sql, line 8: ")
    assert "has no fixed number of days. Write it in days or weeks, for example $start - interval 27 days" in mistake
    assert mistake.endswith("add the line '-- mapping: same day'.")


@pytest.mark.parametrize(
    ("since", "until", "words"),
    [
        ("$start + interval 3 days", "$end", "lies after the first day of a range"),
        ("$start - interval (-3) days", "$end", "lies after the first day of a range"),
        ("$start", "$end - interval 3 days", "lies before the last day of a range"),
        ("$start", "$end + interval '-3 days'", "lies before the last day of a range"),
    ],
)
def test_an_offset_in_the_wrong_direction_is_a_mistake(since: str, until: str, words: str) -> None:
    assert words in only_mistake(events(since, until))


def test_with_the_same_day_mapping_no_other_day_makes_this_one_stale() -> None:
    model = events("$start - interval 31 days", headers="-- mapping: same day\n")
    assert window(model) == (0, 0)
    assert model.reads_days[0] == (31, 0)
    assert window(events("$start - interval 1 month", headers="-- mapping: same day\n")) == (0, 0)


def test_a_snapshot_has_no_window_for_it_reads_all_history_anyway() -> None:
    sql = events("$end - interval 30 day", "$end and day = $start").sql
    sql = sql.replace("happened_on", "as_of_on").replace("grain: event_id", "grain: as_of_on")
    assert window(SqlModel("segments", "s", "dbt_like_sql/segments/s.sql", sql)) == (0, 0)


@pytest.mark.parametrize("header", ["-- mapping: same week\n", "-- mapping: Same day\n"])
def test_an_unknown_mapping_is_a_mistake(header: str) -> None:
    assert "wanted '-- mapping: same day', in a file of one day's events" in only_mistake(events(headers=header))


def test_mapping_and_engine_change_no_row_and_so_no_code_version() -> None:
    plain = events().code_version
    assert events(headers="-- mapping: same day\n-- engine: duckdb - because\n").code_version == plain


def test_the_engine_is_said_with_its_reason() -> None:
    model = events(headers="-- engine: duckdb - quantile_cont - has no counterpart\n")
    assert mistakes_in(model) == ()
    assert (model.engine, model.engine_reason) == ("duckdb", "quantile_cont - has no counterpart")
    assert (events().engine, events().engine_reason) == (None, "")


@pytest.mark.parametrize("value", ["duckdb", "duckdb because", "spark - faster", "duckdb -"])
def test_an_engine_without_reason_or_another_one_is_a_mistake(value: str) -> None:
    mistake = only_mistake(events(headers=f"-- engine: {value}\n"))
    assert f"line 1 says engine '{value}'; wanted '-- engine: duckdb - reason'" in mistake
