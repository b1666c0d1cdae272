"""Fairness by group: numbers by hand, an unfair scorer told, a fair one left in peace, small groups left out."""

from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.stats import binomtest

from xmkt_assets.segments.fairness import (
    ATTRIBUTES,
    FAIRNESS_COLUMNS,
    FAIRNESS_SCHEMA,
    findings,
    in_words,
    of_labels,
    of_scores,
)
from xmkt_assets.segments.intervals import wilson

OBSERVED_AT = datetime(2026, 7, 1)


def world(groups: dict[str, list[tuple[int, float, bool]]]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Group of gender → (people, predicted share, whether it happened); everybody is 30."""
    rows = [
        {"gender": group, "predicted_share": share, "is_positive": happened}
        for group, kinds in groups.items()
        for people, share, happened in kinds
        for _ in range(people)
    ]
    frame = pl.DataFrame(rows).with_columns(person_id=pl.format("p{}", pl.int_range(pl.len())))
    people = frame.select("person_id", "gender", age_band=pl.lit("25-34"))
    return frame.select("person_id", "is_positive", "predicted_share", observed_at=OBSERVED_AT, fold=0), people


def row_of(table: pl.DataFrame, group: str, attribute: str = "gender") -> dict[str, Any]:
    (row,) = table.filter(group_name=group, attribute=attribute).iter_rows(named=True)
    return row


# 200 people; the highest fifth are the 40 with a share of 0.5: 30 of 100 men, 10 of 100 women.
BY_HAND = {
    "male": [(12, 0.5, True), (18, 0.5, False), (8, 0.1, True), (62, 0.1, False)],
    "female": [(6, 0.5, True), (4, 0.5, False), (24, 0.1, True), (66, 0.1, False)],
}


def test_shares_ratios_and_rates_are_the_ones_made_by_hand() -> None:
    table = of_scores(*world(BY_HAND), target="lapse_risk")
    assert table.schema == FAIRNESS_SCHEMA
    man, woman = row_of(table, "male"), row_of(table, "female")
    assert (man["people"], man["positives"], woman["people"], woman["positives"]) == (100, 20, 100, 30)
    assert (man["selection_share"], woman["selection_share"]) == (0.3, 0.1)
    assert (man["selection_ratio"], woman["selection_ratio"]) == (1.0, pytest.approx(1 / 3))
    assert man["mean_predicted_share"] == pytest.approx((30 * 0.5 + 70 * 0.1) / 100)  # 0.22
    assert man["calibration_ratio"] == pytest.approx(0.20 / 0.22)
    assert woman["calibration_ratio"] == pytest.approx(0.30 / 0.14)
    assert (man["true_positive_rate"], man["false_positive_rate"]) == (12 / 20, 18 / 80)
    assert (woman["true_positive_rate"], woman["false_positive_rate"]) == (6 / 30, 4 / 70)
    assert man["finding"] == ""
    assert woman["reason"] is None


def test_what_is_found_is_told_with_group_number_and_rule() -> None:
    table = of_scores(*world(BY_HAND), target="lapse_risk")
    (said,) = findings(table)
    assert said.startswith("lapse_risk, gender female: selected 0.33 times as often as male [0.")
    assert "the four-fifths rule asks for 0.80 or more; happens 2.14 times as often as foretold [1.5" in said
    assert f"- {said}" in in_words(table)
    assert "no verdict" in in_words(table)


def test_intervals_of_rates_are_scipys_wilson_and_calibration_is_that_over_the_mean_prediction() -> None:
    woman = row_of(of_scores(*world(BY_HAND), target="t"), "female")
    for cases, people, name in ((10, 100, "selection"), (6, 30, "true_positive"), (4, 70, "false_positive")):
        low, high = binomtest(cases, people).proportion_ci(method="wilson")
        assert (woman[f"{name}_low"], woman[f"{name}_high"]) == pytest.approx((low, high), abs=1e-6)
        assert wilson(cases, people) == pytest.approx((cases / people, low, high), abs=1e-6)
    low, high = binomtest(30, 100).proportion_ci(method="wilson")
    found = (woman["calibration_ratio_low"], woman["calibration_ratio_high"])
    assert found == pytest.approx((low / 0.14, high / 0.14), abs=1e-5)


def test_the_interval_of_the_ratio_is_katz_with_half_a_person_added() -> None:
    woman = row_of(of_scores(*world(BY_HAND), target="t"), "female")
    error = np.sqrt(1 / 10.5 - 1 / 100.5 + 1 / 30.5 - 1 / 100.5)
    middle = np.log(10.5 / 30.5)
    expected = np.exp([middle - 1.959964 * error, middle + 1.959964 * error])
    assert (woman["selection_ratio_low"], woman["selection_ratio_high"]) == pytest.approx(tuple(expected))


def test_a_difference_that_may_be_chance_is_no_finding() -> None:
    """6 of 40 against 14 of 60: a ratio of 0.64, and an interval that holds 1."""
    few = {
        "male": [(14, 0.5, True), (10, 0.2, True), (36, 0.2, False)],
        "female": [(6, 0.5, True), (6, 0.2, True), (28, 0.2, False)],
    }
    woman = row_of(of_scores(*world(few), target="t"), "female")
    assert woman["selection_ratio"] == pytest.approx(6 / 40 / (14 / 60))
    assert woman["selection_ratio"] < 0.8
    assert woman["selection_ratio_high"] > 1
    assert woman["finding"] == ""


@pytest.mark.parametrize(("people", "is_told"), [(29, False), (30, True)])
def test_a_group_of_fewer_than_thirty_people_is_left_out_with_a_reason(people: int, is_told: bool) -> None:
    groups = {**BY_HAND, "other": [(people, 0.05, False)]}
    table = of_scores(*world(groups), target="t")
    other = row_of(table, "other")
    assert (other["people"] == people) is is_told
    assert (other["selection_share"] is not None) is is_told
    empty = {n for n, v in other.items() if v is None}
    if not is_told:
        assert empty == set(FAIRNESS_SCHEMA) - {"target", "attribute", "group_name", "finding", "reason"}
        assert other["reason"].startswith("fewer than 30 people")
        assert "1 groups of fewer than 30 people are left out" in in_words(table)


def test_rates_of_fewer_than_five_cases_are_empty_and_the_rest_is_told() -> None:
    table = of_scores(*world({**BY_HAND, "other": [(4, 0.05, True), (40, 0.05, False)]}), target="t")
    other = row_of(table, "other")
    for name in ("positives", "observed_share", "calibration_ratio", "true_positive_rate"):
        assert other[name] is None, name
    assert other["false_positive_rate"] == 0
    assert other["reason"] == "it happened to fewer than 5 people: too few for a rate"


def test_people_with_the_same_prediction_are_selected_together_or_nobody_comes_first() -> None:
    same = {"male": [(20, 0.2, True), (30, 0.2, False)], "female": [(20, 0.2, True), (30, 0.2, False)]}
    table = of_scores(*world(same), target="t")
    man = row_of(table, "male")
    assert man["selection_share"] is man["selection_ratio"] is man["true_positive_rate"] is None
    assert "the same prediction" in man["reason"]
    assert man["calibration_ratio"] == pytest.approx(2.0)  # what needs no selection is told all the same


def test_the_order_of_the_rows_changes_nothing() -> None:
    validation, people = world(BY_HAND)
    shuffled = validation.sample(fraction=1, shuffle=True, seed=3), people.sample(fraction=1, shuffle=True, seed=4)
    assert_frame_equal(of_scores(*shuffled, target="t"), of_scores(validation, people, target="t"))


def test_somebody_of_whom_the_attribute_is_not_known_belongs_to_unknown() -> None:
    validation, people = world(BY_HAND)
    known = people.with_columns(gender=pl.when(pl.col("gender") == "male").then(pl.col("gender")))
    table = of_scores(validation, known.filter(pl.col("gender") == "male"), target="t")
    assert table.filter(attribute="gender")["group_name"].to_list() == ["male", "unknown"]
    assert row_of(table, "unknown")["people"] == 100
    assert_frame_equal(
        of_scores(validation, known, target="t").filter(attribute="gender"), table.filter(attribute="gender")
    )


def test_bands_of_age_come_in_their_order() -> None:
    validation, people = world(BY_HAND)
    bands = ["65 and over", "unknown", "25-34", "under 25"] * 50
    table = of_scores(validation, people.with_columns(age_band=pl.Series(bands)), target="t")
    order = table.filter(attribute="age_band")["group_name"].to_list()
    assert order == ["under 25", "25-34", "65 and over", "unknown"]


def test_without_any_outcome_the_table_says_so() -> None:
    validation, people = world(BY_HAND)
    table = of_scores(validation.clear(), people, target="claim_risk")
    (row,) = table.iter_rows(named=True)
    assert (row["attribute"], row["group_name"], row["people"]) == ("all", "all", None)
    assert row["reason"].startswith("not applicable: no prediction of claim_risk")
    assert row["reason"] in in_words(table)
    assert findings(table) == []


# ── value labels ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_of_labels_only_the_selection_is_compared_and_the_rest_is_not_applicable() -> None:
    _, people = world(BY_HAND)
    men = people.filter(gender="male")["person_id"]
    worthy = [*men[:40], *people.filter(gender="female")["person_id"][:10]]
    labels = people.select(
        "person_id",
        value_label=pl.when(pl.col("person_id").is_in(worthy)).then(pl.lit("high value")).otherwise(pl.lit("steady")),
    )
    table = of_labels(labels, people)
    man, woman = row_of(table, "male"), row_of(table, "female")
    assert (man["selection_share"], woman["selection_share"], woman["selection_ratio"]) == (0.4, 0.1, 0.25)
    assert woman["finding"].startswith("selected 0.25 times as often as male")
    assert woman["mean_predicted_share"] is woman["true_positive_rate"] is None
    assert woman["reason"].startswith("not applicable: a value label foretells nothing")


def test_people_without_a_label_are_not_counted_and_nobody_labelled_is_said() -> None:
    _, people = world(BY_HAND)
    unknown = people.select("person_id", value_label=pl.lit("unknown"))
    assert of_labels(unknown, people)["reason"].to_list() == ["not applicable: nobody has a value label on this day"]
    assert of_labels(unknown.clear(), people.clear()).height == 1


# ── simulated scorers ────────────────────────────────────────────────────────────────────────────────────────────────


def simulated(*, people: int, bias: float, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """It happens by the true share, the same in all groups; the scorer takes `bias` log-odds from women."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(-1.2, 1.0, people)
    gender = rng.choice(["female", "male"], people)
    happened = rng.random(people) < 1 / (1 + np.exp(-logit))
    predicted = 1 / (1 + np.exp(-(logit - bias * (gender == "female"))))
    ids = [f"p{i}" for i in range(people)]
    age = rng.choice(["25-34", "35-44", "45-54"], people)
    return (
        pl.DataFrame({"person_id": ids, "is_positive": happened, "predicted_share": predicted}),
        pl.DataFrame({"person_id": ids, "gender": gender, "age_band": age}),
    )


def test_an_unfair_scorer_is_told_and_only_of_the_group_it_is_unfair_to() -> None:
    table = of_scores(*simulated(people=4000, bias=0.8, seed=1), target="t")
    woman = row_of(table, "female")
    assert "four-fifths rule" in woman["finding"]
    assert "as often as foretold" in woman["finding"]
    assert woman["calibration_ratio_low"] > 1.25
    assert [f.split(":")[0] for f in findings(table)] == ["t, gender female"]


def test_a_fair_scorer_is_covered_by_its_intervals_and_hardly_ever_suspected() -> None:
    """60 worlds of 5 groups; the truth is 1, and the rates of a very large world."""
    truth = {
        name: row_of(of_scores(*simulated(people=200_000, bias=0, seed=99), target="t"), "male")[name]
        for name in ("true_positive_rate", "false_positive_rate")
    }
    tables = [of_scores(*simulated(people=1200, bias=0, seed=seed), target="t") for seed in range(60)]
    every = pl.concat(tables)
    covered = {
        "calibration_ratio": every.select(
            pl.col("calibration_ratio_low").le(1) & pl.col("calibration_ratio_high").ge(1)
        ),
        **{
            name: every.select(
                pl.col(name.replace("rate", "low")).le(value) & pl.col(name.replace("rate", "high")).ge(value)
            )
            for name, value in truth.items()
        },
    }
    for name, is_covered in covered.items():
        assert is_covered.height == 300
        assert is_covered.to_series().mean() >= 0.925, name  # 0.95 less two standard errors of 300 draws
    worlds_suspected = sum(bool(findings(table)) for table in tables)
    assert worlds_suspected <= 10  # at most 5 % of worlds per attribute, and two standard errors


def test_every_column_has_a_meaning_and_every_attribute_is_one_of_the_people() -> None:
    assert list(FAIRNESS_COLUMNS) == ["as_of_on", *FAIRNESS_SCHEMA]
    assert ATTRIBUTES == ("gender", "age_band")
