"""The table of drift: rows of ``drift`` with the day, the model and its version; and the same in words.

Not here: how drift is measured (``drift``), which tables are compared (``xmkt_assets.assets.segments.drift``).
"""

from collections.abc import Iterable
from datetime import date
from typing import Final, NamedTuple

import polars as pl

from xmkt_assets.segments.drift import MAJOR, MODERATE, NOT_APPLICABLE, Drift

TABLE: Final = "segments.model_drift"
FEATURE, SCORE = KINDS = ("feature", "score")
ALL: Final = "all"  # in place of a feature, where nothing of a model could be compared

SCHEMA: Final = pl.Schema(
    {
        "as_of_on": pl.Date,
        "model": pl.String,
        "model_version": pl.Int64,
        "trained_as_of_on": pl.Date,
        "feature": pl.String,
        "kind": pl.String,
        "psi": pl.Float64,
        "psi_by_chance": pl.Float64,
        "ks": pl.Float64,
        "p_value": pl.Float64,
        "level": pl.String,
        "people": pl.Int64,
        "people_trained": pl.Int64,
        "null_share": pl.Float64,
        "null_share_trained": pl.Float64,
        "reason": pl.String,
    }
)
DESCRIPTION: Final = (
    "One row per model and column as of a date: whether the people of the day still look like those the model was "
    "trained on. Figures of whole columns, no person. Trap: drift says that people changed, not that the model errs."
)
COLUMNS: Final = {
    "as_of_on": "Day whose people are compared",
    "model": "Registered model that made the scores of the day",
    "model_version": "Its version in the MLflow registry; empty = the day has no scores of it",
    "trained_as_of_on": "Day whose people it was trained on; empty where that is not known",
    "feature": "Column that is compared; 'all' where nothing could be compared",
    "kind": "feature: what the model reads; score: what it says of people",
    "psi": "Population stability index against the training: under 0.1 stable, from 0.2 changed; smoothed",
    "psi_by_chance": "The PSI that so few people have on average when nothing has changed; the level is that beyond it",
    "ks": "Largest difference of the cumulative shares (Kolmogorov-Smirnov), at the edges of 20 bins; empty for words",
    "p_value": "Chance of so large a difference without a change: of ks, on the safe side; for words of chi-square",
    "level": "none, moderate, major; not applicable where it cannot be told",
    "people": "Rows of the day compared: people; for next_interest people and their topics",
    "people_trained": "The same at training",
    "null_share": "Part of them without a value, on the day",
    "null_share_trained": "Part of them without a value, at training",
    "reason": "What changed most, or why there is no level; empty where nothing did",
}


class Compared(NamedTuple):
    """A model as it was on a day: what is known of it, and the drift of its features and scores."""

    model: str
    version: int | None
    trained_as_of: date | None
    features: tuple[Drift, ...]
    scores: tuple[Drift, ...]


def not_compared(model: str, *, version: int | None, reason: str) -> Compared:
    """A model of which nothing can be compared, with the reason."""
    nothing = Drift(ALL, None, None, None, None, NOT_APPLICABLE, 0, 0, None, None, f"not applicable: {reason}")
    return Compared(model, version, None, (nothing,), ())


def rows_of(compared: Iterable[Compared], *, day: date) -> pl.DataFrame:
    """The rows of a day, in order of models and columns as they come."""
    rows = [
        {
            "as_of_on": day,
            "model": one.model,
            "model_version": one.version,
            "trained_as_of_on": one.trained_as_of,
            "kind": kind,
            **drift._asdict(),
        }
        for one in compared
        for kind, drifts in ((FEATURE, one.features), (SCORE, one.scores))
        for drift in drifts
    ]
    return pl.DataFrame(rows, schema=SCHEMA)


def drifted(rows: pl.DataFrame) -> pl.DataFrame:
    """The columns that are no longer those of the training, the furthest first."""
    return rows.filter(pl.col("level").is_in([MODERATE, MAJOR])).sort("psi", descending=True, maintain_order=True)


def in_words(rows: pl.DataFrame) -> str:
    """What a check says of one model."""
    names = [f"{feature} ({level}, PSI {psi:.2f})" for feature, level, psi in _named(drifted(rows))]
    if names:
        return f"No longer as at training: {', '.join(names)}."
    if rows.filter(pl.col("level") != NOT_APPLICABLE).is_empty():
        return "; ".join(rows["reason"].drop_nulls().unique(maintain_order=True)) or "not applicable: no columns"
    return f"All {rows.height} columns are as at training."


def _named(rows: pl.DataFrame) -> Iterable[tuple[str, str, float]]:
    return rows.select("feature", "level", "psi").iter_rows()
