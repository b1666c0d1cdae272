"""Every recommender keeps the whole contract; item-kNN and ALS are what their library and plain algebra say."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmkt_assets.recommenders import ALS, RECOMMENDERS, ItemKNN, Popularity, RecentPopularity, Recommender
from xmkt_assets.recommenders.base import blend, item_order, natural_key, positions
from xmkt_assets.recommenders.reasons import with_reasons

NOW = datetime(2026, 9, 28, 12)
SCHEMA = {
    "person_id": pl.String,
    "item_id": pl.String,
    "occasion_id": pl.String,
    "occurred_at": pl.Datetime("us"),
    "event": pl.String,
    "weight": pl.Float64,
}
every_member = pytest.mark.parametrize("member", RECOMMENDERS, ids=lambda m: m.name)


def bought(
    *pairs: tuple[str, str], days_ago: float = 1.0, event: str = "purchase", weight: float = 1.0
) -> pl.DataFrame:
    at = NOW - timedelta(days=days_ago)
    rows = [(p, i, f"order-{p}-{i}-{n}", at, event, weight) for n, (p, i) in enumerate(pairs)]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def catalogue(*item_ids: str) -> pl.DataFrame:
    return pl.DataFrame({"item_id": list(item_ids), "title": [f"title of {i}" for i in item_ids]})


def persons(*person_ids: str) -> pl.DataFrame:
    return pl.DataFrame({"person_id": list(person_ids)}, schema={"person_id": pl.String})


def world() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """30 people with purchases and views of 12 items, given in no particular order, and one cold person."""
    generator = np.random.default_rng(3)
    items = catalogue(*[f"item_{n}" for n in (10, 2, 7, 1, 12, 3, 11, 4, 9, 5, 8, 6)])
    names = [f"person_{n:02d}" for n in range(30)]
    pairs = [(str(p), f"item_{n}") for p in generator.permutation(names) for n in generator.choice(range(1, 11), 4)]
    views = bought(*pairs[::3], days_ago=50, event="view", weight=0.05)
    return pl.concat([bought(*pairs, days_ago=40), views]), items, persons(*reversed(names), "stranger")


def checkerboard(n_people: int = 40, n_items: int = 20) -> pl.DataFrame:
    """Person p bought every item of p's own parity except item p (or p - n_items): the oracle's answer is that one."""
    pairs = [
        (f"p{p:02d}", f"i{i:02d}")
        for p in range(n_people)
        for i in range(n_items)
        if i % 2 == p % 2 and i != p % n_items
    ]
    return bought(*pairs)


@every_member
def test_lists_are_sorted_and_ranks_run_from_one(member: Recommender) -> None:
    lists = member.fit(*world()).recommend(world()[2], 5)
    assert lists.columns == ["person_id", "item_id", "rank", "score", "basis"]
    assert lists.equals(lists.sort("person_id", "rank"))
    assert lists["person_id"].n_unique() == 31
    assert all(ranks == [1, 2, 3, 4, 5] for ranks in lists.group_by("person_id").agg("rank")["rank"].to_list())
    assert lists.select("person_id", "item_id").is_unique().all()


@every_member
def test_scores_never_rise_down_a_list(member: Recommender) -> None:
    lists = member.fit(*world()).recommend(world()[2], 12)
    steps = lists.select(pl.col("score").diff().over("person_id")).drop_nulls()
    assert (steps["score"] <= 0).all()


@every_member
def test_only_eligible_items_are_listed_and_all_of_them_where_k_allows(member: Recommender) -> None:
    interactions, items, people = world()
    eligible = pl.DataFrame(
        {
            "person_id": ["person_00", "person_00", "person_01", "stranger", "nobody", "person_00"],
            "item_id": ["item_12", "item_3", "item_1", "item_11", "item_2", "not in the catalogue"],
        }
    )
    lists = member.fit(interactions, items, people).recommend(people, 5, eligible)
    listed = {(p, i) for p, i in lists.select("person_id", "item_id").rows()}
    assert listed == {
        ("person_00", "item_12"),
        ("person_00", "item_3"),
        ("person_01", "item_1"),
        ("stranger", "item_11"),
    }


@every_member
def test_owned_items_come_only_where_they_are_allowed(member: Recommender) -> None:
    interactions, items, people = world()
    fitted = member.fit(interactions, items, people)
    owned = interactions.filter(pl.col("event") == "purchase").select("person_id", "item_id").unique()
    without = fitted.recommend(people, 12, exclude_owned=True)
    assert without.join(owned, on=["person_id", "item_id"], how="semi").is_empty()
    assert without.height == 31 * 12 - owned.height
    assert fitted.recommend(people, 12).join(owned, on=["person_id", "item_id"], how="semi").height == owned.height


@every_member
def test_an_item_only_viewed_is_not_owned(member: Recommender) -> None:
    interactions = pl.concat([bought(("a", "x")), bought(("a", "y"), event="view", weight=0.1)])
    lists = member.fit(interactions, catalogue("x", "y"), persons("a")).recommend(persons("a"), 5, exclude_owned=True)
    assert lists["item_id"].to_list() == ["y"]


@every_member
def test_cold_people_get_popular_items_and_the_list_says_so(member: Recommender) -> None:
    popular = bought(*[(f"p{n}", "hit") for n in range(5)], *[(f"p{n}", "second") for n in range(3)], ("p9", "third"))
    items = catalogue("second", "third", "never", "hit")
    lists = member.fit(popular, items, persons("p1")).recommend(persons("stranger"), 4)
    assert lists["item_id"].to_list() == ["hit", "second", "third", "never"]
    assert lists["basis"].unique().to_list() == ["popularity"]


@every_member
def test_interactions_with_items_outside_the_catalogue_change_nothing(member: Recommender) -> None:
    interactions, items, people = world()
    more = pl.concat([interactions, bought(*[(f"person_{n:02d}", "withdrawn") for n in range(30)], days_ago=40)])
    with_it, without = (member.fit(rows, items, people).recommend(people, 5) for rows in (more, interactions))
    assert with_it.equals(without)


@every_member
def test_order_of_rows_and_repeated_fits_change_nothing(member: Recommender) -> None:
    interactions, items, people = world()
    first = member.fit(interactions, items, people).recommend(people, 5)
    shuffled = interactions.sample(fraction=1, shuffle=True, seed=1)
    again = member.fit(shuffled, items.reverse(), people.reverse()).recommend(people.reverse(), 5)
    assert again.select("person_id", "item_id", "rank", "basis").equals(first.drop("score"))
    assert np.allclose(again["score"], first["score"], rtol=1e-5)


@every_member
def test_nothing_known_at_all_still_gives_every_person_a_list(member: Recommender) -> None:
    nothing = pl.DataFrame(schema=SCHEMA)
    lists = member.fit(nothing, catalogue("item_2", "item_10"), persons()).recommend(persons("a", "b"), 5)
    assert lists.select("person_id", "item_id").rows() == [
        ("a", "item_2"),
        ("a", "item_10"),
        ("b", "item_2"),
        ("b", "item_10"),
    ]


@every_member
def test_no_people_or_no_items_give_an_empty_frame_of_the_same_shape(member: Recommender) -> None:
    interactions, items, people = world()
    lists = member.fit(interactions, items, people).recommend(persons(), 5)
    none = member.fit(interactions, items.head(0), people).recommend(people, 5)
    assert lists.is_empty()
    assert none.is_empty()
    assert lists.schema == none.schema == member.fit(interactions, items, people).recommend(people, 1).schema


@every_member
def test_a_list_without_places_is_refused(member: Recommender) -> None:
    with pytest.raises(ValueError, match="k = 0"):
        member.fit(*world()).recommend(persons("a"), 0)


@every_member
def test_reasons_keep_rows_and_claim_only_what_was_used(member: Recommender) -> None:
    interactions, items, people = world()
    fitted = member.fit(interactions, items, people)
    lists = fitted.recommend(people, 5)
    explained = with_reasons(lists, fitted, items)
    assert explained.drop("reason").equals(lists)
    assert explained["reason"].is_not_null().all()
    by_popularity = explained["reason"].str.contains("popular|not bought by anybody yet")
    assert (by_popularity == (explained["basis"] == "popularity")).all()


def test_popularity_counts_purchases_and_not_views_and_breaks_ties_by_item_number() -> None:
    rows = pl.concat(
        [
            bought(("a", "item_10"), ("b", "item_2"), ("c", "item_3"), ("d", "item_3")),
            bought(*[("a", "item_1")] * 50, event="view", weight=0.1),
        ]
    )
    items = catalogue("item_1", "item_2", "item_3", "item_10")
    lists = Popularity().fit(rows, items, persons()).recommend(persons("x"), 4)
    assert lists["item_id"].to_list() == ["item_3", "item_2", "item_10", "item_1"]
    assert lists["score"].to_list() == [2.0, 1.0, 1.0, 0.0]


def test_views_do_not_make_an_item_popular_in_the_last_days_either() -> None:
    rows = pl.concat([bought(("a", "sold")), bought(*[("b", "looked at")] * 50, event="view", weight=0.1)])
    lists = RecentPopularity().fit(rows, catalogue("looked at", "sold"), persons()).recommend(persons("x"), 2)
    assert lists["item_id"].to_list() == ["sold", "looked at"]


def test_recent_popularity_looks_back_from_the_newest_purchase_or_the_given_moment() -> None:
    old = bought(*[(f"p{n}", "old") for n in range(3)], days_ago=45)
    rows = pl.concat([old, bought(("p1", "middle"), ("p2", "middle"), days_ago=31), bought(("p1", "new"), days_ago=2)])
    items, who = catalogue("old", "middle", "new"), persons("x")
    newest = RecentPopularity(days=30).fit(rows, items, who).recommend(who, 3)
    assert newest["item_id"].to_list() == ["middle", "new", "old"]  # window begins 32 days ago
    given_now = RecentPopularity(days=30, as_of=NOW).fit(rows, items, who).recommend(who, 3)
    assert given_now["item_id"].to_list() == ["new", "old", "middle"]  # middle has left the window


def test_natural_order_puts_item_2_before_item_10() -> None:
    assert item_order(catalogue("item_10", "b", "item_2", "a1", "a")) == ("a", "a1", "b", "item_2", "item_10")
    assert natural_key("x9y10") < natural_key("x10y9")


@given(st.lists(st.text(max_size=3)), st.lists(st.text(max_size=3)))
def test_positions_agree_with_a_dictionary(wanted: list[str], known: list[str]) -> None:
    clean = [[t.replace("\0", "") for t in texts] for texts in (wanted, known)]  # numpy strips trailing nulls
    ordered = np.array(sorted(set(clean[1])), dtype=np.str_)
    oracle = {str(name): at for at, name in enumerate(ordered)}
    assert positions(clean[0], ordered).tolist() == [oracle.get(name, -1) for name in clean[0]]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_blended_order_is_personal_first_then_popularity(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 6))
    known = st.one_of(st.none(), st.integers(-3, 3))
    personal = data.draw(st.lists(known, min_size=n, max_size=n))
    prior = data.draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    matrix = np.array([[np.nan if v is None else v for v in personal]])
    order = np.argsort(-blend(matrix, np.array(prior, dtype=float))[0], kind="stable").tolist()
    oracle = sorted(range(n), key=lambda i: (personal[i] is None, -(personal[i] or 0), -prior[i], i))
    assert order == oracle


@pytest.mark.parametrize("member", [ItemKNN(), ALS(factors=8)], ids=lambda m: m.name)
def test_on_a_checkerboard_the_one_missing_item_comes_first(member: Recommender) -> None:
    rows = checkerboard()
    items = catalogue(*[f"i{n:02d}" for n in range(20)])
    people = persons(*[f"p{n:02d}" for n in range(40)])
    first = member.fit(rows, items, people).recommend(people, 1, exclude_owned=True)
    assert first["item_id"].to_list() == [f"i{n % 20:02d}" for n in range(40)]
    assert first["basis"].unique().to_list() == ["personal"]


def matrix_of(interactions: pl.DataFrame, people: list[str], items: list[str]) -> np.ndarray:
    """Summed weights, built the slow way: the second method."""
    dense = np.zeros((len(people), len(items)))
    for person, item, weight in interactions.select("person_id", "item_id", "weight").rows():
        dense[people.index(person), items.index(item)] += weight
    return dense


def test_item_knn_scores_are_cosines_summed_over_the_history() -> None:
    interactions, items, people = world()
    fitted = ItemKNN(neighbours=12).fit(interactions, items, people)
    who, what = fitted.history.person_ids.tolist(), [f"item_{n}" for n in range(1, 13)]
    dense = matrix_of(interactions, who, what)
    lengths = np.linalg.norm(dense, axis=0)
    unit = np.divide(dense, lengths, out=np.zeros_like(dense), where=lengths > 0)
    oracle = dense @ (unit.T @ unit)
    scores = fitted.score(who, np.ones_like(dense, dtype=bool))
    assert np.allclose(np.nan_to_num(scores), oracle)
    assert (np.isnan(scores) == (oracle == 0)).all()


def test_item_knn_lists_equal_those_of_the_library() -> None:
    from implicit.nearest_neighbours import CosineRecommender
    from scipy.sparse import csr_matrix

    interactions, items, people = world()
    fitted = ItemKNN(neighbours=4).fit(interactions, items, people)
    who, what = fitted.history.person_ids.tolist(), [f"item_{n}" for n in range(1, 13)]
    dense = csr_matrix(matrix_of(interactions, who, what))
    library = CosineRecommender(K=5, num_threads=1)
    library.fit(dense, show_progress=False)
    scores = fitted.score(who, np.ones(dense.shape, dtype=bool))
    for person in range(len(who)):
        ids, theirs = library.recommend(person, dense[person], N=12, filter_already_liked_items=False)
        positive = theirs > 0
        assert np.allclose(scores[person, ids[positive]], theirs[positive])
        assert np.isfinite(scores[person]).sum() == positive.sum()


def test_als_scores_equal_those_of_the_library() -> None:
    from implicit.cpu.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    interactions, items, people = world()
    fitted = ALS(factors=3, regularisation=0.5, confidence=7.0, iterations=5, seed=11).fit(interactions, items, people)
    who, what = fitted.history.person_ids.tolist(), [f"item_{n}" for n in range(1, 13)]
    dense = csr_matrix(matrix_of(interactions, who, what))
    library = AlternatingLeastSquares(factors=3, regularization=0.5, alpha=7.0, iterations=5, random_state=11)
    library.fit(dense, show_progress=False)
    scores = fitted.score([*who, "stranger"], np.ones((len(who) + 1, 12), dtype=bool))
    assert np.allclose(scores[:-1], library.user_factors @ library.item_factors.T, atol=1e-5)
    assert np.isnan(scores[-1]).all()


def test_als_comes_close_to_the_exact_least_squares_solution() -> None:
    """At convergence each person's factors solve the normal equations of Hu, Koren, Volinsky (2008), eq. 4."""
    interactions, items, people = world()
    recipe = ALS(factors=3, regularisation=0.5, confidence=7.0, iterations=200)
    fitted = recipe.fit(interactions, items, people)
    who, what = fitted.history.person_ids.tolist(), [f"item_{n}" for n in range(1, 13)]
    dense, y = matrix_of(interactions, who, what), fitted.item_factors.astype(float)
    for row, x in zip(dense, fitted.person_factors, strict=True):
        c = np.where(row > 0, 7.0 * row, 1.0)  # implicit: confidence alpha·w where seen, 1 elsewhere
        exact = np.linalg.solve(y.T @ (c[:, None] * y) + 0.5 * np.eye(3), y.T @ (c * (row > 0)))
        assert np.allclose(x, exact, atol=0.02)


def test_item_knn_names_the_history_item_that_weighed_most() -> None:
    pairs = [(f"p{n}", i) for n in range(6) for i in ("tea", "cup")] + [("p7", "car"), ("p7", "oil"), ("p8", "tea")]
    items = catalogue("tea", "cup", "car", "oil")
    viewed = bought(("p9", "car"), event="view", weight=0.1)
    fitted = ItemKNN().fit(pl.concat([bought(*pairs), viewed]), items, persons())
    assert fitted.because(["p8", "p8", "p9", "stranger"], ["cup", "oil", "oil", "tea"]) == ["tea", None, "car", None]
    explained = with_reasons(fitted.recommend(persons("p8", "p9", "stranger"), 2, exclude_owned=True), fitted, items)
    reasons = {(p, i): r for p, i, r in explained.select("person_id", "item_id", "reason").rows()}
    assert reasons["p8", "cup"] == "people who bought title of tea also bought this"
    assert reasons["p9", "car"] == "viewed before, not bought yet"
    assert reasons["p9", "oil"] == "people interested in title of car, which they viewed, chose this"
    assert reasons["stranger", "tea"] == "popular in the last 30 days"


def test_of_two_history_items_the_one_that_weighs_more_is_named() -> None:
    """cup was bought 6 times with tea (cosine near 1) and once with oil: for whoever has tea and oil it is tea."""
    pairs = [(f"p{n}", i) for n in range(6) for i in ("tea", "cup")]
    pairs += [("p6", "oil"), ("p6", "cup"), ("p7", "oil"), ("p8", "oil"), ("p9", "tea"), ("p9", "oil")]
    fitted = ItemKNN().fit(bought(*pairs), catalogue("tea", "cup", "oil"), persons())
    assert fitted.because(["p9"], ["cup"]) == ["tea"]
    little = bought(("p9", "tea"), event="view", weight=0.01)
    without_p9 = bought(*[pair for pair in pairs if pair != ("p9", "tea")])
    weighed = ItemKNN().fit(pl.concat([without_p9, little]), catalogue("tea", "cup", "oil"), persons())
    assert weighed.because(["p9"], ["cup"]) == ["oil"]  # tea only glanced at: 0.01 of its cosine


def test_reasons_tell_recent_from_old_popularity_and_from_none() -> None:
    rows = pl.concat([bought(("a", "old"), days_ago=100), bought(("a", "new"), days_ago=1)])
    items = catalogue("old", "new", "never")
    fitted = RecentPopularity().fit(rows, items, persons())
    explained = with_reasons(fitted.recommend(persons("b"), 3), fitted, items)
    assert dict(explained.select("item_id", "reason").rows()) == {
        "new": "popular in the last 30 days",
        "old": "popular with all buyers so far",
        "never": "in the catalogue, not bought by anybody yet",
    }


def test_a_fitted_member_survives_pickling() -> None:
    import pickle

    interactions, items, people = world()
    for member in RECOMMENDERS:
        fitted = member.fit(interactions, items, people)
        again = pickle.loads(pickle.dumps(fitted))
        assert again.recommend(people, 5).equals(fitted.recommend(people, 5))


def test_names_of_members_are_unique_and_popularity_stands_first() -> None:
    names = [member.name for member in RECOMMENDERS]
    assert len(set(names)) == len(names)
    assert names[:2] == ["popularity", "popularity_30d"]
