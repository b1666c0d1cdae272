"""Value groups: planted groups come back by either method, everybody is told why, what cannot be grouped says so."""

import pickle

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sklearn.metrics import adjusted_rand_score

from xmkt_assets.segments.clusters import (
    FEATURES,
    IDLE,
    KNOWN_FOR,
    PEOPLE_SCHEMA,
    cluster_people,
    in_words,
    log_features,
    with_model,
)
from xmkt_assets.segments.grouping import METHODS

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


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    """Every check of this file that asks for it is passed by every method."""
    return str(request.param)


def test_planted_groups_are_recovered_and_carry_the_names_they_were_planted_for(method: str) -> None:
    people, planted = planted_people()
    found = cluster_people(people, method=method, seed=7)
    labels = people.join(found.people, on="person_id", maintain_order="left")["value_label"].to_list()
    assert adjusted_rand_score(planted, labels) > 0.95
    assert np.mean(np.array(planted) == np.array(labels)) > 0.95
    assert found.people["method"].unique().to_list() == [method]


def test_groups_do_not_depend_on_the_order_of_the_rows(method: str) -> None:
    people, _ = planted_people()
    found = cluster_people(people, method=method, seed=7)
    shuffled = cluster_people(people.sample(fraction=1.0, shuffle=True, seed=1), method=method, seed=7)
    assert_frame_equal(shuffled.people, found.people)
    assert_frame_equal(shuffled.groups, found.groups, check_exact=False)


def test_group_numbers_fall_with_worth_whatever_the_seed(method: str) -> None:
    people, _ = planted_people(each=40)
    for seed in range(3):
        groups = cluster_people(people, method=method, seed=seed).groups
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


def test_a_fitted_grouping_puts_the_same_people_into_the_same_groups_after_pickling(method: str) -> None:
    people, _ = planted_people(each=30)
    found = cluster_people(people, method=method, seed=7)
    again = pickle.loads(pickle.dumps(found.model))
    assert_frame_equal(again.assign(people), found.people)
    assert_frame_equal(with_model(people, again).groups, found.groups, check_exact=False)


def test_people_are_assigned_alike_in_chunks_and_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    people, _ = planted_people(each=30)
    found = cluster_people(people, seed=7)
    monkeypatch.setattr("xmkt_assets.segments.clusters.CHUNK_PEOPLE", 7)
    monkeypatch.setattr("xmkt_assets.segments.grouping.CHUNK", 3)
    assert found.model is not None
    assert_frame_equal(found.model.assign(people), found.people)


def test_a_large_crowd_is_grouped_by_a_sample_of_it(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    people, planted = planted_people()
    for limit in ("FIT_SAMPLE", "TREE_SAMPLE"):
        monkeypatch.setattr(f"xmkt_assets.segments.grouping.{limit}", 100)
    labels = people.join(cluster_people(people, method=method, seed=7).people, on="person_id", maintain_order="left")
    assert adjusted_rand_score(planted, labels["value_label"]) > 0.95


def test_membership_is_strongest_in_the_middle_and_nothing_on_the_border() -> None:
    people, _ = planted_people(each=40)
    found = cluster_people(people, seed=7)
    assert found.model is not None
    one, other = found.model.centres[:2]
    points = np.stack([one, (one + other) / 2, 0.75 * one + 0.25 * other])
    logs = points * found.model.scale + found.model.mean
    rows = pl.DataFrame(np.expm1(logs), schema=list(FEATURES)).with_columns(person_id=pl.Series(["a", "b", "c"]))
    assigned = found.model.assign(rows)
    assert assigned["membership_strength"].to_list() == pytest.approx([1, 0, 1 - 0.25 / 0.75], abs=1e-6)


def test_everybody_is_told_what_of_their_own_speaks_for_their_group() -> None:
    people, planted = planted_people(each=40)
    rows = people.join(cluster_people(people, seed=7).people, on="person_id", maintain_order="left")
    assert (rows["why"].str.len_chars() > 0).all()
    dormant = rows.filter(pl.Series(planted) == "dormant")["why"]  # the next nearest pay premiums and look around
    assert dormant.str.contains("+ nothing in premiums; + no time on course pages", literal=True).all()


def test_a_new_person_with_extremes_nobody_had_goes_to_a_group(method: str) -> None:
    people, _ = planted_people(each=40)
    model = cluster_people(people, method=method, seed=7).model
    assert model is not None
    rows = [{**dict.fromkeys(FEATURES, 1e12), "person_id": "huge"}, {**dict.fromkeys(FEATURES), "person_id": "empty"}]
    assigned = model.assign(pl.DataFrame(rows, schema={**dict.fromkeys(FEATURES, pl.Float64), "person_id": pl.String}))
    assert assigned["value_label"].to_list() == ["dormant", "high value"]
    assert assigned["membership_strength"].is_between(0, 1).all()


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


def test_without_any_insurer_data_people_are_grouped_by_the_courses_alone(method: str) -> None:
    people, planted = planted_people(each=60)
    insurer = ("premium_clean_fen", "active_policy_count", "product_view_30d_count")
    courses = people.with_columns(pl.lit(0.0).alias(c) for c in insurer)
    found = cluster_people(courses, k=4, method=method, seed=7)
    labels = courses.join(found.people, on="person_id", maintain_order="left")["value_label"]
    assert adjusted_rand_score(planted, labels) > 0.7
    assert {"high value", "dormant"} <= set(labels)


@pytest.mark.parametrize("feature", FEATURES)
def test_a_feature_that_is_empty_for_everybody_tells_nobody_apart(feature: str, method: str) -> None:
    people, _ = planted_people(each=20)
    found = cluster_people(people.with_columns(pl.lit(None, pl.Float64).alias(feature)), method=method, seed=7)
    assert found.reason is None
    assert found.people["value_label"].n_unique() == 5


def test_a_premium_nobody_shares_changes_no_group() -> None:
    people, _ = planted_people(each=40)
    zero = people.with_columns(premium_clean_fen=pl.lit(0.0))
    unshared = people.with_columns(premium_clean_fen=pl.lit(None, pl.Float64))
    found = [cluster_people(rows, seed=7).people.drop("why") for rows in (unshared, zero)]
    assert_frame_equal(*found)


# --- what cannot be grouped -----------------------------------------------------------------------------------------


def test_too_few_people_are_unknown_with_a_reason() -> None:
    people, _ = planted_people(each=8)
    found = cluster_people(people, k=5, seed=7)
    assert found.reason == "not applicable: 40 people, wanted at least 50 for 5 groups"
    assert found.people.select("value_label", "reason").unique().rows() == [("unknown", found.reason)]
    assert found.people["cluster"].null_count() == found.people.height == 40
    assert found.model is None


def test_one_person_is_unknown_with_a_reason(method: str) -> None:
    people, _ = planted_people(each=1)
    found = cluster_people(people.head(1), method=method, seed=7)
    assert found.people.select("person_id", "value_label", "cluster", "why").rows() == [("p0", "unknown", None, None)]
    assert found.reason == "not applicable: 1 people, wanted at least 50 for 5 groups"


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
    assert nobody.people.schema == cluster_people(people, seed=7).people.schema == PEOPLE_SCHEMA
    assert nobody.people.is_empty()
    assert in_words(nobody.groups).count("\n") == 1


def test_fewer_kinds_of_people_than_groups_give_as_many_groups_as_kinds(method: str) -> None:
    kinds = pl.DataFrame(list(PLANTED.values())[:2], schema=list(FEATURES), orient="row").cast(pl.Float64)
    people = pl.concat([kinds] * 40).with_columns(person_id=pl.format("p{}", pl.int_range(pl.len())))
    found = cluster_people(people, k=5, method=method, seed=7)
    assert found.groups["people"].to_list() == [40, 40]


def test_a_missing_feature_is_named() -> None:
    people, _ = planted_people(each=20)
    with pytest.raises(ValueError, match=r"lack \['paid_clean_fen'\].*person_features"):
        cluster_people(people.drop("paid_clean_fen"), seed=7)


def test_one_group_is_refused() -> None:
    with pytest.raises(ValueError, match="Ask for 2 or more"):
        cluster_people(planted_people(each=20)[0], k=1, seed=7)


def test_a_method_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="wanted one of k-means, ward"):
        cluster_people(planted_people(each=20)[0], method="dbscan", seed=7)


def test_log_features_are_the_logarithm_of_one_plus_the_feature() -> None:
    row = {**dict.fromkeys(FEATURES, 0), "paid_clean_fen": 99, IDLE: 900, KNOWN_FOR: None, "premium_clean_fen": None}
    logs = dict(zip(FEATURES, log_features(pl.DataFrame([row]))[0], strict=True))
    assert logs["paid_clean_fen"] == pytest.approx(np.log(100))
    assert logs[IDLE] == logs[KNOWN_FOR] == pytest.approx(np.log(366))
    assert logs["premium_clean_fen"] == 0
