"""Item-kNN and ALS through the recommender contract beside ``implicit`` used by hand: fit, then 20 items for everybody.

Both start from the same frame of interactions. By hand means: number the ids, build the matrix, fit, take the top 20 as
item ids. The contract adds what the platform needs: eligible items, cold people, ties with a rule, readable frames.
"""

import warnings
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import numpy as np
import polars as pl

from xmkt_assets.recommenders import ALS, ItemKNN, Recommender
from xmkt_assets_tests.benchmarks.measure import Comparison, seconds_of, take_turns

SIZES: Final = {"people": 10_000, "items": 500, "interactions": 200_000}
TOP: Final = 20


def run(sizes: Mapping[str, int], repeats: int) -> list[Comparison]:
    interactions = _interactions(sizes)
    compared = []
    for recipe, by_hand in ((ItemKNN(), _knn_by_hand), (ALS(), _als_by_hand)):
        lists: dict[str, Any] = {}
        ours, peer = take_turns(
            seconds_of(_keep(lists, "ours", lambda recipe=recipe: _through_contract(recipe, interactions))),
            seconds_of(_keep(lists, "peer", lambda by_hand=by_hand: _by_hand(by_hand, interactions))),
            repeats=repeats,
        )
        note = f"{_shared(lists['ours'], lists['peer']):.1%} of the places hold the same item"
        what = f"{recipe.name}, {sizes['people']:,} people × {sizes['items']:,} items"
        compared.append(Comparison(what, "implicit by hand", ours, peer, note=note))
    return compared


def _keep(found: dict[str, Any], side: str, work: Callable[[], Any]) -> Callable[[], None]:
    def kept() -> None:
        found[side] = work()

    return kept


def _interactions(sizes: Mapping[str, int]) -> pl.DataFrame:
    """People of eight tastes; items of one taste are bought more by its people, popular ones by everybody."""
    random = np.random.default_rng(7)
    people, items, size = sizes["people"], sizes["items"], sizes["interactions"]
    person = random.integers(people, size=size)
    item = np.minimum((items * random.beta(0.6, 2.0, size)).astype(np.int64), items - 1)
    item = np.where(random.random(size) < 0.6, item // 8 * 8 + person % 8, item) % items
    return pl.DataFrame(
        {
            "person_id": pl.Series(person).cast(pl.String).str.pad_start(8, "0"),
            "item_id": pl.Series(item).cast(pl.String).str.pad_start(5, "0"),
            "occasion_id": pl.Series(np.arange(size)).cast(pl.String),
            "occurred_at": pl.Series([datetime(2026, 7, 1)] * size, dtype=pl.Datetime("us")),
            "event": pl.Series(np.where(random.random(size) < 0.3, "purchase", "view")),
            "weight": random.integers(1, 11, size) / 10,
        }
    )


def _through_contract(recipe: Recommender, interactions: pl.DataFrame) -> pl.DataFrame:
    items = interactions.select("item_id").unique()
    people = interactions.select("person_id").unique()
    return recipe.fit(interactions, items, people).recommend(people, TOP)


def _by_hand(fit: Callable[[Any], Any], interactions: pl.DataFrame) -> pl.DataFrame:
    from scipy.sparse import csr_matrix

    person_ids, person = np.unique(interactions["person_id"].to_numpy(), return_inverse=True)
    item_ids, item = np.unique(interactions["item_id"].to_numpy(), return_inverse=True)
    weights = csr_matrix((interactions["weight"].to_numpy(), (person, item)), shape=(len(person_ids), len(item_ids)))
    found, _ = fit(weights).recommend(np.arange(len(person_ids)), weights, N=TOP, filter_already_liked_items=False)
    names = np.where(found >= 0, item_ids[found], None)
    return pl.DataFrame({"person_id": np.repeat(person_ids, TOP), "item_id": names.ravel()}, strict=False)


def _knn_by_hand(weights: Any) -> Any:
    from implicit.nearest_neighbours import CosineRecommender

    model = CosineRecommender(K=ItemKNN().neighbours + 1, num_threads=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that its own normalised copy is not CSR
        model.fit(weights, show_progress=False)
    return model


def _als_by_hand(weights: Any) -> Any:
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    recipe = ALS()
    with threadpool_limits(limits=1, user_api="blas"):
        model = AlternatingLeastSquares(
            factors=min(recipe.factors, weights.shape[1] // 4),
            regularization=recipe.regularisation,
            alpha=recipe.confidence,
            iterations=recipe.iterations,
            random_state=recipe.seed,
        )
        model.fit(weights, show_progress=False)
    return model


def _shared(ours: pl.DataFrame, peer: pl.DataFrame) -> float:
    """Share of our places whose item is on the peer's list of the same person. Ties may fall either way."""
    both = ours.join(peer.drop_nulls(), on=["person_id", "item_id"], how="semi").height
    share = both / ours.height
    assert share > 0.95, f"only {share:.1%} of our places hold an item that implicit lists too"
    return share
