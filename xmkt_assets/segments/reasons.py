"""Reasons in words: which of a person's own values raised or lowered a score, or put the person into a group.

Here: numbers in, one text per person out. Not here: contributions themselves, which each model computes of its own
structure (coefficients, paths of trees), and how a value is said (``feature_words``).

A text names the features with the largest absolute contributions, the largest first, those that raise with "+", those
that lower with "-", each with the person's own value: "+ 3 claims in the last year; - 60 days of cover left among the
next 60". Equal contributions come in the order of the features. A contribution of exactly 0 is no reason; a text is
empty where there is none.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from xmkt_assets.segments.feature_words import words_of
from xmkt_assets.segments.intervals import Floats

CHUNK_ROWS: Final = 250_000  # bounds the memory: a few copies of a chunk's contributions and its texts
SEPARATOR: Final = "; "


def in_words(contributions: Floats, values: Floats, features: Sequence[str], *, most: int = 3) -> list[str]:
    """One text per row. `contributions`, `values`: shape (rows, features); a value of nan is empty.

    Raises ValueError where shapes do not fit each other or a contribution is not a number.
    """
    _refuse_shapes(contributions, values, features, most=most)
    texts: list[str] = []
    for start in range(0, len(contributions), CHUNK_ROWS):
        part = slice(start, start + CHUNK_ROWS)
        texts += _chunk_in_words(contributions[part], values[part], features, most=most)
    return texts


def cluster_reasons(
    points: Floats, centres: Floats, values: Floats, features: Sequence[str], *, most: int = 3
) -> list[str]:
    """Why each point belongs to the group with the nearest of `centres` rather than to the next nearest.

    `points`, shape (rows, features), and `centres`, (groups, features), on the same scale; `values` are the same
    people in the table's own units. With one group only there is nothing to tell it from, and texts are empty.
    """
    texts: list[str] = []
    for start in range(0, len(points), CHUNK_ROWS):
        part = slice(start, start + CHUNK_ROWS)
        texts += in_words(group_contributions(points[part], centres), values[part], features, most=most)
    return texts


def group_contributions(points: Floats, centres: Floats) -> Floats:
    """Per feature, how much closer a point lies to its own centre than to the next nearest, shape (rows, features).

    The squared distance to the next nearest centre b less that to the own centre a is a sum over features,
    (x_f - b_f)^2 - (x_f - a_f)^2: each term is the feature's part in the decision.
    """
    if len(centres) < 2:
        return np.zeros_like(points)
    squared = np.column_stack([((points - centre) ** 2).sum(axis=1) for centre in centres])
    rows = np.arange(len(points))
    own = squared.argmin(axis=1)
    squared[rows, own] = np.inf
    next_nearest = squared.argmin(axis=1)
    return np.asarray((points - centres[next_nearest]) ** 2 - (points - centres[own]) ** 2, dtype=np.float64)


def _chunk_in_words(contributions: Floats, values: Floats, features: Sequence[str], *, most: int) -> list[str]:
    """Equal phrases are made once and pointed at: people are many, different values of a feature are few."""
    largest = _largest(contributions, most=most)
    phrase = np.full(largest.shape, -1, dtype=np.int64)  # position in `phrases`; -1 = nothing to say
    phrases: list[str] = []
    for f, feature in enumerate(features):
        row, slot = np.nonzero(largest == f)
        if len(row) == 0:
            continue
        texts, position = words_of(feature).phrases(values[row, f])
        is_raising = contributions[row, f] > 0
        phrase[row, slot] = len(phrases) + 2 * position + is_raising
        phrases += [f"{sign} {text}" for text in texts for sign in ("-", "+")]
    return _joined(phrase, phrases)


def _largest(contributions: Floats, *, most: int) -> NDArray[np.int64]:
    """Per row the features with the largest absolute contributions, shape (rows, most); -1 where there are no more."""
    left = np.abs(contributions)
    rows = np.arange(len(left))
    found = np.full((len(left), min(most, left.shape[1])), -1, dtype=np.int64)
    for slot in range(found.shape[1]):
        feature = left.argmax(axis=1)  # of equal ones the first
        found[:, slot] = np.where(left[rows, feature] > 0, feature, -1)
        left[rows, feature] = 0
    return found


def _joined(phrase: NDArray[np.int64], phrases: list[str]) -> list[str]:
    if not phrases:
        return [""] * len(phrase)
    pool = pl.Series(phrases, dtype=pl.String)
    slots = {f"s{slot}": pool.gather(pl.Series(phrase[:, slot]).replace(-1, None)) for slot in range(phrase.shape[1])}
    joined = pl.DataFrame(slots).select(pl.concat_str(pl.all(), separator=SEPARATOR, ignore_nulls=True))
    return joined.to_series().to_list()


def _refuse_shapes(contributions: Floats, values: Floats, features: Sequence[str], *, most: int) -> None:
    if most < 1:
        raise ValueError(f"most is {most}; a reason names at least 1 feature. Ask for 1 or more.")
    wanted = (len(contributions), len(features))
    if contributions.shape != wanted or values.shape != wanted:
        raise ValueError(
            f"contributions have the shape {contributions.shape}, values {values.shape}; wanted {wanted} of both: a "
            "row per person, a column per feature. Hand over the rows the model was asked about."
        )
    if np.isnan(contributions).any():
        names = [features[f] for f in np.unique(np.nonzero(np.isnan(contributions))[1])]
        raise ValueError(f"contributions of {names} are not numbers. Mend the model: an empty value contributes too.")
