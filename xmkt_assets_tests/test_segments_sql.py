"""The SQL of segments on rows written by hand: what is counted, what is not, and that nothing later than the day is."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from xmkt_assets_tests.sql_helper import lake_types, read_model, run_model

DAY = date(2026, 9, 28)
END = datetime(2026, 9, 29)
Row = Mapping[str, Any]

TEXT, COUNT, TIME, DATE = pl.String, pl.Int64, pl.Datetime("us"), pl.Date
SCHEMAS: dict[str, dict[str, Any]] = {
    "staging.gate_profiling": {
        "as_of_on": DATE,
        "partner": TEXT,
        "subject_id": TEXT,
        "person_id": TEXT,
        "gender": TEXT,
        "birth_year": COUNT,
        "occupation": TEXT,
        "city_tier": COUNT,
        "stated_interests": TEXT,
    },
    "staging.gate_sensitive_profiling": {
        "as_of_on": DATE,
        "partner": TEXT,
        "subject_id": TEXT,
        "person_id": TEXT,
        "annual_income_fen": COUNT,
    },
    "segments.claim_risk": {
        "as_of_on": DATE,
        "person_id": TEXT,
        "claim_risk_share": pl.Float64,
        "claim_risk_band": TEXT,
    },
    "staging.account_attributes_cleaned": {
        "as_of_on": DATE,
        "partner": TEXT,
        "subject_id": TEXT,
        "birth_year_clean": pl.Float64,
        "birth_year_is_imputed": pl.Boolean,
        "city_tier_clean": pl.Float64,
        "city_tier_is_imputed": pl.Boolean,
    },
    "staging.course_views": {"user_id": TEXT, "course_id": TEXT, "viewed_at": TIME, "dwell_seconds": COUNT},
    "staging.course_orders": {
        "order_id": TEXT,
        "user_id": TEXT,
        "course_id": TEXT,
        "ordered_at": TIME,
        "paid_fen": COUNT,
        "status": TEXT,
    },
    "staging.course_reviews": {"user_id": TEXT, "reviewed_at": TIME, "rating": COUNT},
    "staging.product_views": {"customer_id": TEXT, "product_id": TEXT, "viewed_at": TIME, "dwell_seconds": COUNT},
    "staging.policies": {
        "policy_id": TEXT,
        "customer_id": TEXT,
        "product_id": TEXT,
        "event": TEXT,
        "occurred_at": TIME,
        "term_start_on": DATE,
        "term_end_on": DATE,
        "premium_fen": COUNT,
    },
    "staging.claims": {"customer_id": TEXT, "claimed_at": TIME, "claimed_fen": COUNT},
    "staging.courses": {"course_id": TEXT, "topics": TEXT},
    "staging.products": {"product_id": TEXT, "product_class": TEXT, "topics": TEXT},
}


# Table of cleaned values → the column that is cleaned.
CLEANED = {
    "staging.course_views_cleaned": "dwell_seconds",
    "staging.product_views_cleaned": "dwell_seconds",
    "staging.course_orders_cleaned": "paid_fen",
    "staging.policies_cleaned": "premium_fen",
}


def at(days_ago: float) -> datetime:
    """That many days before the end of the day; 0 is the first moment that must not be seen."""
    return END - timedelta(days=days_ago)


def account(person: str, subject: str, partner: str = "course_platform", **known: Any) -> dict[str, Any]:
    return {"as_of_on": DAY, "partner": partner, "subject_id": subject, "person_id": person, **known}


def insured_account(person: str, subject: str, **known: Any) -> dict[str, Any]:
    return account(person, subject, "insurer", **known)


def view(user: str, course: str, days_ago: float, seconds: int = 60) -> dict[str, Any]:
    return {"user_id": user, "course_id": course, "viewed_at": at(days_ago), "dwell_seconds": seconds}


def order(
    user: str, course: str, days_ago: float, fen: int, *, status: str = "paid", oid: str = "o1"
) -> dict[str, Any]:
    return {
        "order_id": oid,
        "user_id": user,
        "course_id": course,
        "ordered_at": at(days_ago),
        "paid_fen": fen,
        "status": status,
    }


def policy(customer: str, days_ago: float, event: str = "issued", pid: str = "p1", **more: Any) -> dict[str, Any]:
    occurred = at(days_ago)
    term = {"term_start_on": occurred.date(), "term_end_on": occurred.date() + timedelta(days=364)}
    given = {"policy_id": pid, "customer_id": customer, "product_id": "health1", "event": event}
    return {**given, "occurred_at": occurred, "premium_fen": 10_000, **(term if event != "cancelled" else {}), **more}


def claim(customer: str, days_ago: float, fen: int = 5_000) -> dict[str, Any]:
    return {"customer_id": customer, "claimed_at": at(days_ago), "claimed_fen": fen}


@cache
def tables_of(table: str) -> frozenset[str]:
    return read_model(table).reads


def run(table: str, **rows: Sequence[Row]) -> pl.DataFrame:
    """The model on rows given per table by its short name; tables not given are empty.

    Who passes the profiling gate consents to the use of sensitive data too, where that gate is not given.
    """
    door = SCHEMAS["staging.gate_sensitive_profiling"]
    both = [{name: row[name] for name in door if name in row} for row in rows.get("gate_profiling", [])]
    rows = {"gate_sensitive_profiling": both, **rows}
    inputs = {name: given_rows(name, rows) for name in tables_of(table)}
    return run_model(table, inputs, day=DAY)


def given_rows(table: str, rows: Mapping[str, Sequence[Row]]) -> pl.DataFrame:
    """Rows of one table; a cleaned table holds those of the table it cleans, and nothing to clean unless given."""
    name = table.split(".")[1]
    if table in SCHEMAS:
        return pl.DataFrame(rows.get(name, []), schema=SCHEMAS[table])
    delivered, value = name.removesuffix("_cleaned"), CLEANED[table]
    clean = {f"{value}_clean": pl.Float64, f"{value}_is_outlier": pl.Boolean}
    frame = pl.DataFrame(rows.get(delivered, []), schema={**SCHEMAS[f"staging.{delivered}"], **clean})
    return frame.with_columns(
        pl.lit(DAY).alias("as_of_on"),
        pl.coalesce(f"{value}_clean", pl.col(value).cast(pl.Float64)).alias(f"{value}_clean"),
        pl.col(f"{value}_is_outlier").fill_null(value=False),
    )


def only(frame: pl.DataFrame) -> dict[str, Any]:
    assert frame.height == 1, frame
    return frame.row(0, named=True)


# --- person_features ------------------------------------------------------------------------------------------------


def test_features_of_a_person_known_to_both_firms_are_the_sums_made_by_hand() -> None:
    known = {"gender": "female", "birth_year": 1990, "occupation": "教师", "city_tier": 2}
    row = only(
        run(
            "segments.person_features",
            gate_profiling=[account("p", "u1", **known), insured_account("p", "c1", **known)],
            course_views=[view("u1", "k1", 40, 100), view("u1", "k1", 10, 20), view("u1", "k2", 1.5, 3)],
            course_orders=[
                order("u1", "k1", 40, 900, oid="o1"),
                order("u1", "k2", 40, 100, oid="o1"),
                order("u1", "k3", 5, 500, oid="o2"),
            ],
            course_reviews=[{"user_id": "u1", "reviewed_at": at(3), "rating": r} for r in (5, 2)],
            product_views=[
                {"customer_id": "c1", "product_id": "health1", "viewed_at": at(8), "dwell_seconds": 30},
            ],
            policies=[policy("c1", 80), policy("c1", 20, pid="p2", premium_fen=2_500)],
        )
    )
    assert row == {
        "as_of_on": DAY,
        "person_id": "p",
        "gender": "female",
        "birth_year": 1990,
        "age_years": 36,
        "age_band": "35-44",
        "occupation": "教师",
        "city_tier": 2,
        "age_clean_years": None,  # no account_attributes are given here
        "age_is_imputed": False,
        "city_tier_clean": None,
        "city_tier_is_imputed": False,
        "has_course_side": True,
        "has_insurance_side": True,
        "course_view_count": 3,
        "course_view_30d_count": 2,
        "viewed_course_count": 2,
        "dwell_seconds": 123,
        "dwell_30d_seconds": 23,
        "dwell_clean_seconds": 123,
        "dwell_30d_clean_seconds": 23,
        "days_since_course_view": 1,
        "course_order_count": 2,
        "course_order_30d_count": 1,
        "bought_course_count": 3,
        "refunded_course_count": 0,
        "paid_fen": 1500,
        "paid_30d_fen": 500,
        "paid_clean_fen": 1500,
        "days_since_course_order": 4,
        "product_view_count": 1,
        "product_view_30d_count": 1,
        "product_dwell_seconds": 30,
        "product_dwell_clean_seconds": 30,
        "days_since_product_view": 7,
        "active_policy_count": 2,
        "issued_policy_count": 2,
        "premium_fen": 12_500,
        "premium_clean_fen": 12_500,
        "outlier_count": 0,
        "days_since_policy_issue": 19,
        "mean_rating": 3.5,
        "review_count": 2,
        "days_since_first_activity": 79,
        "days_since_last_activity": 1,
    }


def test_a_person_without_any_event_has_zero_counts_and_empty_days() -> None:
    row = only(run("segments.person_features", gate_profiling=[account("p", "u1")]))
    assert (row["has_course_side"], row["has_insurance_side"]) == (True, False)
    assert (row["age_years"], row["age_band"]) == (None, "unknown")
    assert all(value == 0 for name, value in row.items() if name.endswith(("_count", "_seconds", "_fen")))
    assert all(value is None for name, value in row.items() if name.startswith("days_since") or name == "mean_rating")


def test_people_without_consent_on_the_day_are_absent_whatever_they_did() -> None:
    yesterday = account("withdrawn", "u2") | {"as_of_on": DAY - timedelta(days=1)}
    frame = run(
        "segments.person_features",
        gate_profiling=[account("p", "u1"), yesterday],
        course_views=[view("u1", "k1", 1), view("u2", "k1", 1), view("never asked", "k1", 1)],
        course_orders=[order("u2", "k1", 1, 100)],
    )
    assert frame["person_id"].to_list() == ["p"]
    assert frame["course_view_count"].to_list() == [1]


def test_a_course_seen_under_two_accounts_of_a_person_counts_once() -> None:
    row = only(
        run(
            "segments.person_features",
            gate_profiling=[account("p", "u1"), account("p", "u2")],
            course_views=[view("u1", "k1", 1), view("u2", "k1", 2), view("u2", "k2", 2)],
        )
    )
    assert (row["course_view_count"], row["viewed_course_count"]) == (3, 2)


def test_money_that_went_back_was_not_paid() -> None:
    row = only(
        run(
            "segments.person_features",
            gate_profiling=[account("p", "u1")],
            course_orders=[order("u1", "k1", 9, 900), order("u1", "k2", 2, 400, status="refunded", oid="o2")],
        )
    )
    counted = ("paid_fen", "course_order_count", "bought_course_count", "refunded_course_count")
    assert [row[c] for c in counted] == [900, 1, 1, 1]
    assert row["days_since_course_order"] == 8


def test_the_last_30_days_begin_exactly_30_days_before_the_end() -> None:
    just_before = 30 + 1 / 86_400
    row = only(
        run(
            "segments.person_features",
            gate_profiling=[account("p", "u1")],
            course_views=[view("u1", "k1", 30, 1), view("u1", "k1", just_before, 10)],
        )
    )
    assert (row["course_view_30d_count"], row["dwell_30d_seconds"], row["dwell_seconds"]) == (1, 1, 11)


TERM_OVER = {"term_start_on": DAY - timedelta(days=60), "term_end_on": DAY - timedelta(days=1)}
LAST_DAY = {"term_start_on": DAY - timedelta(days=60), "term_end_on": DAY}
NOT_BEGUN = {"term_start_on": DAY + timedelta(days=1), "term_end_on": DAY + timedelta(days=365)}
NO_DATES = {"term_start_on": None, "term_end_on": None}
RENEWED = {"term_start_on": DAY, "term_end_on": DAY + timedelta(days=364)}


@pytest.mark.parametrize(
    ("events", "active"),
    [
        ([policy("c1", 50)], 1),
        ([policy("c1", 50), policy("c1", 10, "cancelled")], 0),
        ([policy("c1", 50), policy("c1", 10, "cancelled"), policy("c1", 5, "renewed", **RENEWED)], 1),
        ([policy("c1", 61, **TERM_OVER)], 0),
        ([policy("c1", 61, **LAST_DAY)], 1),
        ([policy("c1", 5, **NOT_BEGUN)], 0),
        ([policy("c1", 500, **NO_DATES)], 1),
        ([policy("c1", 61, **TERM_OVER), policy("c1", 2, "renewed", **RENEWED)], 1),
        ([policy("c1", 10, "cancelled")], 0),
        ([policy("c1", 61, **LAST_DAY), policy("c1", 2, "renewed", **NOT_BEGUN)], 1),
    ],
    ids=[
        "issued",
        "cancelled",
        "taken up again",
        "term over",
        "last day of term",
        "not begun",
        "terms not shared",
        "renewed",
        "cancelled only",
        "renewed ahead of time",
    ],
)
def test_a_policy_is_active_while_a_term_covers_the_day_and_it_is_not_cancelled(events: list[Row], active: int) -> None:
    row = only(run("segments.person_features", gate_profiling=[insured_account("p", "c1")], policies=events))
    assert row["active_policy_count"] == active


def test_a_premium_that_is_not_shared_is_empty_and_not_zero() -> None:
    frame = run(
        "segments.person_features",
        gate_profiling=[insured_account("holder", "c1"), insured_account("prospect", "c2")],
        policies=[policy("c1", 5, premium_fen=None)],
    )
    assert frame.select("person_id", "premium_fen").rows() == [("holder", None), ("prospect", 0)]


def test_age_bands_begin_at_their_first_year() -> None:
    born = {2002: "under 25", 2001: "25-34", 1991: "35-44", 1981: "45-54", 1971: "55-64", 1961: "65 and over"}
    frame = run("segments.person_features", gate_profiling=[account(str(y), f"u{y}", birth_year=y) for y in born])
    assert dict(frame.select("birth_year", "age_band").rows()) == born


def test_counts_equal_a_plain_loop_over_a_random_world() -> None:
    rng = np.random.default_rng(3)
    people = {f"u{i}": f"p{i % 20}" for i in range(30)}  # ten people have two accounts
    views = [
        view(f"u{rng.integers(40)}", f"k{rng.integers(5)}", float(rng.uniform(-10, 60)), int(rng.integers(500)))
        for _ in range(600)
    ]
    courses: dict[str, set[str]] = defaultdict(set)
    seconds: dict[str, int] = defaultdict(int)
    recent: dict[str, int] = defaultdict(int)
    for v in views:
        person = people.get(v["user_id"])
        if person and v["viewed_at"] < END:
            courses[person].add(v["course_id"])
            seconds[person] += v["dwell_seconds"]
            recent[person] += v["viewed_at"] >= at(30)
    frame = run(
        "segments.person_features",
        gate_profiling=[account(person, user) for user, person in people.items()],
        course_views=views,
    )
    assert frame.height == 20
    for row in frame.iter_rows(named=True):
        person = row["person_id"]
        found = (row["viewed_course_count"], row["dwell_seconds"], row["course_view_30d_count"])
        assert found == (len(courses[person]), seconds[person], recent[person])


# --- nothing later than the day ---------------------------------------------------------------------------------------

WORLD: dict[str, list[dict[str, Any]]] = {
    "gate_profiling": [
        account("p1", "u1", stated_interests="理财|健康"),
        insured_account("p1", "c1", birth_year=1980),
        insured_account("p2", "c2"),
    ],
    "course_views": [view("u1", "k1", 70), view("u1", "k2", 3)],
    "course_orders": [order("u1", "k1", 20, 900)],
    "course_reviews": [{"user_id": "u1", "reviewed_at": at(2), "rating": 4}],
    "product_views": [{"customer_id": "c2", "product_id": "health1", "viewed_at": at(65), "dwell_seconds": 30}],
    "policies": [policy("c1", 80), policy("c2", 50, pid="p2")],
    "claims": [claim("c1", 70), claim("c1", 30), claim("c2", 10)],
    "courses": [{"course_id": "k1", "topics": "理财|职场"}, {"course_id": "k2", "topics": "健康"}],
    "products": [{"product_id": "health1", "product_class": "health", "topics": "健康"}],
}
BEFORE = {
    t: run(t, **WORLD)
    for t in (
        "segments.person_features",
        "segments.person_interests",
        "segments.risk_examples",
        "segments.sensitive_profile",
    )
}


@st.composite
def events_after_the_day(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    later = -draw(st.floats(0, 400))
    user, customer = draw(st.sampled_from(["u1", "u9"])), draw(st.sampled_from(["c1", "c2", "c9"]))
    course = draw(st.sampled_from(["k1", "k2", "k9"]))
    event = draw(st.sampled_from(["issued", "renewed", "cancelled"]))
    amount = draw(st.integers(0, 10**9))
    return draw(
        st.sampled_from(
            [
                ("course_views", view(user, course, later, amount % 86_400)),
                (
                    "course_orders",
                    order(user, course, later, amount, status=draw(st.sampled_from(["paid", "refunded"]))),
                ),
                ("course_reviews", {"user_id": user, "reviewed_at": at(later), "rating": 1 + amount % 5}),
                (
                    "product_views",
                    {"customer_id": customer, "product_id": "health1", "viewed_at": at(later), "dwell_seconds": 9},
                ),
                ("policies", policy(customer, later, event, pid=draw(st.sampled_from(["p1", "p2", "p9"])))),
                ("claims", claim(customer, later, amount)),
            ]
        )
    )


@settings(max_examples=8, deadline=None, derandomize=True)
@given(st.lists(events_after_the_day(), min_size=1, max_size=30))
def test_adding_any_event_after_the_day_changes_nothing(events: list[tuple[str, dict[str, Any]]]) -> None:
    later = {name: [*rows, *(event for table, event in events if table == name)] for name, rows in WORLD.items()}
    for table, before in BEFORE.items():
        assert_frame_equal(run(table, **later), before, check_exact=True)


AT_THE_END = {
    "course_views": [view("u1", "k1", 0, 3600)],
    "course_orders": [order("u1", "k2", 0, 500, oid="o9"), order("u1", "k2", 0, 500, status="refunded", oid="o8")],
    "course_reviews": [{"user_id": "u1", "reviewed_at": END, "rating": 1}],
    "product_views": [{"customer_id": "c2", "product_id": "health1", "viewed_at": END, "dwell_seconds": 3600}],
    "policies": [policy("c1", 0, pid="p9", **NO_DATES), policy("c2", 0, "cancelled", pid="p2")],
    "claims": [claim("c1", 0), claim("c2", 0)],
}


@pytest.mark.parametrize("kind", list(AT_THE_END))
def test_an_event_at_the_very_end_of_the_day_belongs_to_the_next(kind: str) -> None:
    more = WORLD | {kind: [*WORLD[kind], *AT_THE_END[kind]]}
    for table, before in BEFORE.items():
        assert_frame_equal(run(table, **more), before, check_exact=True)


@pytest.mark.parametrize("kind", list(AT_THE_END))
def test_an_event_one_second_earlier_does_change_the_features(kind: str) -> None:
    second = timedelta(seconds=1)
    events = [{k: v - second if isinstance(v, datetime) else v for k, v in e.items()} for e in AT_THE_END[kind]]
    more = WORLD | {kind: [*WORLD[kind], *events]}
    table = "segments.sensitive_profile" if kind == "claims" else "segments.person_features"
    assert not run(table, **more).equals(BEFORE[table])


@pytest.mark.parametrize("table", list(BEFORE))
def test_the_same_id_at_both_firms_is_two_people_unless_the_gate_says_otherwise(table: str) -> None:
    def world(user: str, customer: str) -> dict[str, list[dict[str, Any]]]:
        looked = {"customer_id": customer, "product_id": "health1", "dwell_seconds": 30}
        return {
            "gate_profiling": [
                *(account("learner", user), insured_account("learner", "c3")),
                *(insured_account("holder", customer), account("holder", "u3")),
            ],
            "courses": WORLD["courses"],
            "products": WORLD["products"],
            "course_views": [view(user, "k1", 1), view(user, "k2", 70)],
            "course_orders": [order(user, "k1", 1, 700)],
            "course_reviews": [{"user_id": user, "reviewed_at": at(1), "rating": 4}],
            "product_views": [looked | {"viewed_at": at(1)}, looked | {"viewed_at": at(62)}],
            "policies": [policy(customer, 80), policy("c3", 80, pid="p3")],
            "claims": [claim(customer, 70), claim(customer, 10)],
        }

    assert_frame_equal(run(table, **world("7", "7")), run(table, **world("u7", "c7")), check_exact=True)


# --- person_interests -------------------------------------------------------------------------------------------------


def test_interest_strength_adds_stated_bought_and_watched_by_the_documented_weights() -> None:
    frame = run(
        "segments.person_interests",
        gate_profiling=[
            account("p", "u1", stated_interests="健康|语言"),
            insured_account("p", "c1", stated_interests="健康|语言"),
        ],
        courses=[{"course_id": "k1", "topics": "理财|健康"}, {"course_id": "k2", "topics": "理财"}],
        products=[{"product_id": "health1", "product_class": "health", "topics": "健康"}],
        course_orders=[order("u1", "k1", 5, 100), order("u1", "k2", 4, 100, status="refunded", oid="o2")],
        course_views=[view("u1", "k2", 6, 3600)],
        policies=[policy("c1", 9), policy("c1", 1, "renewed", **RENEWED)],
    )
    expected = {
        "健康": 1 + (0.5 + 1),  # stated, half a course, one policy (its renewal is no second interest)
        "理财": 0.5 + 0.25 * math.log(1 + 60),  # half a course, an hour of watching
        "语言": 1.0,
    }
    assert dict(frame.select("topic", "strength").rows()) == pytest.approx(expected, abs=1e-6)
    assert dict(frame.select("topic", "interest_rank").rows()) == {"健康": 1, "理财": 2, "语言": 3}
    shares = {topic: strength / sum(expected.values()) for topic, strength in expected.items()}
    assert dict(frame.select("topic", "strength_share").rows()) == pytest.approx(shares, abs=1e-6)
    assert dict(frame.select("topic", "is_stated").rows()) == {"健康": True, "理财": False, "语言": True}


def test_interest_shares_add_up_to_one_for_every_person_with_any() -> None:
    frame = BEFORE["segments.person_interests"]
    sums = frame.group_by("person_id").agg(pl.col("strength_share").sum())
    assert sorted(sums["person_id"]) == ["p1", "p2"]
    assert sums["strength_share"].to_list() == pytest.approx([1.0, 1.0], abs=1e-12)


def test_equal_interests_are_ranked_by_name_and_empty_topics_are_none() -> None:
    frame = run("segments.person_interests", gate_profiling=[account("p", "u1", stated_interests="b| |a||")])
    assert frame.sort("interest_rank")["topic"].to_list() == ["a", "b"]


def test_people_without_consent_or_without_anything_to_go_by_have_no_interests() -> None:
    frame = run(
        "segments.person_interests",
        gate_profiling=[account("silent", "u1")],
        courses=WORLD["courses"],
        course_views=[view("u2", "k1", 1, 600)],
    )
    assert frame.is_empty()


# --- risk_examples ----------------------------------------------------------------------------------------------------

SIXTY_DAYS_AGO = at(60)


def test_only_people_insured_at_a_moment_are_observed_at_it() -> None:
    frame = run(
        "segments.risk_examples",
        gate_profiling=[
            insured_account(p, c) for p, c in [("old", "c1"), ("new", "c2"), ("left", "c3"), ("none", "c4")]
        ],
        policies=[
            policy("c1", 80),
            policy("c2", 20, pid="p2"),
            policy("c3", 80, pid="p3"),
            policy("c3", 30, "cancelled", pid="p3"),
        ],
    )
    assert sorted(frame.select("person_id", "observed_at", "has_claim_60d").rows()) == [
        ("left", SIXTY_DAYS_AGO, False),
        ("new", END, None),
        ("old", SIXTY_DAYS_AGO, False),
        ("old", END, None),
    ]


def test_features_of_the_moment_to_score_are_the_ones_made_by_hand() -> None:
    frame = run(
        "segments.risk_examples",
        gate_profiling=[insured_account("p", "c1", birth_year=1986, gender="male", city_tier=3), account("p", "u1")],
        products=WORLD["products"],
        policies=[
            policy("c1", 50, term_start_on=DAY - timedelta(days=50), term_end_on=DAY + timedelta(days=10)),
            policy("c1", 45, pid="p2", premium_fen=300, product_id="gone"),
        ],
        claims=[claim("c1", 70, 100), claim("c1", 5, 900), claim("c1", 4, 60)],
        course_views=[view("u1", "k1", 29, 40), view("u1", "k1", 31, 500)],
    )
    assert only(frame) == {
        "as_of_on": DAY,
        "person_id": "p",
        "observed_at": END,
        "has_claim_60d": None,
        "age_years": 40,
        "city_tier": 3,
        "active_policy_count": 2,
        "health_policy_count": 1,
        "accident_policy_count": 0,
        "motor_policy_count": 0,
        "travel_policy_count": 0,
        "active_premium_fen": 10_300,
        "cover_left_days": 60,
        "look_back_days": 10,  # from the first claim on file, 70 days ago, to the labelled moment, 60 days ago
        "claim_count": 2,
        "claimed_fen": 960,
        "days_since_claim": 4,
        "product_view_30d_count": 0,
        "course_view_30d_count": 1,
        "dwell_30d_seconds": 40,
    }


def test_days_of_cover_left_are_those_of_the_policy_that_ends_last() -> None:
    ends = DAY + timedelta(days=10)
    frame = run(
        "segments.risk_examples",
        gate_profiling=[insured_account("p", "c1")],
        policies=[policy("c1", 50, term_end_on=DAY), policy("c1", 50, pid="p2", term_end_on=ends)],
    )
    assert only(frame)["cover_left_days"] == 10


def test_both_moments_look_back_over_the_same_number_of_days() -> None:
    """The first claim on file is 75 days old: 15 days of history at the labelled moment, so 15 at the other too."""
    frame = run(
        "segments.risk_examples",
        gate_profiling=[insured_account("p", "c1"), insured_account("other", "c2")],
        policies=[policy("c1", 90), policy("c2", 90, pid="p2")],
        claims=[claim("c2", 75), claim("c1", 65), claim("c1", 20), claim("c1", 14)],
    )
    counts = frame.filter(pl.col("person_id") == "p").select("observed_at", "look_back_days", "claim_count").rows()
    assert counts == [(SIXTY_DAYS_AGO, 15, 1), (END, 15, 1)]


@pytest.mark.parametrize("days_ago", [60, 30, 1 / 86_400])
def test_what_happens_after_the_labelled_moment_reaches_its_label_and_nothing_else(days_ago: float) -> None:
    quiet = {**WORLD, "claims": [claim("c2", 75)]}
    loud = {**WORLD, "claims": [claim("c2", 75), claim("c1", days_ago)]}
    loud |= {"policies": [*WORLD["policies"], policy("c1", days_ago, pid="later")]}
    loud |= {"course_views": [*WORLD["course_views"], view("u1", "k1", days_ago)]}

    def labelled(world: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
        frame = run("segments.risk_examples", **world)
        return only(frame.filter((pl.col("person_id") == "p1") & (pl.col("observed_at") == SIXTY_DAYS_AGO)))

    assert labelled(quiet)["has_claim_60d"] is False
    assert labelled(loud) == labelled(quiet) | {"has_claim_60d": True}


def test_the_label_is_empty_exactly_at_the_end_of_the_day() -> None:
    frame = BEFORE["segments.risk_examples"]
    assert frame.height >= 2
    assert (frame["has_claim_60d"].is_null() == (frame["observed_at"] == END)).all()


def test_people_without_consent_are_no_examples() -> None:
    frame = run(
        "segments.risk_examples",
        gate_profiling=[insured_account("p", "c1")],
        policies=[policy("c1", 80), policy("c2", 80, pid="p2")],
        claims=[claim("c2", 3)],
    )
    assert set(frame["person_id"]) == {"p"}


# --- person_profile and segment_summary -------------------------------------------------------------------------------


def profile(features: pl.DataFrame, interests: pl.DataFrame) -> pl.DataFrame:
    clusters = pl.DataFrame(
        {"as_of_on": [DAY] * 2, "person_id": ["p1", "p2"], "value_label": ["high value", "dormant"]},
    )
    sides = {
        "person_clusters": clusters.to_dicts(),
        "person_trends": [{"as_of_on": DAY, "person_id": "p1", "visit_84d_count": 4, "visit_trend_ratio": -0.5}],
        "lapse_risk": [scored("p1", "lapse_risk", 0.25), scored("p2", "lapse_risk", None)],
        "course_purchase": [scored("p2", "course_purchase", 0.1)],
        "product_purchase": [],
        "next_interest": [
            {"as_of_on": DAY, "person_id": "p1", "rank": rank, "topic": topic, "share": share, "why": f"why {topic}"}
            for rank, topic, share in ((1, "养老", 0.5), (2, "健康", 0.3))
        ],
    }
    given = {f"segments.{name}": of_lake_types(f"segments.{name}", rows) for name, rows in sides.items()}
    given |= {"segments.person_features": features, "segments.person_interests": interests}
    return run_model("segments.person_profile", given, day=DAY)


def of_lake_types(table: str, rows: list[dict[str, object]]) -> pl.DataFrame:
    """The rows with every column of the table; what they leave out is null."""
    kinds = {"date": pl.Date, "bigint": pl.Int64, "double": pl.Float64, "boolean": pl.Boolean, "varchar": pl.String}
    schema = {name: kinds[kind.lower()] for name, kind in lake_types()[table].items()}
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)


def scored(person_id: str, target: str, share: float | None) -> dict[str, object]:
    known = (
        {f"{target}_band": "high", "why": f"+ {target}"} if share else {f"{target}_band": "unknown", "reason": "few"}
    )
    return {"as_of_on": DAY, "person_id": person_id, f"{target}_share": share, **known}


def test_a_profile_joins_group_and_interests_and_keeps_everybody() -> None:
    people = {**WORLD, "gate_profiling": [*WORLD["gate_profiling"], account("p3", "u3")]}
    people |= {"courses": [{"course_id": "k1", "topics": "理财|职场|a"}, {"course_id": "k2", "topics": "健康"}]}
    frame = profile(run("segments.person_features", **people), run("segments.person_interests", **people))
    picked = ("person_id", "value_label", "interests", "active_policy_count")
    assert frame.select(picked).rows() == [
        ("p1", "high value", "健康|理财|a", 1),
        ("p2", "dormant", "健康", 1),
        ("p3", "unknown", None, 0),
    ]
    assert frame["top_interest_share"].to_list()[1:] == [1.0, None]
    assert frame["interests_in_words"].to_list()[1:] == ["健康 100%", None]


def test_a_profile_says_what_is_likely_and_why_or_why_it_is_not_known() -> None:
    frame = profile(BEFORE["segments.person_features"], BEFORE["segments.person_interests"]).sort("person_id")
    told = frame.select(pl.col("^lapse_risk_.*$", "^course_purchase_.*$", "^next_interest.*$", "visit_84d_count"))
    assert dict(zip(told.columns, told.row(0), strict=True)) == {
        "lapse_risk_share": 0.25,
        "lapse_risk_band": "high",
        "lapse_risk_why": "+ lapse_risk",
        "course_purchase_share": None,
        "course_purchase_band": "not scored",
        "course_purchase_why": None,
        "next_interest": "养老",
        "next_interest_share": 0.5,
        "next_interest_why": "why 养老",
        "visit_84d_count": 4,
    }
    assert frame.select("lapse_risk_band", "lapse_risk_why", "next_interest").row(1) == ("unknown", "few", None)
    assert set(frame["product_purchase_band"]) == {"not scored"}


def test_claims_risk_and_income_are_of_those_who_consented_to_their_use_and_of_nobody_else() -> None:
    """p1 consented under two accounts, p2 did not; p4 consented and has nothing; the income is the insurer's."""
    consented = [account("p1", "u1"), insured_account("p1", "c1", annual_income_fen=900), insured_account("p4", "c4")]
    yesterday = insured_account("p5", "c5") | {"as_of_on": DAY - timedelta(days=1)}
    frame = run(
        "segments.sensitive_profile",
        gate_sensitive_profiling=[*consented, yesterday],
        claims=[claim("c1", 15, 700), claim("c1", 12, 300), claim("c2", 10), claim("u1", 9), claim("c5", 1)],
        claim_risk=[
            {"as_of_on": DAY, "person_id": "p1", "claim_risk_share": 0.25, "claim_risk_band": "high"},
            {
                "as_of_on": DAY - timedelta(days=1),
                "person_id": "p4",
                "claim_risk_share": 0.9,
                "claim_risk_band": "high",
            },
        ],
    )
    assert frame.drop("as_of_on").rows() == [
        ("p1", 2, 1000, 11, 0.25, "high", 900),
        ("p4", 0, 0, None, None, "uninsured", None),
    ]


def test_people_who_did_not_consent_to_the_use_of_claims_are_no_examples_of_risk() -> None:
    frame = run("segments.risk_examples", **WORLD, gate_sensitive_profiling=[insured_account("p2", "c2")])
    assert frame["person_id"].unique().to_list() == ["p2"]
    assert frame["claim_count"].sum() == 0  # the claims of p1 set no look-back either
    assert set(frame["look_back_days"]) == {0}


def test_the_summary_counts_each_person_once_and_averages_only_what_is_known() -> None:
    frame = profile(BEFORE["segments.person_features"], BEFORE["segments.person_interests"])
    people = pl.concat(
        [frame, frame.with_columns(person_id=pl.lit("q") + pl.col("person_id"), paid_fen=pl.lit(0, pl.Int64))]
    )
    summary = run_model("segments.segment_summary", {"segments.person_profile": people}, day=DAY)
    picked = ("value_label", "people", "people_share", "mean_paid_fen", "mean_age_years")
    assert summary.select(picked).rows() == [("dormant", 2, 0.5, 0.0, None), ("high value", 2, 0.5, 450.0, 46.0)]
