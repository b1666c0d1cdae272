"""Sentiment of reviews: how much the words of a review are like those of satisfied, or of dissatisfied, reviewers.

Here: reviews in, a share per review out, with how well the moods are told apart. Not here: which reviews may be read
(the gate), storage, MLflow.

Labels are weak ones, the reviewers' own stars: four and five are positive, one and two negative; three are not learnt
from. Words are n-grams of 2 to 4 characters with TF-IDF weights (Chinese needs no segmentation so), the model is a
logistic regression in which both moods count alike. So a share of 0.5 is neutral, and a share is not the probability of
a star. Reviews that were learnt from get the share of a model that did not see their writer (five folds by person); all
others that of the model of all. Where too few people wrote either mood, or the words tell the moods apart no better
than chance, the outcome is "not applicable" with its reason.
Trap: the sentences of simulated reviews are a few templates, so an AUC on them says nothing of real reviews.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from xmkt_assets.segments.intervals import Floats, Interval, bootstrap
from xmkt_assets.segments.scoring import area_under_curve

POSITIVE_STARS, NEGATIVE_STARS = 4, 2  # from four up, from two down
FEWEST_PEOPLE: Final = 30  # who wrote a positive, and who wrote a negative review
FOLDS: Final = 5
DRAWS: Final = 200
MOST_LEARNT: Final = 10_000  # reviews; more make the words no clearer and the fit slower
MOST_SCORED: Final = 150_000  # different texts, newest first: about a minute of work
CHUNK: Final = 20_000
FEWEST_CHARACTERS: Final = 2
FEWEST_REVIEWS: Final = 5  # an n-gram of fewer reviews is no word of the model: nobody's own phrase is kept in it
MOST_WORDS: Final = 30_000

NO_TEXT: Final = "no text"
NO_KNOWN_WORD: Final = "no word the model knows"
TOO_OLD: Final = f"not among the newest {MOST_SCORED:,} texts"

REVIEWS: Final = ("review_id", "person_id", "reviewed_at", "rating", "review_text")
SENTIMENT_SCHEMA: Final = pl.Schema(
    {"review_id": pl.String, "person_id": pl.String, "sentiment_share": pl.Float64, "reason": pl.String}
)
SENTIMENT_DESCRIPTION: Final = (
    "One row per course review of a person who consented to profiling, as of a date: the mood of its words, learnt "
    "from the reviews' own stars. Trap: 0.5 is neutral; the share is not the probability of a number of stars."
)
SENTIMENT_COLUMNS: Final = {
    "as_of_on": "Day whose end the row describes",
    "review_id": "The review",
    "person_id": "Who wrote it",
    "sentiment_share": "Mood of the words, 0 (negative) to 1 (positive), 0.5 neutral; empty where it cannot be told",
    "reason": "Why there is no share; empty where there is",
    "model_version": "Version of review_sentiment in the MLflow registry; empty = none",
}


@dataclass(frozen=True)
class SentimentModel:
    """Fitted words and weights; pickled. Of a review only n-grams of `FEWEST_REVIEWS` reviews or more are in it."""

    words: Any
    regression: Any

    def shares(self, texts: Sequence[str]) -> Floats:
        """Mood per text, shape (n,), 0 to 1; nan where the model knows no word of it."""
        rows = self.words.transform(texts)
        found = np.asarray(self.regression.predict_proba(rows)[:, 1], dtype=np.float64)
        found[np.diff(rows.indptr) == 0] = np.nan
        return found

    def telling(self, *, most: int = 10) -> tuple[list[str], list[str]]:
        """The n-grams that speak most for a positive and for a negative mood, the strongest first."""
        names, weights = self.words.get_feature_names_out(), self.regression.coef_[0]
        order = np.argsort(weights, kind="stable")
        return [str(names[i]) for i in order[::-1][:most]], [str(names[i]) for i in order[:most]]


class Sentiment(NamedTuple):
    """What the reviews of a day give.

    `reviews`: one row per review (`SENTIMENT_SCHEMA`), sorted by review_id. `auc`: out of fold, over people drawn
    again; None where nothing was learnt. `model` is None exactly when `reason` is set.
    """

    reviews: pl.DataFrame
    model: SentimentModel | None
    learnt_from: int
    auc: Interval | None
    reason: str | None


def review_sentiment(reviews: pl.DataFrame, *, seed: int) -> Sentiment:
    """Mood of every review; `reviews` has the columns `REVIEWS`. Raises ValueError for a missing one."""
    _refuse_missing(reviews)
    ordered = reviews.sort("review_id").with_columns(pl.col("review_text").fill_null("").str.strip_chars())
    learners = _learners(ordered, seed=seed)
    if reason := _why_not(learners):
        return Sentiment(_without(ordered, reason), None, 0, None, reason)
    texts, labels = learners["review_text"].to_list(), learners["is_positive"].cast(pl.Float64).to_numpy()
    people = learners["person_id"].rank("dense").to_numpy().astype(np.int64) - 1
    unseen = _out_of_fold(texts, labels, people, seed=seed)
    auc = _auc(labels, unseen, people, seed=seed)
    if auc.low <= 0.5:
        reason = f"not applicable: the words tell positive from negative reviews no better than chance, AUC {auc}"
        return Sentiment(_without(ordered, reason), None, learners.height, auc, reason)
    model = fit_sentiment(texts, labels, seed=seed)
    known = pl.DataFrame({"review_id": learners["review_id"], "unseen_share": unseen})
    return Sentiment(_scored(ordered, model, known), model, learners.height, auc, None)


def fit_sentiment(texts: Sequence[str], labels: Floats, *, seed: int) -> SentimentModel:
    """TF-IDF of characters (Salton & Buckley 1988, logarithmic counts) and a logistic regression; labels are 0 or 1."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    words = TfidfVectorizer(
        analyzer="char", ngram_range=(2, 4), min_df=FEWEST_REVIEWS, max_features=MOST_WORDS, sublinear_tf=True
    )
    rows = words.fit_transform(texts)
    fitted = LogisticRegression(C=1.0, class_weight="balanced", max_iter=200, random_state=seed).fit(rows, labels)
    return SentimentModel(words, fitted)


def _refuse_missing(reviews: pl.DataFrame) -> None:
    missing = [c for c in REVIEWS if c not in reviews.columns]
    if missing:
        raise ValueError(f"The reviews lack {missing}; found {reviews.columns}. Read segments.review_texts again.")


def _has_text() -> pl.Expr:
    return pl.col("review_text").str.len_chars() >= FEWEST_CHARACTERS


def _learners(ordered: pl.DataFrame, *, seed: int) -> pl.DataFrame:
    """Reviews with text and a clear number of stars, `MOST_LEARNT` of them by chance."""
    is_clear = (pl.col("rating") >= POSITIVE_STARS) | (pl.col("rating") <= NEGATIVE_STARS)
    found = ordered.filter(_has_text() & is_clear)
    if found.height > MOST_LEARNT:
        rng = np.random.default_rng(seed)
        found = found[np.sort(rng.choice(found.height, MOST_LEARNT, replace=False)).tolist()]
    return found.with_columns(is_positive=pl.col("rating") >= POSITIVE_STARS)


def _why_not(learners: pl.DataFrame) -> str | None:
    writers = {m: learners.filter(pl.col("is_positive") == m)["person_id"].n_unique() for m in (True, False)}
    if min(writers.values()) >= FEWEST_PEOPLE:
        return None
    return (
        f"not applicable: {writers[True]} people wrote a positive review and {writers[False]} a negative one, wanted "
        f"at least {FEWEST_PEOPLE} each"
    )


def _folds(labels: Floats, people: NDArray[np.int64], *, seed: int) -> NDArray[np.int64]:
    """Fold per review, one for all reviews of a person; writers of negative reviews are dealt out first, so that every
    fold has some."""
    number = int(people.max()) + 1
    wrote_negative = np.bincount(people, labels == 0, minlength=number) > 0
    order = np.lexsort((np.random.default_rng(seed).permutation(number), ~wrote_negative))
    fold = np.empty(number, dtype=np.int64)
    fold[order] = np.arange(number) % FOLDS
    return np.asarray(fold[people], dtype=np.int64)


def _out_of_fold(texts: list[str], labels: Floats, people: NDArray[np.int64], *, seed: int) -> Floats:
    folds = _folds(labels, people, seed=seed)
    found = np.full(len(texts), np.nan)
    for fold in range(FOLDS):
        seen, unseen = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        model = fit_sentiment([texts[i] for i in seen], labels[seen], seed=seed)
        found[unseen] = model.shares([texts[i] for i in unseen])
    return found


def _auc(labels: Floats, shares: Floats, people: NDArray[np.int64], *, seed: int) -> Interval:
    """Of people drawn again with all their reviews; a review without a share counts as neutral."""
    statistic = area_under_curve(labels, np.nan_to_num(shares, nan=0.5))
    return bootstrap(lambda weights: statistic(weights[people]), size=int(people.max()) + 1, draws=DRAWS, seed=seed)


def _scored(ordered: pl.DataFrame, model: SentimentModel, known: pl.DataFrame) -> pl.DataFrame:
    """Each different text once: most short reviews are written many times."""
    rows = ordered.join(known, on="review_id", how="left", maintain_order="left").with_columns(
        is_learnt=pl.col("review_id").is_in(known["review_id"].implode())
    )
    to_score = rows.filter(_has_text() & ~pl.col("is_learnt"))
    newest = to_score.group_by("review_text").agg(pl.col("reviewed_at").max())
    texts = newest.sort("reviewed_at", "review_text", descending=True).head(MOST_SCORED)["review_text"].to_list()
    parts = [model.shares(texts[i : i + CHUNK]) for i in range(0, len(texts), CHUNK)]
    scores = pl.DataFrame(
        {"review_text": texts, "seen_share": np.concatenate([*parts, np.empty(0)])},
        schema={"review_text": pl.String, "seen_share": pl.Float64},
    ).with_columns(is_scored=pl.lit(value=True))
    joined = rows.join(scores, on="review_text", how="left", maintain_order="left")
    share = pl.when("is_learnt").then("unseen_share").otherwise("seen_share").fill_nan(None)
    return joined.select("review_id", "person_id", sentiment_share=share, reason=_reason()).with_columns(
        reason=pl.when(pl.col("sentiment_share").is_null()).then("reason")
    )


def _reason() -> pl.Expr:
    is_read = pl.col("is_learnt") | pl.col("is_scored").fill_null(value=False)
    return (
        pl.when(~_has_text()).then(pl.lit(NO_TEXT)).when(is_read).then(pl.lit(NO_KNOWN_WORD)).otherwise(pl.lit(TOO_OLD))
    )


def _without(ordered: pl.DataFrame, reason: str) -> pl.DataFrame:
    return ordered.select(
        "review_id", "person_id", sentiment_share=pl.lit(None, pl.Float64), reason=pl.lit(reason)
    ).cast(SENTIMENT_SCHEMA)
