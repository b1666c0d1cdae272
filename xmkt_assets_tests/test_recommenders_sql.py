"""The SQL of the stage, on rows written by hand."""

from datetime import date, datetime

import polars as pl
import pytest

from xmkt_assets_tests.sql_helper import run_model

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

    found = run_model(
        "recommenders.occasion_eligibility",
        {
            "staging.gate_profiling": gate(("insurer", "c1", "p1"), ("course_platform", "c2", "p2")),
            "staging.product_eligibility": [
                check("o1", "x", "c1"),
                check("o1", "y", "c1"),
                check("o2", "x", "c2"),
                check("o3", "x", "c1", TOMORROW),
            ],
        },
        day=DAY,
    )
    assert found.rows() == [(DAY, "o1", "x"), (DAY, "o1", "y")]


def test_items_of_both_kinds_speak_the_same_words() -> None:
    courses = run_model(
        "recommenders.course_items",
        {
            "staging.courses": [
                {
                    "course_id": "c1",
                    "title": "理财入门",
                    "topics": "理财",
                    "teacher_id": "t1",
                    "price_fen": 9900,
                    "duration_seconds": 3600,
                    "description": "",
                    "published_on": DAY,
                }
            ]
        },
    )
    products = run_model(
        "recommenders.product_items",
        {
            "staging.products": pl.DataFrame(
                {
                    "product_id": "x",
                    "product_name": "Travel",
                    "product_class": "travel",
                    "topics": None,
                    "annual_premium_fen": 100,
                    "is_on_sale": False,
                    "description": "",
                },
                schema_overrides={"topics": pl.String},
            )
        },
    )
    shared = ["item_id", "title", "topics", "price_fen"]
    assert courses.select(shared).row(0) == ("c1", "理财入门", "理财", 9900)
    assert products.select(shared).row(0) == ("x", "Travel", "", 100)


def test_leaderboard_joins_both_targets_with_the_gain_over_popularity() -> None:
    def line(target: str, model: str, metric: str, compared_with: str, value: float | None) -> dict[str, object]:
        return {
            "as_of_on": DAY,
            "target": target,
            "model": model,
            "metric": metric,
            "compared_with": compared_with,
            "value": value,
            "ci_low": None if value is None else value - 0.01,
            "ci_high": None if value is None else value + 0.01,
            "cases": 9,
            "persons": 8,
            "run_id": "r",
            "fit_seconds": 0.1,
            "note": "no purchase" if value is None else None,
        }

    course = [
        line("course", "popularity", "hr@3", "nothing", 0.5),
        line("course", "als", "hr@3", "nothing", 0.625),
        line("course", "als", "hr@3", "popularity", 0.125),
        line("course", "als", "hr@3", "item_knn", 0.3),
        {**line("course", "als", "hr@3", "nothing", 0.9), "as_of_on": date(2026, 9, 27)},
    ]
    found = run_model(
        "recommenders.leaderboard",
        {
            "recommenders.course_leaderboard": pl.DataFrame(course, schema_overrides={"note": pl.String}),
            "recommenders.product_leaderboard": pl.DataFrame(
                [line("product", "not applicable", "not applicable", "nothing", None)],
                schema_overrides={"value": pl.Float64, "ci_low": pl.Float64, "ci_high": pl.Float64},
            ),
        },
        day=DAY,
    )
    assert found.select("target", "model", "value", "gain", "gain_low", "gain_high", "note").rows() == [
        ("course", "als", 0.625, 0.125, pytest.approx(0.115), pytest.approx(0.135), None),
        ("course", "popularity", 0.5, None, None, None, None),
        ("product", "not applicable", None, None, None, None, "no purchase"),
    ]
