"""Drift: a unit that changed under way is told with its factor, ordinary days are not, and findings name the remedy."""

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmkt_assets.contracts import Contract, contracts
from xmkt_assets.raw import drift
from xmkt_assets.raw.drift import Drift, find_drift, find_refused_columns, stability_index, table_of
from xmkt_assets.warehouse import Lake, Session

ORDERS = contracts()["course_orders"]
VIEWS = contracts()["course_views"]
FIRST = date(2026, 3, 1)


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def orders(on: date, fen: list[int], *, partner: str = "course_platform", status: str = "paid") -> pl.DataFrame:
    ids = [f"{on}-{i}" for i in range(len(fen))]
    moment = datetime(on.year, on.month, on.day, 12)
    return pl.DataFrame(
        {
            "partner": partner,
            "dt": on,
            "order_line_id": ids,
            "order_id": ids,
            "user_id": "u",
            "course_id": "c",
            "ordered_at": moment,
            "paid_fen": fen,
            "status": status,
            "source_file": f"{partner}/course_orders/dt={on}/a.csv",
            "source_row": range(1, len(fen) + 1),
            "loaded_at": moment,
        },
        schema_overrides={"paid_fen": pl.Int64, "source_row": pl.Int64},
    )


def prices(seed: int, n: int = 200) -> list[int]:
    """Course prices in fen of one day, about 199 yuan, with single days up to half dearer."""
    drawn = np.random.default_rng(seed)
    return [int(p) * 100 for p in np.exp(drawn.normal(math.log(199), 0.8, n)) * drawn.uniform(0.8, 1.5)]


def holding(feed: str, rows: pl.DataFrame | None = None) -> Session:
    """A session on a database in memory whose table of the feed has these rows."""
    session = Session(duckdb.connect(), Path())
    session.connection.execute("create schema raw")
    if rows is not None:
        session.stage_rows("old", rows)
        session.connection.execute(f"create table raw.{feed} as from old")
    return session


@pytest.fixture(scope="module")
def session() -> Session:
    """Thirty ordinary days of orders in ``raw.course_orders``."""
    return holding("course_orders", pl.concat([orders(day(n), prices(n)) for n in range(30)]))


def found(session: Session, rows: pl.DataFrame, contract: Contract = ORDERS) -> tuple[Drift, ...]:
    session.stage_rows("new_rows", rows)
    return find_drift(session, contract, "new_rows", rows["dt"].unique().to_list())


# --- units -----------------------------------------------------------------------------------------------------------


def test_an_ordinary_day_is_told_of_in_nothing(session: Session) -> None:
    assert found(session, orders(day(30), prices(30))) == ()


def test_yuan_delivered_as_fen_are_blocked_with_the_factor_and_the_remedy(tmp_path: Path) -> None:
    """On a lake, with prices that have these very medians."""
    lake = Lake(tmp_path)
    lake.replace("raw.course_orders", pl.concat([orders(day(n), [19900] * 10) for n in range(28)]))
    with lake.session() as session:
        (finding,) = found(session, orders(day(28), [199] * 200))
    assert finding == Drift(
        "course_platform",
        day(28),
        "paid_fen",
        "unit",
        True,
        "course_orders.paid_fen: median 199 today against 19,900 over the 28 days before (ratio 0.01): looks like "
        "yuan delivered as fen. Ask the partner; multiply by 100 in a corrected file.",
    )


@pytest.mark.parametrize(
    ("factor", "said"),
    [
        (0.01, "looks like yuan delivered as fen. Ask the partner; multiply by 100 in"),
        (0.012, "looks like yuan delivered as fen"),
        (100, "looks like hundredths of a fen delivered as fen. Ask the partner; divide by 100 in"),
    ],
)
def test_a_ratio_near_a_factor_between_units_blocks(session: Session, factor: float, said: str) -> None:
    (finding,) = found(session, orders(day(30), [max(1, int(p * factor)) for p in prices(30)]))
    assert said in finding.message
    assert (finding.kind, finding.blocks) == ("unit", True)


@pytest.mark.parametrize(
    ("factor", "kinds"), [(1 / 20, []), (20, []), (1 / 45, ["jump"]), (45, ["jump"]), (500, ["jump"])]
)
def test_a_ratio_between_units_is_told_only_beyond_30(session: Session, factor: float, kinds: list[str]) -> None:
    findings = found(session, orders(day(30), [max(1, int(p * factor)) for p in prices(0)]))
    assert [f.kind for f in findings] == kinds
    assert not any(f.blocks for f in findings)


@pytest.mark.parametrize(("factor", "other"), [(1000, "milliseconds"), (1 / 60, "minutes"), (1 / 3600, "hours")])
def test_other_units_of_time_are_known_by_their_factor(factor: float, other: str) -> None:
    """Seconds from 2 to 12 hours, so that the hours are whole numbers, too."""
    stay = [7200 * (1 + i % 6) for i in range(200)]
    rows = [
        pl.DataFrame({"partner": "course_platform", "dt": day(n), "dwell_seconds": values, "source": "organic"})
        .with_columns(source_file=pl.lit("a"), source_row=pl.int_range(pl.len()))
        .with_columns(pl.col("dwell_seconds").cast(pl.Int64))
        for n, values in ((0, stay), (1, [int(s * factor) for s in stay]))
    ]
    (finding,) = found(holding("course_views", rows[0]), rows[1], VIEWS)
    assert f"looks like {other} delivered as seconds" in finding.message


@pytest.mark.parametrize(("rule", "blocks"), [("block", [True]), ("warn", [False]), ("off", [])])
def test_the_contract_says_whether_a_unit_that_changed_blocks(session: Session, rule: str, blocks: list[bool]) -> None:
    contract = replace(ORDERS, drift=rule)  # type: ignore[arg-type]
    findings = found(session, orders(day(30), [p // 100 for p in prices(30)]), contract)
    assert [f.blocks for f in findings] == blocks


@pytest.mark.parametrize("n", [49, 50])
def test_few_values_prove_nothing(session: Session, n: int) -> None:
    assert len(found(session, orders(day(30), [199] * n))) == (n >= 50)


def test_values_of_zero_are_left_out_of_the_median(session: Session) -> None:
    """Free courses on one day do not make the rest look cheap; nor do 49 paid ones among them count as 50."""
    assert found(session, orders(day(30), [0] * 500 + prices(30))) == ()
    assert found(session, orders(day(30), [0] * 500 + [199] * 49)) == ()


def test_another_partner_is_compared_with_itself(session: Session) -> None:
    assert found(session, orders(day(30), [199] * 200, partner="insurer")) == ()


def test_days_long_past_and_days_to_come_are_no_measure(session: Session) -> None:
    assert found(session, orders(day(30 + drift.LOOKED_BACK_DAYS + 1), [199] * 200)) == ()
    assert found(session, orders(day(-1), [199] * 200)) == ()


def test_the_rows_that_are_replaced_are_no_measure_of_those_that_replace_them() -> None:
    """Else a corrected file of a day that came in yuan would be told to drift from its own mistake."""
    session = holding("course_orders", pl.concat([orders(day(n), [199] * 200) for n in range(3)]))
    corrected = pl.concat([orders(day(n), [19900] * 200) for n in range(3)])
    assert found(session, corrected) == ()
    assert [f.dt for f in found(session, corrected.filter(pl.col("dt") == day(2)))] == [day(2)]


def test_days_loaded_together_are_compared_with_each_other(session: Session) -> None:
    """Only the days in yuan are told, each of them: a day that drifted is no measure for the next."""
    rows = [orders(day(n), [p // 100 if n in (33, 34, 35) else p for p in prices(n)]) for n in range(30, 40)]
    assert [f.dt for f in found(session, pl.concat(rows))] == [day(33), day(34), day(35)]


def test_a_feed_without_a_table_yet_is_compared_with_its_own_days() -> None:
    session = holding("course_orders")
    rows = [orders(day(n), [199 if n == 2 else 19900] * 200) for n in range(3)]
    assert [f.dt for f in found(session, pl.concat(rows))] == [day(2)]
    assert found(session, rows[0].clear()) == ()


def test_a_sample_tells_the_same(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "_SAMPLED_PER_DAY", 400)
    monkeypatch.setattr(drift, "_SAMPLED_IN_LAKE", 3000)
    wrong = orders(day(30), [p // 100 for p in prices(30, 4000)])
    (finding,) = found(session, wrong)
    assert finding.kind == "unit"
    assert found(session, wrong) == (finding,)
    assert found(session, orders(day(30), prices(30, 4000))) == ()


# --- mixes -----------------------------------------------------------------------------------------------------------


def test_a_value_that_takes_over_is_told_but_blocks_nothing(session: Session) -> None:
    (finding,) = found(session, orders(day(30), prices(30), status="refunded"))
    assert (finding.column, finding.kind, finding.blocks) == ("status", "mix", False)
    assert "course_orders.status: " in finding.message
    assert "share of 100.0% today against 0.0% over the 28 days before" in finding.message
    assert found(session, orders(day(30), prices(30), status="refunded"), replace(ORDERS, mix_drift="off")) == ()


def test_a_column_that_is_suddenly_empty_is_told() -> None:
    def views(n: int, *, is_empty: bool) -> pl.DataFrame:
        source = None if is_empty else "organic"
        frame = pl.DataFrame({"partner": "course_platform", "dt": [day(n)] * 200, "dwell_seconds": 60})
        return frame.with_columns(
            source=pl.lit(source, dtype=pl.String), source_file=pl.lit("a"), source_row=pl.int_range(pl.len())
        )

    session = holding("course_views")
    rows = [views(n, is_empty=n == 7) for n in range(8)]
    (finding,) = found(session, pl.concat(rows), VIEWS)
    assert finding.dt == day(7)
    assert "empty has a share of 100.0% today against 0.0% over the 7 days before" in finding.message
    # less than a week is no measure of a mix
    assert found(session, pl.concat(rows[1:]), VIEWS) == ()


def test_the_stability_index_is_that_of_the_books() -> None:
    """By hand, large counts: (0.5 - 0.25) ln 2 + (0.5 - 0.75) ln (2/3) = 0.2747."""
    many = 10**7
    assert stability_index({"a": 2 * many, "b": 2 * many}, {"a": many, "b": 3 * many}) == pytest.approx(
        0.27465, abs=1e-4
    )


COUNTS = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 5000), min_size=1)


@given(now=COUNTS, before=COUNTS)
@settings(max_examples=60, deadline=None)
def test_the_stability_index_is_finite_never_negative_and_symmetric(
    now: Mapping[str, int], before: Mapping[str, int]
) -> None:
    index = stability_index(now, before)
    assert math.isfinite(index)
    assert index >= -1e-12
    assert index == pytest.approx(stability_index(before, now))
    assert stability_index(now, now) == pytest.approx(0)


def test_ordinary_chance_stays_below_the_limit_of_a_mix() -> None:
    """Two samples of 200 of one mix of five values, 300 times: the smallest that are compared."""
    drawn = np.random.default_rng(4)
    shares = [0.4, 0.3, 0.2, 0.08, 0.02]
    for _ in range(300):
        now, before = (dict(zip("abcde", drawn.multinomial(200, shares).tolist(), strict=True)) for _ in range(2))
        assert stability_index(now, before) < drift.PSI_LIMIT


# --- a column refused as a whole -------------------------------------------------------------------------------------


def refused(files: Mapping[str, tuple[int, int]]) -> tuple[Drift, ...]:
    """What is told of files with (rows, rows refused for dwell_seconds)."""
    session = holding("course_views")
    session.connection.execute(
        "create temp table new_ledger (source_file varchar, rows_in bigint); create temp table new_quarantine "
        "(partner varchar, dt date, column_name varchar, source_file varchar, source_row bigint, reason varchar)"
    )
    for name, (rows, n) in files.items():
        session.connection.execute("insert into new_ledger values ($1, $2)", [name, rows])
        session.connection.execute(
            "insert into new_quarantine select 'course_platform', $1, 'dwell_seconds', $2, i, 'found x' || i "
            "from range(3, 3 + $3) as t(i)",
            [FIRST, name, n],
        )
    return find_refused_columns(session, VIEWS)


def test_a_column_whose_type_changed_is_told_once_per_file_with_the_first_row() -> None:
    (finding,) = refused({"a.csv": (40, 38), "b.csv": (40, 1)})
    assert (finding.column, finding.kind, finding.blocks, finding.dt) == ("dwell_seconds", "refused", False, FIRST)
    assert finding.message.startswith(
        "course_views.dwell_seconds: 38 of 40 rows of a.csv were refused for it, the first in row 3 (found x3). "
    )


@pytest.mark.parametrize(("rows", "n", "is_told"), [(40, 20, True), (41, 20, False), (19, 19, False), (20, 20, True)])
def test_a_few_mistakes_are_no_change_of_type(rows: int, n: int, is_told: bool) -> None:
    assert bool(refused({"a.csv": (rows, n)})) is is_told


def test_findings_become_rows_for_people(session: Session) -> None:
    (row,) = table_of(found(session, orders(day(30), [p // 100 for p in prices(30)])))
    assert row["column"] == "paid_fen"
    assert row["blocks"] is True
