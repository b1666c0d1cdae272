"""How many value groups, and by which method: chosen by evidence, said in words.

Here: for k-means and Ward and every number of groups k of `KS`, how well the groups are separated and how far two
halves of the people agree on them; then the rule below. Not here: fitting (``grouping``), names (``value_names``).

The rule, in order:

1. Stable: people grouped by what one random half teaches and by what the other teaches fall together, mean adjusted
   Rand index (Hubert & Arabie 1985) of at least `STABLE` (the idea of Lange, Roth, Braun & Buhmann 2004). Where nothing
   is stable, the most stable one is taken, and the words say so.
2. Among the stable, the highest mean silhouette (Rousseeuw 1987), and all within one standard error of it (Breiman,
   Friedman, Olshen & Stone 1984, section 3.4.3) count as equally good.
3. Among the equally good, what the last snapshot used, so that groups do not change for nothing; else the fewest
   groups; else k-means.
"""

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from xmkt_assets.segments.grouping import METHODS, Ints, centres_by_k, distances_to, nearest, sampled
from xmkt_assets.segments.intervals import Floats, Interval

KS: Final = (2, 3, 4, 5, 6, 7, 8)
STABLE: Final = 0.8
PEOPLE_PER_GROUP: Final = 10  # fewer make no group worth a name
PEOPLE_TO_CHOOSE: Final = 50  # of half as many, nothing can be said about stability
CHOICE_SAMPLE: Final = 2_000
SILHOUETTE_SAMPLE: Final = 1_500  # distances grow with its square
SPLITS: Final = 5
NORMAL_95: Final = 1.959964  # the 97.5 % quantile of the standard normal distribution

CHOICE_SCHEMA: Final = pl.Schema(
    {
        "method": pl.String,
        "k": pl.Int64,
        "silhouette": pl.Float64,
        "silhouette_low": pl.Float64,
        "silhouette_high": pl.Float64,
        "stability": pl.Float64,
        "stability_low": pl.Float64,
        "stability_high": pl.Float64,
        "is_chosen": pl.Boolean,
        "why": pl.String,
    }
)


class Candidate(NamedTuple):
    """A method and a number of groups with the evidence for it.

    `silhouette`: its interval is over the people sampled (normal, of a mean), the groups held fixed. `stability`: mean,
    smallest and largest over the splits into halves.
    """

    method: str
    k: int
    silhouette: Interval
    stability: Interval

    @property
    def name(self) -> tuple[str, int]:
        return self.method, self.k

    @property
    def silhouette_error(self) -> float:
        return (self.silhouette.high - self.silhouette.value) / NORMAL_95


class Choice(NamedTuple):
    """What was chosen, with a row for everything that was compared (`CHOICE_SCHEMA`).

    `method` and `k` are None where there is nothing to choose from; then `reason` says why, and so does the only row.
    """

    method: str | None
    k: int | None
    rows: pl.DataFrame
    reason: str | None


class Wish(NamedTuple):
    """What the configuration asks for; None leaves it to the evidence."""

    method: str | None = None
    k: int | None = None

    @property
    def is_open(self) -> bool:
        return self.method is None and self.k is None

    def allows(self, candidate: Candidate) -> bool:
        return self.method in (None, candidate.method) and self.k in (None, candidate.k)


LEFT_OPEN: Final = Wish()


def choose(points: Floats, *, seed: int, wish: Wish = LEFT_OPEN, last: tuple[str, int] | None = None) -> Choice:
    """Choose by the rule of this module; `points` standardised, shape (people, features).

    `last`: method and number of groups of the snapshot before. Raises ValueError for a wish nobody can meet.
    """
    _refuse(wish)
    kinds = len(np.unique(points, axis=0))
    if reason := _why_not(people=len(points), kinds=kinds):
        return _nothing(reason)
    sample = sampled(points, most=CHOICE_SAMPLE, seed=seed)
    wanted = {*KS, *([wish.k] if wish.k else [])}
    ks = tuple(k for k in sorted(wanted) if k <= min(kinds, len(points) // PEOPLE_PER_GROUP))
    found = candidates(sample, ks=ks, seed=seed)
    allowed = [c for c in found if wish.allows(c)]
    if not allowed:
        most = f"{len(points)} people of {kinds} kinds allow at most {max(ks)} groups of {PEOPLE_PER_GROUP}"
        return _nothing(f"not applicable: {most}, wanted {wish.k}")
    chosen, why = by_the_rule(allowed, last=last)
    if not wish.is_open:
        why = f"as configured; {why}" if len(allowed) > 1 else "as configured"
    return Choice(*chosen.name, _rows(found, chosen=chosen, why=why), None)


def candidates(points: Floats, *, ks: Iterable[int], seed: int) -> list[Candidate]:
    """The evidence for every method and each number of groups `ks`."""
    ks = tuple(ks)
    shown = sampled(points, most=SILHOUETTE_SAMPLE, seed=seed)
    apart = distances_to(shown, shown)
    halves = _halves(len(points), seed=seed)
    found = []
    for method in METHODS:
        fitted = centres_by_k(points, method=method, ks=ks, seed=seed, starts=2)
        agreement = _agreement(points, halves, method=method, ks=ks, seed=seed)
        for k in ks:
            silhouette = _mean(silhouettes(apart, nearest(shown, fitted[k])[0]))
            stability = Interval(float(np.mean(agreement[k])), min(agreement[k]), max(agreement[k]))
            found.append(Candidate(method, k, silhouette, stability))
    return found


def by_the_rule(found: Collection[Candidate], *, last: tuple[str, int] | None = None) -> tuple[Candidate, str]:
    """The candidate that the rule of this module takes, and why in words."""
    stable = [c for c in found if c.stability.value >= STABLE]
    if not stable:
        best = max(found, key=lambda c: c.stability.value)
        return best, f"nothing reaches stability {STABLE:.2f}; the most stable of all, at {best.stability.value:.2f}"
    best = max(stable, key=lambda c: c.silhouette.value)
    good = [c for c in stable if c.silhouette.value >= best.silhouette.value - best.silhouette_error]
    kept = next((c for c in good if c.name == last), None)
    chosen = kept or min(good, key=lambda c: (c.k, list(METHODS).index(c.method)))
    bar = f"stable ({chosen.stability.value:.2f}, wanted {STABLE:.2f})"
    if chosen is best:
        return chosen, f"{bar} and the best separated of the stable"
    how = "the choice of the last snapshot" if kept else "the fewest groups"
    return chosen, f"{bar}, within one standard error of the best separated ({best.method}, {best.k}), and {how}"


def told(method: str | None, k: int | None, *, why: str) -> pl.DataFrame:
    """The only row (`CHOICE_SCHEMA`) where no alternatives were compared."""
    row = dict.fromkeys(CHOICE_SCHEMA.names()) | {"method": method, "k": k, "is_chosen": k is not None, "why": why}
    return pl.DataFrame([row], schema=CHOICE_SCHEMA)


def silhouettes(apart: Floats, groups: Ints) -> Floats:
    """Silhouette of each point from all distances (points, points): 0 for the only point of a group."""
    sizes = np.bincount(groups).astype(np.float64)
    if np.count_nonzero(sizes) < 2:
        return np.zeros(len(groups))
    sums = apart @ np.eye(len(sizes))[groups]
    rows = np.arange(len(groups))
    own = sums[rows, groups] / np.maximum(sizes[groups] - 1, 1)
    others = np.where(sizes > 0, sums / np.maximum(sizes, 1), np.inf)
    others[rows, groups] = np.inf
    other = others.min(axis=1)
    longer = np.maximum(own, other)
    each = np.divide(other - own, longer, out=np.zeros(len(groups)), where=longer > 0)
    return np.where(sizes[groups] > 1, each, 0.0)


def adjusted_rand(one: Ints, other: Ints) -> float:
    """Agreement of two groupings of the same points: 1 = the same, about 0 = by chance (Hubert & Arabie 1985, (5)).

    (scikit-learn's gives the same; this one is a tenth of its time, and it is asked often.)
    """
    width = int(other.max()) + 1
    counts = np.bincount(one * width + other, minlength=(int(one.max()) + 1) * width).reshape(-1, width)
    both, first, second = (_pairs(n) for n in (counts, counts.sum(axis=1), counts.sum(axis=0)))
    by_chance, most = first * second / _pairs(np.array([len(one)])), (first + second) / 2
    return 1.0 if most == by_chance else (both - by_chance) / (most - by_chance)


def chosen_in_words(rows: pl.DataFrame) -> str:
    """What was chosen and why, in one sentence; else why nothing was."""
    row = rows.sort("is_chosen", descending=True).row(0, named=True)
    return f"{row['k']} groups by {row['method']}: {row['why']}" if row["is_chosen"] else str(row["why"])


def in_words(rows: pl.DataFrame) -> str:
    """The evidence as a markdown table for people, what was chosen in bold."""
    lines = ["| method | groups | silhouette | stability | |", "|" + "---|" * 5]
    for row in rows.sort("method", "k").iter_rows(named=True):
        named = [str(row[name] or "–") for name in ("method", "k")]
        cells = [*named, _interval(row, "silhouette"), _interval(row, "stability")]
        shown = [f"**{c}**" if row["is_chosen"] else c for c in cells]
        lines.append(f"| {' | '.join([*shown, row['why'] or ''])} |")
    return "\n".join(lines)


def _pairs(counts: Ints) -> float:
    return float((counts * (counts - 1) / 2).sum())


def _mean(values: Floats) -> Interval:
    mean, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
    return Interval(mean, mean - NORMAL_95 * error, mean + NORMAL_95 * error)


def _nothing(reason: str) -> Choice:
    return Choice(None, None, told(None, None, why=reason), reason)


def _interval(row: dict[str, float | None], name: str) -> str:
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    return "–" if value is None else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _refuse(wish: Wish) -> None:
    if wish.k is not None and wish.k < 2:
        raise ValueError(f"k is {wish.k}; one group tells nobody apart. Ask for 2 or more.")
    if wish.method is not None and wish.method not in METHODS:
        raise ValueError(f"method is {wish.method!r}; wanted one of {', '.join(METHODS)}. Correct the configuration.")


def _why_not(*, people: int, kinds: int) -> str | None:
    if people < PEOPLE_TO_CHOOSE:
        return f"not applicable: {people} people, wanted at least {PEOPLE_TO_CHOOSE} to choose groups by"
    if kinds < 2:
        return f"not applicable: all {people} people have the same features, nothing tells them apart"
    return None


def _halves(points: int, *, seed: int) -> list[tuple[Ints, Ints]]:
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(points) for _ in range(SPLITS)]
    return [(order[: points // 2], order[points // 2 :]) for order in orders]


def _agreement(
    points: Floats, halves: Iterable[tuple[Ints, Ints]], *, method: str, ks: tuple[int, ...], seed: int
) -> dict[int, list[float]]:
    """Per number of groups: the adjusted Rand index of what the two halves of each split make of all points."""
    found: dict[int, list[float]] = {k: [] for k in ks}
    for one, other in halves:
        first = centres_by_k(points[one], method=method, ks=ks, seed=seed, starts=2)
        second = centres_by_k(points[other], method=method, ks=ks, seed=seed, starts=2)
        for k in ks:
            groups = [nearest(points, fitted[k])[0] for fitted in (first, second)]
            found[k].append(adjusted_rand(*groups))
    return found


def _rows(found: Iterable[Candidate], *, chosen: Candidate, why: str) -> pl.DataFrame:
    rows = [(*c.name, *c.silhouette, *c.stability, c is chosen, why if c is chosen else None) for c in found]
    return pl.DataFrame(rows, schema=CHOICE_SCHEMA, orient="row")
