"""The SQL of the stage, on rows written by hand."""

from datetime import date, datetime

import polars as pl
import pytest

from xmkt_assets_tests.sql_helper import assert_model, run_model

DAY = date(2026, 9, 28)
NOON, TOMORROW = datetime(2026, 9, 28, 12), datetime(2026, 9, 29)


def gate(*rows: tuple[str, str, str], day: date = DAY, **more: object) -> pl.DataFrame:
    """Rows (partner, subject, person) of the profiling gate."""
    known = {"birth_year": None, "annual_income_fen": None, **more}
    return pl.DataFrame(
        [{"as_of_on": day, "partner": a, "subject_id": s, "person_id": p, **known} for a, s, p in rows],
        schema_overrides={"birth_year": pl.Int64, "annual_income_fen": pl.Int64},
    )


COURSE_GATE = gate(("course_platform", "u1", "p1"), ("course_platform", "u1b", "p1"), ("insurer", "u2", "p2"))


def order(line: str, user: str, course: str, *, at: datetime = NOON, status: str = "paid") -> dict[str, object]:
    return {
        "order_line_id": line,
        "order_id": f"order of {line}",
        "user_id": user,
        "course_id": course,
        "ordered_at": at,
        "status": status,
    }


def view(
    name: str, who: str, what: str, seconds: int, *, at: datetime = NOON, side: str = "course"
) -> dict[str, object]:
    ids = {"user_id": who, "course_id": what} if side == "course" else {"customer_id": who, "product_id": what}
    return {"view_id": name, **ids, "viewed_at": at, "dwell_seconds": seconds}


def test_course_interactions_are_paid_orders_and_views_of_consenting_people_before_the_day_ends() -> None:
    found = run_model(
        "recommenders.course_interactions",
        {
            "staging.gate_profiling": pl.concat(
                [COURSE_GATE, gate(("course_platform", "late", "p9"), day=date(2026, 9, 29))]
            ),
            "staging.course_orders": [
                order("l1", "u1", "c1"),
                order("l2", "u1b", "c2"),
                order("refunded", "u1", "c3", status="refunded"),
                order("tomorrow", "u1", "c4", at=TOMORROW),
                order("no consent", "u7", "c5"),
                order("other firm's id", "u2", "c6"),
                order("consent tomorrow", "late", "c6"),
            ],
            "staging.course_views": [
                view("v1", "u1", "c1", 300),
                view("v2", "u1", "c1", 6000),
                view("glance", "u1", "c1", 0),
                view("future", "u1", "c1", 60, at=TOMORROW),
            ],
        },
        day=DAY,
    )
    assert found.select("event", "interaction_id", "person_id", "item_id", "occasion_id", "weight").rows() == [
        ("purchase", "l1", "p1", "c1", "order of l1", 1.0),
        ("purchase", "l2", "p1", "c2", "order of l2", 1.0),
        ("view", "v1", "p1", "c1", "v1", pytest.approx(0.05)),
        ("view", "v2", "p1", "c1", "v2", pytest.approx(0.1)),
    ]
    assert found["as_of_on"].unique().to_list() == [DAY]


def test_product_interactions_count_issued_policies_only_as_purchases() -> None:
    def policy(name: str, event: str, *, at: datetime = NOON, who: str = "c1") -> dict[str, object]:
        return {
            "policy_event_id": name,
            "order_id": "o1",
            "customer_id": who,
            "product_id": "x",
            "event": event,
            "occurred_at": at,
        }

    found = run_model(
        "recommenders.product_interactions",
        {
            "staging.gate_profiling": gate(("insurer", "c1", "p1"), ("course_platform", "c2", "p2")),
            "staging.policies": [
                policy("e1", "issued"),
                policy("e2", "renewed"),
                policy("e3", "cancelled"),
                policy("e4", "issued", at=TOMORROW),
                policy("e5", "issued", who="c2"),
            ],
            "staging.product_views": [
                view("v1", "c1", "y", 120, side="product"),
                view("v2", "c1", "y", 0, side="product"),
            ],
        },
        day=DAY,
    )
    assert found.select("event", "interaction_id", "person_id", "item_id", "occasion_id", "weight").rows() == [
        ("purchase", "e1", "p1", "x", "o1", 1.0),
        ("view", "v1", "p1", "y", "v1", pytest.approx(0.02)),
    ]


def product(name: str, **limits: object) -> dict[str, object]:
    none = {"min_age": None, "max_age": None, "min_annual_income_fen": None, "is_on_sale": True}
    return {"product_id": name, **none, **limits}


def eligible(
    products: list[dict[str, object]], *, day: date = DAY, income_may_be_used: bool = True, **person: object
) -> list[str]:
    types = {"min_age": pl.Int64, "max_age": pl.Int64, "min_annual_income_fen": pl.Int64}
    passed = gate(("insurer", "c1", "p1"), ("course_platform", "u1", "p1"), day=day, **person)
    found = run_model(
        "recommenders.product_eligibility",
        {
            "staging.gate_profiling": passed.drop("annual_income_fen"),
            "staging.gate_sensitive_profiling": passed if income_may_be_used else passed.clear(),
            "staging.products": pl.DataFrame(products, schema_overrides=types),
        },
        day=day,
    )
    return found["item_id"].to_list()


@pytest.mark.parametrize(
    ("birth_year", "expected"),
    [
        (2008, ["from 16"]),  # 17 or 18 years old in 2026: 18 is not certain
        (2007, ["from 16", "from 18"]),  # 18 or 19
        (1966, ["from 16", "from 18", "to 60"]),  # 59 or 60
        (1965, ["from 16", "from 18"]),  # 60 or 61: not certainly within 60
    ],
)
def test_age_limits_hold_for_every_age_the_birth_year_allows(birth_year: int, expected: list[str]) -> None:
    limits = [product("from 16", min_age=16), product("from 18", min_age=18), product("to 60", min_age=30, max_age=60)]
    assert eligible(limits, birth_year=birth_year) == expected


def test_on_the_last_day_of_the_year_the_age_is_certain() -> None:
    """The rule by which people count as adults (staging.consent_decisions)."""
    assert eligible([product("from 18", min_age=18)], birth_year=2008, day=date(2026, 12, 30)) == []
    assert eligible([product("from 18", min_age=18)], birth_year=2008, day=date(2026, 12, 31)) == ["from 18"]


def test_an_income_that_may_not_be_used_counts_as_not_declared() -> None:
    products = [product("free"), product("rich", min_annual_income_fen=100)]
    assert eligible(products, annual_income_fen=100, income_may_be_used=False) == ["free"]


def test_what_is_not_known_fits_only_products_without_that_limit() -> None:
    products = [
        product("free"),
        product("aged", min_age=18),
        product("capped", max_age=99),
        product("rich", min_annual_income_fen=100),
        product("withdrawn", is_on_sale=False),
    ]
    assert eligible(products) == ["free"]
    assert eligible(products, birth_year=1990) == ["aged", "capped", "free"]
    assert eligible(products, annual_income_fen=100) == ["free", "rich"]
    assert eligible(products, annual_income_fen=99) == ["free"]


def test_occasion_eligibility_keeps_checks_of_consenting_customers_before_the_day_ends() -> None:
    def check(order_id: str, product_id: str, customer: str, at: datetime = NOON) -> dict[str, object]:
        return {"order_id": order_id, "product_id": product_id, "customer_id": customer, "checked_at": at}

    assert_model(
        "recommenders.occasion_eligibility",
        given={
            "staging.gate_profiling": """
                as_of_on   | partner         | subject_id | person_id
                2026-09-28 | insurer         | c1         | p1
                2026-09-28 | course_platform | c2         | p2
            """,
            "staging.product_eligibility": [
                check("o1", "x", "c1"),
                check("o1", "y", "c1"),
                check("o2", "x", "c2"),
                check("o3", "x", "c1", TOMORROW),
            ],
        },
        expect=[
            {"as_of_on": DAY, "occasion_id": "o1", "item_id": "x"},
            {"as_of_on": DAY, "occasion_id": "o1", "item_id": "y"},
        ],
        day=DAY,
    )


def test_items_of_both_kinds_speak_the_same_words() -> None:
    assert_model(
        "recommenders.course_items",
        given={
            "staging.courses": """
                course_id | title    | topics | price_fen
                c1        | 理财入门 | 理财   | 9900
            """
        },
        expect=[{"item_id": "c1", "title": "理财入门", "topics": "理财", "price_fen": 9900}],
    )
    assert_model(
        "recommenders.product_items",
        given={"staging.products": [{"product_id": "x", "product_name": "Travel", "annual_premium_fen": 100}]},
        expect=[{"item_id": "x", "title": "Travel", "topics": "", "price_fen": 100}],
    )


def test_leaderboard_joins_both_targets_with_the_gain_over_popularity() -> None:
    assert_model(
        "recommenders.leaderboard",
        given={
            "recommenders.course_leaderboard": """
                as_of_on   | target | model      | metric | compared_with | value | ci_low | ci_high
                2026-09-28 | course | popularity | hr@3   | nothing       | 0.5   | 0.49   | 0.51
                2026-09-28 | course | als        | hr@3   | nothing       | 0.625 | 0.615  | 0.635
                2026-09-28 | course | als        | hr@3   | popularity    | 0.125 | 0.115  | 0.135
                2026-09-28 | course | als        | hr@3   | item_knn      | 0.3   | 0.29   | 0.31
                2026-09-27 | course | als        | hr@3   | nothing       | 0.9   | 0.89   | 0.91
            """,
            "recommenders.product_leaderboard": """
                as_of_on   | target  | model          | metric         | compared_with | note
                2026-09-28 | product | not applicable | not applicable | nothing       | no purchase
            """,
        },
        expect="""
            target  | model          | value | gain  | gain_low | gain_high | note
            course  | als            | 0.625 | 0.125 | 0.115    | 0.135     |
            course  | popularity     | 0.5   |       |          |           |
            product | not applicable |       |       |          |           | no purchase
        """,
        day=DAY,
    )
