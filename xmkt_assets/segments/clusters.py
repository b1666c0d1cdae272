"""Value groups: people grouped by what they do, named from the centres, and why each is where they are.

Here: features of a day in, one group per person out, and a fitted grouping that puts further people into the same
groups. Not here: the two methods (``grouping``), how many groups (``cluster_choice``), names and when they are kept
(``value_names``), the features themselves (``dbt_like_sql/segments/person_features.sql``), storage, MLflow.

Who somebody is (gender, age, home city) is no feature: groups are made of behaviour alone.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl

from xmkt_assets.segments.cluster_choice import PEOPLE_PER_GROUP
from xmkt_assets.segments.grouping import KMEANS, centres_by_k, nearest
from xmkt_assets.segments.intervals import Floats
from xmkt_assets.segments.reasons import cluster_reasons
from xmkt_assets.segments.value_names import Before, Named, Profile, names

UNKNOWN: Final = "unknown"
WORTH: Final = ("paid_clean_fen", "premium_clean_fen", "course_order_count", "active_policy_count")
PRESENT_INTEREST: Final = ("dwell_30d_clean_seconds", "product_view_30d_count")
IDLE: Final = "days_since_last_activity"
KNOWN_FOR: Final = "days_since_first_activity"
FEATURES: Final = (*WORTH, *PRESENT_INTEREST, IDLE, KNOWN_FOR)

LONGEST_DAYS: Final = 365  # a person without any event counts as idle for a year: dormant, not a newcomer
CHUNK_PEOPLE: Final = 100_000  # people assigned at a time, whatever their number

PEOPLE_SCHEMA: Final = pl.Schema(
    {
        "person_id": pl.String,
        "cluster": pl.Int64,
        "value_label": pl.String,
        "membership_strength": pl.Float64,
        "why": pl.String,
        "method": pl.String,
        "reason": pl.String,
    }
)


@dataclass(frozen=True)
class ValueClusters:
    """A fitted grouping: everything needed to put new people into the same groups.

    `mean`, `scale`: shape (features,), of the log features; `centres`: shape (groups, features), standardised,
    in order of falling worth; `labels`: one name per group; `origins`: where each name comes from, in words.
    """

    mean: Floats
    scale: Floats
    centres: Floats
    labels: tuple[str, ...]
    method: str = KMEANS
    origins: tuple[str, ...] = ()

    def points(self, features: pl.DataFrame) -> Floats:
        """The standardised log features, shape (people, features)."""
        return np.asarray((log_features(features) - self.mean) / self.scale, dtype=np.float64)

    def assign(self, features: pl.DataFrame) -> pl.DataFrame:
        """One row per row of `features`, sorted by person_id: the group with the nearest centre, and why that one."""
        people = features.sort("person_id")
        parts = [self._assign(part) for part in people.iter_slices(CHUNK_PEOPLE)]
        return pl.concat([pl.DataFrame(schema=PEOPLE_SCHEMA), *parts])

    def _assign(self, people: pl.DataFrame) -> pl.DataFrame:
        points = self.points(people)
        groups, inside = nearest(points, self.centres)
        values = people.select(pl.col(FEATURES).cast(pl.Float64)).to_numpy()
        return pl.DataFrame(
            {
                "person_id": people["person_id"],
                "cluster": groups,
                "value_label": pl.Series(self.labels).gather(groups),
                "membership_strength": inside,
                "why": cluster_reasons(points, self.centres, values, FEATURES),
            }
        ).select(
            "person_id",
            "cluster",
            "value_label",
            "membership_strength",
            "why",
            method=pl.lit(self.method),
            reason=pl.lit(None, pl.String),
        )


class Snapshot(NamedTuple):
    """The groups of an earlier day, by which names are kept.

    `people`: person_id, cluster, value_label; `model`: the grouping that made them, None where its file is gone.
    """

    people: pl.DataFrame
    model: ValueClusters | None


class Clustering(NamedTuple):
    """What clustering a day's people gives.

    `people`: one row per person (`PEOPLE_SCHEMA`; value_label 'unknown' and a reason where no groups were made).
    `groups`: one row per group: cluster, value_label, people, people_share, and the mean of each of `FEATURES` in its
    own unit (of days: over the people with any event; empty where the group has none).
    `model` is None where no groups were made; then `reason` says why.
    """

    people: pl.DataFrame
    groups: pl.DataFrame
    model: ValueClusters | None
    reason: str | None


def cluster_people(
    features: pl.DataFrame, *, k: int = 5, method: str = KMEANS, before: Snapshot | None = None, seed: int
) -> Clustering:
    """Value groups of the people of one day; the order of the rows does not matter.

    `features`: person_id and `FEATURES`. Raises ValueError for k < 2, an unknown method or a missing column.
    """
    if k < 2:
        raise ValueError(f"k is {k}; one group tells nobody apart. Ask for 2 or more.")
    _refuse_missing(features)
    people = features.sort("person_id")
    if reason := _why_not(people, k=k):
        return not_grouped(people, reason=reason)
    points, mean, scale = standardised(people)
    centres = _by_worth(centres_by_k(points, method=method, ks=[k], seed=seed)[k])
    unnamed = ValueClusters(mean, scale, centres, tuple(map(str, range(len(centres)))), method)
    named = _named(unnamed, points, people, before=before)
    return with_model(people, ValueClusters(mean, scale, centres, named.labels, method, named.origins))


def with_model(features: pl.DataFrame, model: ValueClusters) -> Clustering:
    """People put into the groups of a model that is fitted already, whoever they are."""
    _refuse_missing(features)
    assigned = model.assign(features)
    return Clustering(assigned, _groups(features, assigned), model, None)


def not_grouped(features: pl.DataFrame, *, reason: str) -> Clustering:
    """Everybody is in no group, and why."""
    _refuse_missing(features)
    nothing = {name: pl.lit(None, kind) for name, kind in PEOPLE_SCHEMA.items()}
    rows = features.sort("person_id").select(
        **{**nothing, "person_id": pl.col("person_id"), "value_label": pl.lit(UNKNOWN), "reason": pl.lit(reason)}
    )
    return Clustering(rows, _groups(features, rows), None, reason)


def standardised(features: pl.DataFrame) -> tuple[Floats, Floats, Floats]:
    """(points, mean, scale): the log features of people in standard deviations from their mean."""
    logs = log_features(features)
    if features.is_empty():
        return logs, np.zeros(len(FEATURES)), np.ones(len(FEATURES))
    mean, scale = logs.mean(axis=0), logs.std(axis=0)
    scale[scale < 1e-9] = 1.0  # the same for everybody: tells nobody apart, must not divide by zero
    return (logs - mean) / scale, mean, scale


def log_features(features: pl.DataFrame) -> Floats:
    """ln(1 + x) of `FEATURES`, shape (people, features). Empty premiums count as 0, empty days as `LONGEST_DAYS`."""
    days = [
        pl.col(c).fill_null(LONGEST_DAYS).clip(0, LONGEST_DAYS) if c in (IDLE, KNOWN_FOR) else pl.col(c).fill_null(0)
        for c in FEATURES
    ]
    return np.asarray(np.log1p(features.select(days).cast(pl.Float64).to_numpy()), dtype=np.float64)


def profile_of(centres: Floats, *, mean: Floats, scale: Floats) -> Profile:
    """What names are given by, of centres standardised by `mean` and `scale`."""
    typical = np.expm1(centres * scale + mean)
    idle_days, known_days = typical[:, FEATURES.index(IDLE)], typical[:, FEATURES.index(KNOWN_FOR)]
    return Profile(_mean_of(centres, WORTH), _mean_of(centres, PRESENT_INTEREST), idle_days, known_days)


def names_in_words(model: ValueClusters | None) -> str:
    """Where each group has its name from, as a markdown table."""
    if model is None:
        return "no groups"
    lines = [f"| {label} | {origin} |" for label, origin in zip(model.labels, model.origins, strict=True)]
    return "\n".join(["| group | name |", "|---|---|", *lines])


def in_words(groups: pl.DataFrame) -> str:
    """The groups as a markdown table for people: sizes, then means, money in yuan (¥ = 100 fen)."""
    columns = "group, people, share, paid ¥, premium ¥, orders, policies, minutes in 30 days, idle days, known for days"
    lines = ["| " + columns.replace(", ", " | ") + " |", "|" + "---|" * 10]
    return "\n".join([*lines, *(_row_in_words(group) for group in groups.iter_rows(named=True))])


def _row_in_words(group: dict[str, Any]) -> str:
    days = ["–" if group[c] is None else f"{group[c]:.0f}" for c in (IDLE, KNOWN_FOR)]
    cells = [
        group["value_label"],
        f"{group['people']:,}",
        f"{group['people_share']:.1%}",
        f"{group['paid_clean_fen'] / 100:,.0f}",
        f"{group['premium_clean_fen'] / 100:,.0f}",
        f"{group['course_order_count']:.1f}",
        f"{group['active_policy_count']:.1f}",
        f"{group['dwell_30d_clean_seconds'] / 60:,.0f}",
        *days,
    ]
    return f"| {' | '.join(cells)} |"


def _refuse_missing(features: pl.DataFrame) -> None:
    missing = [c for c in ("person_id", *FEATURES) if c not in features.columns]
    if missing:
        raise ValueError(
            f"The features lack {missing}; found {features.columns}. Rebuild segments.person_features for the day."
        )


def _why_not(people: pl.DataFrame, *, k: int) -> str | None:
    wanted = PEOPLE_PER_GROUP * k
    if people.height < wanted:
        return f"not applicable: {people.height} people, wanted at least {wanted} for {k} groups"
    if people.select(FEATURES).unique().height < 2:
        return f"not applicable: all {people.height} people have the same features, nothing tells them apart"
    return None


def _by_worth(centres: Floats) -> Floats:
    """Methods number their groups by chance; number 0 here is always the worthiest."""
    return centres[np.lexsort((*centres.T, -_mean_of(centres, WORTH)))]


def _named(model: ValueClusters, points: Floats, people: pl.DataFrame, *, before: Snapshot | None) -> Named:
    found = profile_of(model.centres, mean=model.mean, scale=model.scale)
    grouped = before.people.drop_nulls("cluster") if before else None
    if before is None or grouped is None or grouped.is_empty():
        return names(found)
    return names(found, before=_compared(model, points, people, grouped=grouped, last=before.model))


def _compared(
    model: ValueClusters, points: Floats, people: pl.DataFrame, *, grouped: pl.DataFrame, last: ValueClusters | None
) -> Before:
    """The last snapshot's groups beside the new centres, in the last one's standardisation."""
    now = people.select("person_id", new=pl.Series(nearest(points, model.centres)[0]))
    labels = grouped.select("value_label", "cluster").unique().sort("cluster")
    counts = grouped.join(now, on="person_id").group_by("cluster", "new").agg(n=pl.len())
    places = {cluster: at for at, cluster in enumerate(labels["cluster"])}
    shared = np.zeros((labels.height, len(model.centres)))
    for cluster, new, n in counts.iter_rows():
        shared[places[cluster], new] = n
    names_before = tuple(labels["value_label"])
    if last is None or len(last.mean) != len(FEATURES):  # a model of other features has no common space
        return Before(names_before, shared, None, None)
    logs = model.centres * model.scale + model.mean
    return Before(names_before, shared, last.centres[labels["cluster"].to_list()], (logs - last.mean) / last.scale)


def _mean_of(centres: Floats, names: tuple[str, ...]) -> Floats:
    return np.asarray(centres[:, [FEATURES.index(n) for n in names]].mean(axis=1), dtype=np.float64)


def _groups(people: pl.DataFrame, assigned: pl.DataFrame) -> pl.DataFrame:
    known = people.select("person_id", *FEATURES).with_columns(pl.col("premium_clean_fen").fill_null(0))
    joined = known.join(assigned.select("person_id", "cluster", "value_label"), on="person_id")
    return (
        joined.group_by("cluster", "value_label")
        .agg(
            people=pl.len(),
            people_share=pl.len() / max(people.height, 1),
            **{c: pl.col(c).mean() for c in FEATURES},
        )
        .sort("cluster")
    )
