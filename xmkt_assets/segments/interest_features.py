"""What a person did per topic, as one row of numbers per person; and the words for each of these numbers.

Here: the long rows of ``dbt_like_sql/segments/interest_examples.sql`` in, a matrix out, always with the topics of the
training (`Vocabulary`), so that a topic new at scoring time moves nothing. Not here: what is learnt from the matrix
(``interest_tree``, ``next_interest``).

Every number is whole (of times, the full minutes), so that a rule such as "at least 21 minutes" says exactly what the
tree asks. Gender and age are not among them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

Matrix = NDArray[np.float32]

OTHER: Final = "other topics"
MOST_TOPICS: Final = 30
SIGNALS: Final = (
    "course_dwell_seconds",
    "course_view_count",
    "course_purchase_count",
    "product_dwell_seconds",
    "product_view_count",
    "product_purchase_count",
    "is_stated",
)
# Part of the person's strength so far, in whole percent: the same for the busy and for the idle.
PERCENT: Final = "interest_percent"
COLUMNS: Final = (*SIGNALS, PERCENT)
_MINUTES: Final = ("course_dwell_seconds", "product_dwell_seconds")
# What a marketer tells apart: a page opened and the time spent on it are one thing.
BLOCKS: Final[Mapping[str, tuple[str, ...]]] = {
    "looking at courses": ("course_dwell_seconds", "course_view_count"),
    "buying courses": ("course_purchase_count",),
    "looking at insurance": ("product_dwell_seconds", "product_view_count"),
    "buying insurance": ("product_purchase_count",),
    "stated interests": ("is_stated",),
}
KEYS: Final = ("person_id", "topic")


@dataclass(frozen=True)
class Vocabulary:
    """Topics as of the training: `topics` have columns of their own, `rare` share those of `OTHER`."""

    topics: tuple[str, ...]
    rare: frozenset[str]

    @property
    def places(self) -> tuple[str, ...]:
        """Topics of the columns, in order."""
        return (*self.topics, OTHER)

    @property
    def features(self) -> tuple[str, ...]:
        """Name of each column: ``signal:topic``."""
        return tuple(f"{column}:{topic}" for topic in self.places for column in COLUMNS)


class People(NamedTuple):
    """One row per person, sorted by person_id. `rows`: shape (people, places, signals), places as in the vocabulary.

    `unknown`: topics that the vocabulary does not know, with the people who had touched each; they are left out.
    """

    person_ids: pl.Series
    rows: Matrix
    unknown: Mapping[str, int]

    @property
    def flat(self) -> Matrix:
        """Shape (people, features), columns as in `Vocabulary.features`."""
        strength = strengths(self.rows)
        parts = strength / np.maximum(strength.sum(axis=1, keepdims=True), 1e-12)
        percent = np.floor(100 * parts + 1e-6).astype(np.float32)
        return np.concatenate([self.rows, percent[:, :, None]], axis=2).reshape(len(self.rows), -1)


def vocabulary_of(rows: pl.DataFrame, *, most: int = MOST_TOPICS) -> Vocabulary:
    """The topics that most people had touched, at most `most`; equal ones by name."""
    counted = rows.group_by("topic").agg(people=pl.len()).sort(["people", "topic"], descending=[True, False])
    topics = counted["topic"].to_list()
    return Vocabulary(tuple(topics[:most]), frozenset(topics[most:]))


def people_of(rows: pl.DataFrame, vocabulary: Vocabulary) -> People:
    """The matrix of the people in `rows` (person_id, topic and `SIGNALS`; empty counts as nothing).

    Raises ValueError for a missing column. A person all of whose topics are unknown has a row of zeros.
    """
    refuse_missing(rows, (*KEYS, *SIGNALS))
    ordered = rows.sort("person_id")
    place_of = {topic: n for n, topic in enumerate(vocabulary.topics)}
    place_of |= dict.fromkeys(vocabulary.rare, len(vocabulary.topics))
    place = ordered["topic"].replace_strict(place_of, default=None, return_dtype=pl.Int64)
    person = ordered["person_id"].rle_id().to_numpy()
    matrix = np.zeros((ordered["person_id"].n_unique(), len(vocabulary.places), len(SIGNALS)), dtype=np.float32)
    is_known = place.is_not_null().to_numpy()
    values = ordered.select(_number(c) for c in SIGNALS).to_numpy()
    np.add.at(matrix, (person[is_known], place.drop_nulls().to_numpy()), values[is_known])
    stated = SIGNALS.index("is_stated")
    matrix[:, :, stated] = np.minimum(matrix[:, :, stated], 1)
    unknown = ordered.filter(place.is_null())["topic"].value_counts(sort=True)
    return People(ordered["person_id"].unique(maintain_order=True), matrix, dict(unknown.iter_rows()))


def strengths(rows: Matrix) -> NDArray[np.float64]:
    """Strength of each topic so far, shape (people, places), by the rule of ``segments.person_interests``: 1 if stated,
    1 per purchase, 0.25 x ln(1 + minutes)."""
    at = {name: rows[:, :, n].astype(np.float64) for n, name in enumerate(SIGNALS)}
    minutes = at["course_dwell_seconds"] + at["product_dwell_seconds"]
    bought = at["course_purchase_count"] + at["product_purchase_count"]
    return np.asarray(at["is_stated"] + bought + 0.25 * np.log1p(minutes), dtype=np.float64)


def in_words(bounds: Mapping[str, tuple[float, float]]) -> str:
    """Conditions as a clause about a person: "bought a 健康 course, spent less than 5 minutes on 旅行 courses".

    `bounds`: feature (``signal:topic``) -> (more than, at most), infinite where there is no such bound. What a person
    did comes first; what was not done is put together for the topics it is equally true of.
    """
    did: list[str] = []
    did_not: dict[tuple[str, int], list[str]] = {}
    for feature, (over, upto) in bounds.items():
        signal, topic = feature.split(":", maxsplit=1)
        least, most = _whole(over) + 1, _whole(upto)
        if over >= 0:
            did.append(_said(signal, _range(signal, least, None if math.isinf(upto) else most), topic, least))
        elif not math.isinf(upto):
            did_not.setdefault((signal, most), []).append(topic)
    parts = [f"{most + 1} % to {_or(topics)}" for (signal, most), topics in did_not.items() if signal == PERCENT]
    parts[:1] = [part.replace(" % to", " % of their interest to") for part in parts[:1]]
    below = [_said_not(signal, most, topics) for (signal, most), topics in did_not.items() if signal != PERCENT]
    return ", ".join([*did, *([f"gave less than {', '.join(parts)}"] if parts else []), *below])


def refuse_missing(rows: pl.DataFrame, wanted: tuple[str, ...]) -> None:
    missing = [c for c in wanted if c not in rows.columns]
    if missing:
        raise ValueError(
            f"The examples lack {missing}; found {rows.columns}. Rebuild segments.interest_examples for the day."
        )


def _number(column: str) -> pl.Expr:
    """A signal as a whole number; of times, the full minutes."""
    value = pl.col(column).cast(pl.Float32).fill_null(0.0)
    return (value / 60).floor() if column in _MINUTES else value


def _whole(bound: float) -> int:
    """The largest whole number not above a bound; -1 where there is none (no signal is negative)."""
    return -1 if math.isinf(bound) else math.floor(bound)


def _range(signal: str, least: int, most: int | None) -> str:
    unit = " minutes" if signal in _MINUTES else " %" if signal == PERCENT else ""
    if most is None:
        return f"at least {least}{unit}"
    return f"{least}{unit}" if most == least else f"{least} to {most}{unit}"


def _said(signal: str, amount: str, topic: str, least: int) -> str:
    once = least == 1 and amount == "at least 1"
    return {
        "course_dwell_seconds": f"spent {amount} on {topic} courses",
        "course_view_count": f"opened {'a page' if once else f'{amount} pages'} of {topic} courses",
        "course_purchase_count": f"bought {'a' if once else amount} {topic} course{'' if once else 's'}",
        "product_dwell_seconds": f"spent {amount} on {topic} insurance",
        "product_view_count": f"opened {'a page' if once else f'{amount} pages'} of {topic} insurance",
        "product_purchase_count": f"took out {'a' if once else amount} {topic} polic{'y' if once else 'ies'}",
        "is_stated": f"named {topic} as an interest",
        PERCENT: f"gave {amount} of their interest to {topic}",
    }[signal]


def _said_not(signal: str, most: int, topics: list[str]) -> str:
    named = _or(topics)
    few = f"fewer than {most + 1}"
    return {
        "course_dwell_seconds": f"spent less than {most + 1} minute{'s' if most else ''} on {named} courses",
        "course_view_count": f"opened {few if most else 'no'} page{'s' if most else ''} of {named} courses",
        "course_purchase_count": f"bought {few if most else 'no'} {named} course{'s' if most else ''}",
        "product_dwell_seconds": f"spent less than {most + 1} minute{'s' if most else ''} on {named} insurance",
        "product_view_count": f"opened {few if most else 'no'} page{'s' if most else ''} of {named} insurance",
        "product_purchase_count": f"took out {few if most else 'no'} {named} polic{'ies' if most else 'y'}",
        "is_stated": f"did not name {named} as an interest",
    }[signal]


def _or(topics: list[str]) -> str:
    return topics[0] if len(topics) == 1 else f"{', '.join(topics[:-1])} or {topics[-1]}"
