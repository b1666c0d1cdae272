"""Sentiment of reviews in Dagster. Wiring only; the sums are in ``xmkt_assets.segments.sentiment``."""

from datetime import date
from typing import Any, Final

import dagster as dg
import polars as pl

from xmkt_assets.assets.segments.shared import EXPERIMENT, dated, logged, outcome, register, three
from xmkt_assets.materialisation import markdown_table, materialised
from xmkt_assets.partitions import DAYS
from xmkt_assets.resources import Tracking, Warehouse
from xmkt_assets.segments import sentiment
from xmkt_assets.tracking import run_tags

TABLE: Final = "segments.review_sentiment"


class SentimentConfig(dg.Config):
    """The seed of folds and samples."""

    seed: int = 7


@dg.asset(
    key=["segments", "review_sentiment"],
    group_name="segments",
    partitions_def=DAYS,
    deps=[["segments", "review_texts"]],
    kinds={"python", "sklearn", "mlflow"},
    pool="training",  # dagster.yaml: one run at a time trains
    owners=["team:data-science"],
    tags={"personal": "yes"},
)
def review_sentiment(
    context: dg.AssetExecutionContext, config: SentimentConfig, warehouse: Warehouse, tracking: Tracking
) -> dg.MaterializeResult:
    """One row per course review of a consenting person as of a date: how positive its words are, 0 to 1.

    Learnt from the reviews' own stars (four and five against one and two) by characters' n-grams and a logistic
    regression; whoever was learnt from is scored by a model that did not see them. With too few reviewers of either
    mood, shares are empty and reason says why. Trap: 0.5 is neutral; a share is not the probability of a star.
    """
    day, snapshot_id = date.fromisoformat(context.partition_key), warehouse.snapshot_id()
    reviews = warehouse.read("select * exclude (as_of_on) from segments.review_texts where as_of_on = $day", day=day)
    found = sentiment.review_sentiment(reviews, seed=config.seed)
    tags = run_tags(context, snapshot_id=snapshot_id) | outcome(found.reason)
    with tracking.run(f"review_sentiment {day}", experiment=EXPERIMENT, tags=tags) as run:
        run.params({"seed": config.seed, "features": "n-grams of 2 to 4 characters"})
        counts = {"reviews": found.reviews.height, "learnt_from": found.learnt_from}
        run.metrics({**counts, **three("auc", found.auc)})
        version = register(tracking, run, name="review_sentiment", model=found.model, tags=tags)
    rows = dated(found.reviews, day=day, version=version)
    written = warehouse.replace(
        TABLE,
        rows,
        where={"as_of_on": day},
        description=sentiment.SENTIMENT_DESCRIPTION,
        columns=sentiment.SENTIMENT_COLUMNS,
    )
    metadata = {**logged(tracking, run, version=version, reason=found.reason, rows=rows), **_shown(found, reviews)}
    return materialised(
        written, rows, read_snapshot_id=snapshot_id, metadata=metadata, columns=sentiment.SENTIMENT_COLUMNS
    )


def _shown(found: sentiment.Sentiment, reviews: pl.DataFrame) -> dict[str, Any]:
    joined = found.reviews.join(reviews.select("review_id", "rating"), on="review_id")
    by_stars = joined.group_by(stars="rating").agg(
        reviews=pl.len(),
        without_share=pl.col("sentiment_share").null_count(),
        mean_sentiment_share=pl.col("sentiment_share").mean(),
    )
    shown = {"by_stars": markdown_table(by_stars.sort("stars")), "auc_out_of_fold": str(found.auc or "not applicable")}
    if found.model is None:
        return shown
    positive, negative = found.model.telling()
    return shown | {"telling_positive": ", ".join(positive), "telling_negative": ", ".join(negative)}


ASSETS = [review_sentiment]
