"""The examples that lapse and purchases are learnt from, on rows written by hand: who is observed, what is the label,
and that neither moment sees what came after it."""

from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from xmkt_assets_tests.sql_helper import assert_model, lake_types, read_model, run_model

DAY, END = date(2026, 9, 28), datetime(2026, 9, 29)
LONG_KNOWN = datetime(2025, 1, 1)
LAPSE, COURSE, PRODUCT = (f"segments.{name}_examples" for name in ("lapse", "course_purchase", "product_purchase"))
EARLIER = {LAPSE: 60, COURSE: 30, PRODUCT: 60}  # days before the end of the day
LABEL = {LAPSE: "has_lapsed_60d", COURSE: "has_bought_30d", PRODUCT: "has_bought_60d"}
SECOND = 1 / 86_400
POLARS = {
    "VARCHAR": pl.String,
    "BIGINT": pl.Int64,
    "INTEGER": pl.Int32,
    "DOUBLE": pl.Float64,
    "BOOLEAN": pl.Boolean,
    "DATE": pl.Date,
    "TIMESTAMP": pl.Datetime("us"),
}


def at(days_ago: float) -> datetime:
    return END - timedelta(days=days_ago)


def gate(partner: str = "insurer", person: str = "p", **more: Any) -> dict[str, Any]:
    subject = {"insurer": "c", "course_platform": "u"}[partner] + person
    known = {"as_of_on": DAY, "partner": partner, "subject_id": subject, "person_id": person, "known_at": LONG_KNOWN}
    return {**known, **more}


def policy(days_ago: float, event: str = "issued", pid: str = "p1", *, days: int = 365, **more: Any) -> dict[str, Any]:
    """An event; of a sale or a renewal the term begins the day after and lasts `days` days."""
    first = at(days_ago).date() + timedelta(days=1)
    term = {"term_start_on": first, "term_end_on": first + timedelta(days=days - 1), "premium_fen": 900}
    row = {"policy_id": pid, "customer_id": "cp", "product_id": "h", "event": event, "occurred_at": at(days_ago)}
    return {**row, **(term if event != "cancelled" else {}), **more}


def order(days_ago: float, *, oid: str = "o1", status: str = "paid", fen: int = 500) -> dict[str, Any]:
    row = {"order_id": oid, "order_line_id": oid, "user_id": "up", "course_id": "k", "status": status}
    return {**row, "ordered_at": at(days_ago), "paid_fen": fen}


# --- lapse ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "lapsed"),
    [
        ([policy(100)], False),
        ([policy(100), policy(30, "cancelled")], True),
        ([policy(100), policy(30, "cancelled"), policy(20, "renewed")], False),
        ([policy(100, days=60)], True),
        ([policy(100, days=60), policy(40, "renewed", days=60)], False),
        ([policy(100, days=60), policy(40, "renewed", days=30)], True),  # the renewed term ended, too
        ([policy(70, days=69)], False),  # its last day is the last of the sixty
        ([policy(70, days=68)], True),
        ([policy(100), policy(100, pid="p2"), policy(5, "cancelled", pid="p2")], True),
        ([policy(100, term_start_on=None, term_end_on=None)], False),
    ],
    ids=[
        *("kept", "cancelled", "taken up again", "ended", "renewed", "ended at last", "last day", "a day before"),
        *("one of two", "terms not shared"),
    ],
)
def test_a_lapse_is_a_policy_in_force_that_is_not_in_force_sixty_days_later(
    events: list[dict[str, Any]], lapsed: bool
) -> None:
    later = [{"person_id": "p", "observed_at": END, "has_lapsed_60d": None}] if is_held(events) else []
    assert_model(
        LAPSE,
        given={"staging.gate_profiling": [gate()], "staging.policies": events},
        expect=[{"person_id": "p", "observed_at": at(60), "has_lapsed_60d": lapsed}, *later],
        day=DAY,
    )


def is_held(events: list[dict[str, Any]]) -> bool:
    """Whether any policy is in force at the end of the day, by a plain loop."""
    held = []
    for pid in {e["policy_id"] for e in events}:
        of_it = sorted((e for e in events if e["policy_id"] == pid), key=lambda e: e["occurred_at"])
        ends = [e["term_end_on"] for e in of_it if e["event"] != "cancelled"]
        is_covered = any(end is None or end >= DAY for end in ends)
        held.append(of_it[-1]["event"] != "cancelled" and is_covered)
    return any(held)


def test_a_trip_that_is_over_is_no_lapse() -> None:
    assert_model(
        LAPSE,
        given={"staging.gate_profiling": [gate()], "staging.policies": [policy(61, days=15)]},
        expect=[],
        day=DAY,
    )


def test_features_of_a_lapse_are_the_ones_made_by_hand() -> None:
    events = [
        policy(90, days=30),
        policy(60, "renewed", days=30),
        policy(30, "renewed", days=40),
        policy(200, pid="p2", product_id="a", premium_fen=100),
        policy(50, pid="p3", days=30),  # ended 20 days ago
    ]
    views = [{"view_id": "v", "customer_id": "cp", "product_id": "h", "viewed_at": at(3), "dwell_seconds": 9}]
    row = {
        "observed_at": END,
        "has_lapsed_60d": None,
        "city_tier": 2,
        "active_policy_count": 2,
        "health_policy_count": 1,
        "accident_policy_count": 1,
        "active_premium_fen": 1000,
        "shortest_term_days": 40,
        "first_end_days": 11,  # until 9 October
        "days_since_begun": 30,
        "renewed_policy_count": 1,
        "ended_policy_60d_count": 1,
        "product_view_30d_count": 1,
        "days_since_product_view_30d": 3,
        "course_order_30d_count": 0,
    }
    earlier = {
        "observed_at": at(60),
        "has_lapsed_60d": False,
        "city_tier": 2,
        "active_policy_count": 2,
        "health_policy_count": 1,
        "accident_policy_count": 1,
        "active_premium_fen": 1000,
        "shortest_term_days": 30,
        "first_end_days": 1,
        "days_since_begun": 30,
        "renewed_policy_count": 0,
        "ended_policy_60d_count": 0,
        "product_view_30d_count": 0,
        "days_since_product_view_30d": None,
        "course_order_30d_count": 0,
    }
    products = [{"product_id": "h", "product_class": "health"}, {"product_id": "a", "product_class": "accident"}]
    assert_model(
        LAPSE,
        given={
            "staging.gate_profiling": [gate(city_tier=2)],
            "staging.policies": events,
            "staging.product_views": views,
            "staging.products": products,
        },
        expect=[row, earlier],
        day=DAY,
    )


# --- purchases --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days_ago", "status", "bought"),
    [(30, "paid", True), (SECOND, "paid", True), (30 + SECOND, "paid", False), (10, "refunded", False)],
)
def test_a_course_bought_within_thirty_days_of_the_earlier_moment_is_its_label(
    days_ago: float, status: str, bought: bool
) -> None:
    assert_model(
        COURSE,
        given={
            "staging.gate_profiling": [gate("course_platform")],
            "staging.course_orders": [order(days_ago, status=status), order(500, oid="old")],
        },
        expect=[
            {"person_id": "p", "observed_at": at(30), "has_bought_30d": bought},
            {"person_id": "p", "observed_at": END, "has_bought_30d": None},
        ],
        day=DAY,
    )


@pytest.mark.parametrize(
    ("days_ago", "event", "bought"),
    [(60, "issued", True), (SECOND, "issued", True), (60 + SECOND, "issued", False), (10, "renewed", False)],
)
def test_a_policy_issued_within_sixty_days_of_the_earlier_moment_is_its_label(
    days_ago: float, event: str, bought: bool
) -> None:
    assert_model(
        PRODUCT,
        given={
            "staging.gate_profiling": [gate()],
            "staging.policies": [policy(days_ago, event), policy(500, pid="old")],
        },
        expect=[
            {"person_id": "p", "observed_at": at(60), "has_bought_60d": bought},
            {"person_id": "p", "observed_at": END, "has_bought_60d": None},
        ],
        day=DAY,
    )


@pytest.mark.parametrize(("table", "partner"), [(COURSE, "course_platform"), (PRODUCT, "insurer")])
def test_a_stranger_who_joins_by_buying_is_no_example_of_a_buyer(table: str, partner: str) -> None:
    """Known since five days ago only, and bought at once: nothing could have been foretold of them."""
    joined = gate(partner, known_at=at(5))
    bought = {"staging.policies": [policy(5)], "staging.course_orders": [order(5)]}
    assert_model(
        table,
        given={"staging.gate_profiling": [joined], **bought},
        expect=[{"person_id": "p", "observed_at": END}],
        day=DAY,
    )


def test_who_is_a_customer_later_was_none_at_the_earlier_moment() -> None:
    """q, a customer for long, says by an old policy that the feed is that old."""
    columns = ("person_id", "observed_at", "is_user", "is_customer", "active_policy_count", "has_bought_60d")
    rows = [
        ("p", at(60), True, False, 0, True),
        ("p", END, True, True, 1, None),
        ("q", at(60), False, True, 0, False),
        ("q", END, False, True, 0, None),
    ]
    assert_model(
        PRODUCT,
        given={
            "staging.gate_profiling": [gate("course_platform"), gate(known_at=at(40)), gate(person="q")],
            "staging.policies": [policy(40), policy(500, pid="old", customer_id="cq")],
        },
        expect=[dict(zip(columns, row, strict=True)) for row in rows],
        day=DAY,
    )


def test_people_the_course_platform_does_not_know_are_no_examples_of_course_buyers() -> None:
    assert_model(COURSE, given={"staging.gate_profiling": [gate()]}, expect=[], day=DAY)


def test_both_moments_look_back_over_the_same_number_of_days_of_orders() -> None:
    """The first order on file is 70 days old: 40 days of history at the earlier moment, so 40 at the later one."""
    orders = [order(70, oid="o1"), order(29, oid="o2"), order(15, oid="o3", fen=200)]
    assert_model(
        COURSE,
        given={"staging.gate_profiling": [gate("course_platform")], "staging.course_orders": orders},
        expect=[
            {
                "observed_at": at(30),
                "look_back_days": 40,
                "course_order_count": 1,
                "paid_fen": 500,
                "days_since_course_order": 40,
            },
            {
                "observed_at": END,
                "look_back_days": 40,
                "course_order_count": 2,
                "paid_fen": 700,
                "days_since_course_order": 15,
            },
        ],
        day=DAY,
    )


@pytest.mark.parametrize(("days_ago", "moments"), [(60, [30, 0]), (59, [0])])
def test_the_earlier_moment_counts_once_thirty_days_before_it_are_on_file(days_ago: float, moments: list[int]) -> None:
    known = {"staging.gate_profiling": [gate("course_platform")], "staging.course_orders": [order(days_ago)]}
    assert_model(COURSE, given=known, expect=[{"observed_at": at(m)} for m in moments], day=DAY)


# --- both moments, all three ------------------------------------------------------------------------------------------

EVENTS = {
    "staging.course_views": {"view_id": "v9", "user_id": "up", "course_id": "k", "dwell_seconds": 60},
    "staging.product_views": {"view_id": "w9", "customer_id": "cp", "product_id": "h", "dwell_seconds": 60},
    "staging.course_orders": {"order_id": "o9", "user_id": "up", "course_id": "k", "status": "paid", "paid_fen": 5},
    "staging.course_reviews": {"review_id": "r9", "user_id": "up", "course_id": "k", "rating": 5},
    "staging.policies": {"policy_id": "p9", "customer_id": "cp", "product_id": "h", "event": "issued"},
}
MOMENT = {"staging.course_orders": "ordered_at", "staging.course_reviews": "reviewed_at"}


KNOWN = {
    "staging.gate_profiling": [gate(), gate("course_platform")],
    "staging.policies": [policy(300), policy(200, pid="p2", term_start_on=None, term_end_on=None)],
    "staging.course_orders": [order(300)],
}


def with_everything_at(days_ago: float) -> dict[str, list[dict[str, Any]]]:
    """One more event of each kind at that time."""
    more = {}
    for kind, event in EVENTS.items():
        when = MOMENT.get(kind, "occurred_at" if kind == "staging.policies" else "viewed_at")
        more[kind] = [*KNOWN.get(kind, []), {**event, when: at(days_ago)}]
    return {**KNOWN, **more}


@pytest.mark.parametrize("table", [LAPSE, COURSE, PRODUCT])
def test_an_event_at_a_moment_is_not_known_at_it(table: str) -> None:
    """At the earlier moment it may be the label, a second before a feature; at the end of the day it is nothing."""
    earlier, later = rows_of(table, KNOWN)
    assert rows_of(table, with_everything_at(0)) == [earlier, later]
    label, days = LABEL[table], EARLIER[table]
    at_it = rows_of(table, with_everything_at(days))[0]
    assert {**at_it, label: earlier[label]} == earlier
    before_it = rows_of(table, with_everything_at(days + SECOND))[0]
    assert before_it["course_view_30d_count"] == before_it["product_view_30d_count"] == 1


def rows_of(table: str, known: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """All rows the model makes; what is not given is empty, with the types of the lake."""
    inputs = {}
    for name in tables_read(table):
        kinds = {column: POLARS[kind] for column, kind in lake_types()[name].items()}
        inputs[name] = pl.DataFrame(known.get(name, []), schema=kinds, orient="row")
    return run_model(table, inputs, day=DAY).to_dicts()


def tables_read(table: str) -> frozenset[str]:
    return frozenset(read_model(table).reads)
