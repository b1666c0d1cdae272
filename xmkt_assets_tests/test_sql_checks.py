"""The queries of ``dbt_like_sql/checks``: silent on good rows, loud on planted ones, attached where they can run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

import dagster as dg
import duckdb
import polars as pl
import pytest

from xmkt_assets.audits import ALL_DAYS
from xmkt_assets.campaigns.tables import CAMPAIGN_LIST_SCHEMA, EXCLUSIONS_SCHEMA
from xmkt_assets.definitions import build_defs
from xmkt_assets.sql_models import SqlCheck, load_checks
from xmkt_assets_tests.sql_helper import FOLDER

Row = Mapping[str, object]
Tables = Mapping[str, Sequence[Row]]

DAY, NEXT = date(2026, 7, 1), date(2026, 7, 2)
NOON = datetime(2026, 7, 3, 12)


def at(person: str, day: date = DAY, **more: object) -> Row:
    return {"as_of_on": day, "person_id": person, **more}


def listed(person: str, arm: str, user: str | None, customer: str | None) -> Row:
    return {
        "campaign_id": "autumn",
        "person_id": person,
        "arm": arm,
        "user_id": user,
        "customer_id": customer,
        "as_of_on": DAY,
    }


def contact(subject: str, *, partner: str = "insurer", event: str = "exposure", campaign: str = "autumn") -> Row:
    ids = {"campaign_id": campaign, "partner": partner, "subject_id": subject}
    return {**ids, "event_id": f"{event} {subject}", "event": event, "occurred_at": NOON}


@dataclass(frozen=True)
class Case:
    """Rows on which the check passes, rows planted beside them, and the keys it must then return, no others."""

    good: Tables
    planted: Tables
    keys: tuple[str, ...]
    found: list[tuple[object, ...]]


# In which schema a check lies says whose fault it tells of, but for these.
OTHERWISE = {
    "identifiers_are_of_the_agreement": "warn",
    "repeated_events_agree": "warn",
    "few_values_are_outliers": "warn",
    "cleaning_was_fitted_for_the_features": "error",
}


def left_out(event: str, *, is_identical: bool = True) -> Row:
    """An order line kept on `DAY` and delivered again, for `NEXT`."""
    kept = {"kept_on": DAY, "kept_delivered_on": DAY, "happened_on": NEXT, "delivered_on": NEXT}
    return {"table_name": "course_orders", "event_id": event, **kept, "is_identical": is_identical}


def fitted(column: str, outliers: int, missing: int = 0) -> Row:
    names = {"as_of_on": DAY, "table_name": "course_views", "column_name": column, "group_value": "all"}
    return {**names, "row_count": 100, "missing_count": missing, "outlier_count": outliers}


def delivered(key: str, at: str, *events: str) -> list[Row]:
    return [{key: event, "dt": DAY, at: datetime.combine(DAY, datetime.min.time())} for event in (*events, "other")]


GATE = [at("p1"), at("p1"), at("p2", NEXT)]  # p1 has two accounts
RECOMMENDED = [at("p1", item_id="a"), at("p1", item_id="b"), at("p2", NEXT, item_id="a")]
OUTSIDE_THE_GATE = Case(
    good={"staging.gate_profiling": GATE, "recommenders.course_recommendations": RECOMMENDED},
    # p2 passed the gate of the next day only, p3 of none.
    planted={
        "recommenders.course_recommendations": [at("p2", item_id="a"), at("p3", item_id="a"), at("p3", item_id="b")]
    },
    keys=("as_of_on", "person_id", "recommendations"),
    found=[(DAY, "p2", 1), (DAY, "p3", 2)],
)
CASES = {
    "course_recommendations_pass_the_profiling_gate": OUTSIDE_THE_GATE,
    "product_recommendations_pass_the_profiling_gate": Case(
        good={"staging.gate_profiling": GATE, "recommenders.product_recommendations": RECOMMENDED},
        planted={"recommenders.product_recommendations": [at("p1", NEXT, item_id="a")]},
        keys=("as_of_on", "person_id", "recommendations"),
        found=[(NEXT, "p1", 1)],
    ),
    "recommended_products_may_be_sold": Case(
        good={
            "recommenders.product_eligibility": [*RECOMMENDED, at("p3", item_id="a")],
            "recommenders.product_recommendations": RECOMMENDED,
        },
        # May buy b, not c; may buy a on the next day, not on this one; b is for p1, not for p3.
        planted={
            "recommenders.product_recommendations": [
                at("p1", item_id="c"),
                at("p2", item_id="a"),
                at("p3", item_id="b"),
            ]
        },
        keys=("as_of_on", "person_id", "item_id"),
        found=[(DAY, "p1", "c"), (DAY, "p2", "a"), (DAY, "p3", "b")],
    ),
    "course_order_lines_come_once": Case(
        good={"raw.course_orders": [{"order_line_id": "l1", "dt": DAY}, {"order_line_id": "l2", "dt": NEXT}]},
        planted={"raw.course_orders": [{"order_line_id": "l1", "dt": NEXT}]},
        keys=("order_line_id", "days", "first_on", "last_on"),
        found=[("l1", 2, DAY, NEXT)],
    ),
    "policy_events_come_once": Case(
        good={"raw.policies": [{"policy_event_id": "e1", "dt": DAY}, {"policy_event_id": "e2", "dt": DAY}]},
        planted={"raw.policies": [{"policy_event_id": "e2", "dt": NEXT}]},
        keys=("policy_event_id", "days", "first_on", "last_on"),
        found=[("e2", 2, DAY, NEXT)],
    ),
    "ordered_courses_are_in_the_catalogue": Case(
        good={
            "staging.courses": [{"course_id": "c1"}, {"course_id": "never ordered"}],
            "staging.course_orders": [{"course_id": "c1", "ordered_on": DAY}],
        },
        planted={"staging.course_orders": [{"course_id": "c2", "ordered_on": d} for d in (DAY, NEXT)]},
        keys=("course_id", "order_lines", "last_ordered_on"),
        found=[("c2", 2, NEXT)],
    ),
    "insured_products_are_in_the_catalogue": Case(
        good={
            "staging.products": [{"product_id": "p1"}, {"product_id": "never sold"}],
            "staging.policies": [{"product_id": "p1", "occurred_on": DAY}],
        },
        planted={"staging.policies": [{"product_id": "p2", "occurred_on": DAY}]},
        keys=("product_id", "policy_events", "last_occurred_on"),
        found=[("p2", 1, DAY)],
    ),
    "identifiers_are_of_the_agreement": Case(
        good={
            "staging.hash_keys": [{"version": "v1"}],
            "staging.identifier_rules": [{"kind": "phone"}],
            "staging.identifiers": [{"partner": "insurer", "kind": "phone", "key_version": "v1"}],
        },
        planted={
            "staging.identifiers": [
                {"partner": "insurer", "kind": "phone", "key_version": "v9"},
                {"partner": "insurer", "kind": "fax", "key_version": "v1"},
            ]
        },
        keys=("partner", "kind", "key_version", "identifiers"),
        found=[("insurer", "fax", "v1", 1), ("insurer", "phone", "v9", 1)],
    ),
    "repeated_events_agree": Case(
        good={"staging.duplicate_events": [left_out("l1")]},
        planted={"staging.duplicate_events": [left_out("l2", is_identical=False)]},
        keys=("table_name", "event_id", "kept_on", "happened_on"),
        found=[("course_orders", "l2", DAY, NEXT)],
    ),
    "events_left_out_are_kept_elsewhere": Case(
        good={
            "staging.duplicate_events": [left_out("l1")],
            "raw.course_orders": delivered("order_line_id", "ordered_at", "l1"),
            "raw.course_views": delivered("view_id", "viewed_at", "l2"),  # another table's id of the same name
            "raw.course_reviews": delivered("review_id", "reviewed_at"),
            "raw.product_views": delivered("view_id", "viewed_at"),
            "raw.policies": delivered("policy_event_id", "occurred_at"),
        },
        planted={"staging.duplicate_events": [left_out("l2")]},
        keys=("table_name", "event_id", "kept_on", "happened_on"),
        found=[("course_orders", "l2", DAY, NEXT)],
    ),
    "cleaning_was_fitted_for_the_features": Case(
        good={"segments.person_features": [at("p1"), at("p2")], "staging.cleaning_statistics": [fitted("a", 0)]},
        planted={"segments.person_features": [at("p1", NEXT), at("p2", NEXT)]},
        keys=("as_of_on", "people"),
        found=[(NEXT, 2)],
    ),
    "few_values_are_outliers": Case(
        good={"staging.cleaning_statistics": [fitted("a", 10), fitted("nothing known", 0, 100)]},
        # Eleven of a hundred; ten of the ninety that are there.
        planted={"staging.cleaning_statistics": [fitted("b", 11), fitted("c", 10, 10)]},
        keys=("column_name", "outlier_count"),
        found=[("b", 11), ("c", 10)],
    ),
    "claimed_policies_are_known": Case(
        good={
            "staging.policies": [
                {"policy_id": "issued", "event": "issued"},
                {"policy_id": "issued", "event": "cancelled"},
                {"policy_id": "older than the agreement", "event": "renewed"},
                {"policy_id": "only its end arrived", "event": "cancelled"},
            ],
            "staging.claims": [
                {"claim_id": "k1", "policy_id": "issued", "claimed_on": DAY},
                {"claim_id": "k2", "policy_id": "older than the agreement", "claimed_on": DAY},
            ],
        },
        planted={
            "staging.claims": [
                {"claim_id": "k3", "policy_id": "only its end arrived", "claimed_on": DAY},
                {"claim_id": "k4", "policy_id": "never seen", "claimed_on": NEXT},
            ]
        },
        keys=("claim_id", "policy_id", "claimed_on"),
        found=[("k3", "only its end arrived", DAY), ("k4", "never seen", NEXT)],
    ),
    "nobody_held_out_is_contacted": Case(
        good={
            "campaigns.campaign_list": [
                listed("treated", "treatment", "u1", "k1"),
                listed("held out", "control", "u2", "k2"),
                listed("also held out", "control", None, "k3"),
            ],
            "staging.gate_measurement": [
                at("held out", partner="course_platform", subject_id="second account"),
                at("held out", NEXT, partner="course_platform", subject_id="later account"),
            ],
            "staging.campaign_events": [
                contact("k1"),
                contact("u1", partner="course_platform", event="click"),
                contact("k2", event="conversion"),  # credited by a seller to somebody nobody contacted
                contact("k2", event="assignment"),
                contact("k2", campaign="another campaign"),
                contact("k2", partner="course_platform"),  # another firm's account of the same name
                contact("later account", partner="course_platform"),
            ],
        },
        planted={
            "staging.campaign_events": [
                contact("u2", partner="course_platform"),
                contact("k3", event="click"),
                contact("second account", partner="course_platform"),
            ]
        },
        keys=("campaign_id", "person_id", "event_id"),
        found=[
            ("autumn", "also held out", "click k3"),
            ("autumn", "held out", "exposure second account"),
            ("autumn", "held out", "exposure u2"),
        ],
    ),
    "nobody_is_listed_and_excluded": Case(
        good={
            "campaigns.campaign_list": [listed("p1", "treatment", "u1", None), listed("p2", "control", "u2", None)],
            "campaigns.exclusions": [
                {"campaign_id": "autumn", "person_id": "p3", "rule": "budget"},
                {"campaign_id": "another campaign", "person_id": "p1", "rule": "budget"},
            ],
        },
        planted={"campaigns.exclusions": [{"campaign_id": "autumn", "person_id": "p2", "rule": "no consent"}]},
        keys=("campaign_id", "person_id", "rule"),
        found=[("autumn", "p2", "no consent")],
    ),
}


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build_defs()


@pytest.fixture(scope="module")
def checks(definitions: dg.Definitions) -> dict[str, SqlCheck]:
    tables = [".".join(key.path) for key in definitions.resolve_asset_graph().get_all_asset_keys()]
    return {check.name: check for check in load_checks(FOLDER, tables=tables)}


def run(check: SqlCheck, tables: Tables, *, bounds: tuple[datetime, datetime] = ALL_DAYS) -> pl.DataFrame:
    """What the query returns on these rows, asked of the days in `bounds`; every table it reads must be given."""
    assert tables.keys() == check.reads, "give rows for exactly the tables that the check reads"
    con = duckdb.connect()
    for name, rows in tables.items():
        con.execute(f"create schema if not exists {name.split('.')[0]}")
        con.register("given", pl.DataFrame(list(rows), infer_schema_length=None))
        con.execute(f"create table {name} as select * from given")
    params = {name: at for name, at in zip(("start", "end"), bounds, strict=True) if f"${name}" in check.sql}
    return con.sql(check.sql, params=params or None).pl()


def test_every_check_has_a_case_here(checks: dict[str, SqlCheck]) -> None:
    assert CASES.keys() == checks.keys()


@pytest.mark.parametrize("name", CASES)
def test_a_check_passes_on_good_rows(checks: dict[str, SqlCheck], name: str) -> None:
    assert run(checks[name], CASES[name].good).is_empty()


@pytest.mark.parametrize("name", CASES)
def test_a_check_returns_the_planted_rows_and_no_others(checks: dict[str, SqlCheck], name: str) -> None:
    case = CASES[name]
    tables = {table: [*rows, *case.planted.get(table, ())] for table, rows in case.good.items()}
    assert sorted(run(checks[name], tables).select(case.keys).rows(), key=str) == case.found


def days(first: date, last: date) -> tuple[datetime, datetime]:
    return datetime.combine(first, time()), datetime.combine(last + timedelta(days=1), time())


@pytest.mark.parametrize(
    ("apart_days", "loaded_on", "is_told"),
    [
        (1, "first", True),
        (1, "second", True),
        (31, "first", True),
        (31, "second", True),
        (32, "second", False),
        (1, "neither", False),
    ],
)
def test_a_load_is_told_of_a_line_delivered_again_within_31_days_of_the_days_it_loads(
    checks: dict[str, SqlCheck], apart_days: int, loaded_on: str, is_told: bool
) -> None:
    second = DAY + timedelta(days=apart_days)
    loaded = {"first": DAY, "second": second, "neither": second + timedelta(days=1)}[loaded_on]
    for name, table, key in (
        ("course_order_lines_come_once", "raw.course_orders", "order_line_id"),
        ("policy_events_come_once", "raw.policies", "policy_event_id"),
    ):
        rows = {table: [{key: "twice", "dt": day} for day in (DAY, second)]}
        assert run(checks[name], rows, bounds=days(loaded, loaded)).height == is_told


@pytest.mark.parametrize(
    ("name", "loaded", "is_told"),
    [
        ("events_left_out_are_kept_elsewhere", NEXT, True),
        ("events_left_out_are_kept_elsewhere", DAY, True),  # the repeat of the next day may have relied on this one
        ("events_left_out_are_kept_elsewhere", NEXT + timedelta(days=1), False),
        ("events_left_out_are_kept_elsewhere", NEXT - timedelta(days=32), False),
        ("cleaning_was_fitted_for_the_features", NEXT, True),
        ("cleaning_was_fitted_for_the_features", DAY, False),
        ("recommended_products_may_be_sold", DAY, True),
        ("recommended_products_may_be_sold", NEXT, False),
        ("course_recommendations_pass_the_profiling_gate", DAY - timedelta(days=1), False),
        ("product_recommendations_pass_the_profiling_gate", DAY - timedelta(days=1), False),
    ],
)
def test_what_a_load_cannot_have_changed_is_not_asked_of_it(
    checks: dict[str, SqlCheck], name: str, loaded: date, is_told: bool
) -> None:
    case = CASES[name]
    tables = {table: [*rows, *case.planted.get(table, ())] for table, rows in case.good.items()}
    assert bool(run(checks[name], tables, bounds=days(loaded, loaded)).height) == is_told


def test_the_check_on_held_out_people_passes_before_any_campaign_has_run(checks: dict[str, SqlCheck]) -> None:
    check = checks["nobody_held_out_is_contacted"]
    con = duckdb.connect()
    for name, rows in CASES[check.name].good.items():
        frame = pl.DataFrame(schema=CAMPAIGN_LIST_SCHEMA) if name == "campaigns.campaign_list" else pl.DataFrame(rows)
        con.execute(f"create schema if not exists {name.split('.')[0]}")
        con.register("given", frame)
        con.execute(f"create table {name} as select * from given")
    assert con.sql(check.sql).pl().is_empty()


def test_the_columns_that_checks_on_campaign_tables_read_are_columns_these_tables_have() -> None:
    for case in CASES.values():
        for table, schema in (
            ("campaigns.campaign_list", CAMPAIGN_LIST_SCHEMA),
            ("campaigns.exclusions", EXCLUSIONS_SCHEMA),
        ):
            for row in case.good.get(table, ()):
                assert row.keys() <= schema.keys()


@pytest.mark.parametrize("name", CASES)
def test_whatever_a_check_reads_exists_once_its_table_is_written(
    definitions: dg.Definitions, checks: dict[str, SqlCheck], name: str
) -> None:
    graph = definitions.resolve_asset_graph()
    key = dg.AssetKey(checks[name].table.split("."))
    there = {key, *graph.get(key).execution_set_asset_keys, *graph.get_ancestor_asset_keys(key)}
    needed = {dg.AssetKey(table.split(".")) for table in checks[name].reads}
    assert needed <= there, f"attach {checks[name].path} further down: nothing makes {needed - there} before {key}"


@pytest.mark.parametrize("name", CASES)
def test_a_check_says_in_words_what_is_promised(checks: dict[str, SqlCheck], name: str) -> None:
    assert checks[name].description.count(". ") >= 1, "say what holds, and what to do where it does not"
    is_about_partners = checks[name].table.split(".")[0] in ("raw", "segments")
    usual = "warn" if is_about_partners else "error"
    assert checks[name].severity == OTHERWISE.get(name, usual), "a partner's fault warns, our own stops the run"
