"""The gate: who becomes champion, on leaderboards written by hand."""

import polars as pl
import pytest

from xmkt_assets.recommenders.evaluate import LEADERBOARD_SCHEMA, NotApplicable, not_applicable_leaderboard
from xmkt_assets.recommenders.promote import DECISION_SCHEMA, Decision, decide

Gains = dict[tuple[str, str], tuple[float, float, float]]


def board(values: dict[str, float], gains: Gains) -> pl.DataFrame:
    absolute = [(m, "ndcg@5", "nothing", v, v - 0.1, v + 0.1, 50, 40, 0.1, None) for m, v in values.items()]
    paired = [(m, "ndcg@5", over, *g, 50, 40, 0.1, None) for (m, over), g in gains.items()]
    return pl.DataFrame(absolute + paired, schema=LEADERBOARD_SCHEMA, orient="row")


def decided(leaderboard: pl.DataFrame, champion: str | None, *, can_learn: bool = True) -> Decision:
    return decide(leaderboard, champion=champion, metric="ndcg@5", baseline="popularity", can_learn=can_learn)


PROVEN, UNPROVEN, WORSE = (0.05, 0.01, 0.09), (0.05, -0.01, 0.11), (-0.05, -0.09, -0.01)


def test_without_a_champion_the_best_member_takes_the_place() -> None:
    found = decided(board({"popularity": 0.4, "als": 0.5, "item_knn": 0.3}, {}), None)
    assert (found.outcome, found.model) == ("first", "als")
    assert "best of 3" in found.reason


def test_popularity_itself_may_be_champion_and_wins_a_tie() -> None:
    found = decided(board({"popularity": 0.5, "als": 0.5}, {}), None)
    assert (found.outcome, found.model) == ("first", "popularity")


def test_a_challenger_proven_against_champion_and_popularity_is_promoted() -> None:
    gains = {("als", "item_knn"): PROVEN, ("als", "popularity"): PROVEN, ("popularity", "item_knn"): WORSE}
    found = decided(board({"popularity": 0.4, "item_knn": 0.45, "als": 0.5}, gains), "item_knn")
    assert (found.outcome, found.model, found.champion_before) == ("promoted", "als", "item_knn")
    assert (found.gain, found.gain_low, found.gain_high) == PROVEN
    assert "+0.0500 (95 % +0.0100 to +0.0900)" in found.reason


def test_a_gain_whose_interval_touches_zero_promotes_nobody() -> None:
    gains = {("als", "popularity"): UNPROVEN}
    found = decided(board({"popularity": 0.45, "als": 0.5}, gains), "popularity")
    assert (found.outcome, found.model, found.challenger) == ("kept", "popularity", "als")
    assert "not proven" in found.reason
    edge = decided(board({"popularity": 0.45, "als": 0.5}, {("als", "popularity"): (0.05, 0.0, 0.1)}), "popularity")
    assert edge.outcome == "kept"


def test_beating_a_weak_champion_is_not_enough_without_beating_popularity() -> None:
    gains = {("als", "item_knn"): PROVEN, ("als", "popularity"): UNPROVEN, ("popularity", "item_knn"): UNPROVEN}
    found = decided(board({"popularity": 0.49, "item_knn": 0.45, "als": 0.5}, gains), "item_knn")
    assert (found.outcome, found.model) == ("kept", "item_knn")
    assert "does not provably beat popularity" in found.reason


def test_popularity_takes_over_from_a_champion_proven_worse() -> None:
    gains = {("popularity", "als"): PROVEN}
    found = decided(board({"popularity": 0.5, "als": 0.45}, gains), "als")
    assert (found.outcome, found.model) == ("promoted", "popularity")


def test_the_second_best_is_promoted_when_only_it_is_proven() -> None:
    gains = {
        ("wild", "popularity"): UNPROVEN,
        ("steady", "popularity"): PROVEN,
    }
    found = decided(board({"popularity": 0.4, "wild": 0.6, "steady": 0.5}, gains), "popularity")
    assert (found.outcome, found.model) == ("promoted", "steady")


def test_the_best_champion_stays() -> None:
    gains = {("popularity", "als"): WORSE}
    found = decided(board({"popularity": 0.4, "als": 0.5}, gains), "als")
    assert (found.outcome, found.model) == ("kept", "als")
    assert "still the best" in found.reason


def test_a_champion_that_is_no_longer_a_member_gives_way_to_the_best() -> None:
    found = decided(board({"popularity": 0.4, "als": 0.5}, {}), "retired")
    assert (found.outcome, found.model, found.champion_before) == ("first", "als", "retired")
    assert "retired, is no longer a member" in found.reason


def test_without_test_purchases_the_champion_stays_or_popularity_starts_untested() -> None:
    empty = not_applicable_leaderboard(NotApplicable("no purchase to judge on"))
    kept, first = decided(empty, "als"), decided(empty, None)
    assert (kept.outcome, kept.model) == ("kept", "als")
    assert (first.outcome, first.model) == ("untested", "popularity")
    assert "no purchase to judge on" in kept.reason
    assert "no purchase to judge on" in first.reason


@pytest.mark.parametrize("champion", [None, "als"])
def test_with_nothing_to_learn_from_there_is_no_model(champion: str | None) -> None:
    empty = not_applicable_leaderboard(NotApplicable("no interaction"))
    found = decided(empty, champion, can_learn=False)
    assert (found.outcome, found.model) == ("not applicable", None)
    assert found.reason == "not applicable: no interaction"


def test_a_leaderboard_without_the_paired_gain_is_refused_with_the_next_step() -> None:
    with pytest.raises(ValueError, match=r"0 rows for the gain of 'als' over 'popularity'.*Materialise"):
        decided(board({"popularity": 0.4, "als": 0.5}, {}), "popularity")


def test_a_decision_is_one_row_of_fixed_columns() -> None:
    frame = decided(board({"popularity": 0.5}, {}), None).frame()
    assert frame.schema == DECISION_SCHEMA
    assert frame.height == 1
