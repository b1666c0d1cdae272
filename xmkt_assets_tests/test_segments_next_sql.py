"""`segments.interest_examples` on rows written by hand: what the next interest is, and what was known before it."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from xmkt_assets_tests.sql_helper import assert_model

DAY, END = date(2026, 9, 28), datetime(2026, 9, 29)
EARLIER = END - timedelta(days=30)
MODEL = "segments.interest_examples"
Rows = Sequence[Mapping[str, Any]]

COURSES = [
    {"course_id": "yoga", "topics": "健康"},
    {"course_id": "abroad", "topics": "语言|旅行"},
    {"course_id": "paint", "topics": "艺术"},
]
PRODUCTS = [{"product_id": "travel", "topics": "旅行|语言"}, {"product_id": "pension", "topics": "养老"}]
USER = {"as_of_on": DAY, "partner": "course_platform", "subject_id": "u1", "person_id": "p"}
CUSTOMER = {**USER, "partner": "insurer", "subject_id": "c1"}


def view(course: str, *, before: float, seconds: int = 60, user: str = "u1") -> dict[str, Any]:
    """A view so many days before the earlier moment; negative = after it."""
    at = EARLIER - timedelta(days=before)
    return {"view_id": f"{course}{at}", "user_id": user, "course_id": course, "viewed_at": at, "dwell_seconds": seconds}


def look(product: str, *, before: float, seconds: int = 60) -> dict[str, Any]:
    at = EARLIER - timedelta(days=before)
    return {"customer_id": "c1", "product_id": product, "viewed_at": at, "dwell_seconds": seconds}


def order(course: str, *, before: float, status: str = "paid") -> dict[str, Any]:
    return {"user_id": "u1", "course_id": course, "ordered_at": EARLIER - timedelta(days=before), "status": status}


def policy(product: str, *, before: float, event: str = "issued") -> dict[str, Any]:
    at = EARLIER - timedelta(days=before)
    return {
        "policy_id": f"{product}{at}",
        "customer_id": "c1",
        "product_id": product,
        "event": event,
        "occurred_at": at,
    }


# Seen 84 days before the earlier moment and never again: nobody's row, but both moments can look back over 84 days.
OTHER = {**USER, "subject_id": "u2", "person_id": "q"}


def check(expect: Rows, *, is_young: bool = False, **given: Rows) -> None:
    """The rows made of these tables; with a history of 84 days unless it `is_young`."""
    tables = {f"staging.{name}": [*rows] for name, rows in given.items()}
    tables = {"staging.course_views": [], "staging.gate_profiling": [USER, CUSTOMER], **tables}
    tables["staging.gate_profiling"].append(OTHER)
    if not is_young:
        tables["staging.course_views"].append(view("paint", before=84, user="u2"))
    catalogue = {"staging.courses": COURSES, "staging.products": PRODUCTS}
    assert_model(MODEL, given={**catalogue, **tables}, expect=expect, day=DAY)


def labels(expect: list[tuple[str, str | None, bool | None]], **given: Rows) -> None:
    """Topics known before the earlier moment with the label of the person."""
    rows = [{"observed_at": EARLIER, "topic": t, "next_topic": n, "next_is_purchase": b} for t, n, b in expect]
    later = {"observed_at": END, "next_topic": None, "next_is_purchase": None}
    now = sorted(now_topics(given))
    check([*rows, *({**later, "topic": t} for t in now)], **given)


def now_topics(given: Mapping[str, Rows]) -> set[str]:
    topics = {c["course_id"]: str(c["topics"]).split("|") for c in COURSES}
    topics |= {p["product_id"]: str(p["topics"]).split("|") for p in PRODUCTS}
    rows = [
        *given.get("course_views", ()),
        *given.get("product_views", ()),
        *(o for o in given.get("course_orders", ()) if o["status"] == "paid"),
        *(p for p in given.get("policies", ()) if p["event"] == "issued"),
    ]
    return {topic for row in rows for topic in topics[row.get("course_id") or row["product_id"]]}


def test_what_was_done_before_each_moment_is_counted_for_every_topic_of_an_item() -> None:
    counted = {"look_back_days": 84, "is_stated": False, "course_purchase_count": 0}
    none = {"product_dwell_seconds": 0, "product_view_count": 0, "product_purchase_count": 0}
    earlier = {**counted, **none, "observed_at": EARLIER, "next_topic": "艺术", "next_is_purchase": True}
    now = {**counted, **none, "observed_at": END, "next_topic": None, "next_is_purchase": None}
    health = {"topic": "健康", "course_dwell_seconds": 0, "course_view_count": 0, "product_purchase_count": 0}
    check(
        [
            {**earlier, "topic": "语言", "course_dwell_seconds": 100, "course_view_count": 2},
            {**earlier, "topic": "旅行", "course_dwell_seconds": 100, "course_view_count": 2},
            {**earlier, "topic": "养老", "course_dwell_seconds": 0, "course_view_count": 0}
            | {"product_dwell_seconds": 20, "product_view_count": 1, "product_purchase_count": 1},
            {**earlier, **health, "is_stated": True},
            {**now, "topic": "语言", "course_dwell_seconds": 60, "course_view_count": 1},
            {**now, "topic": "旅行", "course_dwell_seconds": 60, "course_view_count": 1},
            {**now, "topic": "养老", "course_dwell_seconds": 0, "course_view_count": 0}
            | {"product_dwell_seconds": 20, "product_view_count": 1, "product_purchase_count": 1},
            {**now, "topic": "艺术", "course_dwell_seconds": 0, "course_view_count": 0, "course_purchase_count": 1},
            {**now, **health, "is_stated": True},
        ],
        gate_profiling=[{**USER, "stated_interests": "健康"}, CUSTOMER],
        course_views=[view("abroad", before=84, seconds=40), view("abroad", before=1)],
        product_views=[look("pension", before=3, seconds=20)],
        policies=[policy("pension", before=2), policy("travel", before=2, event="renewed")],
        course_orders=[order("paint", before=-5), order("yoga", before=4, status="refunded")],
    )


@pytest.mark.parametrize(
    ("given", "label", "is_purchase"),
    [
        ({"course_orders": [order("paint", before=-9), order("abroad", before=-4)]}, "语言", True),
        ({"course_orders": [order("paint", before=-9)], "policies": [policy("pension", before=-3)]}, "养老", True),
        ({"policies": [policy("travel", before=-3)]}, "旅行", True),
        ({"course_orders": [order("paint", before=-3), order("yoga", before=-3)]}, "健康", True),
        (
            {"product_views": [look("pension", before=-3, seconds=999)], "course_orders": [order("paint", before=-9)]},
            "艺术",
            True,
        ),
        ({"product_views": [look("pension", before=-1, seconds=61)]}, "养老", False),
        ({"course_orders": [order("paint", before=-1, status="refunded")]}, "健康", False),
        ({"policies": [policy("pension", before=-1, event="cancelled")]}, "健康", False),
        ({"course_orders": [order("paint", before=0)]}, "艺术", True),
    ],
    ids=[
        "the first bought of two",
        "the first over both firms",
        "the most specific topic of the item",
        "bought at once: by name",
        "bought before looked at, however long",
        "looked at longest, where nothing was bought",
        "a refund is no purchase",
        "neither is a cancellation",
        "the moment itself belongs to what comes after",
    ],
)
def test_the_next_interest_is_the_first_bought_or_else_the_longest_looked_at(
    given: dict[str, Rows], label: str, is_purchase: bool
) -> None:
    """Everybody here looked at a 健康 course a day before the moment, and for a minute after it."""
    views = [view("yoga", before=1), view("yoga", before=-2)]
    labels([("健康", label, is_purchase)], course_views=views, **given)


def test_a_view_counts_an_hour_at_most() -> None:
    """A tab left open for a day does not outweigh two views of forty minutes."""
    views = [view("yoga", before=1), view("yoga", before=-1, seconds=86_400)]
    labels([("健康", "艺术", False)], course_views=[*views, *(view("paint", before=-n, seconds=2400) for n in (1, 2))])


def test_who_did_nothing_afterwards_is_no_example_but_is_scored() -> None:
    check([{"observed_at": END, "topic": "健康", "next_topic": None}], course_views=[view("yoga", before=1)])


def test_of_whom_nothing_is_known_before_a_moment_there_is_no_row_of_it() -> None:
    """The person turned up after the earlier moment."""
    check([{"person_id": "p", "observed_at": END, "topic": "健康"}], course_views=[view("yoga", before=-3)])


def test_without_any_history_nothing_is_an_example_and_everything_known_is_scored() -> None:
    check(
        [{"observed_at": END, "topic": t, "next_topic": None, "look_back_days": 84} for t in ("健康", "艺术")],
        is_young=True,
        gate_profiling=[{**USER, "stated_interests": "艺术"}],
        course_views=[view("yoga", before=-3)],
    )


def test_both_moments_look_back_over_as_many_days_as_the_history_allows_the_earlier() -> None:
    """History begins 10 days before the earlier moment: of the later one only the last 10 days count."""
    check(
        [
            {"observed_at": EARLIER, "topic": "健康", "look_back_days": 10, "course_view_count": 1},
            {"observed_at": END, "topic": "艺术", "look_back_days": 10, "course_view_count": 1},
        ],
        is_young=True,
        course_views=[view("yoga", before=10), view("abroad", before=-2), view("paint", before=-20)],
    )


def test_who_withdrew_consent_or_is_no_account_of_a_person_has_no_row() -> None:
    yesterday = {**USER, "as_of_on": DAY - timedelta(days=1)}
    views = [view("yoga", before=1), view("yoga", before=-1)]
    check([], gate_profiling=[yesterday], course_views=views)


def test_events_after_the_day_change_nothing() -> None:
    views = [view("yoga", before=1), view("paint", before=-1)]
    after = [view("abroad", before=-n, seconds=3000) for n in (30, 31, 400)]
    expect = [
        {"observed_at": EARLIER, "topic": "健康", "next_topic": "艺术", "course_view_count": 1},
        {"observed_at": END, "topic": "健康", "next_topic": None, "course_view_count": 1},
        {"observed_at": END, "topic": "艺术", "next_topic": None, "course_view_count": 1},
    ]
    for later in ([], after):
        check(
            expect,
            course_views=[*views, *later],
            course_orders=[order("abroad", before=-30)] if later else [],
            policies=[policy("travel", before=-30.5)] if later else [],
        )
    assert pl.Series([v["viewed_at"] for v in after]).min() == END
