"""Scores: a planted risk is recovered and calibrated, no label leaks, and what cannot be estimated says so."""

import pickle
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.stats import binomtest
from scipy.stats import bootstrap as scipy_bootstrap
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from xmkt_assets.segments import intervals, pictures, scoring
from xmkt_assets.segments.calibration import calibration_of, calibration_table, fit_sigmoid
from xmkt_assets.segments.candidates import CANDIDATES, Candidate
from xmkt_assets.segments.intervals import Floats
from xmkt_assets.segments.model_card import model_card
from xmkt_assets.segments.scoring import FOLDS, Scores, area_under_curve, feature_rows, score_people
from xmkt_assets.segments.targets import CLAIM_RISK, CREDIT_RISK, NOT_APPLICABLE, TARGETS, Target

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
        **dict.fromkeys(CLAIM_RISK.features, np.zeros(n)),
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
def found(examples: pl.DataFrame) -> Scores:
    return score_people(CLAIM_RISK, examples, seed=7)


def claim_risk(examples: pl.DataFrame) -> Scores:
    """By the simplest candidate alone, which is the one chosen on the planted examples."""
    return score_people(CLAIM_RISK, examples, seed=7, candidates=CANDIDATES[:1])


def scored(examples: pl.DataFrame, found: Scores) -> pl.DataFrame:
    """The people scored, with the probability given, the true one, and what then happened."""
    return found.people.join(examples.filter(pl.col("has_claim_60d").is_null()), on="person_id", suffix="_given")


def test_a_planted_risk_is_ranked_nearly_as_well_as_by_the_truth(examples: pl.DataFrame, found: Scores) -> None:
    rows = scored(examples, found)
    oracle = roc_auc_score(rows["happened"], rows["truth"])
    assert rows.height == 3000
    assert oracle > 0.65
    assert roc_auc_score(rows["happened"], rows["claim_risk_share"]) > oracle - 0.015


def test_probabilities_are_close_to_the_true_ones(examples: pl.DataFrame, found: Scores) -> None:
    rows = scored(examples, found)
    error = (rows["claim_risk_share"] - rows["truth"]).abs().mean()
    assert error is not None
    assert error < 0.03
    tenths = rows.sort("claim_risk_share").with_row_index().group_by(pl.col("index") // 300)
    means = tenths.agg(pl.col("claim_risk_share").mean(), pl.col("truth").mean())
    assert (means["claim_risk_share"] - means["truth"]).abs().max() < 0.06


def test_the_reported_interval_of_the_auc_holds_what_unseen_people_give(examples: pl.DataFrame, found: Scores) -> None:
    """Out-of-fold numbers are honest: the AUC on 3,000 people never seen lies near the reported one."""
    assert found.report is not None
    rows = scored(examples, found)
    unseen = roc_auc_score(rows["happened"], rows["claim_risk_share"])
    low, high = found.report.best.auc.low, found.report.best.auc.high
    assert low - 0.02 < unseen < high + 0.02


def test_a_linear_risk_is_left_to_the_line_and_one_with_corners_to_the_trees(found: Scores) -> None:
    assert found.report is not None
    assert found.report.chosen == "logistic_regression"
    corner = score_people(CLAIM_RISK, planted_examples(people=2000, shape="corner"), seed=7)
    assert corner.report is not None
    assert corner.report.chosen == "lightgbm"
    assert corner.report.best.auc.value == min(corner.report.candidates, key=lambda c: c.log_loss.value).auc.value


def test_scores_do_not_depend_on_the_order_of_the_rows(examples: pl.DataFrame, found: Scores) -> None:
    shuffled = claim_risk(examples.sample(fraction=1.0, shuffle=True, seed=3))
    assert_frame_equal(shuffled.people, found.people)


def test_nobody_is_scored_by_what_is_not_known_yet(examples: pl.DataFrame, found: Scores) -> None:
    """Columns beside the features, the outcome among them, must not reach the probability."""
    without = claim_risk(examples.drop("truth", "happened"))
    assert_frame_equal(without.people, found.people)
    assert not {"has_claim_60d", "truth", "happened", "observed_at"} & set(CLAIM_RISK.features)


def test_labels_that_mean_nothing_give_no_probability(examples: pl.DataFrame) -> None:
    """Were the label among the features, shuffling it would still be 'predicted' perfectly."""
    labelled = examples.filter(pl.col("has_claim_60d").is_not_null())
    noise = labelled.with_columns(pl.col("has_claim_60d").shuffle(seed=5))
    found = claim_risk(pl.concat([noise, examples.filter(pl.col("has_claim_60d").is_null())]))
    assert found.report is not None
    assert found.report.best.auc.value < 0.55
    assert found.reason is not None
    assert "no better than chance" in found.reason
    assert found.people["claim_risk_share"].null_count() == found.people.height == 3000
    assert set(found.people["claim_risk_band"]) == {"unknown"}


def test_probabilities_differ_between_people_and_stay_between_0_and_1(found: Scores) -> None:
    shares = found.people["claim_risk_share"]
    assert shares.n_unique() > 100
    assert shares.is_between(0, 1, closed="none").all()
    assert found.people["reason"].null_count() == found.people.height


def test_a_pickled_model_scores_as_before(examples: pl.DataFrame, found: Scores) -> None:
    again = pickle.loads(pickle.dumps(found.model))
    to_score = examples.filter(pl.col("has_claim_60d").is_null()).sort("person_id")
    assert again.shares(to_score) == pytest.approx(found.people["claim_risk_share"].to_numpy())


# --- every candidate --------------------------------------------------------------------------------------------------

each_candidate = pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda c: c.name)


def learnt(examples: pl.DataFrame) -> tuple[Floats, Floats]:
    known = examples.filter(pl.col("has_claim_60d").is_not_null())
    return feature_rows(known, CLAIM_RISK.features), known["has_claim_60d"].cast(pl.Float64).to_numpy()


@pytest.fixture(scope="module")
def gapped() -> tuple[Floats, Floats]:
    """Examples of which one feature is empty everywhere and another here and there."""
    return learnt(planted_examples(people=600).with_columns(age_years=pl.lit(None, pl.Float64)))


@each_candidate
def test_every_candidate_fits_with_empty_columns_and_survives_pickling(
    candidate: Candidate, gapped: tuple[Floats, Floats]
) -> None:
    rows, labels = gapped
    model = pickle.loads(pickle.dumps(candidate.fit(rows, labels, seed=1)))
    shares = model(rows)
    assert shares.shape == (600,)
    assert ((shares > 0) & (shares < 1)).all()
    assert roc_auc_score(labels, shares) > 0.6


@each_candidate
def test_contributions_add_up_to_the_log_odds_of_the_share(candidate: Candidate, gapped: tuple[Floats, Floats]) -> None:
    """Each share is the model's middle moved by its contributions and by nothing else."""
    rows, labels = gapped
    model = candidate.fit(rows, labels, seed=1)
    shares, contributions = model(rows), model.contributions(rows)
    assert contributions.shape == rows.shape
    left = np.log(shares / (1 - shares)) - contributions.sum(axis=1)
    assert left == pytest.approx(np.full(len(rows), left[0]), abs=1e-6)
    assert np.abs(contributions[:, CLAIM_RISK.features.index("age_years")]).max() == 0  # empty everywhere


@each_candidate
def test_a_value_never_seen_and_a_feature_gone_empty_still_give_a_share(
    candidate: Candidate, gapped: tuple[Floats, Floats]
) -> None:
    rows, labels = gapped
    model = candidate.fit(rows, labels, seed=1)
    strange = np.vstack([np.full(rows.shape[1], v) for v in (1e300, -1e300, -1.0, np.nan)])
    assert np.isfinite(model(strange)).all()
    assert np.isfinite(model.contributions(strange)).all()
    one = model(rows[:1])
    assert one.shape == (1,)
    assert one[0] == pytest.approx(model(rows)[0])


@each_candidate
def test_the_same_seed_gives_the_same_model(candidate: Candidate, gapped: tuple[Floats, Floats]) -> None:
    rows, labels = gapped
    assert candidate.fit(rows, labels, seed=4)(rows) == pytest.approx(candidate.fit(rows, labels, seed=4)(rows))


@each_candidate
def test_people_who_are_all_the_same_get_no_share(candidate: Candidate) -> None:
    same = planted_examples(people=300).with_columns([pl.lit(1.0).alias(c) for c in CLAIM_RISK.features])
    found = score_people(CLAIM_RISK, same, seed=7, candidates=[candidate])
    assert found.reason is not None
    assert "no better than chance" in found.reason
    assert set(found.people["claim_risk_band"]) == {"unknown"}


@each_candidate
def test_without_any_insurer_data_there_is_a_reason_and_no_share(candidate: Candidate) -> None:
    nothing = planted_examples(people=100).with_columns(
        [pl.lit(None, pl.Float64).alias(c) for c in CLAIM_RISK.features]
    )
    nothing = nothing.with_columns(has_claim_60d=pl.when(pl.col("has_claim_60d").is_not_null()).then(False))
    found = score_people(CLAIM_RISK, nothing, seed=7, candidates=[candidate])
    assert_unknown(found, people=100, reason="0 of 100 people seen 60 days ago claimed since")


@each_candidate
def test_one_person_to_score_gets_a_share_and_one_to_learn_from_a_reason(candidate: Candidate) -> None:
    examples = planted_examples(people=500)
    known, others = (examples.filter(pl.col("has_claim_60d").is_null() == empty) for empty in (False, True))
    alone = score_people(CLAIM_RISK, pl.concat([known, others.head(1)]), seed=7, candidates=[candidate])
    assert alone.people["claim_risk_share"].is_between(0, 1).to_list() == [True]
    nobody = score_people(CLAIM_RISK, pl.concat([known.head(1), others]), seed=7, candidates=[candidate])
    assert_unknown(nobody, people=500, reason=" of 1 people seen 60 days ago claimed since, wanted at least 50")


def test_paths_through_a_tree_contribute_what_each_question_changes_by_hand() -> None:
    """x0 parts 100 people from 100, then x1 those with a large x0; shares are m-estimates with m = 10."""
    x0 = np.repeat([0.0, 1.0, 1.0], [100, 50, 50])
    x1 = np.repeat([0.0, 0.0, 1.0], [100, 50, 50])
    labels = np.concatenate([np.zeros(100), np.repeat([0.0, 1.0], [25, 25]), np.repeat([0.0, 1.0], [10, 40])])
    (cart,) = (c for c in CANDIDATES if c.name == "cart")
    model = cart.fit(np.column_stack([x0, x1]), labels, seed=1)

    def share(positives: int, people: int) -> float:
        return (positives + 10 * 0.325) / (people + 10)

    root, right, leaf = share(65, 200), share(65, 100), share(40, 50)
    asked = np.array([[1.0, 1.0]])
    assert model(asked) == pytest.approx([leaf])
    stretch = (np.log(leaf / (1 - leaf)) - np.log(root / (1 - root))) / (leaf - root)
    by_hand = [(right - root) * stretch, (leaf - right) * stretch]
    assert model.contributions(asked)[0] == pytest.approx(by_hand)


def test_every_score_has_its_reasons_in_words(examples: pl.DataFrame, found: Scores) -> None:
    many_claims = examples.filter(pl.col("has_claim_60d").is_null()).sort("claim_count").tail(1)["person_id"]
    said = found.people.filter(pl.col("person_id").is_in(many_claims.to_list()))["why"].item()
    assert said.startswith(("+ ", "- "))
    assert "claims" in said.split("; ")[0]
    assert found.people["why"].null_count() == 0


# --- targets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
def test_no_target_sees_gender_and_only_claim_risk_sees_age(target: Target) -> None:
    words = {word for feature in target.features for word in feature.split("_")}
    assert not words & {"gender", "female", "male", "sex"}
    assert bool(words & {"age", "birth"}) == (target is CLAIM_RISK)
    assert len(set(target.features)) == len(target.features)


def test_credit_risk_is_declared_not_applicable_with_its_reason() -> None:
    assert NOT_APPLICABLE == (CREDIT_RISK,)
    assert CREDIT_RISK.reason.startswith("not applicable: ")
    assert CREDIT_RISK.name not in {t.name for t in TARGETS}


def test_a_target_of_another_name_is_scored_in_columns_of_its_own(examples: pl.DataFrame) -> None:
    lapse = replace(CLAIM_RISK, name="lapse_risk")
    found = score_people(lapse, examples.head(1200), seed=7, candidates=CANDIDATES[:1])
    assert found.people.columns == ["person_id", "lapse_risk_share", "lapse_risk_band", "model", "why", "reason"]


def test_many_examples_are_drawn_from_the_same_for_the_same_seed(
    examples: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "MOST_COMPARED", 900)
    monkeypatch.setattr(scoring, "CHUNK_ROWS", 1000)
    one, again = (score_people(CLAIM_RISK, examples, seed=7, candidates=CANDIDATES[:1]) for _ in range(2))
    assert one.report is not None
    assert one.report.examples == one.report.validation.height == 900
    assert_frame_equal(one.people, again.people)
    assert one.people.height == 3000
    known = examples.filter(pl.col("has_claim_60d").is_not_null())
    assert one.report.validation.join(known, on=["person_id", "observed_at"]).height == 900


def test_a_standing_model_scores_without_learning(examples: pl.DataFrame, found: Scores) -> None:
    assert found.model is not None
    to_score = examples.filter(pl.col("has_claim_60d").is_null())
    assert_frame_equal(scoring.score_with(CLAIM_RISK, to_score, found.model).people, found.people)


def test_the_validation_holds_each_example_once_with_what_happened(examples: pl.DataFrame, found: Scores) -> None:
    assert found.report is not None
    validation = scoring.validation_rows(found)
    known = examples.filter(pl.col("has_claim_60d").is_not_null())
    joined = validation.join(known, on=["person_id", "observed_at"])
    assert joined.height == validation.height == known.height
    assert (joined["is_positive"] == joined["has_claim_60d"]).all()
    losses = brier_score_loss(validation["is_positive"], validation["predicted_share"])
    assert losses == pytest.approx(found.report.best.brier.value)


def test_the_comparison_names_one_candidate_chosen_with_every_metric(found: Scores) -> None:
    rows = scoring.comparison_rows(CLAIM_RISK, found)
    assert rows.height == 5 * len(CANDIDATES)
    assert rows.filter("is_chosen")["candidate"].unique().to_list() == ["logistic_regression"]
    assert (rows["low"] <= rows["value"]).all()
    assert (rows["value"] <= rows["high"]).all()


def test_the_card_says_what_for_what_not_and_how_well(found: Scores) -> None:
    card = model_card(CLAIM_RISK, found, day=END.date(), snapshot_id=42, seed=7)
    assert found.report is not None
    for said in (
        "lake snapshot 42",
        "must not be used",
        str(found.report.best.auc),
        "logistic regression",
        "age_years",
    ):
        assert said in card
    none = claim_risk(planted_examples(people=60))
    assert "Not in use. not applicable" in model_card(CLAIM_RISK, none, day=END.date(), snapshot_id=1, seed=7)


# --- not applicable -------------------------------------------------------------------------------------------------


def assert_unknown(found: Scores, *, people: int, reason: str) -> None:
    assert found.reason is not None
    assert found.reason.startswith("not applicable: ")
    assert reason in found.reason
    assert (found.model, found.report) == (None, None)
    assert found.people.height == people
    assert found.people["claim_risk_share"].null_count() == people
    assert set(found.people.select("claim_risk_band", "reason").rows()) <= {("unknown", found.reason)}


def test_without_a_claims_feed_everybody_is_unknown_with_the_reason(examples: pl.DataFrame) -> None:
    no_claims = examples.with_columns(has_claim_60d=pl.when(pl.col("has_claim_60d").is_not_null()).then(False))
    assert_unknown(claim_risk(no_claims), people=3000, reason="0 of 3000 people seen 60 days ago claimed since")


def test_without_history_everybody_is_unknown_with_the_reason(examples: pl.DataFrame) -> None:
    first_days = examples.filter(pl.col("has_claim_60d").is_null())
    assert_unknown(claim_risk(first_days), people=3000, reason="there are no people seen 60 days ago")


def test_forty_nine_claimants_are_too_few_and_fifty_are_enough(examples: pl.DataFrame) -> None:
    claimants = examples.filter(pl.col("has_claim_60d"))
    others = examples.filter(~pl.col("has_claim_60d")).head(400)
    waiting = examples.filter(pl.col("has_claim_60d").is_null()).head(10)
    assert_unknown(claim_risk(pl.concat([claimants.head(49), others, waiting])), people=10, reason="49 of 449")
    enough = claim_risk(pl.concat([claimants.head(50), others, waiting]))
    assert enough.report is not None
    assert enough.report.positives == 50


def test_claims_by_nearly_everybody_are_no_contrast_to_learn_from(examples: pl.DataFrame) -> None:
    everybody = examples.with_columns(has_claim_60d=pl.when(pl.col("has_claim_60d").is_not_null()).then(True))
    assert_unknown(claim_risk(everybody), people=3000, reason="all but 0 of 3000 people")


def test_nobody_insured_gives_an_empty_table_of_the_same_columns(examples: pl.DataFrame, found: Scores) -> None:
    nobody = claim_risk(examples.clear())
    assert_unknown(nobody, people=0, reason="there are no people seen")
    assert nobody.people.schema == found.people.schema


def test_nobody_to_score_still_gives_a_model(examples: pl.DataFrame, found: Scores) -> None:
    past_only = claim_risk(examples.filter(pl.col("has_claim_60d").is_not_null()))
    assert past_only.model is not None
    assert past_only.people.is_empty()
    assert past_only.people.schema == found.people.schema


def test_a_missing_feature_is_named(examples: pl.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"lack \['claim_count'\].*risk_examples"):
        claim_risk(examples.drop("claim_count"))


# --- the numbers reported -------------------------------------------------------------------------------------------


def test_the_area_under_the_curve_equals_scikit_learns_with_ties_and_weights() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 300).astype(float)
    shares = np.round(rng.random(300) * 0.5 + 0.2 * labels, 1)  # many ties
    weights = rng.integers(0, 4, 300).astype(float)
    expected = roc_auc_score(labels, shares, sample_weight=weights)
    assert area_under_curve(labels, shares)(weights) == pytest.approx(expected, abs=1e-12)


def test_reported_scores_equal_scikit_learns_on_a_hand_made_fold_split(examples: pl.DataFrame, found: Scores) -> None:
    """A second way to the same numbers: cross_val_predict with the same folds, then a sigmoid of the other folds."""
    from sklearn.model_selection import StratifiedKFold

    known = examples.filter(pl.col("has_claim_60d").is_not_null()).sort("person_id", "observed_at")
    rows, labels = feature_rows(known, CLAIM_RISK.features), known["has_claim_60d"].cast(pl.Float64).to_numpy()
    raw, calibrated = np.empty(len(labels)), np.empty(len(labels))
    splits = list(StratifiedKFold(FOLDS, shuffle=True, random_state=7).split(rows, labels))
    for train, test in splits:
        raw[test] = CANDIDATES[0].fit(rows[train], labels[train], seed=7)(rows[test])
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
    assert scoring.band(share, base_share=0.1) == band


def test_the_calibration_table_holds_everybody_once_with_wilsons_interval() -> None:
    labels = np.array([0.0] * 9 + [1.0])
    table = calibration_table(np.tile(labels, 2), np.linspace(0.1, 0.9, 20), bins=2)
    assert table["people"].to_list() == [10, 10]
    assert table["observed_share"].to_list() == [0.1, 0.1]
    expected = binomtest(1, 10).proportion_ci(method="wilson")
    assert table.select("low", "high").row(0) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_pictures_draw_every_tenth_and_every_group(found: Scores) -> None:
    assert found.report is not None
    axes = pictures.calibration(CLAIM_RISK, found.report).axes[0]
    drawn = axes.lines[0].get_xydata()
    assert drawn[:, 1] == pytest.approx(found.report.calibration["observed_share"].to_numpy())
    groups = pl.DataFrame({"value_label": ["a", "b"], "people": [3, 1], "people_share": [0.75, 0.25]})
    bars = pictures.group_sizes(groups).axes[0].patches
    assert [bar.get_width() for bar in bars] == [3, 1]


def test_the_sigmoid_is_the_one_scikit_learn_finds() -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(3)
    shares = rng.beta(1, 9, 3000)
    labels = (rng.random(3000) < shares**0.8).astype(float)
    logits = np.log(shares) - np.log1p(-shares)
    theirs = LogisticRegression(C=1e6, tol=1e-8, max_iter=1000).fit(logits[:, None], labels)
    ours = fit_sigmoid(shares, labels)
    assert (ours.slope, ours.intercept) == pytest.approx((theirs.coef_[0, 0], theirs.intercept_[0]), abs=1e-4)


def test_shares_that_part_the_labels_without_a_fault_still_give_a_finite_sigmoid() -> None:
    sigmoid = fit_sigmoid(np.repeat([0.2, 0.8], 50), np.repeat([0.0, 1.0], 50))
    assert np.isfinite([sigmoid.slope, sigmoid.intercept]).all()
    assert sigmoid(np.array([0.2, 0.8])) == pytest.approx([0, 1], abs=1e-3)
    flat = fit_sigmoid(np.full(40, 0.3), np.repeat([0.0, 1.0], 20))
    assert flat(np.array([0.3])) == pytest.approx([0.5])


def test_slope_and_intercept_of_calibration_equal_a_fit_by_hand_on_distorted_shares() -> None:
    """A second method: Fisher scoring on the design (1, logit), and on an offset for calibration in the large."""
    rng = np.random.default_rng(8)
    logits = rng.normal(-1, 1, 4000)
    labels = (rng.random(4000) < 1 / (1 + np.exp(-(0.7 * logits - 0.4)))).astype(float)
    found = calibration_of(1 / (1 + np.exp(-logits)), labels)
    design, weights = np.column_stack([np.ones(4000), logits]), np.zeros(2)
    for _ in range(30):
        p = 1 / (1 + np.exp(-design @ weights))
        information = design.T @ (design * (p * (1 - p))[:, None])
        weights += np.linalg.solve(information, design.T @ (labels - p))
    error = np.sqrt(np.linalg.inv(information)[1, 1])
    assert found.slope.value == pytest.approx(weights[1], abs=1e-4)
    assert found.slope.high - found.slope.value == pytest.approx(1.959964 * error, rel=1e-3)
    assert found.slope.low < 0.7 < found.slope.high
    shifted = 1 / (1 + np.exp(-(logits + found.intercept.value)))
    assert shifted.mean() == pytest.approx(labels.mean())
    assert found.intercept.high < 0  # shares are too high on the whole


def test_intervals_on_shared_draws_are_those_on_draws_of_their_own() -> None:
    values = np.random.default_rng(4).normal(size=(2, 60))
    statistics = [intervals.weighted_mean(v) for v in values]
    together = intervals.bootstraps(statistics, size=60, draws=50, seed=3)
    assert together == [intervals.bootstrap(s, size=60, draws=50, seed=3) for s in statistics]
