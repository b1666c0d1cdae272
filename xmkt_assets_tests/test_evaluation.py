"""Evaluation: sample ratios, effects and Qini curves against hand-made cases, second methods and published figures."""

import json
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from xmkt_assets.evaluation import covariates, experiments, pictures
from xmkt_assets.evaluation.effects import difference_in_means
from xmkt_assets.evaluation.metrics import METRICS, goal_names, metrics_of
from xmkt_assets.evaluation.qini import qini, qini_curve
from xmkt_assets.evaluation.srm import sample_ratio
from xmkt_assets.evaluation.t_learner import cross_fitted_scores, not_learnable
from xmkt_assets.evaluation.tables import CURVES_SCHEMA, RESULTS_SCHEMA
from xmkt_assets.evaluation.words import curve_sentences

DATA = Path(__file__).parent.parent.parent / "shared" / "data"


def given_csv(name: str) -> pl.DataFrame:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not on this machine: the public data set is not part of the repository")
    return pl.read_csv(path)


# --- sample ratio ----------------------------------------------------------------------------------------------------


def test_cookie_cats_is_warned_of_with_its_published_p() -> None:
    counts = dict(given_csv("cookie_cats/cookie_cats.csv.gz").group_by("test_version").len().iter_rows())
    assert counts == {"gate_30": 44_700, "gate_40": 45_489}
    found = sample_ratio(counts, dict.fromkeys(counts, 0.5))
    assert found.p_value == pytest.approx(0.0086, abs=0.00005)
    assert found.verdict == "warn"


@pytest.mark.parametrize(
    ("counts", "shares", "verdict"),
    [
        ({"treatment": 750, "control": 250}, {"treatment": 0.75, "control": 0.25}, "pass"),
        ({"treatment": 500, "control": 500}, {"treatment": 0.75, "control": 0.25}, "block"),
        ({"treatment": 500, "control": 0}, {"treatment": 0.75, "control": 0.25}, "block"),
        ({"treatment": 500}, {"treatment": 0.75}, "not applicable"),
        ({"treatment": 500, "control": 500}, {"treatment": 0.5, "control": None}, "not applicable"),
        ({"treatment": 500, "control": 500}, {"treatment": 1 / 3, "control": 1 / 3}, "not applicable"),
    ],
)
def test_the_ratio_is_held_against_the_design(
    counts: dict[str, int], shares: dict[str, float | None], verdict: str
) -> None:
    assert sample_ratio(counts, shares).verdict == verdict


def test_the_ratio_test_is_the_square_of_the_normal_test_of_one_share() -> None:
    z = (540 - 500) / np.sqrt(1000 * 0.25)
    found = sample_ratio({"a": 540, "b": 460}, {"a": 0.5, "b": 0.5})
    assert found.p_value == pytest.approx(2 * stats.norm.sf(z))


# --- effects ---------------------------------------------------------------------------------------------------------


def test_the_effect_of_four_and_four_people_by_hand() -> None:
    """Means 1/2 and 1/4; variances 1/3 and 1/4 over 4 each: standard error sqrt(7/48)."""
    effect = difference_in_means(np.array([1.0, 1, 0, 0]), np.array([0.0, 0, 0, 1]), kind="share")
    assert (effect.status, effect.treated_mean, effect.control_mean, effect.difference) == ("measured", 0.5, 0.25, 0.25)
    assert effect.standard_error == pytest.approx(np.sqrt(7 / 48))


# To the millionth: scipy squares variances, and those of values near 1e-146 become 0 in it.
AMOUNTS = st.lists(st.floats(0, 100).map(lambda x: round(x, 6)), min_size=3, max_size=30)


def test_variances_whose_squares_are_no_floats_any_more_give_the_same_p_value_as_in_another_unit() -> None:
    """Of (0, 0, 0) and (0, 0, x): the difference is one standard error at 2 degrees of freedom, whatever x."""
    tiny = difference_in_means(np.zeros(3), np.array([0.0, 0.0, 3.7e-146]), kind="share")
    assert tiny.p_value == pytest.approx(2 * stats.t.sf(1, 2))


@given(AMOUNTS, AMOUNTS)
@settings(max_examples=40, deadline=None)
def test_the_interval_is_that_of_scipys_welch_test(treated: list[float], control: list[float]) -> None:
    effect = difference_in_means(np.array(treated), np.array(control), kind="share")
    if effect.status != "measured":
        assert np.ptp(treated) < 1e-6
        assert np.ptp(control) < 1e-6
        return
    oracle = stats.ttest_ind(treated, control, equal_var=False)
    interval = oracle.confidence_interval(0.95)
    assert effect.p_value == pytest.approx(oracle.pvalue)
    assert effect.interval_low == pytest.approx(interval.low, abs=1e-9)
    assert effect.interval_high == pytest.approx(interval.high, abs=1e-9)


def test_of_six_hundred_intervals_about_ninety_five_in_a_hundred_hold_the_truth() -> None:
    """True shares .12 and .10; four standard errors of the coverage are .036."""
    random = np.random.default_rng(5)
    held = 0
    for _ in range(600):
        treated, control = random.random(1500) < 0.12, random.random(500) < 0.10
        effect = difference_in_means(treated.astype(float), control.astype(float), kind="share")
        held += effect.interval_low <= 0.02 <= effect.interval_high  # type: ignore[operator]
    assert abs(held / 600 - 0.95) < 0.036


@pytest.mark.parametrize(("buyers", "status"), [(49, "flagged"), (50, "measured")])
def test_money_of_fewer_than_fifty_buyers_in_control_is_flagged_and_still_shown(buyers: int, status: str) -> None:
    random = np.random.default_rng(1)
    treated, control = random.exponential(size=400), np.r_[random.exponential(size=buyers), np.zeros(400)]
    effect = difference_in_means(treated, control, kind="money")
    assert effect.status == status
    assert effect.interval_low is not None
    assert ("49 buyers" in effect.reason) == (status == "flagged")


def test_an_arm_without_people_or_an_outcome_nobody_has_is_not_applicable_with_its_reason() -> None:
    alone = difference_in_means(np.array([1.0, 0]), np.array([]), kind="share")
    assert (alone.status, alone.difference, alone.reason[:36]) == (
        "not applicable",
        None,
        "2 treated and 0 control people; each",
    )
    nobody = difference_in_means(np.zeros(9), np.zeros(9), kind="share")
    assert (nobody.status, nobody.reason) == ("not applicable", "nobody in either arm has this outcome")


def test_a_missing_outcome_is_refused_because_it_should_have_been_a_zero() -> None:
    with pytest.raises(ValueError, match="1 people have no outcome"):
        difference_in_means(np.array([1.0, np.nan]), np.array([0.0, 1]), kind="share")


# --- qini ------------------------------------------------------------------------------------------------------------


def slow_qini(score: list[float], treated: list[bool], outcome: list[float]) -> float:
    """The definition read aloud: one step per distinct score, areas of trapezoids."""
    total, points = len(score), [(0.0, 0.0)]
    for level in sorted(set(score), reverse=True):
        taken = [i for i in range(total) if score[i] >= level]
        n_t = sum(treated[i] for i in taken)
        n_c = len(taken) - n_t
        y_t = sum(outcome[i] for i in taken if treated[i])
        y_c = sum(outcome[i] for i in taken if not treated[i])
        points.append((len(taken) / total, (y_t - y_c * n_t / n_c) / sum(treated) if n_c else 0.0))
    end = points[-1][1]
    above = [(phi, gain - phi * end) for phi, gain in points]
    return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(above))


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 3)), min_size=2, max_size=40))
@settings(max_examples=120, deadline=None)
def test_the_qini_is_the_definition_read_aloud(people: list[tuple[int, bool, int]]) -> None:
    score, treated, outcome = ([float(p[0]) for p in people], [p[1] for p in people], [float(p[2]) for p in people])
    if len(set(treated)) < 2:
        with pytest.raises(ValueError, match="a Qini needs both arms"):
            qini(score, is_treated=treated, outcome=outcome)
        return
    assert qini(score, is_treated=treated, outcome=outcome) == pytest.approx(slow_qini(score, treated, outcome))


def test_the_qini_of_four_people_by_hand() -> None:
    """Gains 0, 0, 1/2, 1/2, 0 at shares 0, 1/4, 1/2, 3/4, 1; the effect on all is 0, so the area is 1/4."""
    people = {"is_treated": [True, False, True, False], "outcome": [1, 0, 0, 1]}
    assert qini([4, 3, 2, 1], **people) == 0.25
    curve = qini_curve([4, 3, 2, 1], **people, seed=1, points=5, bootstrap_count=2)
    assert curve.gain.tolist() == [0, 0, 0.5, 0.5, 0]


def trial(size: int = 4000, *, seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A trial whose contact works on half of the people only: (true effect, treated, outcome)."""
    random = np.random.default_rng(seed)
    effect = np.where(random.random(size) < 0.5, 0.3, 0.0)
    treated = random.random(size) < 0.5
    outcome = (random.random(size) < 0.1 + effect * treated).astype(float)
    return effect, treated, outcome


def test_a_constant_score_has_a_qini_of_exactly_zero() -> None:
    _, treated, outcome = trial()
    curve = qini_curve(np.full(4000, 0.7), is_treated=treated, outcome=outcome, seed=1, bootstrap_count=10)
    assert (curve.qini, curve.qini_low, curve.qini_high) == (0, 0, 0)


def test_the_truth_as_score_beats_random_and_random_beats_its_reverse() -> None:
    """Half of the people gain .3: perfect curve .3 * phi up to phi = 1/2, so the area is .3 * 1/8 = .0375."""
    effect, treated, outcome = trial(40_000)
    random = np.random.default_rng(9).random(40_000)
    true, chance, reverse = (qini(s, is_treated=treated, outcome=outcome) for s in (effect, random, -effect))
    assert true == pytest.approx(0.0375, abs=0.003)
    assert chance == pytest.approx(0, abs=0.003)
    assert reverse == pytest.approx(-0.0375, abs=0.003)


def test_a_reversed_score_has_the_negative_qini_where_arms_are_balanced_at_every_score() -> None:
    random = np.random.default_rng(4)
    score, treated = np.repeat(np.arange(50), 2), np.tile([True, False], 50)
    outcome = random.random(100)
    forth, back = (qini(s, is_treated=treated, outcome=outcome) for s in (score, -score))
    assert back == pytest.approx(-forth)
    assert forth != 0


def test_the_order_of_rows_changes_no_digit_of_curve_or_interval() -> None:
    effect, treated, outcome = trial(500)
    mixed = np.random.default_rng(8).permutation(500)
    one = qini_curve(effect, is_treated=treated, outcome=outcome, seed=1, bootstrap_count=20)
    other = qini_curve(effect[mixed], is_treated=treated[mixed], outcome=outcome[mixed], seed=1, bootstrap_count=20)
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_only_the_order_of_the_score_counts() -> None:
    _, treated, outcome = trial(500)
    score = np.random.default_rng(2).normal(size=500)
    assert qini(score, is_treated=treated, outcome=outcome) == qini(np.exp(score), is_treated=treated, outcome=outcome)


@pytest.mark.parametrize("name", ["score", "is_treated", "outcome"])
def test_a_nan_is_refused_by_name(name: str) -> None:
    values = {"score": np.array([1.0, 2, 3]), "is_treated": np.array([1.0, 0, 1]), "outcome": np.array([0.0, 1, 1])}
    values[name][1] = np.nan
    with pytest.raises(ValueError, match=f"^{name} holds 1 NaN"):
        qini_curve(values["score"], is_treated=values["is_treated"], outcome=values["outcome"], seed=1)


def test_the_curve_ends_at_the_difference_in_means() -> None:
    effect, treated, outcome = trial()
    curve = qini_curve(effect, is_treated=treated, outcome=outcome, seed=1, bootstrap_count=5)
    assert curve.gain[-1] == pytest.approx(outcome[treated].mean() - outcome[~treated].mean())
    assert (len(curve.shares), curve.shares[1]) == (21, 0.05)


def test_intervals_of_a_random_score_hold_zero_about_as_often_as_they_promise() -> None:
    """A random score has Qini 0. 80 intervals of 95 %: fewer than 68 would be 3.5 standard errors short."""
    held = 0
    for seed in range(80):
        _, treated, outcome = trial(800, seed=seed)
        score = np.random.default_rng(1000 + seed).random(800)
        curve = qini_curve(score, is_treated=treated, outcome=outcome, seed=seed, bootstrap_count=100)
        held += curve.qini_low <= 0 <= curve.qini_high
    assert held >= 68


# --- a learnt score --------------------------------------------------------------------------------------------------


def test_the_t_learner_finds_the_people_on_whom_contact_works() -> None:
    random = np.random.default_rng(6)
    known = random.normal(size=(8000, 3))
    treated = random.random(8000) < 0.5
    outcome = (random.random(8000) < 0.1 + 0.3 * treated * (known[:, 0] > 0)).astype(float)
    learnt = cross_fitted_scores(known, is_treated=treated, outcome=outcome, is_share=True, seed=1)
    assert learnt.uplift[known[:, 0] > 0].mean() == pytest.approx(0.3, abs=0.05)
    assert learnt.uplift[known[:, 0] < 0].mean() == pytest.approx(0.0, abs=0.05)


def test_nobody_is_scored_by_a_model_that_saw_the_person() -> None:
    """Outcomes are noise: a score of the same people that had seen them would have a high Qini."""
    random = np.random.default_rng(7)
    known, treated = random.normal(size=(3000, 5)), random.random(3000) < 0.5
    outcome = (random.random(3000) < 0.3).astype(float)
    learnt = cross_fitted_scores(known, is_treated=treated, outcome=outcome, is_share=True, seed=1)
    curve = qini_curve(learnt.uplift, is_treated=treated, outcome=outcome, seed=1, bootstrap_count=100)
    assert curve.qini_low <= 0 <= curve.qini_high


def test_too_few_outcomes_to_learn_from_are_named() -> None:
    treated, outcome = np.repeat([True, False], 200), np.r_[np.ones(60), np.zeros(140), np.ones(49), np.zeros(151)]
    assert not_learnable(treated, outcome) == (
        "49 of 200 control people have the outcome; 50 with and 50 without are needed"
    )
    assert not_learnable(treated, np.r_[outcome[:249], 1, outcome[250:]]) is None


# --- covariates ------------------------------------------------------------------------------------------------------


def test_json_covariates_become_columns_with_gaps_where_a_person_has_none() -> None:
    people = pl.DataFrame(
        {"person_id": ["a", "b", "c"], "covariates": ['{"age": 30, "city": "east"}', None, '{"city": "coast"}']}
    )
    columns = covariates.from_json(people)
    assert columns.rows() == [("a", 30, "east"), ("b", None, None), ("c", None, "coast")]
    numbers = covariates.matrix(columns.with_columns(age=pl.Series([30, 40, None]), same=pl.lit(1)))
    assert np.array_equal(numbers, [[30, 1], [40, np.nan], [np.nan, 0]], equal_nan=True)


@pytest.mark.parametrize(("text", "found"), [("{", "no JSON"), ("[1]", "a JSON list")])
def test_covariates_that_are_no_json_object_are_refused_with_the_person(text: str, found: str) -> None:
    with pytest.raises(ValueError, match=f"person b are {found}"):
        covariates.from_json(pl.DataFrame({"person_id": ["b"], "covariates": [text]}))


# --- whole experiments -----------------------------------------------------------------------------------------------


def assigned(size: int = 4000, *, seed: int = 2, **changes: object) -> pl.DataFrame:
    """A list of this platform: 75 % treated, conversions .10 against .06, and a score that knows nothing."""
    random = np.random.default_rng(seed)
    treated = random.random(size) < 0.75
    bought = random.random(size) < np.where(treated, 0.10, 0.06)
    people = pl.DataFrame(
        {
            "campaign_id": "autumn",
            "person_id": [f"p{i:05d}" for i in range(size)],
            "arm": np.where(treated, "treatment", "control"),
            "source": "platform",
            "treatment_share": 0.75,
            "assignment_share": np.where(treated, 0.75, 0.25),
            "score": random.random(size).round(1),
            "goal_metric": "product_conversion_share",
            "known_on": date(2026, 9, 28),
            "launched_on": date(2026, 9, 29),
            "outcome_until_on": date(2026, 10, 28),
            "measured_on": date(2026, 10, 28),
            "covariates": pl.Series([None] * size, dtype=pl.String),
            "has_course_view": random.random(size) < 0.5,
            "has_course_order": random.random(size) < 0.2,
            "has_course_repurchase": False,
            "has_policy": bought,
            "has_policy_renewal": random.random(size) < 0.05,
            "has_visit": pl.Series([None] * size, dtype=pl.Boolean),
            "has_conversion": pl.Series([None] * size, dtype=pl.Boolean),
            "spend_fen": (bought * random.integers(5_000, 20_000, size)).astype(np.int64),
            "currency": "CNY",
        }
    )
    return people.with_columns(**{k: v if isinstance(v, pl.Expr) else pl.lit(v) for k, v in changes.items()})


def the_goal(results: pl.DataFrame) -> dict[str, object]:
    return results.filter("is_goal").row(0, named=True)


def test_a_list_of_this_platform_is_read_by_every_platform_metric_and_its_goal_in_one_sentence() -> None:
    results = experiments.results(assigned())
    assert results.schema == pl.Schema(RESULTS_SCHEMA)
    assert results["metric"].to_list() == [m.name for m in METRICS if m.source == "platform"]
    goal = the_goal(results)
    people = assigned().group_by("arm").agg(pl.col("has_policy").mean(), pl.len())
    share, size = ({arm: row[k] for arm, *row in people.iter_rows()} for k in (0, 1))
    difference = share["treatment"] - share["control"]
    error = np.sqrt(sum(share[a] * (1 - share[a]) / size[a] for a in share))
    assert goal["difference"] == pytest.approx(difference)
    assert goal["standard_error"] == pytest.approx(error, rel=0.001)
    assert goal["verdict"] == (
        f"treatment on product_conversion_share: {difference * 100:+.2f} points against control (95% interval "
        f"{goal['interval_low'] * 100:+.2f} points to {goal['interval_high'] * 100:+.2f} points, p < .001), "
        f"higher than control."
    )


def test_an_outcome_nobody_has_is_said_so_and_not_left_out() -> None:
    row = experiments.results(assigned()).filter(metric="course_repurchase_share").row(0, named=True)
    assert (row["status"], row["note"]) == ("not applicable", "nobody in either arm has this outcome")
    assert row["difference"] is None


def test_arms_that_are_not_as_designed_block_every_number() -> None:
    people = assigned().filter((pl.col("arm") == "treatment") | (pl.int_range(pl.len()) % 3 == 0))
    results = experiments.results(people)
    assert results["status"].unique().to_list() == ["blocked"]
    assert results["srm_verdict"].unique().to_list() == ["block"]
    assert results["difference"].null_count() == results.height
    curves = experiments.curves(people, features={}, bootstrap_count=5, seed=1)
    assert curves["gain"].null_count() == curves.height
    assert "arms are not as designed" in curves["note"][0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"arm": "treatment"}, "no arm is called control; nothing to compare with"),
        ({"measured_on": date(2026, 9, 28)}, "the outcome window has not begun: measured on 2026-09-28"),
        (
            {"assignment_share": pl.when(pl.int_range(pl.len()) % 2 == 0).then(0.5).otherwise(0.6)},
            "assignment shares differ within control, treatment; a plain difference would be biased",
        ),
    ],
)
def test_an_experiment_that_cannot_be_read_says_why_in_every_row(change: dict[str, object], reason: str) -> None:
    people = assigned(**change)
    results = experiments.results(people)
    assert results["status"].unique().to_list() == ["not applicable"]
    assert all(note.startswith(reason) for note in results["note"])
    assert set(experiments.curves(people, features={}, bootstrap_count=5, seed=1)["note"]) == {reason}


def test_a_list_of_which_only_controls_can_be_measured_still_has_its_rows() -> None:
    results = experiments.results(assigned().filter(pl.col("arm") == "control"))
    assert results["arm"].unique().to_list() == ["none"]
    assert results["status"].unique().to_list() == ["blocked"]


def test_a_window_still_open_is_preliminary_in_note_and_sentence() -> None:
    goal = the_goal(experiments.results(assigned(measured_on=date(2026, 10, 5))))
    assert goal["is_preliminary"]
    assert "window still open on 2026-10-05" in str(goal["note"])
    assert str(goal["verdict"]).endswith("Preliminary: the outcome window is still open.")


def test_money_in_two_currencies_is_not_added() -> None:
    row = experiments.results(
        assigned(currency=pl.when(pl.col("has_policy")).then(pl.lit("USD")).otherwise("currency"))
    )
    money = row.filter(metric="spend_fen").row(0, named=True)
    assert (money["status"], money["unit"]) == ("not applicable", "mixed")


def test_several_arms_are_each_compared_with_control() -> None:
    split = pl.when(pl.col("arm") == "control").then(pl.lit("control"))
    half = pl.int_range(pl.len()) % 2 == 0
    people = assigned(
        arm=split.when(half).then(pl.lit("email")).otherwise(pl.lit("sms")),
        assignment_share=split.replace_strict({"control": 0.25}, default=0.375),
        treatment_share=pl.lit(None, pl.Float64),
    )
    goals = experiments.results(people).filter("is_goal")
    assert goals["arm"].to_list() == ["email", "sms"]
    assert goals["control_count"].n_unique() == 1
    assert goals["srm_verdict"].to_list() == ["pass", "pass"]


def test_without_any_experiment_both_tables_are_empty_and_keep_their_columns() -> None:
    nobody = assigned().clear()
    assert experiments.results(nobody).schema == pl.Schema(RESULTS_SCHEMA)
    assert experiments.curves(nobody, features={}, bootstrap_count=5, seed=1).schema == pl.Schema(CURVES_SCHEMA)


def test_curves_come_for_the_score_of_the_list_and_say_why_no_score_was_learnt() -> None:
    curves = experiments.curves(assigned(), features={}, bootstrap_count=20, seed=1)
    goal = curves.filter(metric="product_conversion_share")
    assert goal.group_by("score_name").len().sort("score_name").rows() == [
        ("assignment_score", 21),
        ("response", 1),
        ("t_learner", 1),
    ]
    assert goal.filter(score_name="t_learner")["note"].to_list() == ["no covariates"]
    first = goal.filter(score_name="assignment_score")
    assert first["random_gain"].to_list() == pytest.approx([share * first["gain"][-1] for share in first["share"]])
    assert curve_sentences(goal)[0].endswith("not told apart from a random order.")


def test_person_features_of_the_day_of_the_list_feed_the_learnt_score() -> None:
    """The contact works on the young only, and the features say who is young."""
    random = np.random.default_rng(3)
    people = assigned(8000)
    young = random.random(8000) < 0.5
    treated = (people["arm"] == "treatment").to_numpy()
    people = people.with_columns(has_policy=pl.Series(random.random(8000) < 0.05 + 0.2 * (young & treated)))
    features = people.select("person_id").with_columns(age_years=pl.Series(np.where(young, 25, 60)))
    curves = experiments.curves(people, features={"autumn": features}, bootstrap_count=50, seed=1)
    learnt = curves.filter(metric="product_conversion_share", score_name="t_learner")
    assert learnt["qini_low"][0] > 0
    assert learnt["qini"][0] == pytest.approx(0.2 / 8, abs=0.01)


def test_a_score_that_some_people_lack_makes_no_curve() -> None:
    people = assigned(score=pl.when(pl.int_range(pl.len()) > 0).then("score"))
    curves = experiments.curves(people, features={}, bootstrap_count=5, seed=1)
    note = curves.filter(score_name="assignment_score", metric="spend_fen")["note"][0]
    assert note == "1 of 4000 people have no score from before assignment"


def test_pictures_show_every_measured_share_and_every_score() -> None:
    people = assigned()
    axes = pictures.effects_figure(experiments.results(people)).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert "treatment · product_conversion_share" in labels
    assert "treatment · course_repurchase_share" not in labels
    curves = experiments.curves(people, features={}, bootstrap_count=5, seed=1)
    shown = pictures.curve_figure(curves.filter(metric="product_conversion_share")).axes[0]
    assert [text.get_text().split(",")[0] for text in shown.get_legend().get_texts()] == [
        "assignment_score",
        "random order",
    ]


def test_a_campaign_may_have_any_platform_metric_as_goal_and_no_other() -> None:
    assert {m.name for m in metrics_of("platform")} == set(goal_names())
    assert not {m.name for m in metrics_of("imported")} & set(goal_names())
    assert len({m.name for m in METRICS}) == len(METRICS)


# --- Hillstrom: published effects ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hillstrom() -> pl.DataFrame:
    """The experiment as the SQL would hand it over: money in cents, what was known before as JSON."""
    lines = given_csv("hillstrom/hillstrom.csv.gz").with_row_index("line")
    known = ("recency", "history", "mens", "womens", "zip_code", "newbie", "channel")
    return lines.select(
        campaign_id=pl.lit("hillstrom"),
        person_id=pl.format("h{}", "line"),
        arm=pl.col("treatment").replace({"No E-Mail": "control"}),
        source=pl.lit("imported"),
        treatment_share=pl.lit(None, pl.Float64),
        assignment_share=pl.lit(1 / 3),
        score=pl.lit(None, pl.Float64),
        goal_metric=pl.lit(None, pl.String),
        launched_on=pl.lit(date(2008, 3, 20)),
        outcome_until_on=pl.lit(date(2008, 4, 3)),
        measured_on=pl.lit(date(2008, 4, 3)),
        covariates=pl.Series([json.dumps(row) for row in lines.select(known).iter_rows(named=True)]),
        has_visit=pl.col("visit") == 1,
        has_conversion=pl.col("conversion") == 1,
        spend_fen=(pl.col("spend") * 100).round().cast(pl.Int64),
        currency=pl.when(pl.col("conversion") == 1).then(pl.lit("USD")),
    )


def test_hillstroms_published_effects_come_out(hillstrom: pl.DataFrame) -> None:
    results = experiments.results(hillstrom)
    published = {
        ("Womens E-Mail", "visit_share"): (0.04523, 0.00323),
        ("Womens E-Mail", "conversion_share"): (0.00311, 0.00082),
        ("Womens E-Mail", "spend"): (42.4, 13.0),
        ("Mens E-Mail", "visit_share"): (0.07659, 0.00339),
        ("Mens E-Mail", "conversion_share"): (0.00681, 0.00092),
        ("Mens E-Mail", "spend"): (77.0, 14.5),
    }
    found = {(r["arm"], r["metric"]): r for r in results.iter_rows(named=True)}
    assert found.keys() == published.keys()
    for key, (difference, error) in published.items():
        digits = 0.05 if key[1] == "spend" else 0.000005
        assert found[key]["difference"] == pytest.approx(difference, abs=digits)
        assert found[key]["standard_error"] == pytest.approx(error, abs=digits)
        assert (found[key]["status"], found[key]["srm_verdict"]) == ("measured", "pass")
        assert found[key]["srm_p_value"] == pytest.approx(0.904, abs=0.0005)
    assert "+0.424 USD" in found["Womens E-Mail", "spend"]["verdict"]


def test_a_learnt_score_finds_whom_hillstroms_womens_mail_moves(hillstrom: pl.DataFrame) -> None:
    """The reference measures .0034 (sd .0003 to .0007 over folds) per person of BOTH arms; per treated person, as here,
    that is .0034 * 2."""
    pair = hillstrom.filter(pl.col("arm") != "Mens E-Mail").with_columns(assignment_share=pl.lit(0.5))
    visits = experiments.curves(pair, features={}, bootstrap_count=100, seed=7)
    learnt = visits.filter(metric="visit_share", score_name="t_learner")
    assert learnt["qini_low"][0] > 0
    assert learnt["qini"][0] / 2 == pytest.approx(0.0034, abs=0.0007)
    assert visits.filter(metric="visit_share", score_name="assignment_score")["note"].to_list() == [
        f"{pair.height} of {pair.height} people have no score from before assignment"
    ]
