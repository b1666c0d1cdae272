"""Reasons in words: the right features in the right order with the person's own values, for everybody at once."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from xmkt_assets.segments import clusters
from xmkt_assets.segments.feature_words import WORDS, say
from xmkt_assets.segments.reasons import cluster_reasons, group_contributions, in_words
from xmkt_assets.segments.targets import TARGETS
from xmkt_assets_tests.sql_helper import read_model

FAMILIES = {"value groups": clusters.FEATURES, **{target.name: target.features for target in TARGETS}}
NUMBERS = st.floats(-5, 5, allow_subnormal=False).map(lambda x: round(x, 2))
NAMES = ("claim_count", "paid_fen", "days_since_claim", "has_course_side")


def one(contributions: list[float], values: list[float], features: list[str], **settings: int) -> str:
    (text,) = in_words(np.array([contributions]), np.array([values]), features, **settings)
    return text


def test_the_largest_contributions_are_named_with_sign_and_own_value() -> None:
    features = ["claim_count", "paid_fen", "days_since_first_activity", "city_tier"]
    text = one([0.9, 0.05, -0.4, 0.1], [3, 123_000, 731, 2], features)
    assert text == "+ 3 claims in the last year; - known for 2 years; + home city of tier 2"
    assert one([0.9, 0.05, -0.4, 0.1], [3, 123_000, 731, 2], features, most=1) == "+ 3 claims in the last year"


def test_equal_contributions_come_in_the_order_of_the_features_whatever_their_sign() -> None:
    features = ["paid_fen", "claim_count", "city_tier"]
    assert one([-0.5, 0.5, 0.5], [700, 1, 3], features, most=2) == "- ¥7 paid for courses; + 1 claim in the last year"


def test_a_feature_without_contribution_is_no_reason_and_nothing_at_all_gives_no_words() -> None:
    features = ["claim_count", "paid_fen"]
    assert one([0.0, 0.2], [3, 0], features) == "+ nothing paid for courses"
    assert one([0.0, 0.0], [3, 0], features) == ""
    assert in_words(np.empty((0, 2)), np.empty((0, 2)), features) == []
    assert in_words(np.empty((2, 0)), np.empty((2, 0)), []) == ["", ""]


@pytest.mark.parametrize(
    ("feature", "value", "words"),
    [
        ("paid_clean_fen", 123_456, "¥1,235 paid for courses"),
        ("paid_clean_fen", 999, "¥9.99 paid for courses"),
        ("premium_clean_fen", None, "premiums not shared"),
        ("premium_clean_fen", 0, "nothing in premiums"),
        ("dwell_30d_clean_seconds", 59, "1 minute on course pages in the last 30 days"),
        ("dwell_30d_clean_seconds", 7140, "119 minutes on course pages in the last 30 days"),
        ("dwell_30d_clean_seconds", 7200, "2 hours on course pages in the last 30 days"),
        ("dwell_30d_clean_seconds", 0, "no time on course pages in the last 30 days"),
        ("course_order_count", 1, "1 course order"),
        ("course_order_count", 1_200, "1,200 course orders"),
        ("days_since_last_activity", 0, "the last activity today"),
        ("days_since_last_activity", 1, "1 day since the last activity"),
        ("days_since_last_activity", 91, "91 days since the last activity"),
        ("days_since_last_activity", 92, "3 months since the last activity"),
        ("days_since_last_activity", None, "no activity yet"),
        ("days_since_claim", None, "no claim in the last year"),
        ("has_insurance_side", 0, "no customer of the insurer"),
        ("mean_rating", 4.25, "4.25 stars given on average"),
        # nobody wrote words for these
        ("spent_90d_fen", 1_200, "spent in the last 90 days: ¥12"),
        ("spent_90d_clean_fen", None, "spent in the last 90 days: not known"),
        ("weekend_share", 0.256, "weekend: 26%"),
        ("days_since_complaint", None, "the last complaint: never"),
        ("days_since_complaint", 12, "12 days since the last complaint"),
        ("has_car", 1, "has car: yes"),
        ("occupation=teacher", 0, "occupation: not teacher"),
        ("topic={x}_share", 1, "topic: {x}_share"),
        ("odd{name}_count", 2, "odd{name}: 2"),
        ("trend_ratio", 1.5, "trend ratio: 1.50"),
    ],
)
def test_a_value_is_said_with_its_unit(feature: str, value: float | None, words: str) -> None:
    assert say(feature, value) == words


@pytest.mark.parametrize("family", FAMILIES)
def test_every_feature_of_every_model_has_words_of_its_own(family: str) -> None:
    assert [f for f in FAMILIES[family] if f not in WORDS] == []


@pytest.mark.parametrize("table", ["person_features", "person_trends", "person_preferences"])
def test_every_number_among_the_features_of_people_has_words_of_its_own(table: str) -> None:
    texts = {"as_of_on", "person_id", "gender", "birth_year", "age_band", "occupation", "favourite_topic"}
    columns = {c.name for c in read_model(f"segments.{table}").columns}
    assert sorted(columns - texts - WORDS.keys()) == []


@pytest.mark.parametrize("feature", [*WORDS, "anything_else", "some_fen"])
def test_words_of_any_value_are_short_and_leave_no_placeholder(feature: str) -> None:
    for value in (None, 0, 1, 2, 0.5, 12_345_678):
        text = say(feature, value)
        assert 3 < len(text) < 80
        assert not set(text) & set("{}_")
        assert "nan" not in text


@pytest.mark.parametrize("feature", WORDS)
def test_the_unit_in_the_words_is_the_unit_in_the_name(feature: str) -> None:
    text = say(feature, 200_000)
    assert ("¥2,000" in text) == feature.endswith("_fen")
    assert ("56 hours" in text) == feature.endswith("_seconds")
    is_span = feature.startswith("days_since_") or feature.endswith("_days")
    assert ("548 years" in text or "60 days or more" in text) == is_span
    assert ("20000000%" in text) == feature.endswith("_share")


@settings(max_examples=40, deadline=None, derandomize=True)
@given(hnp.arrays(float, (4, 4), elements=NUMBERS), hnp.arrays(float, (4, 4), elements=NUMBERS))
def test_all_rows_at_once_say_what_each_row_says_by_the_plain_definition(
    contributions: np.ndarray, values: np.ndarray
) -> None:
    def plainly(row: np.ndarray, own: np.ndarray) -> str:
        order = sorted(range(len(row)), key=lambda f: (-abs(row[f]), f))
        named = [f for f in order if row[f] != 0][:3]
        return "; ".join(f"{'+' if row[f] > 0 else '-'} {say(NAMES[f], own[f])}" for f in named)

    expected = [plainly(row, own) for row, own in zip(contributions, values, strict=True)]
    assert in_words(contributions, values, NAMES) == expected


@pytest.mark.parametrize(
    ("contributions", "values", "said"),
    [
        (np.ones((2, 2)), np.ones((3, 2)), "wanted (2, 2) of both"),
        (np.ones((2, 3)), np.ones((2, 3)), "wanted (2, 2) of both"),
        (np.array([[1.0, np.nan]]), np.ones((1, 2)), "contributions of ['paid_fen'] are not numbers"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(contributions: np.ndarray, values: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=r"a row per person|Mend the model") as refused:
        in_words(contributions, values, ["claim_count", "paid_fen"])
    assert said in str(refused.value)
    with pytest.raises(ValueError, match="at least 1"):
        in_words(np.ones((1, 2)), np.ones((1, 2)), ["claim_count", "paid_fen"], most=0)


def test_what_put_a_person_into_the_group_rather_than_the_next_nearest_is_named() -> None:
    """By hand: own centre (0, 0), next nearest (4, 0), the far one (9, 9) says nothing."""
    centres = np.array([[4.0, 0.0], [0.0, 0.0], [9.0, 9.0]])
    points = np.array([[1.0, 1.0]])
    assert group_contributions(points, centres).tolist() == [[9.0 - 1.0, 0.0]]
    values = np.array([[900.0, 3.0]])
    assert cluster_reasons(points, centres, values, ["paid_fen", "claim_count"]) == ["+ ¥9 paid for courses"]


def test_what_speaks_against_the_group_carries_a_minus() -> None:
    centres = np.array([[0.0, 3.0], [5.0, 0.0]])
    points = np.array([[1.0, 1.0]])  # to the first: 1 + 4; to the second: 16 + 1
    assert group_contributions(points, centres).tolist() == [[15.0, -3.0]]
    text = cluster_reasons(points, centres, np.array([[0.0, 2.0]]), ["paid_fen", "claim_count"])
    assert text == ["+ nothing paid for courses; - 2 claims in the last year"]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(hnp.arrays(float, (5, 3), elements=NUMBERS), hnp.arrays(float, (3, 3), elements=NUMBERS))
def test_contributions_to_a_group_add_up_to_the_lead_over_the_next_nearest(
    points: np.ndarray, centres: np.ndarray
) -> None:
    squared = np.sort(((points[:, None, :] - centres[None]) ** 2).sum(axis=2), axis=1)
    lead = squared[:, 1] - squared[:, 0]
    assert group_contributions(points, centres).sum(axis=1) == pytest.approx(lead, abs=1e-9)


def test_one_group_only_gives_no_reason() -> None:
    assert cluster_reasons(np.ones((2, 1)), np.ones((1, 1)), np.ones((2, 1)), ["paid_fen"]) == ["", ""]


def test_fifty_thousand_people_take_about_half_a_second() -> None:
    """A million by twenty is then a matter of seconds; a loop over people would take minutes."""
    rng = np.random.default_rng(0)
    features = [*WORDS][:20]
    contributions, values = rng.normal(size=(50_000, 20)), rng.integers(0, 10_000, (50_000, 20)).astype(float)
    started = time.process_time()
    texts = in_words(contributions, values, features)
    assert time.process_time() - started < 1.5
    assert len(texts) == 50_000
    strongest = features[int(np.abs(contributions[-1]).argmax())]
    assert texts[-1].split("; ")[0][2:] == say(strongest, values[-1, features.index(strongest)])
