"""Drift: by hand, against scipy, at the stated rate of false alarms, with planted changes; nobody is remembered."""

import pickle
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from xmkt_assets.segments.drift import (
    LEAST_PEOPLE,
    LEVELS,
    MAJOR,
    NONE,
    NOT_APPLICABLE,
    SMALLEST,
    CategoryCounts,
    Drift,
    NumberBins,
    chi_square_p_value,
    compare,
    ks_distance,
    ks_p_value,
    psi,
    psi_bound,
    psi_by_chance,
    reference_of,
)
from xmkt_assets.segments.standing import StandingModel

counts_of_bins = st.lists(st.integers(0, 500), min_size=2, max_size=12).filter(lambda c: sum(c) > 0)


def drift_of(trained: Any, now: Any, **options: Any) -> Drift:
    """One column against its training."""
    reference = reference_of(pl.DataFrame({"x": trained}), ["x"])
    (found,) = compare(reference, pl.DataFrame({"x": now}), **options)
    return found


def bins_of(values: Any) -> NumberBins:
    found = reference_of(pl.DataFrame({"x": values}), ["x"]).columns["x"]
    assert isinstance(found, NumberBins)
    return found


# ── the figures ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_psi_is_the_sum_of_its_formula() -> None:
    """Shares .7, .3 and .5, .5 of so many people that half a person more moves nothing: .2 ln 1.4 + .2 ln (5/3)."""
    assert psi([7_000_000, 3_000_000], [5_000_000, 5_000_000]) == pytest.approx(
        0.2 * np.log(1.4) - 0.2 * np.log(0.6), abs=1e-6
    )


def test_an_empty_bin_counts_half_a_person() -> None:
    """(10.5, .5)/11 against (5.5, 5.5)/11."""
    wanted = 5 / 11 * np.log(10.5 / 5.5) - 5 / 11 * np.log(0.5 / 5.5)
    assert psi([10, 0], [5, 5]) == pytest.approx(wanted)


@given(counts_of_bins, st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_psi_is_symmetric_never_negative_and_zero_for_the_same_counts(counts: list[int], random: Any) -> None:
    other = random.sample(counts, len(counts))
    assert psi(counts, other) == pytest.approx(psi(other, counts))
    assert psi(counts, other) >= 0
    assert psi(counts, counts) == 0


def test_the_distance_and_its_p_value_are_scipys_on_the_numbers_of_the_bins() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.poisson(4, 700), rng.poisson(4.4, 500)
    wanted = stats.ks_2samp(first, second, method="asymp")
    longest = int(max(first.max(), second.max())) + 1
    found = ks_distance(np.bincount(first, minlength=longest), np.bincount(second, minlength=longest))
    assert found == pytest.approx(wanted.statistic)
    # scipy takes the exact one-sample distribution at the same effective size; the limit differs by little
    assert ks_p_value(found, trained=700, now=500) == pytest.approx(wanted.pvalue, abs=0.02)
    assert ks_p_value(found, trained=700, now=500) == pytest.approx(
        stats.kstwobign.sf(wanted.statistic * np.sqrt(700 * 500 / 1200))
    )


@given(counts_of_bins)
@settings(max_examples=30, deadline=None)
def test_chi_square_is_scipys_over_the_bins_that_anybody_is_in(counts: list[int]) -> None:
    now = counts[::-1]
    table = np.array([counts, now])
    table = table[:, table.sum(axis=0) > 0]
    wanted = stats.chi2_contingency(table, correction=False).pvalue if table.shape[1] > 1 else 1.0
    assert chi_square_p_value(counts, now) == pytest.approx(wanted)


def test_the_mean_and_the_bound_of_psi_by_chance_hold_on_samples_of_one_population() -> None:
    """Multinomial samples of 20 equal bins: the mean, and the share beyond the bound, within 4 standard errors."""
    rng, worlds = np.random.default_rng(11), 2000
    first, second = rng.multinomial(2000, [0.05] * 20, worlds), rng.multinomial(1000, [0.05] * 20, worlds)
    found = np.array([psi(a, b) for a, b in zip(first, second, strict=True)])
    expected = psi_by_chance(bins=20, trained=2000, now=1000)
    assert expected == pytest.approx(19 * 0.0015)
    assert found.mean() == pytest.approx(expected, abs=4 * expected * np.sqrt(2 / 19 / worlds))
    bound = psi_bound(bins=20, trained=2000, now=1000, false_alarm_share=0.05)
    assert bound == pytest.approx(stats.chi2.ppf(0.95, 19) * 0.0015)
    assert (found > bound).mean() == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / worlds))


# ── what is remembered ───────────────────────────────────────────────────────────────────────────────────────────────


def test_distinct_numbers_make_twenty_bins_of_equal_counts() -> None:
    found = bins_of(np.arange(1, 2001))
    assert found.edges == tuple(range(100, 2000, 100))
    assert found.counts == (100,) * 20


def test_a_value_that_many_share_has_a_bin_of_its_own() -> None:
    """60 % zeros, then 400 different numbers below and above: nobody else may stand in the bin of 0."""
    values = np.concatenate([np.zeros(600), np.arange(1, 201), -np.arange(1, 201)])
    found = bins_of(values)
    at_zero = found.edges.index(0.0)
    assert found.edges[at_zero - 1] == np.nextafter(0.0, -np.inf)
    assert found.counts[at_zero] == 600
    assert sum(found.counts) == 1000


def test_no_bin_of_spread_numbers_holds_fewer_people_than_the_smallest_allowed() -> None:
    rng = np.random.default_rng(5)
    for values in (rng.poisson(1.2, 300), np.round(rng.exponential(3, 137), 1), rng.normal(size=57)):
        assert min(bins_of(values).counts) >= SMALLEST


def test_small_categories_are_remembered_without_their_name() -> None:
    words = ["teacher"] * 50 + ["nurse"] * SMALLEST + ["astronaut"] * (SMALLEST - 1) + ["diver"] + [None] * 3
    found = reference_of(pl.DataFrame({"x": words}), ["x"]).columns["x"]
    assert found == CategoryCounts((("nurse", SMALLEST), ("teacher", 50)), other_count=SMALLEST, null_count=3)


def test_a_standing_model_survives_pickling_and_holds_no_person() -> None:
    frame = pl.DataFrame({"person_id": [f"person-{i}" for i in range(200)], "x": range(200)})
    model = StandingModel("m", {"fitted": 1}, reference_of(frame, ["x"]), date(2026, 9, 1), ("x",))
    content = pickle.dumps(model)
    assert pickle.loads(content) == model
    assert b"person-" not in content


def test_a_column_that_is_not_there_or_no_number_or_word_is_refused_with_its_name() -> None:
    frame = pl.DataFrame({"x": [1], "at": [date(2026, 1, 1)]})
    with pytest.raises(ValueError, match=r"lack \['y'\]"):
        reference_of(frame, ["x", "y"])
    with pytest.raises(ValueError, match="Column at is Date"):
        reference_of(frame, ["at"])


# ── the level ────────────────────────────────────────────────────────────────────────────────────────────────────────

KINDS: dict[str, Any] = {
    "numbers": np.random.default_rng(1).normal(size=500),
    "counts": np.random.default_rng(2).poisson(0.4, 500),
    "one value": np.full(500, 7.0),
    "booleans": [True, False] * 250,
    "words": ["a", "b", None, "c"] * 125,
    "all empty": pl.Series([None] * 500, dtype=pl.Float64),
    "all empty, of no type": [None] * 500,
    "some empty": [1.0, None, 2.5, float("nan")] * 125,
    "twenty numbers": [i % 20 for i in range(500)],
    "fifty words": [f"topic {i % 50}" for i in range(500)],
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_people_show_no_drift(kind: str) -> None:
    found = drift_of(KINDS[kind], KINDS[kind])
    assert (found.psi, found.level, found.reason) == (0.0, NONE, None)
    assert found.ks in (0.0, None)
    assert found.p_value in (pytest.approx(1.0), None)
    assert found.null_share == found.null_share_trained


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("people", [0, 1, LEAST_PEOPLE - 1])
def test_too_few_people_are_no_statement_and_say_so(kind: str, people: int) -> None:
    values = pl.Series("x", KINDS[kind], strict=False)
    for trained, now in ((values, values.head(people)), (values.head(people), values)):
        found = drift_of(trained, now)
        assert (found.level, found.psi, found.ks, found.p_value) == (NOT_APPLICABLE, None, None, None)
        assert f"wanted at least {LEAST_PEOPLE} of each" in str(found.reason)


CHANGED: dict[str, tuple[Any, Any, str]] = {
    "a shifted mean": (np.arange(1000) / 1000, np.arange(1000) / 1000 + 0.3, "over 0.949: 5.0% of people at training"),
    "more zeros": (
        [0] * 400 + list(range(1, 601)),
        [0] * 700 + list(range(1, 301)),
        "up to 0: 40.0% of people at training, 70.0% now",
    ),
    "values go missing": (np.arange(1000.0), [float(i) if i % 2 else None for i in range(1000)], "empty: 0.0% of"),
    "a constant moves": ([3.0] * 1000, [3.0] * 600 + [4.0] * 400, "exactly 3: 100.0% of people at training, 60.0%"),
    "an empty column fills": (pl.Series([None] * 1000, dtype=pl.Int64), range(1000), "any value: 0.0% of"),
    "a rare flag": ([0] * 995 + [1] * 5, [0] * 800 + [1] * 200, "over 0: 0.5% of people at training, 20.0% now"),
    "a new category": (["a", "b"] * 500, ["a", "b", "c", "c"] * 250, "new: 'c' (500 people)"),
    "words for nothing": (["a"] * 1000, [None] * 1000, "'a': 100.0% of people at training, 0.0% now"),
}


@pytest.mark.parametrize("change", CHANGED)
def test_a_planted_change_is_major_and_is_named(change: str) -> None:
    trained, now, said = CHANGED[change]
    found = drift_of(trained, now)
    assert found.level == MAJOR
    assert said in str(found.reason)
    assert found.psi is not None
    assert found.psi > 0.2


def test_numbers_that_go_missing_at_random_change_the_share_of_empty_ones_and_not_the_distribution() -> None:
    trained, now, _ = CHANGED["values go missing"]
    found = drift_of(trained, now)
    assert (found.null_share_trained, found.null_share) == (0.0, 0.5)
    assert found.p_value is not None
    assert found.p_value > 0.5


def test_a_planted_shift_is_seen_by_the_distance_too() -> None:
    found = drift_of(np.arange(1000.0), np.arange(1000.0) + 300)
    assert found.ks == pytest.approx(0.3, abs=0.051)  # on a grid of twentieths
    assert found.p_value is not None
    assert found.p_value < 1e-6


def test_a_category_of_few_people_is_not_named_when_it_is_new() -> None:
    found = drift_of(["a", "b"] * 100, ["a"] * 191 + ["only me"] * (SMALLEST - 1))
    assert found.level == MAJOR
    assert "only me" not in str(found.reason)


def test_the_middle_level_lies_between_the_usual_lines() -> None:
    """Two halves become 35 and 65 %: .15 (ln 1.3 - ln .7) twice over two = .0929 too little, 33 and 67 % = .120."""
    trained = [0, 1] * 5000
    (below, moderate, major) = (drift_of(trained, [0] * n + [1] * (10_000 - n)) for n in (3500, 3300, 2500))
    assert [below.level, moderate.level, major.level] == [NONE, "moderate", MAJOR]
    assert moderate.psi == pytest.approx(0.17 * np.log(0.67 / 0.33), abs=1e-3)
    assert major.psi == pytest.approx(0.25 * np.log(3), abs=1e-3)


def test_people_too_few_to_tell_are_not_flagged_though_their_psi_passes_the_line() -> None:
    rng = np.random.default_rng(4)
    found = [drift_of(rng.normal(size=120), rng.normal(size=100)) for _ in range(20)]
    assert {drift.level for drift in found} == {NONE}
    past = [drift for drift in found if (drift.psi or 0) > 0.1]
    assert len(past) >= 10
    assert all("so few people differ as much by chance: PSI up to 0." in str(drift.reason) for drift in past)


@pytest.mark.parametrize("kind", ["numbers", "counts", "twenty numbers", "fifty words"])
def test_samples_of_one_population_are_flagged_no_more_often_than_stated(kind: str) -> None:
    """At 5 %, two samples of 300: at most 5 % and four standard errors; at the default 1 in 1000, next to never."""
    rng, worlds = np.random.default_rng(17), 200
    population = pl.Series("x", KINDS[kind])
    if kind == "numbers":
        population = pl.Series("x", rng.normal(size=20_000))
    alarms = {0.05: 0, 0.001: 0}
    for _ in range(worlds):
        trained, now = (population.gather(rng.integers(0, population.len(), 300)) for _ in range(2))
        for share in alarms:  # who is silent at 5 % is silent at less
            if drift_of(trained, now, false_alarm_share=share).level == NONE:
                break
            alarms[share] += 1
    assert alarms[0.05] / worlds <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / worlds)
    assert alarms[0.001] <= 2


@given(st.lists(st.integers(-30, 30), min_size=120, max_size=200), st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_an_increasing_scale_changes_no_figure(values: list[int], seed: int) -> None:
    """Cubes and exponentials keep the order, so bins, counts and with them every figure stay."""
    rng = np.random.default_rng(seed)
    trained, now = np.array(values, dtype=float), rng.choice(values, 150) + rng.integers(-1, 2, 150).astype(float)
    plain = drift_of(trained, now)
    for scale in (lambda x: x**3 + 7, lambda x: np.exp(x / 10)):
        scaled = drift_of(scale(trained), scale(now))
        assert (scaled.psi, scaled.ks, scaled.p_value, scaled.level) == (
            plain.psi,
            plain.ks,
            plain.p_value,
            plain.level,
        )


def test_a_column_that_is_gone_or_became_words_asks_for_a_new_training() -> None:
    reference = reference_of(pl.DataFrame({"x": range(200), "y": range(200)}), ["x", "y"])
    gone, words = compare(reference, pl.DataFrame({"y": ["a"] * 200}))
    assert (gone.level, words.level) == (NOT_APPLICABLE, NOT_APPLICABLE)
    assert "no column x any more" in str(gone.reason)
    assert "held numbers at training and is String" in str(words.reason)


def test_every_level_is_one_of_the_four() -> None:
    assert LEVELS == ("none", "moderate", "major", "not applicable")
