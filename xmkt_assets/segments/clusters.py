"""Value groups: k-means on what people do, named by rule from the centres.

Here: features of a day in, one group per person out, with how well the groups are separated. Not here: the features
themselves (``dbt_like_sql/segments/person_features.sql``), storage, MLflow.

The names, given one after another to the centre that fits best among those still unnamed. Worth (`WORTH`) and present
interest (`PRESENT_INTEREST`) are means of the centre's features in standard deviations from the mean person on the log
scale; days are the centre's own, taken back from the log scale (a geometric mean):

=============== =====================================================================================================
high value      the largest worth, over the mean
dormant         the longest since the last event, 30 days or more
newcomer        the shortest since the first event, 45 days or fewer
high potential  the most present interest beyond the worth; interest over the mean
occasional      the smallest present interest, both it and the worth under the mean
steady          the rest; from the second on "steady 2", "steady 3", … in order of falling worth
=============== =====================================================================================================

A name whose condition no centre meets is not given, so two groups never share a name and a name never lies.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from xmkt_assets.segments.intervals import Floats, Interval, bootstrap, weighted_mean

UNKNOWN: Final = "unknown"
WORTH: Final = ("paid_clean_fen", "premium_clean_fen", "course_order_count", "active_policy_count")
PRESENT_INTEREST: Final = ("dwell_30d_clean_seconds", "product_view_30d_count")
IDLE: Final = "days_since_last_activity"
KNOWN_FOR: Final = "days_since_first_activity"
FEATURES: Final = (*WORTH, *PRESENT_INTEREST, IDLE, KNOWN_FOR)

LONGEST_DAYS: Final = 365  # a person without any event counts as idle for a year: dormant, not a newcomer
DORMANT_DAYS: Final = 30
NEWCOMER_DAYS: Final = 45
PEOPLE_PER_GROUP: Final = 10  # fewer make no group worth a name
SILHOUETTE_SAMPLE: Final = 3000  # distances grow with its square
HALF_SAMPLES: Final = 5

PEOPLE_SCHEMA: Final = pl.Schema(
    {"person_id": pl.String, "cluster": pl.Int64, "value_label": pl.String, "reason": pl.String}
)


@dataclass(frozen=True)
class ValueClusters:
    """A fitted grouping: everything needed to put new people into the same groups.

    `mean`, `scale`: shape (features,), of the log features; `centres`: shape (groups, features), standardised,
    in order of falling worth; `labels`: one name per group.
    """

    mean: Floats
    scale: Floats
    centres: Floats
    labels: tuple[str, ...]

    def assign(self, features: pl.DataFrame) -> pl.DataFrame:
        """One row per row of `features`, sorted by person_id: the group with the nearest centre."""
        people = features.sort("person_id")
        nearest = _nearest((log_features(people) - self.mean) / self.scale, self.centres)
        return pl.DataFrame(
            {
                "person_id": people["person_id"],
                "cluster": nearest,
                "value_label": [self.labels[c] for c in nearest],
                "reason": [None] * people.height,
            },
            schema=PEOPLE_SCHEMA,
        )


class Clustering(NamedTuple):
    """What clustering a day's people gives.

    `people`: one row per person (`PEOPLE_SCHEMA`; value_label 'unknown' and a reason where no groups were made).
    `groups`: one row per group: cluster, value_label, people, people_share, and the mean of each of `FEATURES` in its
    own unit (of days: over the people with any event; empty where the group has none).
    `silhouette`: −1 to 1, of a sample (Rousseeuw 1987); its interval is over the people sampled, the groups held fixed.
    `stability`: adjusted Rand index (Hubert & Arabie 1985) between these groups and those of random halves of the
    people: mean, smallest, largest. All three are None where no groups were made; then `reason` says why.
    """

    people: pl.DataFrame
    groups: pl.DataFrame
    model: ValueClusters | None
    silhouette: Interval | None
    stability: Interval | None
    reason: str | None


def cluster_people(features: pl.DataFrame, *, k: int = 5, seed: int) -> Clustering:
    """Value groups of the people of one day; the order of the rows does not matter.

    `features`: person_id and `FEATURES`. Raises ValueError for k < 2 or a missing column.
    """
    if k < 2:
        raise ValueError(f"k is {k}; one group tells nobody apart. Ask for 2 or more.")
    _refuse_missing(features)
    people = features.sort("person_id")
    if reason := _why_not(people, k=k):
        return _not_applicable(people, reason=reason)
    logs = log_features(people)
    mean, scale = logs.mean(axis=0), logs.std(axis=0)
    scale[scale < 1e-9] = 1.0  # the same for everybody: tells nobody apart, must not divide by zero
    points = (logs - mean) / scale
    centres = _by_worth(_fit(points, k=min(k, len(np.unique(points, axis=0))), seed=seed, starts=5))
    model = ValueClusters(mean, scale, centres, _names(centres, mean=mean, scale=scale))
    assigned = model.assign(people)
    groups = _groups(people, assigned)
    clusters = assigned["cluster"].to_numpy()
    return Clustering(
        people=assigned,
        groups=groups,
        model=model,
        silhouette=_silhouette(points, clusters, seed=seed),
        stability=_stability(points, clusters, k=len(centres), seed=seed),
        reason=None,
    )


def value_labels(centres: Floats, *, idle_days: Floats, known_days: Floats) -> tuple[str, ...]:
    """One name per centre by the rule of this module.

    `centres`: standardised, shape (groups, len(FEATURES)); `idle_days`, `known_days`: shape (groups,).
    """
    worth, interest = _mean_of(centres, WORTH), _mean_of(centres, PRESENT_INTEREST)
    rules = (
        ("high value", worth, worth > 0),
        ("dormant", idle_days, idle_days >= DORMANT_DAYS),
        ("newcomer", -known_days, known_days <= NEWCOMER_DAYS),
        ("high potential", interest - worth, interest > 0),
        ("occasional", -interest, (interest < 0) & (worth < 0)),
    )
    names: dict[int, str] = {}
    for name, fit, is_fitting in rules:
        unnamed = [c for c in range(len(centres)) if c not in names and is_fitting[c]]
        if unnamed:
            names[max(unnamed, key=lambda c: (fit[c], -c))] = name
    rest = sorted((c for c in range(len(centres)) if c not in names), key=lambda c: (-worth[c], c))
    names |= {c: "steady" if n == 1 else f"steady {n}" for n, c in enumerate(rest, start=1)}
    return tuple(names[c] for c in range(len(centres)))


def log_features(features: pl.DataFrame) -> Floats:
    """ln(1 + x) of `FEATURES`, shape (people, features). Empty premiums count as 0, empty days as `LONGEST_DAYS`."""
    days = [
        pl.col(c).fill_null(LONGEST_DAYS).clip(0, LONGEST_DAYS) if c in (IDLE, KNOWN_FOR) else pl.col(c).fill_null(0)
        for c in FEATURES
    ]
    return np.asarray(np.log1p(features.select(days).cast(pl.Float64).to_numpy()), dtype=np.float64)


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


def _not_applicable(people: pl.DataFrame, *, reason: str) -> Clustering:
    rows = people.select(
        "person_id",
        cluster=pl.lit(None, pl.Int64),
        value_label=pl.lit(UNKNOWN),
        reason=pl.lit(reason),
    ).cast(PEOPLE_SCHEMA)
    return Clustering(rows, _groups(people, rows), None, None, None, reason)


def _fit(points: Floats, *, k: int, seed: int, starts: int) -> Floats:
    from sklearn.cluster import KMeans

    fitted = KMeans(n_clusters=k, n_init=starts, random_state=seed, tol=1e-3).fit(points)
    return np.asarray(fitted.cluster_centers_, dtype=np.float64)


def _by_worth(centres: Floats) -> Floats:
    """k-means numbers its groups by chance; number 0 here is always the worthiest."""
    return centres[np.lexsort((*centres.T, -_mean_of(centres, WORTH)))]


def _nearest(points: Floats, centres: Floats) -> NDArray[np.int64]:
    squared = ((points[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2)
    return np.asarray(squared.argmin(axis=1), dtype=np.int64)


def _names(centres: Floats, *, mean: Floats, scale: Floats) -> tuple[str, ...]:
    typical = np.expm1(centres * scale + mean)
    idle, known = typical[:, FEATURES.index(IDLE)], typical[:, FEATURES.index(KNOWN_FOR)]
    return value_labels(centres, idle_days=idle, known_days=known)


def _mean_of(centres: Floats, names: tuple[str, ...]) -> Floats:
    return np.asarray(centres[:, [FEATURES.index(n) for n in names]].mean(axis=1), dtype=np.float64)


def _groups(people: pl.DataFrame, assigned: pl.DataFrame) -> pl.DataFrame:
    joined = people.join(assigned, on="person_id").with_columns(pl.col("premium_clean_fen").fill_null(0))
    return (
        joined.group_by("cluster", "value_label")
        .agg(
            people=pl.len(),
            people_share=pl.len() / max(people.height, 1),
            **{c: pl.col(c).mean() for c in FEATURES},
        )
        .sort("cluster")
    )


def _silhouette(points: Floats, clusters: NDArray[np.int64], *, seed: int) -> Interval | None:
    from sklearn.metrics import silhouette_samples

    rng = np.random.default_rng(seed)
    sample = rng.choice(len(points), size=min(SILHOUETTE_SAMPLE, len(points)), replace=False)
    if len(np.unique(clusters[sample])) < 2:
        return None
    each = np.asarray(silhouette_samples(points[sample], clusters[sample]), dtype=np.float64)
    return bootstrap(weighted_mean(each), size=len(each), draws=200, seed=seed)


def _stability(points: Floats, clusters: NDArray[np.int64], *, k: int, seed: int) -> Interval:
    from sklearn.metrics import adjusted_rand_score

    rng = np.random.default_rng(seed)
    found = []
    for draw in range(HALF_SAMPLES):
        half = rng.choice(len(points), size=max(k, len(points) // 2), replace=False)
        centres = _fit(points[half], k=k, seed=seed + draw, starts=2)
        found.append(float(adjusted_rand_score(clusters, _nearest(points, centres))))
    return Interval(float(np.mean(found)), min(found), max(found))
