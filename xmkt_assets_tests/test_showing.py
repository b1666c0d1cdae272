"""What of a row a page may show: samples without people, messages without their data."""

from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmkt_assets.known_tables import known_tables
from xmkt_assets.purposes import SENSITIVE_TABLES
from xmkt_assets.resources import SQL_FOLDER
from xmkt_assets.showing import MASK, masked_rows, sample_columns
from xmkt_assets.sql_models import load_models

# Written by hand, from the contracts and the files: ids of people and accounts, what joins them, what they are, wrote
# or earn. A sample of any table shows none of these.
NEVER = {
    *("person_id", "own_person_id", "user_id", "customer_id", "subject_id", "other_subject_id"),
    *("phone_hash", "email_hash", "identifier_hash", "review_text", "raw_text", "fixed_text", "covariates"),
    *("gender", "gender_clean", "birth_year", "birth_year_clean", "birth_year_scaled", "occupation"),
    *("city_tier", "city_tier_clean", "interests", "stated_interests", "age_years", "age_band", "age_clean_years"),
    *("annual_income_fen", "claimed_fen", "subject_key", "consent_id"),
}
TABLES = {
    **{table: tuple(columns) for table, columns in known_tables().items()},
    **{table: model.column_names for table, model in load_models(SQL_FOLDER).items()},
}


@pytest.mark.parametrize("table", sorted(TABLES))
def test_no_sample_shows_a_person_or_what_is_personal(table: str) -> None:
    assert set(sample_columns(table, TABLES[table])) & NEVER == set()


@pytest.mark.parametrize("table", SENSITIVE_TABLES)
def test_a_table_made_of_sensitive_data_shows_no_sample(table: str) -> None:
    assert sample_columns(table, TABLES[table]) == ()


def test_a_sample_shows_what_is_left() -> None:
    assert sample_columns("staging.course_orders", TABLES["staging.course_orders"]) == (
        *("course_id", "ordered_at", "ordered_on", "paid_fen", "status"),
    )
    assert sample_columns("staging.claims", TABLES["staging.claims"]) == ("claimed_at", "claimed_on")
    assert sample_columns("staging.courses", TABLES["staging.courses"]) == TABLES["staging.courses"]
    assert "person_id" not in sample_columns("segments.person_profile", TABLES["segments.person_profile"])
    assert "value_label" in sample_columns("segments.person_profile", TABLES["segments.person_profile"])


def test_a_message_keeps_ids_and_masks_what_is_personal() -> None:
    rows = pl.DataFrame(
        {
            "person_id": ["k1"],
            "birth_year": [1980],
            "phone_hash": ["ab"],
            "gender": [None],
            "as_of_on": [date(2026, 7, 1)],
        }
    )
    assert masked_rows("segments.person_features", rows) == [
        {"person_id": "k1", "birth_year": MASK, "phone_hash": MASK, "gender": None, "as_of_on": "2026-07-01"}
    ]


def test_a_message_about_sensitive_rows_keeps_ids_and_days_only() -> None:
    rows = pl.DataFrame({"person_id": ["k1"], "claim_risk_share": [0.3], "as_of_on": [date(2026, 7, 1)], "times": [2]})
    assert masked_rows("segments.claim_risk", rows) == [
        {"person_id": "k1", "claim_risk_share": MASK, "as_of_on": "2026-07-01", "times": 2}
    ]


@given(st.lists(st.sampled_from(["1980", "M", "soldier"]), min_size=1, max_size=9))
def test_no_masked_value_is_in_what_is_shown(values: list[str]) -> None:
    shown = masked_rows("staging.people", pl.DataFrame({"person_id": "k", "occupation": values}), limit=3)
    assert len(shown) == min(3, len(values))
    assert not any(value in str(shown) for value in values)
