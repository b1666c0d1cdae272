"""How many groups: the evidence against scikit-learn, the written rule case by case, and what cannot be chosen."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.metrics import adjusted_rand_score, silhouette_samples

from xmkt_assets.segments import pictures
from xmkt_assets.segments.cluster_choice import (
    CHOICE_SCHEMA,
    LEFT_OPEN,
    Candidate,
    Choice,
    Wish,
    adjusted_rand,
    by_the_rule,
    candidates,
    choose,
    in_words,
    silhouettes,
)
from xmkt_assets.segments.grouping import KMEANS, METHODS, WARD, centres_by_k, cut, distances_to, nearest
from xmkt_assets.segments.intervals import Interval


def blobs(centres: int, *, each: int = 60, seed: int = 0, spread: float = 0.4) -> np.ndarray:
    """Points around corners of a square grid, four apart."""
    rng = np.random.default_rng(seed)
    corners = np.array([(4.0 * (i % 3), 4.0 * (i // 3)) for i in range(centres)])
    return np.repeat(corners, each, axis=0) + rng.normal(0, spread, (centres * each, 2))


def candidate(method: str, k: int, silhouette: float, stability: float) -> Candidate:
    """With a standard error of .01."""
    return Candidate(
        method,
        k,
        Interval(silhouette, silhouette - 0.01959964, silhouette + 0.01959964),
        Interval(stability, stability - 0.1, 1.0),
    )


@pytest.fixture(scope="module")
def chosen() -> Choice:
    return choose(blobs(4), seed=7)


# --- the evidence ---------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None, derandomize=True)
@given(hnp.arrays(np.int64, 12, elements=st.integers(0, 3)), hnp.arrays(np.int64, 12, elements=st.integers(0, 4)))
def test_the_adjusted_rand_index_is_that_of_scikit_learn(one: np.ndarray, other: np.ndarray) -> None:
    assert adjusted_rand(one, other) == pytest.approx(adjusted_rand_score(one, other))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(hnp.arrays(np.int64, 10, elements=st.integers(0, 3)).filter(lambda g: 1 < len(set(g.tolist())) < 10))
def test_silhouettes_are_those_of_scikit_learn(groups: np.ndarray) -> None:
    points = blobs(2, each=5, spread=2.0)
    dense = np.unique(groups, return_inverse=True)[1]
    assert silhouettes(distances_to(points, points), groups) == pytest.approx(silhouette_samples(points, dense))


@pytest.mark.parametrize("k", [1, 2, 3, 5, 8])
def test_a_tree_is_cut_as_scipy_cuts_it_where_no_heights_are_equal(k: int) -> None:
    tree = linkage(blobs(4, each=10, spread=1.5), method="ward")
    assert adjusted_rand_score(cut(tree, k), fcluster(tree, k, "maxclust")) == 1
    assert len(set(cut(tree, k).tolist())) == k


def test_a_tree_of_equal_heights_is_cut_into_as_many_groups_as_asked() -> None:
    square = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])  # by hand: every first union costs the same
    assert len(set(cut(linkage(square, method="ward"), 3).tolist())) == 3


@pytest.mark.parametrize("method", METHODS)
def test_planted_points_are_stable_and_well_separated_at_their_number(chosen: Choice, method: str) -> None:
    (row,) = chosen.rows.filter((pl.col("method") == method) & (pl.col("k") == 4)).rows(named=True)
    assert row["stability_low"] > 0.99
    assert 0.7 < row["silhouette_low"] < row["silhouette"] < row["silhouette_high"]
    assert chosen.k == 4


def test_every_method_is_compared_at_every_number_and_one_is_chosen(chosen: Choice) -> None:
    assert chosen.rows.schema == CHOICE_SCHEMA
    assert sorted(chosen.rows.select("method", "k").rows()) == sorted((m, k) for m in METHODS for k in range(2, 9))
    assert chosen.rows["is_chosen"].sum() == chosen.rows["why"].drop_nulls().len() == 1
    assert in_words(chosen.rows).count("**") == 8
    assert pictures.cluster_choice(chosen.rows).axes[0].get_title() == "silhouette"


def test_the_choice_of_a_crowd_is_made_on_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def seen(points: np.ndarray, **rest: object) -> list[Candidate]:
        sizes.append(len(points))
        return candidates(points[::10], **rest)  # type: ignore[arg-type]

    monkeypatch.setattr("xmkt_assets.segments.cluster_choice.candidates", seen)
    assert choose(blobs(3, each=2_000), seed=7).k == 3
    assert sizes == [2_000]


# --- the rule -------------------------------------------------------------------------------------------------------


def test_the_best_separated_of_the_stable_is_taken() -> None:
    found = [candidate(KMEANS, 2, 0.3, 0.9), candidate(KMEANS, 5, 0.5, 0.85), candidate(WARD, 8, 0.7, 0.79)]
    chosen, why = by_the_rule(found)
    assert chosen.name == (KMEANS, 5)
    assert why == "stable (0.85, wanted 0.80) and the best separated of the stable"


def test_within_one_standard_error_the_fewest_groups_are_taken_and_of_methods_k_means() -> None:
    found = [candidate(WARD, 3, 0.495, 0.9), candidate(KMEANS, 6, 0.5, 0.9), candidate(KMEANS, 3, 0.492, 0.9)]
    chosen, why = by_the_rule([*found, candidate(KMEANS, 2, 0.489, 0.9)])
    assert chosen.name == (KMEANS, 3)
    assert why.startswith("stable (0.90, wanted 0.80), within one standard error of the best separated (k-means, 6), ")
    assert why.endswith("and the fewest groups")


def test_the_choice_of_the_last_snapshot_stays_while_it_is_as_good_and_no_longer() -> None:
    found = [candidate(KMEANS, 3, 0.495, 0.9), candidate(KMEANS, 6, 0.5, 0.9), candidate(WARD, 5, 0.48, 0.9)]
    kept, why = by_the_rule([*found, candidate(WARD, 7, 0.493, 0.9)], last=(WARD, 7))
    assert kept.name == (WARD, 7)
    assert why.endswith("and the choice of the last snapshot")
    assert by_the_rule(found, last=(WARD, 5))[0].name == (KMEANS, 3)


def test_where_nothing_is_stable_the_most_stable_is_taken_and_said_to_be_so() -> None:
    chosen, why = by_the_rule([candidate(KMEANS, 3, 0.5, 0.4), candidate(WARD, 2, 0.2, 0.6)])
    assert chosen.name == (WARD, 2)
    assert why == "nothing reaches stability 0.80; the most stable of all, at 0.60"


# --- what is asked for ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wish", [Wish(WARD), Wish(WARD, 3), Wish(k=9)])
def test_the_configuration_goes_before_the_evidence_which_is_still_shown(wish: Wish) -> None:
    found = choose(blobs(4, each=25), seed=7, wish=wish)
    assert found.k == (wish.k or 4)
    assert found.method == (wish.method or found.method)
    assert found.rows.filter("is_chosen")["why"][0].startswith("as configured")
    assert found.rows.height == (16 if wish.k == 9 else 14)


@pytest.mark.parametrize(("wish", "words"), [(Wish(k=1), "Ask for 2 or more"), (Wish("dbscan"), "k-means, ward")])
def test_a_wish_nobody_can_meet_is_refused(wish: Wish, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        choose(blobs(2), seed=7, wish=wish)


# --- what cannot be chosen ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("points", "wish", "reason"),
    [
        (np.zeros((0, 2)), LEFT_OPEN, "not applicable: 0 people, wanted at least 50 to choose groups by"),
        (blobs(1, each=1), LEFT_OPEN, "not applicable: 1 people, wanted at least 50 to choose groups by"),
        (np.zeros((60, 2)), LEFT_OPEN, "all 60 people have the same features, nothing tells them apart"),
        (blobs(3, each=20), Wish(k=7), "60 people of 60 kinds allow at most 6 groups of 10, wanted 7"),
    ],
)
def test_where_nothing_can_be_chosen_the_only_row_says_why(points: np.ndarray, wish: Wish, reason: str) -> None:
    found = choose(points, seed=7, wish=wish)
    assert (found.method, found.k) == (None, None)
    (row,) = found.rows.rows(named=True)
    assert (row["is_chosen"], row["k"], row["why"]) == (False, None, found.reason)
    assert reason in str(found.reason)
    assert "| – | – | – | – |" in in_words(found.rows)


def test_two_kinds_of_people_allow_two_groups_and_no_more() -> None:
    found = choose(np.repeat([[0.0, 0], [1, 1]], 40, axis=0), seed=7)
    assert found.k == 2
    assert found.rows["k"].unique().to_list() == [2]


@pytest.mark.parametrize("method", METHODS)
def test_a_method_gives_no_more_groups_than_there_are_different_points(method: str) -> None:
    points = np.repeat([[0.0, 0], [1, 1], [5, 5]], 10, axis=0)
    centres = centres_by_k(points, method=method, ks=[2, 3, 8], seed=7)
    assert {k: len(c) for k, c in centres.items()} == {2: 2, 3: 3, 8: 3}
    same = centres_by_k(np.ones((5, 2)), method=method, ks=[2], seed=7)[2]
    assert nearest(np.ones((5, 2)), same)[1].tolist() == [1] * 5
