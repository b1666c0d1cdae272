"""Value groups: planted groups come back, names follow from the centres by rule, and what cannot be grouped says so."""

import pickle

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from polars.testing import assert_frame_equal
from sklearn.metrics import adjusted_rand_score

from xmkt_assets.segments.clusters import (
    FEATURES,
    IDLE,
    KNOWN_FOR,
    cluster_people,
    in_words,
    log_features,
    value_labels,
)

# Typical person of each planted group, in the order of FEATURES: paid fen, premium fen, orders, policies,
# seconds of the last 30 days, product views of the last 30 days, days since the last and the first event.
PLANTED = {
    "high value": (90_000, 500_000, 6, 3, 9_000, 6, 3, 85),
    "high potential": (1_000, 0, 0, 0, 20_000, 12, 2, 80),
    "steady": (2_000, 300_000, 1, 2, 600, 1, 12, 80),
    "newcomer": (0, 0, 0, 0, 2_000, 2, 2, 8),
    "dormant": (500, 0, 0, 0, 0, 0, 75, 88),
}


def planted_people(*, each: int = 120, seed: int = 0) -> tuple[pl.DataFrame, list[str]]:
    """People scattered by a tenth around their group's typical person on the log scale."""
    rng = np.random.default_rng(seed)
    typical = np.log1p(np.repeat(np.array(list(PLANTED.values()), dtype=float), each, axis=0))
    values = np.expm1(typical * (1 + rng.normal(0, 0.04, typical.shape)))
    frame = pl.DataFrame(values, schema=list(FEATURES))
    return frame.with_columns(person_id=pl.format("p{}", pl.int_range(pl.len()))), np.repeat(
        list(PLANTED), each
    ).tolist()


def test_planted_groups_are_recovered_and_carry_the_names_they_were_planted_for() -> None:
    people, planted = planted_people()
    found = cluster_people(people, seed=7)
    labels = people.join(found.people, on="person_id", maintain_order="left")["value_label"].to_list()
    assert adjusted_rand_score(planted, labels) > 0.95
    assert np.mean(np.array(planted) == np.array(labels)) > 0.95
    assert found.silhouette is not None
    assert found.silhouette.low > 0.5
    assert found.stability is not None
    assert found.stability.low > 0.9


def test_groups_do_not_depend_on_the_order_of_the_rows() -> None:
    people, _ = planted_people()
    found = cluster_people(people, seed=7)
    shuffled = cluster_people(people.sample(fraction=1.0, shuffle=True, seed=1), seed=7)
    assert_frame_equal(shuffled.people, found.people)
    assert_frame_equal(shuffled.groups, found.groups, check_exact=False)


def test_group_numbers_fall_with_worth_whatever_the_seed() -> None:
    people, _ = planted_people(each=40)
    for seed in range(3):
        groups = cluster_people(people, seed=seed).groups
        assert groups["cluster"].to_list() == [0, 1, 2, 3, 4]
        assert groups["value_label"].to_list()[:2] == ["high value", "steady"]


def test_group_sizes_add_up_and_means_are_in_the_units_of_the_features() -> None:
    people, planted = planted_people(each=40)
    groups = cluster_people(people, seed=7).groups
    assert groups["people"].sum() == people.height
    assert groups["people_share"].sum() == pytest.approx(1.0)
    by_hand = people.with_columns(value_label=pl.Series(planted)).filter(pl.col("value_label") == "high value")
    worthiest = groups.filter(pl.col("value_label") == "high value")
    assert worthiest["paid_clean_fen"][0] == pytest.approx(by_hand["paid_clean_fen"].mean())


def test_a_fitted_grouping_puts_the_same_people_into_the_same_groups_after_pickling() -> None:
    people, _ = planted_people(each=30)
    found = cluster_people(people, seed=7)
    again = pickle.loads(pickle.dumps(found.model))
    assert_frame_equal(again.assign(people), found.people)


def test_a_person_who_never_did_anything_is_dormant_and_not_a_newcomer() -> None:
    people, planted = planted_people(each=60)
    silent = pl.Series(planted) == "dormant"
    never = people.with_columns(
        [pl.when(silent).then(None if c in (IDLE, KNOWN_FOR) else 0.0).otherwise(pl.col(c)).alias(c) for c in FEATURES]
    )
    found = cluster_people(never, seed=7)
    labels = never.join(found.people, on="person_id", maintain_order="left").filter(silent)["value_label"]
    assert labels.unique().to_list() == ["dormant"]
    dormant = found.groups.filter(pl.col("value_label") == "dormant")
    assert dormant.select(IDLE, KNOWN_FOR).row(0) == (None, None)
    assert "| – | – |" in in_words(found.groups)


def test_a_premium_nobody_shares_changes_no_group() -> None:
    people, _ = planted_people(each=40)
    zero = people.with_columns(premium_clean_fen=pl.lit(0.0))
    unshared = people.with_columns(premium_clean_fen=pl.lit(None, pl.Float64))
    assert_frame_equal(cluster_people(unshared, seed=7).people, cluster_people(zero, seed=7).people)


# --- names ----------------------------------------------------------------------------------------------------------


def centre(worth: float, interest: float) -> list[float]:
    return [worth] * 4 + [interest] * 2 + [0.0, 0.0]


def test_names_are_given_by_the_written_rule() -> None:
    centres = np.array(
        [
            centre(1.5, 0.9),
            centre(0.6, 1.0),
            centre(0.2, 0.1),
            centre(-0.1, 0.4),
            centre(-0.8, -0.6),
            centre(-0.9, -1.0),
        ]
    )
    idle, known = np.array([2.0, 3, 9, 5, 12, 200]), np.array([80.0, 80, 70, 20, 75, 360])
    labels = value_labels(centres, idle_days=idle, known_days=known)
    assert labels == ("high value", "high potential", "steady", "newcomer", "occasional", "dormant")


def test_potential_is_interest_not_yet_turned_into_worth() -> None:
    centres = np.array([centre(1.0, 0.2), centre(0.4, 0.9), centre(-0.6, 0.5)])
    labels = value_labels(centres, idle_days=np.full(3, 5.0), known_days=np.full(3, 80.0))
    assert labels == ("high value", "steady", "high potential")


def test_a_name_whose_condition_no_centre_meets_is_not_given() -> None:
    centres = np.array([centre(0.5, 0.0), centre(0.1, 0.0), centre(-0.6, 0.0)])
    labels = value_labels(centres, idle_days=np.full(3, 29.9), known_days=np.full(3, 45.1))
    assert labels == ("high value", "steady", "steady 2")


def test_the_thresholds_of_dormant_and_newcomer_are_thirty_and_forty_five_days() -> None:
    centres = np.array([centre(0.5, 0.0), centre(-0.1, 0.0), centre(-0.4, 0.0)])
    labels = value_labels(centres, idle_days=np.array([1.0, 2, 30]), known_days=np.array([80.0, 45, 80]))
    assert labels == ("high value", "newcomer", "dormant")


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(2, 9).flatmap(lambda k: hnp.arrays(float, (k, len(FEATURES) + 2), elements=st.floats(-3, 3))))
def test_names_are_unique_for_any_centres(drawn: np.ndarray) -> None:
    days = np.exp(drawn[:, -2:] + 3)
    labels = value_labels(drawn[:, :-2], idle_days=days[:, 0], known_days=days[:, 1])
    assert len(set(labels)) == len(labels) == len(drawn)


# --- what cannot be grouped -----------------------------------------------------------------------------------------


def test_too_few_people_are_unknown_with_a_reason() -> None:
    people, _ = planted_people(each=8)
    found = cluster_people(people, k=5, seed=7)
    assert found.reason == "not applicable: 40 people, wanted at least 50 for 5 groups"
    assert found.people.select("value_label", "reason").unique().rows() == [("unknown", found.reason)]
    assert found.people["cluster"].null_count() == found.people.height == 40
    assert (found.model, found.silhouette, found.stability) == (None, None, None)


def test_people_who_are_all_alike_are_unknown_with_a_reason() -> None:
    people, _ = planted_people(each=60)
    alike = people.with_columns([pl.lit(1.0).alias(c) for c in FEATURES])
    found = cluster_people(alike, seed=7)
    assert found.reason is not None
    assert "same features" in found.reason
    assert set(found.people["value_label"]) == {"unknown"}


def test_nobody_at_all_gives_an_empty_table_of_the_same_columns() -> None:
    people, _ = planted_people(each=20)
    nobody = cluster_people(people.clear(), seed=7)
    assert nobody.people.schema == cluster_people(people, seed=7).people.schema
    assert nobody.people.is_empty()
    assert in_words(nobody.groups).count("\n") == 1


def test_fewer_kinds_of_people_than_groups_give_as_many_groups_as_kinds() -> None:
    kinds = pl.DataFrame(list(PLANTED.values())[:2], schema=list(FEATURES), orient="row").cast(pl.Float64)
    people = pl.concat([kinds] * 40).with_columns(person_id=pl.format("p{}", pl.int_range(pl.len())))
    found = cluster_people(people, k=5, seed=7)
    assert found.groups["people"].to_list() == [40, 40]


def test_a_missing_feature_is_named() -> None:
    people, _ = planted_people(each=20)
    with pytest.raises(ValueError, match=r"lack \['paid_clean_fen'\].*person_features"):
        cluster_people(people.drop("paid_clean_fen"), seed=7)


def test_one_group_is_refused() -> None:
    with pytest.raises(ValueError, match="Ask for 2 or more"):
        cluster_people(planted_people(each=20)[0], k=1, seed=7)


def test_log_features_are_the_logarithm_of_one_plus_the_feature() -> None:
    row = {**dict.fromkeys(FEATURES, 0), "paid_clean_fen": 99, IDLE: 900, KNOWN_FOR: None, "premium_clean_fen": None}
    logs = dict(zip(FEATURES, log_features(pl.DataFrame([row]))[0], strict=True))
    assert logs["paid_clean_fen"] == pytest.approx(np.log(100))
    assert logs[IDLE] == logs[KNOWN_FOR] == pytest.approx(np.log(366))
    assert logs["premium_clean_fen"] == 0
