"""Why an item stands on somebody's list, in words a marketer can repeat to the person."""

from typing import Final

import numpy as np
import polars as pl

from xmkt_assets.recommenders.base import CHUNK_PERSONS, PERSONAL, Fitted, FloatArray

SIMILAR_HISTORY: Final = "chosen by people with a similar history"
ALL_TIME: Final = "popular with all buyers so far"
BOUGHT_BEFORE: Final = "bought before"
VIEWED_BEFORE: Final = "viewed before, not bought yet"
NOT_BOUGHT: Final = "in the catalogue, not bought by anybody yet"


def with_reasons(recommendations: pl.DataFrame, fitted: Fitted, items: pl.DataFrame) -> pl.DataFrame:
    """The recommendations, rows and order unchanged, with the column `reason`.

    Only what the model really used is claimed: the item of the person's own history that weighed most where the model
    can name one, a similar history where it cannot, and popularity where nothing personal was known.
    """
    parts = [_explain(part, fitted, items) for part in recommendations.iter_slices(CHUNK_PERSONS * 10)]
    return pl.concat(parts) if parts else recommendations.with_columns(reason=pl.lit(None, pl.String))


def _explain(recommendations: pl.DataFrame, fitted: Fitted, items: pl.DataFrame) -> pl.DataFrame:
    persons, item_ids = recommendations["person_id"].to_list(), recommendations["item_id"].to_list()
    because = fitted.because(persons, item_ids)
    words = pl.DataFrame({"item_id": list(fitted.history.item_ids), "popular": popularity_words(fitted)})
    titles = items.select(because="item_id", because_title=pl.col("title")).unique("because")
    named = recommendations.with_columns(
        because=pl.Series(because, dtype=pl.String), is_bought=pl.Series(_bought(fitted, persons, because))
    )
    joined = named.join(words, on="item_id", how="left", maintain_order="left")
    joined = joined.join(titles, on="because", how="left", maintain_order="left")
    title = pl.coalesce("because_title", "because")
    reason = (
        pl.when(pl.col("basis") != PERSONAL)
        .then("popular")
        .when(pl.col("because").is_null())
        .then(pl.lit(SIMILAR_HISTORY))
        .when(pl.col("because") == pl.col("item_id"))
        .then(pl.when("is_bought").then(pl.lit(BOUGHT_BEFORE)).otherwise(pl.lit(VIEWED_BEFORE)))
        .when("is_bought")
        .then(pl.format("people who bought {} also bought this", title))
        .otherwise(pl.format("people interested in {}, which they viewed, chose this", title))
    )
    return joined.select(*recommendations.columns, reason=reason)


def popularity_words(fitted: Fitted) -> list[str]:
    """Per item of the catalogue, what can truthfully be said about its popularity."""
    recent = f"popular in the last {fitted.prior_days} days"
    is_recent: FloatArray = fitted.prior if fitted.prior_days is not None else np.zeros_like(fitted.prior)
    return [
        recent if window >= 1 else (ALL_TIME if bought > 0 else NOT_BOUGHT)
        for window, bought in zip(is_recent, fitted.history.bought, strict=True)
    ]


def _bought(fitted: Fitted, persons: list[str], item_ids: list[str | None]) -> list[bool]:
    rows = fitted.history.rows(persons)
    places = {item: i for i, item in enumerate(fitted.history.item_ids)}
    at = [i for i, item in enumerate(item_ids) if item is not None]
    columns = [places[item] for item in item_ids if item is not None]
    bought = np.zeros(len(item_ids), dtype=bool)
    if at:
        bought[at] = np.asarray(fitted.history.owned[rows[at], columns]).ravel()
    return bought.tolist()
