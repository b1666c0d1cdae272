"""Visits, trends and preferences on rows written by hand; and nothing later reaches any snapshot of segments."""

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any, Final

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from xmkt_assets.sql_models import SqlModel, load_models
from xmkt_assets_tests.sql_helper import FOLDER, assert_model, lake_types, read_model

DAY, END = date(2026, 9, 28), datetime(2026, 9, 29)  # a Monday
FIRST: Final = END - timedelta(days=84)
Row = dict[str, Any]


def at(days_ago: float) -> datetime:
    """That many days before the end of the day; 0 is the first moment that must not be seen."""
    return END - timedelta(days=days_ago)


def account(person: str, subject: str, partner: str = "course_platform", **more: Any) -> Row:
    return {"as_of_on": DAY, "partner": partner, "subject_id": subject, "person_id": person, **more}


def insured(person: str, subject: str, **more: Any) -> Row:
    return account(person, subject, "insurer", **more)


# --- visits -----------------------------------------------------------------------------------------------------------


def course_view(user: str, moment: datetime | str, seconds: int = 60, course: str = "k1") -> Row:
    moment = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    known = {"view_id": f"v {moment} {course}", "user_id": user, "course_id": course}
    return {**known, "viewed_at": moment, "viewed_on": moment.date(), "dwell_seconds": seconds}


def product_view(customer: str, moment: datetime | str, seconds: int = 60, product: str = "health1") -> Row:
    row = course_view(customer, moment, seconds, product)
    return {"customer_id": row.pop("user_id"), "product_id": row.pop("course_id"), **row}


def test_a_visit_goes_on_while_at_most_half_an_hour_lies_between_views() -> None:
    assert_model(
        "staging.visits",
        given={
            "staging.course_views": [
                course_view("u1", "2026-09-28 10:00:00", 600),
                course_view("u1", "2026-09-28 10:40:00", 60, course="k2"),
                course_view("u1", "2026-09-28 11:11:01", 5, course="k2"),
            ]
        },
        expect="""
            subject_id | started_at          | ended_at            | view_count | dwell_seconds | item_count
            u1         | 2026-09-28 10:00:00 | 2026-09-28 10:41:00 | 2          | 660           | 2
            u1         | 2026-09-28 11:11:01 | 2026-09-28 11:11:06 | 1          | 5             | 1
        """,
        day=DAY,
    )


def test_a_tab_left_open_counts_two_hours_and_a_glance_into_another_ends_no_lecture() -> None:
    assert_model(
        "staging.visits",
        given={
            "staging.course_views": [
                course_view("tab", "2026-09-28 08:00:00", 28_800),
                course_view("tab", "2026-09-28 10:30:01", 1),
                course_view("lecture", "2026-09-28 08:00:00", 3_600),
                course_view("lecture", "2026-09-28 08:05:00", 10, course="k2"),
                course_view("lecture", "2026-09-28 09:30:00", 20, course="k3"),
            ]
        },
        expect="""
            subject_id | started_at          | ended_at            | view_count | dwell_seconds | item_count
            tab        | 2026-09-28 08:00:00 | 2026-09-28 10:00:00 | 1          | 7200          | 1
            tab        | 2026-09-28 10:30:01 | 2026-09-28 10:30:02 | 1          | 1             | 1
            lecture    | 2026-09-28 08:00:00 | 2026-09-28 09:30:20 | 3          | 3630          | 3
        """,
        day=DAY,
    )


def test_visits_are_of_one_account_of_one_firm_and_are_cut_at_midnight() -> None:
    assert_model(
        "staging.visits",
        given={
            "staging.course_views": [
                course_view("7", "2026-09-28 23:55:00", 1_200),
                course_view("7", "2026-09-29 00:05:00", 60),
            ],
            "staging.product_views": [product_view("7", "2026-09-28 23:56:00", 30)],
        },
        expect="""
            partner         | subject_id | started_at          | ended_at            | visited_on | view_count
            course_platform | 7          | 2026-09-28 23:55:00 | 2026-09-29 00:15:00 | 2026-09-28 | 1
            course_platform | 7          | 2026-09-29 00:05:00 | 2026-09-29 00:06:00 | 2026-09-29 | 1
            insurer         | 7          | 2026-09-28 23:56:00 | 2026-09-28 23:56:30 | 2026-09-28 | 1
        """,
        day=DAY,
        through=DAY + timedelta(days=1),
    )


@pytest.mark.parametrize("through", [DAY, DAY + timedelta(days=2)], ids=["a day", "three days in one query"])
def test_visits_equal_those_of_a_plain_loop(through: date) -> None:
    rng = np.random.default_rng(5)
    views = [
        course_view(f"u{rng.integers(4)}", datetime(2026, 9, 28) + timedelta(seconds=int(s)), int(rng.integers(9_000)))
        for s in np.sort(rng.choice(3 * 86_400, 120, replace=False))
    ]
    expected: list[Row] = []
    newest: dict[tuple[str, date], Row] = {}
    for view in views:
        began, key = view["viewed_at"], (view["user_id"], view["viewed_on"])
        seconds = min(view["dwell_seconds"], 7_200)
        visit = newest.get(key)
        if visit is None or began - visit["ended_at"] > timedelta(minutes=30):
            visit = {"subject_id": key[0], "started_at": began, "ended_at": began, "view_count": 0, "dwell_seconds": 0}
            newest[key] = visit
            if began.date() <= through:
                expected.append(visit)
        visit["ended_at"] = max(visit["ended_at"], began + timedelta(seconds=seconds))
        visit["view_count"] += 1
        visit["dwell_seconds"] += seconds
    assert len(expected) > 10
    assert_model("staging.visits", given={"staging.course_views": views}, expect=expected, day=DAY, through=through)


# --- trends -----------------------------------------------------------------------------------------------------------


def visit(subject: str, started: datetime | str, seconds: int = 60, partner: str = "course_platform") -> Row:
    started = datetime.fromisoformat(started) if isinstance(started, str) else started
    row = {"partner": partner, "subject_id": subject, "started_at": started, "visited_on": started.date()}
    return {**row, "dwell_seconds": seconds}


def order(user: str, days_ago: float, fen: int, status: str = "paid", course: str = "k1") -> Row:
    moment = at(days_ago)
    line = {"order_line_id": f"l {days_ago} {course}", "order_id": f"o {days_ago}", "user_id": user}
    line |= {"course_id": course, "paid_fen": fen, "status": status}
    return {**line, "ordered_at": moment, "ordered_on": moment.date()}


def policy(customer: str, days_ago: float, premium: int | None, event: str = "issued", pid: str = "p1") -> Row:
    moment = at(days_ago)
    given = {"policy_event_id": f"{pid} {event} {days_ago}", "policy_id": pid, "order_id": f"o {pid}", "event": event}
    given |= {"customer_id": customer, "product_id": "health1", "premium_fen": premium}
    return {**given, "occurred_at": moment, "occurred_on": moment.date()}


def test_trends_of_a_person_known_to_both_firms_are_those_made_by_hand() -> None:
    just_before = 84 + 1 / 86_400
    gaps = [55, 21, 5, 2]  # 7 July, 31 August, 21, 26 and 28 September, in China
    assert_model(
        "segments.person_trends",
        given={
            "staging.gate_profiling": [account("p", "u1"), insured("p", "c1")],
            "staging.visits": [
                visit("u1", "2026-09-28 11:30", 600),  # Monday, 19:30 in China: the evening
                visit("u1", "2026-09-26 04:00", 300),  # Saturday, noon
                visit("u1", "2026-09-20 20:00", 200),  # Sunday in UTC, Monday 04:00 in China
                visit("c1", "2026-08-31 10:00", 100, "insurer"),  # Monday, 18:00: the evening begins
                visit("u1", FIRST, 1_000),  # Tuesday, 08:00
                visit("u1", FIRST - timedelta(seconds=1), 9_999),
                visit("u1", END, 9_999),
            ],
            "staging.course_orders": [
                *(order("u1", 10, 500), order("u1", 5, 900, "refunded"), order("u1", 28, 300)),
                *(order("u1", 56, 200), order("u1", 84, 100), order("u1", just_before, 7)),
            ],
            "staging.policies": [
                *(policy("c1", 60, 1_000), policy("c1", 3, 500, "renewed"), policy("c1", 2, None, "cancelled")),
            ],
        },
        expect=[
            {
                "as_of_on": DAY,
                "person_id": "p",
                "visit_84d_count": 5,
                "insurer_visit_84d_count": 1,
                "visit_first_28d_count": 1,
                "visit_middle_28d_count": 1,
                "visit_last_28d_count": 3,
                "visit_trend_ratio": 0.5,  # (3 - 1) / (3 + 1)
                "visit_slope_per_week": (5.5 + 5.5 + 4.5 + 1.5 - 5.5) / 143,
                "active_week_count": 4,
                "active_day_count": 5,
                "mean_gap_days": 83 / 4,
                "gap_variation": statistics.pstdev(gaps) / statistics.mean(gaps),
                "weekend_visit_share": 1 / 5,
                "evening_visit_share": 2 / 5,
                "dwell_first_28d_seconds": 1_000,
                "dwell_middle_28d_seconds": 100,
                "dwell_last_28d_seconds": 1_100,
                "dwell_trend_ratio": 1 / 21,  # 100 / 2100
                "paid_first_28d_fen": 100,
                "paid_middle_28d_fen": 200,
                "paid_last_28d_fen": 800,
                "paid_trend_ratio": 7 / 9,
                "premium_first_28d_fen": 1_000,
                "premium_middle_28d_fen": 0,
                "premium_last_28d_fen": 500,
            }
        ],
        day=DAY,
    )


EMPTY_WITHOUT_VISITS = ("mean_gap_days", "gap_variation", "weekend_visit_share", "evening_visit_share")


@pytest.mark.parametrize("door", [account("p", "x"), insured("p", "x")], ids=["course side only", "insurer only"])
def test_who_is_known_to_one_firm_and_did_nothing_has_zeros_and_explicit_empties(door: Row) -> None:
    expected: Row = dict.fromkeys(read_model("segments.person_trends").column_names, 0)
    expected |= {"as_of_on": DAY, "person_id": "p", **dict.fromkeys(EMPTY_WITHOUT_VISITS)}
    assert_model("segments.person_trends", given={"staging.gate_profiling": [door]}, expect=[expected], day=DAY)


def test_the_trend_is_one_for_who_began_minus_one_for_who_stopped_and_zero_for_who_stayed() -> None:
    doors = [account(p, f"u {p}") for p in ("began", "stopped", "stayed", "middle only")]
    moments = {"began": [1], "stopped": [80], "stayed": [80, 1], "middle only": [40]}
    assert_model(
        "segments.person_trends",
        given={
            "staging.gate_profiling": doors,
            "staging.visits": [visit(f"u {p}", at(days)) for p, found in moments.items() for days in found],
        },
        expect=[
            {"person_id": person, "visit_trend_ratio": ratio, "dwell_trend_ratio": ratio, "paid_trend_ratio": 0.0}
            for person, ratio in (("began", 1.0), ("stopped", -1.0), ("stayed", 0.0), ("middle only", 0.0))
        ],
        day=DAY,
    )


def test_premiums_that_the_insurer_does_not_share_are_empty_and_not_zero() -> None:
    assert_model(
        "segments.person_trends",
        given={
            "staging.gate_profiling": [insured("holder", "c1"), insured("prospect", "c2")],
            "staging.policies": [policy("c1", 5, None)],
        },
        expect=[
            {"person_id": "holder", "premium_last_28d_fen": None},
            {"person_id": "prospect", "premium_last_28d_fen": 0},
        ],
        day=DAY,
    )


def test_the_weekly_slope_is_the_one_numpy_fits_and_regularity_the_spread_of_gaps() -> None:
    rng = np.random.default_rng(11)
    days = {f"p{n}": rng.integers(0, 84, size=3 + 4 * n).tolist() for n in range(8)}
    expected = []
    for person, ago in days.items():
        weeks = Counter(11 - d // 7 for d in ago)
        active = sorted({-d for d in ago})
        gaps = [b - a for a, b in itertools.pairwise(active)]
        slope = np.polyfit(range(12), [weeks[w] for w in range(12)], 1)[0]
        spread = statistics.pstdev(gaps) / statistics.mean(gaps) if len(gaps) > 1 else None
        expected.append({"person_id": person, "visit_slope_per_week": float(slope), "gap_variation": spread})
    visits = [  # noon in China, so that the days of China are those of UTC
        visit(person, datetime(2026, 9, 28, 4, 0, n) - timedelta(days=int(d)))
        for person, ago in days.items()
        for n, d in enumerate(ago)
    ]
    doors = [account(person, person) for person in days]
    given = {"staging.gate_profiling": doors, "staging.visits": visits}
    assert_model("segments.person_trends", given=given, expect=expected, day=DAY)


def test_people_without_consent_on_the_day_have_no_trend() -> None:
    assert_model(
        "segments.person_trends",
        given={
            "staging.gate_profiling": [account("p", "u1"), account("q", "u2") | {"as_of_on": DAY - timedelta(days=1)}],
            "staging.visits": [visit("u1", at(1)), visit("u2", at(1)), visit("u1", at(1), partner="insurer")],
        },
        expect=[{"person_id": "p", "visit_84d_count": 1}],
        day=DAY,
    )


# --- preferences ------------------------------------------------------------------------------------------------------


def review(user: str, days_ago: float, rating: int, course: str = "k1") -> Row:
    moment = at(days_ago)
    row = {"review_id": f"r {days_ago} {course}", "user_id": user, "course_id": course, "rating": rating}
    return {**row, "reviewed_at": moment, "reviewed_on": moment.date(), "review_text": "很好"}


def interest(person: str, rank: int, share: float) -> Row:
    row = {"as_of_on": DAY, "person_id": person, "topic": f"t{rank:02}", "interest_rank": rank}
    return {**row, "strength": share, "strength_share": share}


def course(course_id: str, price_fen: int, teacher: str | None = "t1") -> Row:
    return {"course_id": course_id, "price_fen": price_fen, "teacher_id": teacher}


def mood(person: str, review_id: str, share: float | None) -> Row:
    return {"as_of_on": DAY, "person_id": person, "review_id": review_id, "sentiment_share": share}


def test_preferences_of_a_person_known_to_both_firms_are_those_made_by_hand() -> None:
    """Prices of the catalogue: 10, 20, 20, 40 yuan, so the places are 1/8, 1/2, 1/2 and 7/8."""
    assert_model(
        "segments.person_preferences",
        given={
            "staging.gate_profiling": [account("p", "u1"), insured("p", "c1")],
            "staging.courses": [
                course("k1", 1_000),
                course("k2", 2_000, "t2"),
                course("k3", 2_000),
                course("k4", 4_000),
            ],
            "staging.products": [
                {"product_id": "health1", "annual_premium_fen": 500},
                {"product_id": "motor1", "annual_premium_fen": 900},
                {"product_id": "unpriced", "annual_premium_fen": None},
            ],
            "staging.course_orders": [
                *(order("u1", 9, 1_000, course="k1"), order("u1", 8, 1_500, course="k2")),
                *(order("u1", 7, 4_400, course="k4"), order("u1", 6, 1, course="gone")),
                order("u1", 5, 1, "refunded", course="k3"),
            ],
            "staging.policies": [policy("c1", 9, 500), policy("c1", 3, 500, "renewed")],
            "staging.course_reviews": [review("u1", 9, 5), review("u1", 8, 2), review("u1", 7, 5)],
            "segments.review_sentiment": [
                *(mood("p", "r1", 0.9), mood("p", "r2", 0.2), mood("p", "r3", None)),
                mood("p", "r1", 0.0) | {"as_of_on": DAY - timedelta(days=1)},
            ],
            "segments.person_interests": [interest("p", 1, 0.5), interest("p", 2, 0.25), interest("p", 3, 0.25)],
        },
        expect=[
            {
                "as_of_on": DAY,
                "person_id": "p",
                "review_count": 3,
                "mean_rating": 4.0,
                "negative_review_share": 1 / 3,
                "read_review_count": 2,
                "mean_sentiment_share": 0.55,
                "topic_count": 3,
                "favourite_topic": "t01",
                "favourite_topic_share": 0.5,
                "topic_evenness_share": round(1.5 * math.log(2) / math.log(3), 6),
                "effective_topic_count": round(2**1.5, 6),
                "course_price_level_share": 0.5,  # (1/8 + 1/2 + 7/8) / 3
                "discounted_line_share": 1 / 3,
                "discount_share": 500 / 7_000,
                "teacher_count": 2,
                "top_teacher_share": 2 / 3,
                "product_price_level_share": 0.25,
            }
        ],
        day=DAY,
    )


ZERO_WITHOUT_ANYTHING = ("review_count", "read_review_count", "topic_count", "teacher_count")


@pytest.mark.parametrize("door", [account("p", "x"), insured("p", "x")], ids=["course side only", "insurer only"])
def test_of_who_did_nothing_no_taste_is_known_and_none_is_invented(door: Row) -> None:
    expected: Row = dict.fromkeys(read_model("segments.person_preferences").column_names)
    expected |= {"as_of_on": DAY, "person_id": "p", **dict.fromkeys(ZERO_WITHOUT_ANYTHING, 0)}
    assert_model("segments.person_preferences", given={"staging.gate_profiling": [door]}, expect=[expected], day=DAY)


def test_fifty_equal_topics_are_as_diverse_as_can_be_and_one_is_not_diverse() -> None:
    fifty = [interest("p", rank, 1 / 50) for rank in range(1, 51)]
    assert_model(
        "segments.person_preferences",
        given={
            "staging.gate_profiling": [account("p", "u1"), account("q", "u2")],
            "segments.person_interests": [*fifty, interest("q", 1, 1.0)],
        },
        expect=[
            {"person_id": "p", "topic_count": 50, "topic_evenness_share": 1.0, "effective_topic_count": 50.0},
            {"person_id": "q", "topic_count": 1, "topic_evenness_share": 0.0, "effective_topic_count": 1.0},
        ],
        day=DAY,
    )


def test_a_catalogue_of_one_price_has_no_cheap_and_no_dear_course() -> None:
    assert_model(
        "segments.person_preferences",
        given={
            "staging.gate_profiling": [account("p", "u1")],
            "staging.courses": [course(f"k{n}", 1_000, None) for n in range(4)],
            "staging.course_orders": [order("u1", 9, 0, course="k1")],
        },
        expect=[
            {
                "course_price_level_share": 0.5,
                "discounted_line_share": 1.0,
                "discount_share": 1.0,
                "teacher_count": 0,
                "top_teacher_share": None,
            }
        ],
        day=DAY,
    )


# --- nothing later than the day, for every snapshot of segments -------------------------------------------------------

SNAPSHOTS: Final = tuple(
    table
    for table in sorted(f"segments.{path.stem}" for path in (FOLDER / "segments").glob("*.sql"))
    if read_model(table).is_snapshot
)
# Written by hand; every other table is made by its own SQL, or by Python, which has no rows here unless given.
EVENTS: Final = {
    "staging.course_views": "viewed_at",
    "staging.product_views": "viewed_at",
    "staging.course_orders": "ordered_at",
    "staging.course_reviews": "reviewed_at",
    "staging.policies": "occurred_at",
    "staging.claims": "claimed_at",
}
GIVEN: Final = {
    *EVENTS,
    *("staging.gate_profiling", "staging.gate_sensitive_profiling", "staging.account_attributes"),
    *("staging.cleaning_statistics", "staging.courses", "staging.products"),
}
CLEANED: Final = {
    ("course_views", "dwell_seconds"),
    ("product_views", "dwell_seconds"),
    ("course_orders", "paid_fen"),
    ("policies", "premium_fen"),
}
World = dict[str, list[Row]]


def claim(customer: str, days_ago: float, fen: int = 5_000) -> Row:
    moment = at(days_ago)
    row = {"claim_id": f"c {days_ago}", "customer_id": customer, "policy_id": "p1", "claimed_fen": fen}
    return {**row, "claimed_at": moment, "claimed_on": moment.date()}


def world(*, is_of_both: bool = True) -> World:
    """Two people with a history of 200 days, one of them known to both firms; or the course side of it alone."""
    doors = [account("p1", "u1", stated_interests="理财|健康"), account("p3", "u3")]
    insurer_doors = [insured("p1", "c1", birth_year=1980), insured("p2", "c2")]
    course_side: World = {
        "staging.course_views": [course_view("u1", at(d), 300, f"k{1 + d % 2}") for d in (199, 130, 95, 70, 35, 3)],
        "staging.course_orders": [order("u1", d, 900, course=f"k{1 + d % 2}") for d in (190, 101, 40, 20)],
        "staging.course_reviews": [review("u1", 150, 5), review("u1", 2, 4)],
    }
    insurer_side: World = {
        "staging.product_views": [product_view("c2", at(d), 30) for d in (110, 65, 5)],
        "staging.policies": [policy("c1", 150, 700), policy("c2", 90, 800, pid="p2"), policy("c1", 30, 900, pid="p3")],
        "staging.claims": [claim("c1", 130), claim("c1", 30), claim("c2", 10)],
    }
    everybody = [*doors, *(insurer_doors if is_of_both else [])]
    everybody = [row | {"known_at": datetime(2026, 1, 1)} for row in everybody]
    return {
        "staging.gate_profiling": everybody,
        "staging.gate_sensitive_profiling": [
            {name: row[name] for name in ("as_of_on", "partner", "subject_id", "person_id")} for row in everybody
        ],
        "staging.cleaning_statistics": [
            {"as_of_on": DAY, "table_name": table, "column_name": column} for table, column in sorted(CLEANED)
        ],
        "staging.courses": [
            {"course_id": "k1", "topics": "理财|职场", "price_fen": 1_000, "teacher_id": "t1", "title": "k1"},
            {"course_id": "k2", "topics": "健康", "price_fen": 3_000, "teacher_id": "t2", "title": "k2"},
            {"course_id": "k3", "topics": "语言", "price_fen": 2_000, "teacher_id": "t2", "title": "k3"},
        ],
        "staging.products": [{"product_id": "health1", "product_class": "health", "topics": "健康"}],
        **course_side,
        **(insurer_side if is_of_both else {}),
    }


@cache
def models() -> dict[str, SqlModel]:
    return load_models(FOLDER)


def needed(tables: Sequence[str]) -> list[str]:
    """Everything the tables are made of, and they themselves, each after what it reads."""

    def upstream(name: str) -> list[str]:
        parents = () if name in GIVEN or name not in models() else sorted(models()[name].reads)
        return [*(t for parent in parents for t in upstream(parent)), name]

    return list(dict.fromkeys(t for table in tables for t in upstream(table)))


def made(given: Mapping[str, Sequence[Row]]) -> dict[str, pl.DataFrame]:
    """Every snapshot of `DAY`, made of the given rows through all the SQL between, sorted by its grain."""
    of_day = {"start": datetime(2026, 9, 28), "end": END}
    of_events = {"start": datetime(2026, 1, 1), "end": datetime(2028, 1, 1)}
    with duckdb.connect(config={"threads": "1"}) as con:
        con.execute("set TimeZone = 'UTC'; set python_enable_replacements = false")
        for name in needed(SNAPSHOTS):
            con.execute(f"create schema if not exists {name.split('.')[0]}")
            if name in GIVEN or name not in models():
                fill(con, name, given.get(name, ()))
                continue
            model = models()[name]
            bounds = of_day if model.is_snapshot else of_events
            kind = "view" if model.kind == "view" else "table"
            con.execute(f"create {kind} {name} as {model.sql}", {k: bounds[k] for k in model.parameters} or None)
        return {t: con.sql(f"select * from {t}").pl().sort(list(models()[t].grain)) for t in SNAPSHOTS}


def fill(con: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Row]) -> None:
    """A table of the types it has in the lake; what the rows leave out is null."""
    types = lake_types()[table]
    con.execute(f"create table {table} ({', '.join(f'{name} {kind}' for name, kind in types.items())})")
    if rows:
        frame = pl.DataFrame(
            [{name: row[name] for name in types if name in row} for row in rows], infer_schema_length=None
        )
        con.register("given_rows", frame)
        con.execute(f"insert into {table} by name select * from given_rows")
        con.unregister("given_rows")


@cache
def before() -> dict[str, pl.DataFrame]:
    return made(world())


@cache
def with_the_last_second() -> dict[str, pl.DataFrame]:
    return made(with_events(world(), LAST_SECOND))


@cache
def without_an_insurer() -> dict[str, pl.DataFrame]:
    return made(world(is_of_both=False))


def test_every_snapshot_of_segments_is_looked_at() -> None:
    found = [m for m in models().values() if m.schema == "segments"]
    assert {m.table for m in found if m.is_snapshot} == set(SNAPSHOTS)
    assert {"segments.person_features", "segments.person_trends", "segments.person_profile"} < set(SNAPSHOTS)


def later_event(draw: st.DrawFn, later: float) -> tuple[str, Row]:
    user, customer = draw(st.sampled_from(["u1", "u9"])), draw(st.sampled_from(["c1", "c2", "c9"]))
    course, amount = draw(st.sampled_from(["k1", "k2", "k9"])), draw(st.integers(0, 10**9))
    status, event = (
        draw(st.sampled_from(["paid", "refunded"])),
        draw(st.sampled_from(["issued", "renewed", "cancelled"])),
    )
    return draw(
        st.sampled_from(
            [
                ("staging.course_views", course_view(user, at(later), amount % 86_400, course)),
                ("staging.product_views", product_view(customer, at(later), amount % 86_400)),
                ("staging.course_orders", order(user, later, amount, status, course)),
                ("staging.course_reviews", review(user, later, 1 + amount % 5, course)),
                ("staging.policies", policy(customer, later, amount, event, draw(st.sampled_from(["p1", "p2", "p9"])))),
                ("staging.claims", claim(customer, later, amount)),
            ]
        )
    )


@st.composite
def events_at_or_after_the_end(draw: st.DrawFn) -> list[tuple[str, Row]]:
    moments = draw(st.lists(st.one_of(st.just(0.0), st.floats(0, 400)), min_size=1, max_size=20))
    return [later_event(draw, -moment) for moment in moments]


def with_events(given: World, events: Sequence[tuple[str, Row]]) -> World:
    more = {name: [*given.get(name, []), *(row for table, row in events if table == name)] for name in EVENTS}
    return given | {name: rows for name, rows in more.items() if rows}


@settings(max_examples=4, deadline=None, derandomize=True)
@given(events=events_at_or_after_the_end())
def test_adding_any_events_at_or_after_the_end_changes_no_row_of_any_snapshot(events: list[tuple[str, Row]]) -> None:
    after = made(with_events(world(), events))
    for table in SNAPSHOTS:
        try:
            assert_frame_equal(after[table], before()[table], check_exact=True)
        except AssertionError as error:
            raise AssertionError(f"{table} knows of what happened after its day: {error}") from error


LAST_MOMENT: Final = 1 / 86_400
LAST_SECOND: Final = [
    ("staging.course_views", course_view("u1", at(LAST_MOMENT), 900, "k2")),
    ("staging.product_views", product_view("c2", at(LAST_MOMENT), 900)),
    ("staging.course_orders", order("u1", LAST_MOMENT, 77, course="k3")),
    ("staging.course_reviews", review("u1", LAST_MOMENT, 1)),
    ("staging.policies", policy("c1", LAST_MOMENT, 66, pid="p9")),
    ("staging.claims", claim("c1", LAST_MOMENT)),
]
OF_EVENTS: Final = tuple(table for table in SNAPSHOTS if set(needed([table])) & EVENTS.keys())


@pytest.mark.parametrize("table", OF_EVENTS)
def test_the_same_events_a_second_before_the_end_do_change_rows(table: str) -> None:
    assert not with_the_last_second()[table].equals(before()[table])


@pytest.mark.parametrize("table", SNAPSHOTS)
def test_without_any_insurer_data_no_snapshot_speaks_of_anybody_else(table: str) -> None:
    found = without_an_insurer()[table]
    assert found.schema == before()[table].schema
    if "person_id" in found.columns:
        assert set(found["person_id"]) <= {"p1", "p3"}


@pytest.mark.parametrize("table", ["segments.person_features", "segments.person_trends", "segments.person_preferences"])
def test_without_any_insurer_data_everybody_of_the_course_side_is_there(table: str) -> None:
    assert without_an_insurer()[table]["person_id"].to_list() == ["p1", "p3"]
