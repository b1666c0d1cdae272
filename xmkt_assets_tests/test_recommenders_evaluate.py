"""The judge is judged: metrics by hand, intervals by a second method, no look into the future, the same candidates."""

from datetime import datetime, timedelta
from math import log2

import numpy as np
import polars as pl
import pytest

from xmkt_assets.recommenders import RECOMMENDERS, Popularity, RecentPopularity
from xmkt_assets.recommenders.bootstrap import interval, replicate_means
from xmkt_assets.recommenders.charts import leaderboard_figure, leaderboard_table
from xmkt_assets.recommenders.evaluate import (
    LEADERBOARD_SCHEMA,
    Evaluation,
    NotApplicable,
    case_candidates,
    evaluate,
    hits,
    not_applicable_leaderboard,
    purchase_cases,
    split,
)
from xmkt_assets.recommenders.metrics import METRICS, average_precision, hit_rate, ndcg, per_case, reciprocal_rank

AT = datetime(2026, 9, 15)
SCHEMA = {
    "person_id": pl.String,
    "item_id": pl.String,
    "occasion_id": pl.String,
    "occurred_at": pl.Datetime("us"),
    "event": pl.String,
    "weight": pl.Float64,
}


def rows(*lines: tuple[str, str, str, float], event: str = "purchase") -> pl.DataFrame:
    """Lines (person, item, occasion, days after AT)."""
    full = [(p, i, o, AT + timedelta(days=d), event, 1.0) for p, i, o, d in lines]
    return pl.DataFrame(full, schema=SCHEMA, orient="row")


def catalogue(*item_ids: str) -> pl.DataFrame:
    return pl.DataFrame({"item_id": list(item_ids)})


def judged(train: pl.DataFrame, test: pl.DataFrame, items: pl.DataFrame, **more: object) -> Evaluation:
    people = pl.concat([train, test]).select("person_id").unique()
    found = evaluate(RECOMMENDERS, train=train, test=test, items=items, people=people, resamples=20, **more)
    assert isinstance(found, Evaluation)
    return found


# ── metrics, by hand ────────────────────────────────────────────────────────────────────────────────────────────────
# Case 1: bought 2 items, at places 2 and 4. Case 2: bought 1 item, not listed. Case 3: bought 3 items, at places 1, 2.
HITS = np.array([[0, 1, 0, 1, 0], [0, 0, 0, 0, 0], [1, 1, 0, 0, 0]], dtype=bool)
SIZES = np.array([2, 1, 3])


def test_hit_rate_asks_whether_any_bought_item_is_among_the_first_k() -> None:
    assert hit_rate(HITS, SIZES, k=1).tolist() == [0, 0, 1]
    assert hit_rate(HITS, SIZES, k=3).tolist() == [1, 0, 1]


def test_reciprocal_rank_is_one_over_the_place_of_the_first_hit() -> None:
    assert reciprocal_rank(HITS, SIZES, k=5).tolist() == [0.5, 0, 1]
    assert reciprocal_rank(HITS, SIZES, k=1).tolist() == [0, 0, 1]


def test_ndcg_divides_by_the_best_possible_list() -> None:
    first = (1 / log2(3) + 1 / log2(5)) / (1 + 1 / log2(3))
    third = (1 + 1 / log2(3)) / (1 + 1 / log2(3) + 1 / log2(4))
    assert ndcg(HITS, SIZES, k=5) == pytest.approx([first, 0, third])
    assert ndcg(HITS, SIZES, k=2) == pytest.approx([(1 / log2(3)) / (1 + 1 / log2(3)), 0, 1])


def test_average_precision_divides_by_the_smaller_of_bought_and_k() -> None:
    assert average_precision(HITS, SIZES, k=5) == pytest.approx([(1 / 2 + 2 / 4) / 2, 0, (1 + 1) / 3])
    assert average_precision(HITS, SIZES, k=2) == pytest.approx([(1 / 2) / 2, 0, 1])


def test_every_metric_is_1_for_a_perfect_list_and_0_for_a_useless_one() -> None:
    perfect, useless = np.arange(10)[None, :] < 3, np.zeros((1, 10), dtype=bool)
    assert per_case(perfect, np.array([3])) == pytest.approx(np.ones((1, len(METRICS))))
    assert per_case(useless, np.array([3])) == pytest.approx(np.zeros((1, len(METRICS))))


def test_an_empty_place_is_no_hit() -> None:
    assert hits(np.array([[1, -1]]), np.array([[True, True]])).tolist() == [[True, False]]


# ── intervals ───────────────────────────────────────────────────────────────────────────────────────────────────────
def test_interval_agrees_with_the_normal_one_when_everybody_has_one_case() -> None:
    values = np.random.default_rng(1).random((400, 1))
    replicates = replicate_means(values, np.arange(400), resamples=4000, seed=2)
    found = interval(values.mean(), replicates[:, 0], persons=400)
    half = 1.96 * values.std() / np.sqrt(400)
    assert found.low == pytest.approx(values.mean() - half, abs=half * 0.1)
    assert found.high == pytest.approx(values.mean() + half, abs=half * 0.1)


def test_ten_equal_cases_per_person_say_no_more_than_one() -> None:
    values = np.random.default_rng(1).random((100, 1))
    once = replicate_means(values, np.arange(100), resamples=300, seed=2)
    tenfold = replicate_means(np.repeat(values, 10, axis=0), np.repeat(np.arange(100), 10), resamples=300, seed=2)
    assert np.allclose(once, tenfold)


def test_replicates_weigh_people_by_their_cases() -> None:
    """Two persons: A with 3 cases of 1, B with 1 case of 0. Drawn AA, AB, BB the mean is 1, 3/4, 0."""
    replicates = replicate_means(np.array([[1.0], [1], [1], [0]]), np.array([0, 0, 0, 1]), resamples=2000, seed=3)
    values, counts = np.unique(replicates, return_counts=True)
    assert values == pytest.approx([0, 0.75, 1])
    assert counts / 2000 == pytest.approx([0.25, 0.5, 0.25], abs=0.04)


def test_one_person_gives_a_value_without_interval() -> None:
    found = interval(0.5, np.full(10, 0.5), persons=1)
    assert found.value == 0.5
    assert np.isnan([found.low, found.high]).all()


# ── split, cases, candidates ────────────────────────────────────────────────────────────────────────────────────────
def test_split_gives_the_moment_itself_to_the_test() -> None:
    train, test = split(rows(("a", "x", "1", -1), ("a", "y", "2", 0), ("a", "z", "3", 1)), at=AT)
    assert train["item_id"].to_list() == ["x"]
    assert test["item_id"].to_list() == ["y", "z"]


def test_a_case_is_a_purchase_occasion_with_all_its_different_items() -> None:
    test = pl.concat(
        [
            rows(("a", "x", "1", 1), ("a", "y", "1", 1), ("a", "x", "1", 1), ("a", "gone", "1", 1), ("b", "y", "2", 2)),
            rows(("c", "x", "9", 1), event="view"),
        ]
    )
    cases = purchase_cases(test, ("x", "y", "z"))
    assert cases.occasion_ids == ("1", "2")
    assert cases.person_ids == ("a", "b")
    assert cases.truth.tolist() == [[True, True, False], [False, True, False]]
    assert cases.sizes.tolist() == [3, 1]  # "gone" is not in the catalogue, so it can only be missed


def test_candidates_are_those_of_the_occasion_else_of_the_person_else_all() -> None:
    cases = purchase_cases(rows(("a", "x", "1", 1), ("a", "x", "2", 2), ("b", "x", "3", 3)), ("x", "y", "z"))
    person = pl.DataFrame({"person_id": ["a", "a"], "item_id": ["x", "y"]})
    occasion = pl.DataFrame({"occasion_id": ["2", "77"], "item_id": ["z", "x"]})
    assert case_candidates(cases, ("x", "y", "z")).all()
    both = case_candidates(cases, ("x", "y", "z"), eligible=person, occasion_eligible=occasion)
    assert both.tolist() == [[True, True, False], [False, False, True], [False, False, False]]
    nobody = case_candidates(cases, ("x", "y", "z"), occasion_eligible=occasion.clear())
    assert nobody.all()


# ── the whole evaluation ────────────────────────────────────────────────────────────────────────────────────────────
def test_popularity_is_scored_as_worked_out_by_hand() -> None:
    """Popularity order a, b, c (3, 2, 1 sales). Bought later: b by one person, c by another: places 2 and 3."""
    train = rows(*[(f"p{n}", i, f"{n}{i}", -5) for i, sold in (("a", 3), ("b", 2), ("c", 1)) for n in range(sold)])
    found = judged(train, rows(("q", "b", "t1", 1), ("r", "c", "t2", 1)), catalogue("a", "b", "c", "d"))
    expected = {"hr@1": 0, "hr@3": 1, "mrr@5": (1 / 2 + 1 / 3) / 2, "ndcg@5": (1 / log2(3) + 1 / log2(4)) / 2}
    for metric, value in expected.items():
        assert found.estimate("popularity", metric).value == pytest.approx(value)
    assert (found.cases, found.persons, found.known_cases) == (2, 2, 0)
    assert found.coverage[0] == 1  # 4 items, all within the first 5 places


def test_owned_items_leave_the_list_where_an_item_is_bought_once() -> None:
    train = rows(("p", "a", "1", -5), ("q", "a", "2", -5), ("p", "b", "3", -5))
    test = rows(("q", "b", "t", 1))
    items = catalogue("a", "b")
    assert judged(train, test, items).estimate("popularity", "hr@1").value == 0
    assert judged(train, test, items, exclude_owned=True).estimate("popularity", "hr@1").value == 1


def test_eligibility_of_the_occasion_decides_what_is_ranked() -> None:
    train = rows(("p", "a", "1", -5), ("q", "a", "2", -5), ("p", "b", "3", -5))
    only_b = pl.DataFrame({"occasion_id": ["t"], "item_id": ["b"]})
    found = judged(train, rows(("r", "b", "t", 1)), catalogue("a", "b"), occasion_eligible=only_b)
    assert found.estimate("popularity", "hr@1").value == 1


def test_nobody_learns_from_after_the_split() -> None:
    """Everybody buys 'secret' after the split and nobody before: whoever ranks it first has seen the future."""
    past = rows(*[(f"p{n}", f"i{k}", f"{n}-{k}", -1 - k) for n in range(20) for k in range(6)])
    future = rows(*[(f"p{n}", "secret", f"s{n}", 1) for n in range(20)])
    train, test = split(pl.concat([past, future]), at=AT)
    found = judged(train, test, catalogue(*[f"i{k}" for k in range(6)], "secret"))
    for model in found.models:
        assert found.estimate(model, "hr@5").value == 0


def test_views_after_the_split_change_no_number() -> None:
    past = rows(*[(f"p{n}", f"i{(n + k) % 6}", f"{n}-{k}", -1 - k) for n in range(12) for k in range(3)])
    future = rows(*[(f"p{n}", f"i{(n + 4) % 6}", f"s{n}", 1) for n in range(12)])
    peek = rows(*[(f"p{n}", f"i{(n + 4) % 6}", f"v{n}", 0.5) for n in range(12)], event="view")
    items = catalogue(*[f"i{k}" for k in range(6)])
    without, with_peek = (split(pl.concat(parts), at=AT) for parts in ((past, future), (past, future, peek)))
    assert np.array_equal(judged(*without, items).means, judged(*with_peek, items).means)


def test_every_personal_member_solves_the_checkerboard_that_popularity_cannot() -> None:
    """20 items, half of each parity; everybody bought all items of their own parity but one, and buys it afterwards."""
    everything = [(f"p{p:02d}", f"i{i:02d}") for p in range(40) for i in range(20) if i % 2 == p % 2]
    last = {(f"p{p:02d}", f"i{p % 20:02d}") for p in range(40)}
    train = rows(*[(p, i, f"{p}{i}", -3) for p, i in everything if (p, i) not in last])
    test = rows(*[(p, i, f"{p}{i}", 3) for p, i in sorted(last)])
    found = judged(train, test, catalogue(*[f"i{n:02d}" for n in range(20)]), exclude_owned=True)
    assert found.estimate("item_knn", "hr@1").value == 1
    assert found.estimate("als", "hr@1").value == 1
    assert found.estimate("popularity", "hr@1").value <= 0.1
    assert found.gain("item_knn", "popularity", "hr@1").low > 0.5


def test_a_member_gains_nothing_over_its_own_twin_in_every_resample() -> None:
    train = rows(*[(f"p{n}", f"i{n % 3}", f"{n}", -5) for n in range(9)])
    test = rows(*[(f"q{n}", f"i{n % 3}", f"t{n}", 1) for n in range(9)])
    people = test.select("person_id")
    twins = (Popularity(), RecentPopularity(days=10_000))
    found = evaluate(twins, train=train, test=test, items=catalogue("i0", "i1", "i2"), people=people)
    assert isinstance(found, Evaluation)
    assert tuple(found.gain("popularity_10000d", "popularity", "mrr@5")) == (0, 0, 0)
    assert found.estimate("popularity", "mrr@5").low < found.estimate("popularity", "mrr@5").high


def test_the_same_seed_gives_the_same_leaderboard() -> None:
    train = rows(*[(f"p{n}", f"i{n % 5}", f"{n}", -5) for n in range(40)])
    test = rows(*[(f"p{n}", f"i{(n + 1) % 5}", f"t{n}", 1) for n in range(40)])
    boards = [judged(train, test, catalogue(*"abc", *[f"i{n}" for n in range(5)])).leaderboard() for _ in range(2)]
    assert boards[0].drop("fit_seconds").equals(boards[1].drop("fit_seconds"))


def test_leaderboard_has_every_metric_once_and_every_gain_against_every_other() -> None:
    train = rows(*[(f"p{n}", f"i{n % 5}", f"{n}", -5) for n in range(40)])
    board = judged(train, rows(("p1", "i3", "t", 1), ("p2", "i3", "u", 1)), catalogue("i1", "i3")).leaderboard()
    assert board.schema == LEADERBOARD_SCHEMA
    assert board.select("model", "metric", "compared_with").is_unique().all()
    assert board.filter(pl.col("compared_with") == "nothing").height == 4 * (len(METRICS) + 1)
    assert board.filter(pl.col("compared_with") != "nothing").height == 4 * 3 * len(METRICS)
    pair = board.filter(metric="hr@1", model="als", compared_with="popularity")["value"].item()
    reverse = board.filter(metric="hr@1", model="popularity", compared_with="als")["value"].item()
    assert pair == -reverse
    assert leaderboard_table(board).columns[:2] == ["model", "hr@1"]
    assert len(leaderboard_figure(board, metric="ndcg@5", title="t").axes[0].patches) == 4


@pytest.mark.parametrize(
    ("train", "test", "items", "reason"),
    [
        (rows(("p", "a", "1", -1)), rows(("p", "a", "2", 1)), catalogue(), "catalogue is empty"),
        (rows(), rows(("p", "a", "2", 1)), catalogue("a"), "nothing to learn from"),
        (rows(("p", "z", "1", -1)), rows(("p", "a", "2", 1)), catalogue("a"), "nothing to learn from"),
        (rows(("p", "a", "1", -1)), rows(), catalogue("a"), "nothing to judge on"),
        (rows(("p", "a", "1", -1)), rows(("p", "a", "2", 1), event="view"), catalogue("a"), "nothing to judge on"),
    ],
)
def test_where_nobody_can_be_judged_the_reason_is_said(
    train: pl.DataFrame, test: pl.DataFrame, items: pl.DataFrame, reason: str
) -> None:
    found = evaluate(RECOMMENDERS, train=train, test=test, items=items.cast(pl.String), people=train)
    assert isinstance(found, NotApplicable)
    assert reason in found.reason
    board = not_applicable_leaderboard(found)
    assert board.schema == LEADERBOARD_SCHEMA
    assert board.select("model", "note", "cases").row(0) == ("not applicable", found.reason, 0)
