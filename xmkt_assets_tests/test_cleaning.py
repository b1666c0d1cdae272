"""Cleaning by hand-written rows and by a second method: de-duplication, filling, outliers, scaling, as of a date."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from math import sqrt
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from xmkt_assets.sql_models import SqlModelError, load_models
from xmkt_assets_tests.sql_helper import FOLDER, read_model, run_model

DAY = date(2026, 9, 28)
END = datetime(2026, 9, 29)
INSTANT = timedelta(microseconds=1)
TEXT, COUNT, TIME, DATE = pl.String, pl.Int64, pl.Datetime("us"), pl.Date
RULES = run_model("staging.cleaning_rules", {})
ORDER = ("table_name", "column_name")
Row = Mapping[str, Any]

VIEWS = {
    "view_id": TEXT,
    "user_id": TEXT,
    "course_id": TEXT,
    "viewed_at": TIME,
    "viewed_on": DATE,
    "source": TEXT,
    "dwell_seconds": COUNT,
}
POLICIES = {
    "policy_event_id": TEXT,
    "policy_id": TEXT,
    "order_id": TEXT,
    "customer_id": TEXT,
    "product_id": TEXT,
    "event": TEXT,
    "occurred_at": TIME,
    "occurred_on": DATE,
    "term_start_on": DATE,
    "term_end_on": DATE,
    "premium_fen": COUNT,
}
ACCOUNTS = {
    "as_of_on": DATE,
    "partner": TEXT,
    "subject_id": TEXT,
    "gender": TEXT,
    "birth_year": COUNT,
    "occupation": TEXT,
    "city_tier": COUNT,
}
SCHEMAS: dict[str, dict[str, Any]] = {
    "staging.course_views": VIEWS,
    "staging.product_views": VIEWS,
    "staging.course_orders": {"ordered_at": TIME, "paid_fen": COUNT},
    "staging.course_reviews": {"reviewed_at": TIME, "rating": COUNT},
    "staging.policies": POLICIES,
    "staging.products": {"product_id": TEXT, "product_class": TEXT},
    "staging.account_attributes": ACCOUNTS,
}


def views(values: Sequence[float | None], *, days_ago: float = 1, prefix: str = "v") -> list[Row]:
    at = END - timedelta(days=days_ago)
    return [
        {"view_id": f"{prefix}{n:03}", "viewed_at": at, "viewed_on": at.date(), "dwell_seconds": value}
        for n, value in enumerate(values)
    ]


def policy(name: str, premium: int | None, *, product: str = "health", event: str = "issued") -> Row:
    names = {"policy_event_id": name, "product_id": product, "event": event}
    return {**names, "occurred_at": END - INSTANT, "occurred_on": DAY, "premium_fen": premium}


def person(name: str, *, partner: str = "insurer", **known: Any) -> Row:
    return {"as_of_on": DAY, "partner": partner, "subject_id": name, **known}


def rules(table: str = "", column: str = "", **changed: object) -> pl.DataFrame:
    """The rules as they stand, with the row of one column changed."""
    is_it = (pl.col("table_name") == table) & (pl.col("column_name") == column)
    return RULES.with_columns(
        pl.when(is_it).then(pl.lit(value)).otherwise(pl.col(name)).cast(RULES.schema[name]).alias(name)
        for name, value in changed.items()
    )


def fit(by: pl.DataFrame = RULES, **rows: Sequence[Row]) -> dict[str, pl.DataFrame]:
    """The tables of a small world with the statistics fitted on `DAY`."""
    tables = {name: pl.DataFrame(rows.get(name.split(".")[1], []), schema=s) for name, s in SCHEMAS.items()}
    inputs = {**tables, "staging.cleaning_rules": by}
    return {**inputs, "staging.cleaning_statistics": run_model("staging.cleaning_statistics", inputs, day=DAY)}


def statistics(world: Mapping[str, pl.DataFrame], column: str, *, table: str = "course_views") -> Row:
    (row,) = world["staging.cleaning_statistics"].filter(table_name=table, column_name=column).to_dicts()
    return row


def cleaned(world: Mapping[str, pl.DataFrame], table: str = "course_views") -> pl.DataFrame:
    name = f"staging.{table}_cleaned"
    return run_model(name, {t: world[t] for t in read_model(name).reads})


# ── the rules ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_clean_column_has_a_rule_and_every_rule_a_clean_column() -> None:
    models = load_models(FOLDER)
    found = {
        (table.removeprefix("staging.").removesuffix("_cleaned"), c.name.removesuffix("_clean"))
        for table, model in models.items()
        if table.startswith("staging.") and table.endswith("_cleaned")
        for c in model.columns
        if c.name.endswith("_clean")
    }
    assert found == set(RULES.select(ORDER).rows())


def test_words_are_neither_scaled_nor_searched_for_outliers() -> None:
    words = RULES.filter(pl.col("column_name").is_in(["gender", "occupation"]))
    assert words.height == 2
    assert set(words.select("outlier_rule", "scaling").rows()) == {("none", "none")}


def test_every_rule_is_fitted_also_before_anything_arrived() -> None:
    found = fit()["staging.cleaning_statistics"]
    ungrouped = RULES.filter(pl.col("grouped_by") == "none")
    assert found.select(ORDER).rows() == ungrouped.select(ORDER).sort(ORDER).rows()
    assert found["row_count"].to_list() == [0] * found.height
    assert found["fill_value"].null_count() == found["outlier_high"].null_count() == found.height


# ── filling ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("fill", "wanted"), [("mean", 3.0), ("median", 2.0), ("mode", 2.0), ("none", None)])
def test_a_missing_value_becomes_what_its_rule_says_and_is_marked(fill: str, wanted: float | None) -> None:
    found = cleaned(fit(rules("course_views", "dwell_seconds", fill=fill), course_views=views([1, 2, None, 7, 2])))
    assert found["dwell_seconds_clean"].to_list() == [1, 2, wanted, 7, 2]
    assert found["dwell_seconds"].to_list() == [1, 2, None, 7, 2]
    assert found["dwell_seconds_is_imputed"].to_list() == [False, False, wanted is not None, False, False]
    assert not found["dwell_seconds_is_outlier"].any()


def test_of_several_most_frequent_values_the_smallest_counts() -> None:
    world = fit(rules("course_views", "dwell_seconds", fill="mode"), course_views=views([9, 4, 9, 4, 5, None]))
    assert statistics(world, "dwell_seconds")["fill_value"] == 4


def test_a_column_mostly_missing_is_not_invented() -> None:
    half = fit(course_views=views([5, 7, None, None]))
    assert statistics(half, "dwell_seconds")["fill_value"] == 6
    more = fit(course_views=views([5, 7, None, None, None]))
    assert statistics(more, "dwell_seconds")["missing_count"] == 3
    assert cleaned(more)["dwell_seconds_clean"].to_list() == [5, 7, None, None, None]
    assert not cleaned(more)["dwell_seconds_is_imputed"].any()


def test_a_missing_word_becomes_the_most_frequent_where_the_rule_says_so() -> None:
    people = [person(f"c{n}", gender=g) for n, g in enumerate(["male", "female", None, "female"])]
    kept = cleaned(fit(account_attributes=people), "account_attributes")
    assert kept["gender_clean"].to_list() == ["male", "female", None, "female"]
    by = rules("account_attributes", "gender", fill="mode")
    filled = cleaned(fit(by, account_attributes=people), "account_attributes")
    assert filled["gender_clean"].to_list() == ["male", "female", "female", "female"]
    assert filled["gender_is_imputed"].to_list() == [False, False, True, False]


def test_a_premium_is_filled_within_its_class_and_a_cancellation_never() -> None:
    events = [
        *(policy(f"h{n}", p) for n, p in enumerate([100, 200, 300, None])),
        *(policy(f"l{n}", p, product="life") for n, p in enumerate([9_000, 9_000, None])),
        policy("x0", None, event="cancelled"),
        policy("z0", 5, product="not in the catalogue"),
    ]
    products = [{"product_id": p, "product_class": f"{p} class"} for p in ("health", "life")]
    found = cleaned(fit(policies=events, products=products), "policies")
    assert dict(
        found.filter(pl.col("premium_fen_is_imputed")).select("policy_event_id", "premium_fen_clean").rows()
    ) == {
        "h3": 200,
        "l2": 9_000,
    }
    assert found.filter(policy_event_id="x0")["premium_fen_clean"].to_list() == [None]
    assert found.filter(policy_event_id="z0")["premium_fen_clean"].to_list() == [5]
    whole = fit(rules("policies", "premium_fen", grouped_by="none"), policies=events, products=products)
    again = cleaned(whole, "policies").filter(pl.col("premium_fen_is_imputed"))
    assert again["premium_fen_clean"].to_list() == [250, 250]  # of 5, 100, 200, 300, 9000, 9000


def test_an_insurer_that_shares_no_premium_gets_none_invented() -> None:
    found = cleaned(fit(policies=[policy("a", None), policy("b", None)]), "policies")
    assert found["premium_fen_clean"].to_list() == [None, None]


# ── outliers ─────────────────────────────────────────────────────────────────────────────────────────────────────────

FIVE = [10, 20, 30, 40, 1000]  # quartiles 20 and 40, mean 220, standard deviation 390.1


@pytest.mark.parametrize(
    ("outlier_rule", "factor", "high"),
    [("iqr", 1.5, 70.0), ("iqr", 0.5, 50.0), ("zscore", 1.0, 220 + sqrt(152_200)), ("none", 1.5, None)],
)
def test_an_outlier_is_marked_and_set_to_the_bound(outlier_rule: str, factor: float, high: float | None) -> None:
    by = rules("course_views", "dwell_seconds", outlier_rule=outlier_rule, outlier_factor=factor, min_rows=5)
    found = cleaned(fit(by, course_views=views(FIVE)))
    assert found["dwell_seconds_clean"].to_list() == pytest.approx([10, 20, 30, 40, high or 1000])
    assert found["dwell_seconds_is_outlier"].to_list() == [False] * 4 + [high is not None]
    assert found["dwell_seconds"].to_list() == FIVE


def test_a_rule_that_only_flags_marks_the_same_and_changes_nothing() -> None:
    by = rules("course_views", "dwell_seconds", outlier_treatment="flag", outlier_factor=1.5, min_rows=5)
    found = cleaned(fit(by, course_views=views(FIVE)))
    assert found["dwell_seconds_clean"].to_list() == FIVE
    assert found["dwell_seconds_is_outlier"].to_list() == [False] * 4 + [True]


def test_a_value_too_small_is_raised_to_the_lower_bound() -> None:
    by = rules("course_views", "dwell_seconds", outlier_factor=1.5, min_rows=5)
    found = cleaned(fit(by, course_views=views([-900, 10, 20, 30, 40])))
    assert found["dwell_seconds_clean"].to_list() == [-20, 10, 20, 30, 40]  # quartiles 10 and 30
    assert found["dwell_seconds_is_outlier"].to_list() == [True] + [False] * 4


def test_few_values_or_values_mostly_alike_have_no_outliers() -> None:
    few = rules("course_views", "dwell_seconds", min_rows=6)
    assert not cleaned(fit(few, course_views=views(FIVE)))["dwell_seconds_is_outlier"].any()
    alike = rules("course_views", "dwell_seconds", min_rows=5)
    found = cleaned(fit(alike, course_views=views([5, 5, 5, 5, 5, 900])))
    assert found["dwell_seconds_clean"].to_list() == [5, 5, 5, 5, 5, 900]


# ── scaling ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_scaling_is_fitted_on_the_clean_values_by_hand() -> None:
    changes = {"outlier_factor": 1.5, "min_rows": 5}
    spread = cleaned(fit(rules("course_views", "dwell_seconds", **changes), course_views=views(FIVE)))
    sd = sqrt((24**2 + 14**2 + 4**2 + 6**2 + 36**2) / 5)  # clean: 10, 20, 30, 40, 70; mean 34
    assert spread["dwell_seconds_scaled"].to_list() == pytest.approx([d / sd for d in (-24, -14, -4, 6, 36)])
    by = rules("course_views", "dwell_seconds", scaling="minmax", **changes)
    shares = cleaned(fit(by, course_views=views(FIVE)))
    assert shares["dwell_seconds_scaled"].to_list() == pytest.approx([0, 1 / 6, 1 / 3, 1 / 2, 1])
    off = rules("course_views", "dwell_seconds", scaling="none")
    assert cleaned(fit(off, course_views=views(FIVE)))["dwell_seconds_scaled"].null_count() == 5


@pytest.mark.parametrize("scaling", ["minmax", "zscore"])
def test_values_all_the_same_scale_to_zero(scaling: str) -> None:
    found = cleaned(fit(rules("course_views", "dwell_seconds", scaling=scaling), course_views=views([7, 7, 7])))
    assert found["dwell_seconds_scaled"].to_list() == [0, 0, 0]


# ── a second method ──────────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.integers(-50, 50), st.integers(-(10**9), 10**9)), min_size=1, max_size=40),
    st.sampled_from(["mean", "median", "mode"]),
    st.sampled_from(["iqr", "zscore"]),
    st.sampled_from(["minmax", "zscore"]),
)
def test_cleaning_agrees_with_numpy_and_scikit_learn(
    values: list[int | None], fill: str, outlier_rule: str, scaling: str
) -> None:
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    column = np.array([np.nan if v is None else v for v in values], dtype=float).reshape(-1, 1)
    known = column[~np.isnan(column)]
    by = rules(
        *("course_views", "dwell_seconds"),
        fill=fill,
        outlier_rule=outlier_rule,
        scaling=scaling,
        outlier_factor=1.5,
        min_rows=4,
        max_missing_share=0.99,
    )
    found = cleaned(fit(by, course_views=views(values)))
    if len(known) == 0:
        assert found["dwell_seconds_clean"].null_count() == len(values)
        return
    low, high = bounds(known, rule=outlier_rule, factor=1.5, min_rows=4)
    wanted = np.clip(column, low, high)
    # A mean of winsorised values; a median and a mode of those delivered, winsorised: clipping may tie values.
    strategy = "most_frequent" if fill == "mode" else fill
    filler = SimpleImputer(strategy=strategy).fit(wanted if fill == "mean" else column)
    wanted = np.where(np.isnan(wanted), np.clip(filler.statistics_[0], low, high), wanted)
    scaler = MinMaxScaler() if scaling == "minmax" else StandardScaler()
    scaled = scaler.fit_transform(wanted).ravel()
    tolerance = max(1.0, float(np.abs(known).max()))
    assert found["dwell_seconds_clean"].to_list() == pytest.approx(wanted.ravel(), abs=1e-9 * tolerance)
    assert found["dwell_seconds_is_imputed"].to_list() == np.isnan(column).ravel().tolist()
    if float(np.ptp(wanted)) > 1e-6 * tolerance:  # else rounding decides what a spread of nothing is
        assert found["dwell_seconds_scaled"].to_list() == pytest.approx(scaled, abs=1e-6)


def bounds(known: np.ndarray, *, rule: str, factor: float, min_rows: int) -> tuple[float, float]:
    q1, q3 = np.quantile(known, [0.25, 0.75])
    centre, width = ((q1, q3), q3 - q1) if rule == "iqr" else ((known.mean(), known.mean()), known.std())
    if len(known) < min_rows or width == 0:
        return -np.inf, np.inf
    return float(centre[0] - factor * width), float(centre[1] + factor * width)


# ── as of a date ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_after_the_day_reaches_its_statistics_and_the_last_instant_does() -> None:
    before = fit(course_views=views([1, 2, 3]))
    later = fit(course_views=[*views([1, 2, 3]), *views([900, None], days_ago=0, prefix="w")])
    assert_frame_equal(later["staging.cleaning_statistics"], before["staging.cleaning_statistics"])
    assert_frame_equal(cleaned(later), cleaned(before))
    instant = 1 / 86_400 / 1e6
    included = fit(course_views=[*views([1, 2, 3]), *views([900], days_ago=instant, prefix="w")])
    assert statistics(included, "dwell_seconds")["largest"] == 900


def test_events_older_than_the_window_are_not_fitted_on_and_are_cleaned_nevertheless() -> None:
    by = rules("course_views", "dwell_seconds", window_days=10)
    rows = [*views([1, 3], days_ago=10, prefix="new"), *views([500, None], days_ago=10.01, prefix="old")]
    world = fit(by, course_views=rows)
    assert statistics(world, "dwell_seconds")["row_count"] == 2
    assert cleaned(world)["dwell_seconds_clean"].to_list() == [1, 3, 500, 2]


def test_an_account_is_as_it_was_at_the_end_of_the_day() -> None:
    names = ("gender", "occupation")
    schema = {"city_tier": COUNT, "birth_year": COUNT, "updated_at": TIME, "dt": DATE, **dict.fromkeys(names, TEXT)}
    changed = [
        {"birth_year": 1980, "updated_at": END - timedelta(days=9), "dt": DAY},
        {"birth_year": 1981, "updated_at": END - INSTANT, "dt": DAY},
        {"birth_year": 1999, "updated_at": END, "dt": DAY + timedelta(days=1)},
    ]
    users = pl.DataFrame([{"user_id": "7", **row} for row in changed], schema={"user_id": TEXT, **schema})
    customers = pl.DataFrame([{"customer_id": "7", **changed[2]}], schema={"customer_id": TEXT, **schema})
    inputs = {"raw.users": users, "raw.customers": customers}
    found = run_model("staging.account_attributes", inputs, day=DAY)
    assert found.select("partner", "subject_id", "birth_year").rows() == [("course_platform", "7", 1981)]
    tomorrow = run_model("staging.account_attributes", inputs, day=DAY + timedelta(days=1))
    assert tomorrow["birth_year"].to_list() == [1999, 1999]


# ── visible and switchable; nothing is dropped ───────────────────────────────────────────────────────────────────────

WORLD: dict[str, list[Row]] = {
    "course_views": views([1, 2, 3, None, 5, 6, 7, 8, 9, *range(10, 30), 40_000]),
    "policies": [policy(f"p{n}", 100 + n) for n in range(25)] + [policy("far", 90_000), policy("none", None)],
    "account_attributes": [person(f"c{n}", birth_year=1950 + n, city_tier=1 + n % 3) for n in range(30)]
    + [person("unknown", partner="course_platform")],
}


@pytest.mark.parametrize(
    ("table", "column"),
    [("course_views", "dwell_seconds"), ("policies", "premium_fen"), ("account_attributes", "birth_year")],
)
def test_switching_a_column_off_leaves_it_as_delivered_and_every_other_as_it_was(table: str, column: str) -> None:
    before = fit(**WORLD)
    after = fit(rules(table, column, fill="none", outlier_rule="none", scaling="none"), **WORLD)
    others = ~((pl.col("table_name") == table) & (pl.col("column_name") == column))
    name = "staging.cleaning_statistics"
    assert_frame_equal(after[name].filter(others), before[name].filter(others))
    changed, same = cleaned(after, table), cleaned(before, table)
    own = [c for c in same.columns if c.startswith(f"{column}_")]
    assert_frame_equal(changed.drop(own), same.drop(own))
    assert not changed.equals(same)
    assert changed[f"{column}_clean"].to_list() == changed[column].to_list()
    assert not changed[f"{column}_is_imputed"].any()
    assert not changed[f"{column}_is_outlier"].any()


@pytest.mark.parametrize("table", ["course_views", "policies", "account_attributes"])
def test_no_row_is_dropped_and_the_value_delivered_stays_beside_the_clean_one(table: str) -> None:
    world = fit(**WORLD)
    given_rows, found = world[f"staging.{table}"], cleaned(world, table)
    same = [c for c in given_rows.columns if c in found.columns]
    key = {"course_views": "view_id", "policies": "policy_event_id"}.get(table, "subject_id")
    assert_frame_equal(found.select(same).sort(key), given_rows.select(same).sort(key))
    column = {"course_views": "dwell_seconds", "policies": "premium_fen"}.get(table, "birth_year")
    assert found[f"{column}_is_imputed"].sum() == 1


def test_without_any_rule_for_a_column_its_rows_stay() -> None:
    world = fit(RULES.filter(pl.col("table_name") != "course_views"), **WORLD)
    found = cleaned(world)
    assert found.height == len(WORLD["course_views"])
    assert found["dwell_seconds_clean"].to_list() == found["dwell_seconds"].to_list()


def test_figures_shown_beside_the_rules_count_what_the_cleaned_table_marks() -> None:
    world = fit(**WORLD)
    found, told = cleaned(world), statistics(world, "dwell_seconds")
    assert told["outlier_count"] == found["dwell_seconds_is_outlier"].sum() == 1
    assert told["missing_count"] == found["dwell_seconds_is_imputed"].sum() == 1
    assert told["clean_largest"] == found["dwell_seconds_clean"].max() == told["outlier_high"]
    assert told["clean_mean"] == pytest.approx(found["dwell_seconds_clean"].mean())


# ── the same event delivered again ───────────────────────────────────────────────────────────────────────────────────

NEXT = DAY + timedelta(days=1)
LINES = {
    **dict.fromkeys(("order_line_id", "order_id", "user_id", "course_id", "status"), TEXT),
    "ordered_at": TIME,
    "paid_fen": COUNT,
    "dt": DATE,
}


def line(dt: date, fen: int = 100, *, happened: date = DAY, name: str = "l1") -> Row:
    at = datetime.combine(happened, datetime.min.time())
    return {"order_line_id": name, "order_id": "o", "ordered_at": at, "paid_fen": fen, "dt": dt}


def kept(*lines: Row) -> list[tuple[date, int]]:
    """(day, price) of every order line that staging holds of `DAY` and `NEXT`, each day built alone."""
    raw = {"raw.course_orders": pl.DataFrame(lines, schema=LINES)}
    days = pl.concat([run_model("staging.course_orders", raw, day=day) for day in (DAY, NEXT)])
    return days.select("ordered_on", "paid_fen").rows()


def left_out(*lines: Row) -> list[tuple[date, date, bool]]:
    """(day, delivery, is identical) of every one left out."""
    others = {f"raw.{table}": pl.DataFrame(schema=schema) for table, schema in EMPTY.items()}
    raw = {**others, "raw.course_orders": pl.DataFrame(lines, schema=LINES)}
    found = pl.concat([run_model("staging.duplicate_events", raw, day=day) for day in (DAY, NEXT)])
    return found.select("happened_on", "delivered_on", "is_identical").rows()


EMPTY: dict[str, dict[str, Any]] = {
    "course_views": {**VIEWS, "dt": DATE},
    "product_views": {**VIEWS, "customer_id": TEXT, "product_id": TEXT, "dt": DATE},
    "course_reviews": {
        **dict.fromkeys(("review_id", "user_id", "course_id", "review_text"), TEXT),
        "reviewed_at": TIME,
        "rating": COUNT,
        "dt": DATE,
    },
    "policies": {**POLICIES, "sum_insured_fen": COUNT, "dt": DATE},
}


def test_an_event_delivered_once_more_is_counted_once_and_listed() -> None:
    lines = (line(DAY), line(NEXT), line(DAY, name="l2"))
    assert kept(*lines) == [(DAY, 100), (DAY, 100)]
    assert left_out(*lines) == [(DAY, DAY, True)]


def test_of_two_deliveries_of_one_day_the_newest_counts_and_the_difference_is_told() -> None:
    lines = (line(DAY, 100), line(NEXT, 90))
    assert kept(*lines) == [(DAY, 90)]
    assert left_out(*lines) == [(DAY, DAY, False)]


def test_an_id_used_on_two_days_stays_on_the_first_and_the_later_day_is_not_blocked() -> None:
    lines = (line(DAY, 100), line(NEXT, 100, happened=NEXT), line(NEXT, 7, happened=NEXT, name="l2"))
    assert kept(*lines) == [(DAY, 100), (NEXT, 7)]
    assert left_out(*lines) == [(NEXT, NEXT, False)]


def test_an_event_delivered_three_times_is_kept_once_and_left_out_twice() -> None:
    lines = (line(DAY), line(NEXT), line(NEXT + timedelta(days=1)))
    assert kept(*lines) == [(DAY, 100)]
    assert left_out(*lines) == [(DAY, DAY, True), (DAY, NEXT, True)]


@pytest.mark.parametrize(("days_before", "is_a_repeat"), [(1, True), (31, True), (32, False)])
def test_an_id_of_another_day_is_a_repeat_for_31_days_and_an_event_of_its_own_after(
    days_before: int, is_a_repeat: bool
) -> None:
    earlier = DAY - timedelta(days=days_before)
    lines = (line(earlier, happened=earlier), line(DAY))
    assert kept(*lines) == ([] if is_a_repeat else [(DAY, 100)])
    assert left_out(*lines) == ([(DAY, DAY, False)] if is_a_repeat else [])


def test_an_id_that_comes_back_every_month_stays_on_the_first_day_whatever_was_left_out_between() -> None:
    days = [DAY - timedelta(days=60), DAY - timedelta(days=30), DAY]
    assert kept(*(line(day, happened=day) for day in days)) == []


def test_a_range_of_days_is_judged_day_by_day() -> None:
    """A range reads the 31 days before its first day; each of its days still looks back no further than 31 days."""
    later = DAY + timedelta(days=32)
    lines = [line(DAY), line(later, happened=later)]
    model = read_model("staging.course_orders")
    with duckdb.connect() as con:
        con.execute("create schema raw")
        con.register("given", pl.DataFrame(lines, schema=LINES))
        con.execute("create table raw.course_orders as select * from given")
        bounds = {
            "start": datetime.combine(DAY, datetime.min.time()),
            "end": datetime.combine(later, datetime.max.time()),
        }
        found = con.sql(model.sql, params=bounds).pl()
    assert sorted(found["ordered_on"]) == [DAY, later]


@settings(max_examples=5, deadline=None)
@given(st.sets(st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.integers(0, 1)), max_size=12))
def test_every_id_is_kept_once_whatever_was_delivered_when(came: set[tuple[str, int, int]]) -> None:
    by_delivery = {(name, late): happened for name, late, happened in came if late >= happened}
    lines = [
        line(DAY + timedelta(days=late), happened=DAY + timedelta(days=happened), name=name)
        for (name, late), happened in sorted(by_delivery.items())
    ]
    assert len(kept(*lines)) == len({name for name, _ in by_delivery})
    assert len(left_out(*lines)) == len(by_delivery) - len(kept(*lines))


def test_the_same_event_id_of_both_firms_is_no_repeat() -> None:
    names = dict.fromkeys(
        ("event_id", "campaign_id", "subject_id", "event", "arm", "channel", "item_id", "currency", "covariates"), TEXT
    )
    schema = {"partner": TEXT, **names, "assignment_share": pl.Float64, "score": pl.Float64, "amount_fen": COUNT}
    rows = [
        {"partner": partner, "event_id": "e", "occurred_at": END - INSTANT, "dt": DAY}
        for partner in ("course_platform", "insurer")
    ]
    raw = pl.DataFrame(rows, schema={**schema, "occurred_at": TIME, "dt": DATE})
    assert run_model("staging.campaign_events", {"raw.campaign_events": raw}, day=DAY).height == 2


# ── features use it ──────────────────────────────────────────────────────────────────────────────────────────────────


def features(*, years: Sequence[Row], seen: pl.DataFrame) -> Row:
    """Features of one person with an account at each firm, from cleaned attributes and cleaned views."""
    model = read_model("segments.person_features")
    gate = [
        {"as_of_on": DAY, "partner": p, "subject_id": "7", "person_id": "ann"} for p in ("course_platform", "insurer")
    ]
    known = {"gender": TEXT, "birth_year": COUNT, "occupation": TEXT, "city_tier": COUNT}
    tables = {
        "staging.gate_profiling": pl.DataFrame(gate).with_columns(pl.lit(None, k).alias(n) for n, k in known.items()),
        "staging.account_attributes_cleaned": pl.DataFrame(years),
        "staging.course_views_cleaned": seen,
        "staging.course_reviews": pl.DataFrame(schema={"user_id": TEXT, "reviewed_at": TIME, "rating": COUNT}),
    }
    world = fit(course_views=views([]))
    none = {"staging.policies_cleaned": cleaned(world, "policies"), "staging.course_orders_cleaned": NO_ORDERS}
    none["staging.product_views_cleaned"] = seen.clear().with_columns(
        pl.lit(None, TEXT).alias(n) for n in ("customer_id", "product_id")
    )
    inputs = {**none, **tables}
    (row,) = run_model(model.table, {t: inputs[t] for t in model.reads}, day=DAY).to_dicts()
    return row


NO_ORDERS = pl.DataFrame(
    schema={
        "as_of_on": DATE,
        "order_id": TEXT,
        "user_id": TEXT,
        "course_id": TEXT,
        "status": TEXT,
        "ordered_at": TIME,
        "paid_fen": COUNT,
        "paid_fen_clean": pl.Float64,
        "paid_fen_is_outlier": pl.Boolean,
    }
)


def stated(partner: str, year: float, *, is_imputed: bool) -> Row:
    clean = {"birth_year_clean": year, "birth_year_is_imputed": is_imputed}
    return {
        "as_of_on": DAY,
        "partner": partner,
        "subject_id": "7",
        **clean,
        "city_tier_clean": 2.0,
        "city_tier_is_imputed": False,
    }


def test_features_count_a_forgotten_tab_as_the_longest_usual_visit_and_say_how_many_there_were() -> None:
    rows = [{**row, "user_id": "7", "course_id": "k"} for row in WORLD["course_views"]]
    world = fit(course_views=rows)
    bound = statistics(world, "dwell_seconds")["outlier_high"]
    row = features(years=[stated("insurer", 1986.0, is_imputed=False)], seen=cleaned(world))
    usual = sum(r["dwell_seconds"] or 0 for r in rows) - 40_000
    filled = statistics(world, "dwell_seconds")["fill_value"]
    assert row["dwell_seconds"] == usual + 40_000
    assert row["dwell_clean_seconds"] == row["dwell_30d_clean_seconds"] == round(usual + bound + filled)
    assert row["outlier_count"] == 1
    assert row["course_view_count"] == len(rows)


@pytest.mark.parametrize(
    ("of_platform", "of_insurer", "wanted"),
    [
        ((1990.0, False), (1980.0, False), (46, False)),  # the insurer's word comes first
        ((1990.0, False), (1980.0, True), (36, False)),  # but only its word, not its guess
        ((1984.5, True), (1984.5, True), (42, True)),
    ],
)
def test_an_age_for_models_is_stated_before_it_is_filled_and_marked_where_it_is(
    of_platform: tuple[float, bool], of_insurer: tuple[float, bool], wanted: tuple[int, bool]
) -> None:
    years = [
        stated("course_platform", of_platform[0], is_imputed=of_platform[1]),
        stated("insurer", of_insurer[0], is_imputed=of_insurer[1]),
    ]
    row = features(years=years, seen=cleaned(fit(course_views=[])))
    assert (row["age_clean_years"], row["age_is_imputed"]) == wanted
    assert (row["age_years"], row["age_band"]) == (None, "unknown")  # what was delivered to the gate stays as it was


# ── the audit of a view over a long history ──────────────────────────────────────────────────────────────────────────


def test_the_promises_of_a_cleaned_table_are_checked_on_the_newest_day_only() -> None:
    model = read_model("staging.course_views_cleaned")
    assert model.staged_sql.startswith(f"select * from ({model.sql}")
    assert model.staged_sql.endswith(
        ") where viewed_on = as_of_on and as_of_on in (select max(as_of_on) from staging.cleaning_statistics)"
    )
    assert read_model("staging.course_views").staged_sql == read_model("staging.course_views").sql


def test_a_table_may_not_ask_for_a_smaller_audit(tmp_path: Any) -> None:
    (tmp_path / "staging").mkdir()
    text = "-- grain: a\n-- audit: a > 1\n-- One row.\nselect 1 as a -- A number\n"
    (tmp_path / "staging" / "t.sql").write_text(text)
    with pytest.raises(SqlModelError, match="has an '-- audit:' line and is no view"):
        load_models(tmp_path)
