"""Claim risk: a planted risk is recovered and calibrated, no label leaks, and what cannot be estimated says so."""

import pickle
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.stats import binomtest
from scipy.stats import bootstrap as scipy_bootstrap
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from xmkt_assets.segments import intervals, pictures
from xmkt_assets.segments.risk import (
    CANDIDATES,
    FEATURES,
    FOLDS,
    ClaimRisk,
    area_under_curve,
    calibration_table,
    claim_risk,
    claim_risk_band,
    feature_rows,
    fit_sigmoid,
)

END = datetime(2026, 9, 29)


def planted_examples(
    *, people: int = 3000, strength: float = 1.0, shape: str = "linear", seed: int = 0
) -> pl.DataFrame:
    """Labelled and unlabelled examples whose true probability of a claim is the column `truth`.

    `linear`: logit = −1.8 + strength · (0.9 · ln(1 + claims) + 0.7 · health + 0.02 · (age − 45)); `corner`: four times
    as likely for the young with motor cover only, which no line can say.
    """
    rng = np.random.default_rng(seed)
    n = 2 * people
    age, claims = rng.integers(20, 75, n), rng.poisson(0.6, n)
    health, motor = rng.integers(0, 2, n), rng.integers(0, 2, n)
    line = -1.8 + strength * (0.9 * np.log1p(claims) + 0.7 * health + 0.02 * (age - 45))
    corner = np.where((age < 48) == (motor == 1), 0.4, 0.1)
    truth = 1 / (1 + np.exp(-line)) if shape == "linear" else corner
    happened = rng.random(n) < truth
    is_labelled = np.arange(n) < people
    known = {
        "person_id": [f"p{i % people:05d}" for i in range(n)],
        "observed_at": [END - timedelta(days=60) if known else END for known in is_labelled],
        "has_claim_60d": [bool(h) if k else None for h, k in zip(happened, is_labelled, strict=True)],
        "gender": rng.choice(["female", "male"], n),
        **dict.fromkeys(FEATURES, np.zeros(n)),
        "age_years": age,
        "claim_count": claims,
        "health_policy_count": health,
        "motor_policy_count": motor,
        "days_since_claim": np.where(claims > 0, rng.integers(1, 30, n), np.nan),
        "truth": truth,
        "happened": happened,
    }
    return pl.DataFrame(known).with_columns(pl.col("days_since_claim").fill_nan(None))


@pytest.fixture(scope="module")
def examples() -> pl.DataFrame:
    return planted_examples()


@pytest.fixture(scope="module")
def found(examples: pl.DataFrame) -> ClaimRisk:
    return claim_risk(examples, seed=7)


def scored(examples: pl.DataFrame, found: ClaimRisk) -> pl.DataFrame:
    """The people scored, with the probability given, the true one, and what then happened."""
    return found.scores.join(examples.filter(pl.col("has_claim_60d").is_null()), on="person_id", suffix="_given")


def test_a_planted_risk_is_ranked_nearly_as_well_as_by_the_truth(examples: pl.DataFrame, found: ClaimRisk) -> None:
    rows = scored(examples, found)
    oracle = roc_auc_score(rows["happened"], rows["truth"])
    assert rows.height == 3000
    assert oracle > 0.65
    assert roc_auc_score(rows["happened"], rows["claim_risk_share"]) > oracle - 0.015


def test_probabilities_are_close_to_the_true_ones(examples: pl.DataFrame, found: ClaimRisk) -> None:
    rows = scored(examples, found)
    error = (rows["claim_risk_share"] - rows["truth"]).abs().mean()
    assert error is not None
    assert error < 0.03
    tenths = rows.sort("claim_risk_share").with_row_index().group_by(pl.col("index") // 300)
    means = tenths.agg(pl.col("claim_risk_share").mean(), pl.col("truth").mean())
    assert (means["claim_risk_share"] - means["truth"]).abs().max() < 0.06


def test_the_reported_interval_of_the_auc_holds_what_unseen_people_give(
    examples: pl.DataFrame, found: ClaimRisk
) -> None:
    """Out-of-fold numbers are honest: the AUC on 3,000 people never seen lies near the reported one."""
    assert found.report is not None
    rows = scored(examples, found)
    unseen = roc_auc_score(rows["happened"], rows["claim_risk_share"])
    low, high = found.report.best.auc.low, found.report.best.auc.high
    assert low - 0.02 < unseen < high + 0.02


def test_a_linear_risk_is_left_to_the_line_and_one_with_corners_to_the_trees(found: ClaimRisk) -> None:
    assert found.report is not None
    assert found.report.chosen == "logistic_regression"
    corner = claim_risk(planted_examples(people=2000, shape="corner"), seed=7)
    assert corner.report is not None
    assert corner.report.chosen == "lightgbm"
    assert corner.report.best.auc.value == min(corner.report.candidates, key=lambda c: c.log_loss.value).auc.value


def test_scores_do_not_depend_on_the_order_of_the_rows(examples: pl.DataFrame, found: ClaimRisk) -> None:
    shuffled = claim_risk(examples.sample(fraction=1.0, shuffle=True, seed=3), seed=7)
    assert_frame_equal(shuffled.scores, found.scores)


def test_nobody_is_scored_by_what_is_not_known_yet(examples: pl.DataFrame, found: ClaimRisk) -> None:
    """Columns beside the features, the outcome among them, must not reach the probability."""
    without = claim_risk(examples.drop("truth", "happened"), seed=7)
    assert_frame_equal(without.scores, found.scores)
    assert not {"has_claim_60d", "truth", "happened", "observed_at"} & set(FEATURES)


def test_labels_that_mean_nothing_give_no_probability(examples: pl.DataFrame) -> None:
    """Were the label among the features, shuffling it would still be 'predicted' perfectly."""
    labelled = examples.filter(pl.col("has_claim_60d").is_not_null())
    noise = labelled.with_columns(pl.col("has_claim_60d").shuffle(seed=5))
    found = claim_risk(pl.concat([noise, examples.filter(pl.col("has_claim_60d").is_null())]), seed=7)
    assert found.report is not None
    assert found.report.best.auc.value < 0.55
    assert found.reason is not None
    assert "no better than chance" in found.reason
    assert found.scores["claim_risk_share"].null_count() == found.scores.height == 3000
    assert set(found.scores["claim_risk_band"]) == {"unknown"}


def test_probabilities_differ_between_people_and_stay_between_0_and_1(found: ClaimRisk) -> None:
    shares = found.scores["claim_risk_share"]
    assert shares.n_unique() > 100
    assert shares.is_between(0, 1, closed="none").all()
    assert found.scores["reason"].null_count() == found.scores.height


def test_a_pickled_model_scores_as_before(examples: pl.DataFrame, found: ClaimRisk) -> None:
    again = pickle.loads(pickle.dumps(found.model))
    to_score = examples.filter(pl.col("has_claim_60d").is_null()).sort("person_id")
    assert again.claim_share(to_score) == pytest.approx(found.scores["claim_risk_share"].to_numpy())


@pytest.mark.parametrize("name", list(CANDIDATES))
def test_every_candidate_fits_with_empty_columns_and_survives_pickling(name: str) -> None:
    examples = planted_examples(people=400).with_columns(
        age_years=pl.lit(None, pl.Float64), gender=pl.lit(None, pl.String)
    )
    known = examples.filter(pl.col("has_claim_60d").is_not_null())
    rows, labels = feature_rows(known), known["has_claim_60d"].cast(pl.Float64).to_numpy()
    model = pickle.loads(pickle.dumps(CANDIDATES[name](rows, labels, seed=1)))
    shares = model(rows)
    assert shares.shape == (400,)
    assert ((shares > 0) & (shares < 1)).all()
    assert roc_auc_score(labels, shares) > 0.6


# --- not applicable -------------------------------------------------------------------------------------------------


def assert_unknown(found: ClaimRisk, *, people: int, reason: str) -> None:
    assert found.reason is not None
    assert found.reason.startswith("not applicable: ")
    assert reason in found.reason
    assert (found.model, found.report) == (None, None)
    assert found.scores.height == people
    assert found.scores["claim_risk_share"].null_count() == people
    assert set(found.scores.select("claim_risk_band", "reason").rows()) <= {("unknown", found.reason)}


def test_without_a_claims_feed_everybody_is_unknown_with_the_reason(examples: pl.DataFrame) -> None:
    no_claims = examples.with_columns(has_claim_60d=pl.when(pl.col("has_claim_60d").is_not_null()).then(False))
    assert_unknown(claim_risk(no_claims, seed=7), people=3000, reason="0 of 3000 people insured 60 days ago claimed")


def test_without_history_everybody_is_unknown_with_the_reason(examples: pl.DataFrame) -> None:
    first_days = examples.filter(pl.col("has_claim_60d").is_null())
    assert_unknown(claim_risk(first_days, seed=7), people=3000, reason="nobody was insured 60 days ago")


def test_forty_nine_claimants_are_too_few_and_fifty_are_enough(examples: pl.DataFrame) -> None:
    claimants = examples.filter(pl.col("has_claim_60d"))
    others = examples.filter(~pl.col("has_claim_60d")).head(400)
    waiting = examples.filter(pl.col("has_claim_60d").is_null()).head(10)
    assert_unknown(claim_risk(pl.concat([claimants.head(49), others, waiting]), seed=7), people=10, reason="49 of 449")
    enough = claim_risk(pl.concat([claimants.head(50), others, waiting]), seed=7)
    assert enough.report is not None
    assert enough.report.claimants == 50


def test_claims_by_nearly_everybody_are_no_contrast_to_learn_from(examples: pl.DataFrame) -> None:
    everybody = examples.with_columns(has_claim_60d=pl.when(pl.col("has_claim_60d").is_not_null()).then(True))
    assert_unknown(claim_risk(everybody, seed=7), people=3000, reason="only 0 people did not claim")


def test_nobody_insured_gives_an_empty_table_of_the_same_columns(examples: pl.DataFrame, found: ClaimRisk) -> None:
    nobody = claim_risk(examples.clear(), seed=7)
    assert_unknown(nobody, people=0, reason="nobody was insured")
    assert nobody.scores.schema == found.scores.schema


def test_nobody_to_score_still_gives_a_model(examples: pl.DataFrame, found: ClaimRisk) -> None:
    past_only = claim_risk(examples.filter(pl.col("has_claim_60d").is_not_null()), seed=7)
    assert past_only.model is not None
    assert past_only.scores.is_empty()
    assert past_only.scores.schema == found.scores.schema


def test_a_missing_feature_is_named(examples: pl.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"lack \['claim_count'\].*risk_examples"):
        claim_risk(examples.drop("claim_count"), seed=7)


# --- the numbers reported -------------------------------------------------------------------------------------------


def test_the_area_under_the_curve_equals_scikit_learns_with_ties_and_weights() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 300).astype(float)
    shares = np.round(rng.random(300) * 0.5 + 0.2 * labels, 1)  # many ties
    weights = rng.integers(0, 4, 300).astype(float)
    expected = roc_auc_score(labels, shares, sample_weight=weights)
    assert area_under_curve(labels, shares)(weights) == pytest.approx(expected, abs=1e-12)


def test_reported_scores_equal_scikit_learns_on_a_hand_made_fold_split(
    examples: pl.DataFrame, found: ClaimRisk
) -> None:
    """A second way to the same numbers: cross_val_predict with the same folds, then a sigmoid of the other folds."""
    from sklearn.model_selection import StratifiedKFold

    known = examples.filter(pl.col("has_claim_60d").is_not_null()).sort("person_id", "observed_at")
    rows, labels = feature_rows(known), known["has_claim_60d"].cast(pl.Float64).to_numpy()
    raw, calibrated = np.empty(len(labels)), np.empty(len(labels))
    splits = list(StratifiedKFold(FOLDS, shuffle=True, random_state=7).split(rows, labels))
    for train, test in splits:
        raw[test] = CANDIDATES["logistic_regression"](rows[train], labels[train], seed=7)(rows[test])
    for train, test in splits:
        calibrated[test] = fit_sigmoid(raw[train], labels[train])(raw[test])
    assert found.report is not None
    best = found.report.best
    assert best.auc.value == pytest.approx(roc_auc_score(labels, raw))
    assert best.brier.value == pytest.approx(brier_score_loss(labels, calibrated))
    assert best.log_loss.value == pytest.approx(log_loss(labels, calibrated))
    assert found.report.base_log_loss == pytest.approx(log_loss(labels, np.full(len(labels), labels.mean())))
    assert best.log_loss.value < found.report.base_log_loss


def test_the_sigmoid_recovers_a_known_distortion() -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(-1, 1.5, 60_000)
    labels = (rng.random(60_000) < 1 / (1 + np.exp(-(0.5 * logits + 0.3)))).astype(float)
    sigmoid = fit_sigmoid(1 / (1 + np.exp(-logits)), labels)
    assert (sigmoid.slope, sigmoid.intercept) == pytest.approx((0.5, 0.3), abs=0.04)


def test_the_bootstrap_interval_of_a_mean_equals_scipys() -> None:
    values = np.random.default_rng(4).exponential(2.0, 400)
    ours = intervals.bootstrap(intervals.weighted_mean(values), size=400, draws=4000, seed=1)
    theirs = scipy_bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=1).confidence_interval
    assert ours.value == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


@pytest.mark.parametrize(
    ("share", "band"), [(0.2, "high"), (0.199, "medium"), (0.05, "medium"), (0.049, "low"), (0.0, "low")]
)
def test_bands_are_twice_and_half_the_claim_share_of_all(share: float, band: str) -> None:
    assert claim_risk_band(share, base_share=0.1) == band


def test_the_calibration_table_holds_everybody_once_with_wilsons_interval() -> None:
    labels = np.array([0.0] * 9 + [1.0])
    table = calibration_table(np.tile(labels, 2), np.linspace(0.1, 0.9, 20), bins=2)
    assert table["people"].to_list() == [10, 10]
    assert table["observed_share"].to_list() == [0.1, 0.1]
    expected = binomtest(1, 10).proportion_ci(method="wilson")
    assert table.select("low", "high").row(0) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_pictures_draw_every_tenth_and_every_group(found: ClaimRisk) -> None:
    assert found.report is not None
    axes = pictures.calibration(found.report).axes[0]
    drawn = axes.lines[0].get_xydata()
    assert drawn[:, 1] == pytest.approx(found.report.calibration["observed_share"].to_numpy())
    groups = pl.DataFrame({"value_label": ["a", "b"], "people": [3, 1], "people_share": [0.75, 0.25]})
    bars = pictures.group_sizes(groups).axes[0].patches
    assert [bar.get_width() for bar in bars] == [3, 1]
