"""Joint recommendation (联合推荐): which course goes with which product for a person.

Every person's recommended courses are paired with every recommended product; a pair is scored, and the best pair
becomes the offer. Not here: who may be addressed at all and how far the budget goes (`decisions`).

Score of a pair, 0 to 1::

    score    = 0.6 * overlap + 0.4 * strength
    overlap  = (course_fit + product_fit) / 4 + link / 2
    strength = (1 / course_rank + 1 / product_rank) / 2

With the person's n interests in order, interest k weighs ``w_k = (1/k) / (1 + 1/2 + … + 1/n)``, so weights add to 1.
`course_fit` and `product_fit` are the weights of the interests that are topics of the item; `link` is the weight of
those that are topics of both (the design's ``P_ij = sum_k alpha_k c_ik c_kj`` with alpha_k = w_k). `overlap` is 1 when
both items speak to every interest. Strength reads ranks and not the models' scores, because those compare within one
person's recommendations only and people are ranked against each other here. Where a pair has no overlap to measure (no
topics, no interests) the overlap adds nothing, ranks decide, and the reason says so.
"""

from typing import Final

import polars as pl

PAIRS_PER_SIDE: Final = 5
OVERLAP_WEIGHT: Final = 0.6
STRENGTH_WEIGHT: Final = 0.4
COLUMNS: Final = (
    *("person_id", "course_id", "product_id", "score", "overlap", "reason"),
    *("course_model_version", "product_model_version"),
)


def joint_offers(
    *, courses: pl.DataFrame, products: pl.DataFrame, interests: pl.DataFrame, catalogue: pl.DataFrame
) -> pl.DataFrame:
    """One row per person with at least one recommended course and product: the best pair, its score and reason.

    Args:
        courses: recommended courses (person_id, item_id, rank, model, model_version), rank 1 = best.
        products: recommended products, same columns.
        interests: (person_id, interests) with interests in order, separated by ``|``; null or empty = none known.
        catalogue: (item_id, title, topics) of courses and products together; topics separated by ``|``.

    Returns:
        person_id, course_id, product_id, score, overlap (null = not applicable), reason, course_model_version,
        product_model_version; sorted by person_id.
    """
    wanted = _weighted_interests(interests)
    topics = _long(catalogue, "item_id", "topics").rename({"value": "topic"}).select("item_id", "topic")
    sides = {name: _side(recs, name) for name, recs in (("course", courses), ("product", products))}
    hits = {name: _hits(side, name, topics=topics, wanted=wanted) for name, side in sides.items()}
    pairs = sides["course"].join(sides["product"], on="person_id", how="inner")
    pairs = _with_fits(pairs, hits).pipe(_with_applicability, topics=topics, wanted=wanted)
    best = _best(_scored(pairs))
    return _with_reason(best, catalogue).select(COLUMNS).sort("person_id")


def _long(frame: pl.DataFrame, key: str, column: str) -> pl.DataFrame:
    """(key, value, position) of a ``|``-separated column; blanks and repeats dropped, position from 1."""
    values = frame.select(key, pl.col(column).str.split("|").alias("value")).explode("value")
    values = values.with_columns(pl.col("value").str.strip_chars()).filter(pl.col("value").str.len_chars() > 0)
    values = values.unique([key, "value"], keep="first", maintain_order=True)
    return values.with_columns(pl.int_range(1, pl.len() + 1).over(key).alias("position"))


def _weighted_interests(interests: pl.DataFrame) -> pl.DataFrame:
    """(person_id, topic, position, weight); the weights of one person add to 1."""
    inverse = 1 / pl.col("position")
    return (
        _long(interests, "person_id", "interests")
        .rename({"value": "topic"})
        .with_columns((inverse / inverse.sum().over("person_id")).alias("weight"))
    )


def _side(recommendations: pl.DataFrame, name: str) -> pl.DataFrame:
    """The best items of one side for each person; columns prefixed by `name` except person_id."""
    best = recommendations.filter(pl.col("rank").rank("ordinal").over("person_id") <= PAIRS_PER_SIDE)
    return best.select(
        "person_id",
        pl.col("item_id").alias(f"{name}_id"),
        pl.col("rank").alias(f"{name}_rank"),
        pl.format("{} v{}", pl.col("model"), pl.col("model_version").cast(pl.String)).alias(f"{name}_model_version"),
    )


def _hits(side: pl.DataFrame, name: str, *, topics: pl.DataFrame, wanted: pl.DataFrame) -> pl.DataFrame:
    """One row per recommended item and interest of the person that is a topic of it."""
    items = side.select("person_id", f"{name}_id")
    return items.join(topics, left_on=f"{name}_id", right_on="item_id").join(wanted, on=["person_id", "topic"])


def _with_fits(pairs: pl.DataFrame, hits: dict[str, pl.DataFrame]) -> pl.DataFrame:
    first_topic = pl.col("topic").sort_by("position").first()
    for name, found in hits.items():
        fit = found.group_by("person_id", f"{name}_id").agg(
            pl.col("weight").sum().alias(f"{name}_fit"), first_topic.alias(f"{name}_topic")
        )
        pairs = pairs.join(fit, on=["person_id", f"{name}_id"], how="left")
    both = hits["course"].join(hits["product"].select("person_id", "product_id", "topic"), on=["person_id", "topic"])
    link = both.group_by("person_id", "course_id", "product_id").agg(
        pl.col("weight").sum().alias("link"), first_topic.alias("link_topic")
    )
    pairs = pairs.join(link, on=["person_id", "course_id", "product_id"], how="left")
    return pairs.with_columns(pl.col("course_fit", "product_fit", "link").fill_null(0.0))


def _with_applicability(pairs: pl.DataFrame, *, topics: pl.DataFrame, wanted: pl.DataFrame) -> pl.DataFrame:
    """Add `gap`: why no overlap can be measured; null where it can."""
    known = topics["item_id"].unique().implode()
    curious = wanted["person_id"].unique().implode()
    gap = (
        pl.when(~pl.col("product_id").is_in(known))
        .then(pl.lit("the product has no topics"))
        .when(~pl.col("course_id").is_in(known))
        .then(pl.lit("the course has no topics"))
        .when(~pl.col("person_id").is_in(curious))
        .then(pl.lit("no interests are known"))
    )
    return pairs.with_columns(gap.alias("gap"))


def _scored(pairs: pl.DataFrame) -> pl.DataFrame:
    overlap = (pl.col("course_fit") + pl.col("product_fit")) / 4 + pl.col("link") / 2
    strength = (1 / pl.col("course_rank") + 1 / pl.col("product_rank")) / 2
    return pairs.with_columns(pl.when(pl.col("gap").is_null()).then(overlap).alias("overlap")).with_columns(
        (OVERLAP_WEIGHT * pl.col("overlap").fill_null(0.0) + STRENGTH_WEIGHT * strength).round(9).alias("score")
    )


def _best(pairs: pl.DataFrame) -> pl.DataFrame:
    """The highest score of each person; ties go to better ranks, then to smaller ids, never to row order."""
    order = ["person_id", "score", "rank_sum", "course_rank", "course_id", "product_id"]
    return (
        pairs.with_columns((pl.col("course_rank") + pl.col("product_rank")).alias("rank_sum"))
        .sort(order, descending=[False, True, False, False, False, False])
        .unique("person_id", keep="first", maintain_order=True)
    )


def _with_reason(offers: pl.DataFrame, catalogue: pl.DataFrame) -> pl.DataFrame:
    titles = catalogue.select("item_id", pl.coalesce("title", "item_id").alias("title")).unique("item_id")
    for name in ("course", "product"):
        named = titles.rename({"item_id": f"{name}_id", "title": f"{name}_title"})
        offers = offers.join(named, on=f"{name}_id", how="left").with_columns(
            pl.coalesce(f"{name}_title", f"{name}_id").alias(f"{name}_title")
        )
    return offers.with_columns(_reason().alias("reason"))


def _reason() -> pl.Expr:
    """The offer in words; the first case that applies."""
    course, product = pl.col("course_title"), pl.col("product_title")
    course_topic, product_topic, gap = pl.col("course_topic"), pl.col("product_topic"), pl.col("gap")
    by_rank = pl.format("course {} (rank {}) and product {} (rank {})", course, "course_rank", product, "product_rank")
    return (
        pl.when(gap.is_not_null())
        .then(pl.format("overlap not applicable, {}: {} chosen by rank", gap, by_rank))
        .when(pl.col("link_topic").is_not_null())
        .then(pl.format("your interest in {} links course {} with product {}", "link_topic", course, product))
        .when(course_topic.is_not_null() & product_topic.is_not_null())
        .then(
            pl.format(
                "your interest in {} fits course {}, your interest in {} fits product {}",
                course_topic, course, product_topic, product,
            )
        )
        .when(course_topic.is_not_null())
        .then(
            pl.format(
                "your interest in {} fits course {}; product {} is recommended at rank {}",
                course_topic, course, product, "product_rank",
            )
        )
        .when(product_topic.is_not_null())
        .then(
            pl.format(
                "your interest in {} fits product {}; course {} is recommended at rank {}",
                product_topic, product, course, "course_rank",
            )
        )
        .otherwise(pl.format("no known interest meets these topics: {} chosen by rank", by_rank))
    )  # fmt: skip
