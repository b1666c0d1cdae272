"""Drift: whether the people of a day still look like those a model was trained on, column by column.

Here: what is remembered of the training rows (`Reference`: bins and counts, no person), and its comparison with the
rows of a later day. Not here: which tables a model is fed from (``xmkt_assets.assets.segments.drift``), retraining.

* PSI, the population stability index (Siddiqi 2006, Credit Risk Scorecards, ch. 9): sum of (p - q) ln(p / q) over bins,
  empty values being a bin of their own. Shares are smoothed by Jeffreys' half a person per bin, so that an empty bin
  divides by nothing. Under .1 the field calls a column stable, from .2 on changed.
* Two samples of n and m people from one and the same population have a PSI of (1/n + 1/m) times a chi-square of
  bins - 1 degrees of freedom (Yurdakul 2018, Statistical properties of PSI), so (bins - 1)(1/n + 1/m) on average
  (`psi_by_chance`). The level is that of the PSI beyond it, and only of a PSI that chance exceeds in fewer than
  `FALSE_ALARM_SHARE` of columns: few people are no drift. People who are in both samples make the real share smaller.
* The Kolmogorov-Smirnov distance of two distributions, at the edges of the bins, with its asymptotic p-value (Smirnov
  1948). A grid and repeated values can only make the distance smaller, so the p-value is conservative.
* Categories: Pearson's chi-square of homogeneity. Categories not seen at training are counted under 'other', and so
  are those of fewer than `FEW_EXPECTED` people, judged by both samples together: chosen by the training alone, the ones
  kept would be those that happened to be large there, and the next day would seem to have fallen.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from xmkt_assets.segments.intervals import Floats

Counts = NDArray[np.int64]

BINS: Final = 20
SMALLEST: Final = 10  # people in a bin or a category; smaller ones are joined, so that none points at a person
FEW_EXPECTED: Final = 25  # three standard deviations over SMALLEST: none is left out at training by chance
LEAST_PEOPLE: Final = 100  # on either side; fewer say nothing about a distribution
MODERATE_PSI, MAJOR_PSI = 0.1, 0.2
FALSE_ALARM_SHARE: Final = 0.001  # per column and day
SMOOTHING: Final = 0.5  # people per bin (Jeffreys)

NONE, MODERATE, MAJOR, NOT_APPLICABLE = LEVELS = ("none", "moderate", "major", "not applicable")


@dataclass(frozen=True)
class NumberBins:
    """A column of numbers at training. Bin i holds the values over edge i-1 up to and including edge i.

    A value that a twentieth of the people share, such as 0, has a bin of its own: the edge before it is the largest
    number below it. `counts` has one more entry than `edges`.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    null_count: int


@dataclass(frozen=True)
class CategoryCounts:
    """A column of words at training: people per category, those of small categories together in `other_count`."""

    counts: tuple[tuple[str, int], ...]
    other_count: int
    null_count: int


@dataclass(frozen=True)
class Reference:
    """What a training remembers of its rows: how many people, and per column bins or categories. No person."""

    people: int
    columns: Mapping[str, NumberBins | CategoryCounts]


class Drift(NamedTuple):
    """One column of a day against its training; shares of all people of the day or of the training.

    `psi_by_chance`: its mean if nothing had changed. `ks` is None for categories; `psi`, `ks` and `p_value` are None
    where level is 'not applicable'. `reason`: what changed most, or why there is no level, in words; else None.
    """

    feature: str
    psi: float | None
    psi_by_chance: float | None
    ks: float | None
    p_value: float | None
    level: str
    people: int
    people_trained: int
    null_share: float | None
    null_share_trained: float | None
    reason: str | None


class _Compared(NamedTuple):
    """Counts per bin at training and now, empty values last, with the words of each bin."""

    trained: Counts
    now: Counts
    words: tuple[str, ...]


def reference_of(frame: pl.DataFrame, columns: Sequence[str]) -> Reference:
    """What to remember of `columns`: numbers and booleans by bins, words by category.

    Hand in the rows that the model scores on the day it is trained: rows of an earlier moment, such as labelled
    examples, know a shorter history, and every later day would look changed against them.
    """
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        raise ValueError(f"The training rows lack {missing}; found {frame.columns}. Name columns the rows have.")
    return Reference(frame.height, {c: _remembered(frame[c]) for c in columns})


def compare(
    reference: Reference, frame: pl.DataFrame, *, false_alarm_share: float = FALSE_ALARM_SHARE
) -> tuple[Drift, ...]:
    """Every column of the reference against the people of `frame`, in the reference's order."""
    return tuple(
        _drift_of(name, known, frame, trained=reference.people, false_alarm_share=false_alarm_share)
        for name, known in reference.columns.items()
    )


def psi(trained: Iterable[int], now: Iterable[int]) -> float:
    """Population stability index of two lists of counts per bin, smoothed; the same whichever comes first."""
    p, q = (_smoothed(np.asarray(list(counts), dtype=np.float64)) for counts in (trained, now))
    return float(((p - q) * np.log(p / q)).sum())


def psi_by_chance(*, bins: int, trained: int, now: int) -> float:
    """Mean PSI of two samples of one population (Yurdakul 2018)."""
    return (bins - 1) * (1 / trained + 1 / now)


def psi_bound(*, bins: int, trained: int, now: int, false_alarm_share: float) -> float:
    """PSI that two samples of one population exceed with probability `false_alarm_share` (Yurdakul 2018)."""
    from scipy.special import chdtri

    return float(chdtri(bins - 1, false_alarm_share)) * (1 / trained + 1 / now)


def ks_distance(trained: Iterable[int], now: Iterable[int]) -> float:
    """Largest difference of the two cumulative shares, at the upper edges of ordered bins."""
    first, second = (np.cumsum(np.asarray(list(c), dtype=np.float64)) for c in (trained, now))
    return float(np.abs(first / first[-1] - second / second[-1]).max())


def ks_p_value(distance: float, *, trained: int, now: int) -> float:
    """Probability of so large a distance without a difference, asymptotically (Smirnov 1948)."""
    from scipy.special import kolmogorov

    return float(kolmogorov(distance * np.sqrt(trained * now / (trained + now))))


def chi_square_p_value(trained: Iterable[int], now: Iterable[int]) -> float:
    """Pearson's chi-square of homogeneity over the bins that anybody is in; 1 where that is one bin."""
    from scipy.special import chdtrc

    table = np.array([list(trained), list(now)], dtype=np.float64)
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:
        return 1.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    return float(chdtrc(table.shape[1] - 1, ((table - expected) ** 2 / expected).sum()))


# ── what is remembered ───────────────────────────────────────────────────────────────────────────────────────────────


def _remembered(values: pl.Series) -> NumberBins | CategoryCounts:
    if _is_number(values):
        return _number_bins(_numbers(values), null_count=_null_count(values))
    if isinstance(values.dtype, pl.String | pl.Categorical | pl.Enum):
        return _category_counts(values)
    raise ValueError(
        f"Column {values.name} is {values.dtype}; wanted numbers, booleans or words. Leave it out, or cast it."
    )


def _is_number(values: pl.Series) -> bool:
    return values.dtype.is_numeric() or values.dtype in (pl.Boolean, pl.Null)


def _null_count(values: pl.Series) -> int:
    return values.len() - _numbers(values).size if _is_number(values) else values.null_count()


def _numbers(values: pl.Series) -> Floats:
    return values.cast(pl.Float64).fill_nan(None).drop_nulls().to_numpy()


def _number_bins(values: Floats, *, null_count: int) -> NumberBins:
    """Equal-frequency bins at order statistics; never interpolated, so that any increasing scale gives the same."""
    if not values.size:
        return NumberBins((), (0,), null_count)
    distinct, times = np.unique(values, return_counts=True)
    heavy = distinct[times * BINS >= values.size]
    until = np.cumsum(times)
    cuts = distinct[np.searchsorted(until, np.arange(1, BINS) * values.size / BINS)]
    edges = np.unique(np.concatenate([cuts, heavy, np.nextafter(heavy, -np.inf)]))
    edges = _joined(edges, _binned(values, edges), heavy=frozenset(heavy.tolist()))
    if not edges.size and heavy.size:  # nearly the same for everybody: what leaves that value must show
        edges = np.array([np.nextafter(heavy[0], -np.inf), heavy[0]])
    return NumberBins(tuple(map(float, edges)), tuple(map(int, _binned(values, edges))), null_count)


def _joined(edges: Floats, counts: Counts, *, heavy: frozenset[float]) -> Floats:
    """Edges without those that would leave a bin of fewer than `SMALLEST` people.

    A small bin goes with the next one, but before a heavy value with the one before it: the heavy value stays alone.
    """
    kept, people = list[float](), 0
    for edge, count in zip(edges.tolist(), counts.tolist(), strict=False):
        people += count
        if people >= SMALLEST:
            kept.append(edge)
            people = 0
        elif kept and kept[-1] not in heavy and float(np.nextafter(edge, np.inf)) in heavy:
            kept[-1], people = edge, 0
    if kept and people + int(counts[-1]) < SMALLEST:
        kept.pop()
    return np.array(kept)


def _binned(values: Floats, edges: Floats) -> Counts:
    bins = np.searchsorted(edges, values, side="left")
    return np.asarray(np.bincount(bins, minlength=len(edges) + 1), dtype=np.int64)


def _category_counts(values: pl.Series) -> CategoryCounts:
    found = _categories(values)
    large = tuple(sorted((name, n) for name, n in found.items() if n >= SMALLEST))
    return CategoryCounts(large, sum(found.values()) - sum(n for _, n in large), values.null_count())


def _categories(values: pl.Series) -> dict[str, int]:
    counted = values.cast(pl.String).drop_nulls().value_counts(name="people")
    return {str(name): int(n) for name, n in counted.iter_rows()}


# ── the comparison ───────────────────────────────────────────────────────────────────────────────────────────────────


def _drift_of(
    name: str,
    known: NumberBins | CategoryCounts,
    frame: pl.DataFrame,
    *,
    trained: int,
    false_alarm_share: float,
) -> Drift:
    people = frame.height
    if reason := _why_not(name, known, frame, trained=trained):
        return Drift(name, None, None, None, None, NOT_APPLICABLE, people, trained, None, None, reason)
    values = frame[name]
    found = _of_numbers(known, values) if isinstance(known, NumberBins) else _of_categories(known, values, trained)
    ks, p_value = _tested(found, is_ordered=isinstance(known, NumberBins))
    bins = int(((found.trained + found.now) > 0).sum())
    index, chance = psi(found.trained, found.now), psi_by_chance(bins=bins, trained=trained, now=people)
    bound = psi_bound(bins=bins, trained=trained, now=people, false_alarm_share=false_alarm_share) if bins > 1 else 0.0
    level = _level(index, chance=chance, bound=bound)
    return Drift(
        feature=name,
        psi=index,
        psi_by_chance=chance,
        ks=ks,
        p_value=p_value,
        level=level,
        people=people,
        people_trained=trained,
        null_share=int(found.now[-1]) / people,
        null_share_trained=known.null_count / trained,
        reason=_reason(found, known, values, level=level, index=index, bound=bound),
    )


def _why_not(name: str, known: NumberBins | CategoryCounts, frame: pl.DataFrame, *, trained: int) -> str | None:
    if min(trained, frame.height) < LEAST_PEOPLE:
        counts = f"{trained} people at training, {frame.height} on the day"
        return f"not applicable: {counts}, wanted at least {LEAST_PEOPLE} of each"
    if name not in frame.columns:
        return f"not applicable: the table has no column {name} any more; train the model again"
    if isinstance(known, NumberBins) and not _is_number(frame[name]):
        return f"not applicable: {name} held numbers at training and is {frame[name].dtype}; train the model again"
    return None


def _of_numbers(known: NumberBins, values: pl.Series) -> _Compared:
    now = _binned(_numbers(values), np.array(known.edges, dtype=np.float64))
    words = (*(_bin_in_words(known.edges, i) for i in range(len(known.counts))), "empty")
    trained = np.array([*known.counts, known.null_count], dtype=np.int64)
    return _Compared(trained, np.append(now, _null_count(values)), words)


def _of_categories(known: CategoryCounts, values: pl.Series, people_trained: int) -> _Compared:
    found, trained = _categories(values), dict(known.counts)
    share_trained = people_trained / (people_trained + values.len())
    large = [c for c, n in trained.items() if (n + found.get(c, 0)) * share_trained >= FEW_EXPECTED]
    before, now = [trained[c] for c in large], [found.get(c, 0) for c in large]
    other = sum(trained.values()) - sum(before) + known.other_count, sum(found.values()) - sum(now)
    return _Compared(
        trained=np.array([*before, other[0], known.null_count], dtype=np.int64),
        now=np.array([*now, other[1], values.null_count()], dtype=np.int64),
        words=(*(f"'{c}'" for c in large), "other", "empty"),
    )


def _tested(found: _Compared, *, is_ordered: bool) -> tuple[float | None, float | None]:
    """KS distance and p-value of the numbers there are; of categories, the p-value of chi-square."""
    if not is_ordered:
        return None, chi_square_p_value(found.trained, found.now)
    trained, now = found.trained[:-1], found.now[:-1]
    if not trained.sum() or not now.sum():
        return None, None
    distance = ks_distance(trained, now)
    return distance, ks_p_value(distance, trained=int(trained.sum()), now=int(now.sum()))


def _level(index: float, *, chance: float, bound: float) -> str:
    if index < bound or index - chance < MODERATE_PSI:
        return NONE
    return MAJOR if index - chance >= MAJOR_PSI else MODERATE


def _smoothed(counts: Floats) -> Floats:
    return np.asarray((counts + SMOOTHING) / (counts.sum() + SMOOTHING * len(counts)), dtype=np.float64)


# ── words ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _reason(
    found: _Compared,
    known: NumberBins | CategoryCounts,
    values: pl.Series,
    *,
    level: str,
    index: float,
    bound: float,
) -> str | None:
    if level == NONE:
        by_chance = f"so few people differ as much by chance: PSI up to {bound:.2f} is no drift"
        return by_chance if MODERATE_PSI <= index < bound else None
    before, now = (counts / counts.sum() for counts in (found.trained, found.now))
    most = int(np.argmax(np.abs(now - before)))
    said = f"{found.words[most]}: {before[most]:.1%} of people at training, {now[most]:.1%} now"
    new = _new_categories(known, values) if isinstance(known, CategoryCounts) else ""
    return f"{said}; {new}" if new else said


def _new_categories(known: CategoryCounts, values: pl.Series) -> str:
    """Categories now large that were no category of their own at training."""
    before = {name for name, _ in known.counts}
    new = sorted(((n, name) for name, n in _categories(values).items() if name not in before), reverse=True)
    large = [f"'{name}' ({n:,} people)" for n, name in new if n >= SMALLEST][:5]
    return f"new: {', '.join(large)}" if large else ""


def _bin_in_words(edges: tuple[float, ...], i: int) -> str:
    if not edges:
        return "any value"
    if i == len(edges):
        return f"over {edges[-1]:,.6g}"
    low, high = (edges[i - 1] if i else None), edges[i]
    if low is not None and np.nextafter(low, np.inf) == high:
        return f"exactly {high:,.6g}"
    is_before_point = i + 1 < len(edges) and np.nextafter(high, np.inf) == edges[i + 1]
    upper = f"under {edges[i + 1]:,.6g}" if is_before_point else f"up to {high:,.6g}"
    return upper if low is None else f"over {low:,.6g}, {upper}"
