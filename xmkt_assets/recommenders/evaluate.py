"""Judging recommenders: what would each have recommended before people bought, and was it what they bought?

One global split in time: everything before a moment is for learning, the purchases from then on are the cases
(leave-one-out would let models see the future of other people; Gusak et al., RecSys 2025). Every member ranks *all*
items the person could be offered, never a sample, and all members get the same candidates. Means carry 95 % intervals
from resampling people; gains of one member over another are paired case by case.

Not here: the metrics themselves (`metrics`), the resampling (`bootstrap`), what follows from it (`promote`).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from xmkt_assets.recommenders.base import (
    CHUNK_PERSONS,
    BoolArray,
    Fitted,
    FloatArray,
    IntArray,
    Recommender,
    item_order,
    offer_mask,
)
from xmkt_assets.recommenders.bootstrap import Interval, interval, replicate_means
from xmkt_assets.recommenders.metrics import DEEPEST, METRICS, per_case

COVERAGE_K: Final = 5
NOTHING: Final = "nothing"
NOT_APPLICABLE: Final = "not applicable"
LEADERBOARD_SCHEMA: Final = pl.Schema(
    {
        "model": pl.String,
        "metric": pl.String,
        "compared_with": pl.String,
        "value": pl.Float64,
        "ci_low": pl.Float64,
        "ci_high": pl.Float64,
        "cases": pl.Int64,
        "persons": pl.Int64,
        "fit_seconds": pl.Float64,
        "note": pl.String,
    }
)


class NotApplicable(NamedTuple):
    """There is nothing to judge, and why."""

    reason: str


class Split(NamedTuple):
    """Interactions before a moment, and from it on."""

    train: pl.DataFrame
    test: pl.DataFrame


def split(interactions: pl.DataFrame, *, at: datetime) -> Split:
    """Learn from what happened strictly before `at` (naive UTC), judge on what happened at or after it."""
    before = pl.col("occurred_at") < at
    return Split(interactions.filter(before), interactions.filter(~before))


@dataclass(frozen=True)
class Cases:
    """One case per purchase occasion, sorted by occasion and person; a view is never a case.

    `truth` is True where the item was bought, shape (cases, items). `sizes` counts all different items bought, also
    those missing from the catalogue: what cannot be recommended stays a miss.
    """

    occasion_ids: tuple[str, ...]
    person_ids: tuple[str, ...]
    truth: BoolArray
    sizes: IntArray

    @property
    def person_numbers(self) -> IntArray:
        return np.unique(np.array(self.person_ids, dtype=np.str_), return_inverse=True)[1].astype(np.int64)

    @property
    def persons(self) -> int:
        return len(set(self.person_ids))


def purchase_cases(test: pl.DataFrame, item_ids: Sequence[str]) -> Cases:
    """The purchase occasions of `test` as cases over the items in the given order."""
    bought = test.filter(pl.col("event") == "purchase").select("occasion_id", "person_id", "item_id").unique()
    grouped = bought.group_by("occasion_id", "person_id").agg("item_id").sort("occasion_id", "person_id")
    places = {item: i for i, item in enumerate(item_ids)}
    truth = np.zeros((grouped.height, len(item_ids)), dtype=bool)
    for case, items in enumerate(grouped["item_id"].to_list()):
        truth[case, [places[item] for item in items if item in places]] = True
    sizes = grouped["item_id"].list.len().to_numpy().astype(np.int64)
    return Cases(tuple(grouped["occasion_id"].to_list()), tuple(grouped["person_id"].to_list()), truth, sizes)


def case_candidates(
    cases: Cases,
    item_ids: Sequence[str],
    *,
    eligible: pl.DataFrame | None = None,
    occasion_eligible: pl.DataFrame | None = None,
) -> BoolArray:
    """Shape (cases, items): what could be offered at each occasion.

    The list checked at the occasion itself (occasion_id, item_id) where there is one, else the person's (person_id,
    item_id), else, where no list of persons exists at all, every item.
    """
    mask = np.ones((len(cases.person_ids), len(item_ids)), dtype=bool)
    if eligible is not None:
        persons, at = np.unique(np.array(cases.person_ids, dtype=np.str_), return_inverse=True)
        mask = offer_mask(persons.tolist(), item_ids, eligible)[at]
    if occasion_eligible is not None and occasion_eligible.height:
        occasions, at = np.unique(np.array(cases.occasion_ids, dtype=np.str_), return_inverse=True)
        checked = np.isin(occasions, np.array(occasion_eligible["occasion_id"].unique().to_list(), dtype=np.str_))[at]
        mask[checked] = offer_mask(occasions.tolist(), item_ids, occasion_eligible, by="occasion_id")[at][checked]
    return mask


@dataclass(frozen=True)
class Evaluation:
    """Means and bootstrap replicates of every member and metric on the same cases.

    `means` (members, metrics), `replicates` (resamples, members, metrics), `coverage` (members,): share of the items
    on offer in some case that reach the first 5 places of some case. `known_cases` counts cases of people with history.
    """

    models: tuple[str, ...]
    means: FloatArray
    replicates: FloatArray
    coverage: FloatArray
    fit_seconds: tuple[float, ...]
    cases: int
    persons: int
    known_cases: int

    def estimate(self, model: str, metric: str) -> Interval:
        """Mean of a metric with its interval over people."""
        m, c = self._at(model, metric)
        return interval(float(self.means[m, c]), self.replicates[:, m, c], persons=self.persons)

    def gain(self, model: str, baseline: str, metric: str) -> Interval:
        """Mean of `model` minus mean of `baseline`, paired: both on the same cases and the same resamples."""
        (m, c), (b, _) = self._at(model, metric), self._at(baseline, metric)
        difference = self.replicates[:, m, c] - self.replicates[:, b, c]
        return interval(float(self.means[m, c] - self.means[b, c]), difference, persons=self.persons)

    def _at(self, model: str, metric: str) -> tuple[int, int]:
        return self.models.index(model), [m.name for m in METRICS].index(metric)

    def metrics(self, model: str) -> dict[str, float]:
        """Every metric of one model by name, with ``_low`` and ``_high`` where there is an interval."""
        found = {f"coverage@{COVERAGE_K}": float(self.coverage[self.models.index(model)])}
        for metric in METRICS:
            value, low, high = self.estimate(model, metric.name)
            found[metric.name] = value
            if not np.isnan(low):
                found |= {f"{metric.name}_low": low, f"{metric.name}_high": high}
        return found

    def leaderboard(self) -> pl.DataFrame:
        """One row per model, metric and compared_with ('nothing' = the metric itself, else its gain over that model).

        Trap: rows of both kinds stand in one table; filter compared_with. Coverage has no interval: resampling people
        can only lose items, so a percentile interval would lie.
        """
        rows = []
        for at, model in enumerate(self.models):
            for metric in METRICS:
                rows.append(self._row(at, metric.name, NOTHING, self.estimate(model, metric.name)))
                for other in self.models:
                    if other != model:
                        rows.append(self._row(at, metric.name, other, self.gain(model, other, metric.name)))
            covered = Interval(float(self.coverage[at]), float("nan"), float("nan"))
            rows.append(self._row(at, f"coverage@{COVERAGE_K}", NOTHING, covered))
        return pl.DataFrame(rows, schema=LEADERBOARD_SCHEMA, orient="row")

    def _row(self, at: int, metric: str, compared_with: str, found: Interval) -> tuple[object, ...]:
        bounds = [None if np.isnan(bound) else bound for bound in (found.low, found.high)]
        seconds = self.fit_seconds[at]
        return (self.models[at], metric, compared_with, found.value, *bounds, self.cases, self.persons, seconds, None)


def not_applicable_leaderboard(outcome: NotApplicable) -> pl.DataFrame:
    """The one row of a leaderboard on which nobody could be judged."""
    row = (NOT_APPLICABLE, NOT_APPLICABLE, NOTHING, None, None, None, 0, 0, None, outcome.reason)
    return pl.DataFrame([row], schema=LEADERBOARD_SCHEMA, orient="row")


def evaluate(
    members: Sequence[Recommender],
    *,
    train: pl.DataFrame,
    test: pl.DataFrame,
    items: pl.DataFrame,
    people: pl.DataFrame,
    eligible: pl.DataFrame | None = None,
    occasion_eligible: pl.DataFrame | None = None,
    exclude_owned: bool = False,
    resamples: int = 500,
    seed: int = 7,
) -> Evaluation | NotApplicable:
    """Fit every member on `train` and judge it on the purchases of `test`.

    `NotApplicable` with a reason where there is no item, nothing to learn from, or no purchase to judge on.
    """
    item_ids = item_order(items)
    cases = purchase_cases(test, item_ids)
    if missing := _missing(item_ids, train, cases):
        return missing
    candidates, scored = case_candidates(cases, item_ids, eligible=eligible, occasion_eligible=occasion_eligible), []
    for member in members:
        started = time.perf_counter()
        fitted = member.fit(train, items, people)
        seconds = time.perf_counter() - started
        scored.append(_score(fitted, cases, candidates, exclude_owned=exclude_owned, fit_seconds=seconds))
    values = np.stack([member.values for member in scored], axis=1)  # (cases, members, metrics)
    columns, persons = values.reshape(len(values), -1), cases.person_numbers
    replicates = replicate_means(columns, persons, resamples=resamples, seed=seed)
    return Evaluation(
        models=tuple(member.name for member in members),
        means=values.mean(axis=0),
        replicates=replicates.reshape(resamples, *values.shape[1:]),
        coverage=np.array([member.coverage for member in scored]),
        fit_seconds=tuple(member.fit_seconds for member in scored),
        cases=len(cases.person_ids),
        persons=cases.persons,
        known_cases=int(np.isin(cases.person_ids, train["person_id"].unique().to_list()).sum()),
    )


def _missing(item_ids: Sequence[str], train: pl.DataFrame, cases: Cases) -> NotApplicable | None:
    if not item_ids:
        return NotApplicable("the catalogue is empty")
    if train.filter(pl.col("item_id").is_in(list(item_ids))).is_empty():
        return NotApplicable("no interaction with an item of the catalogue before the split, so nothing to learn from")
    if not cases.person_ids:
        return NotApplicable("no purchase between the split and the as-of date, so nothing to judge on")
    return None


class _Scored(NamedTuple):
    values: FloatArray
    coverage: float
    fit_seconds: float


def _score(fitted: Fitted, cases: Cases, candidates: BoolArray, *, exclude_owned: bool, fit_seconds: float) -> _Scored:
    top = top_items(fitted, cases.person_ids, candidates, exclude_owned=exclude_owned)
    shown = np.unique(top[:, :COVERAGE_K])
    offered = max(int(candidates.any(axis=0).sum()), 1)
    return _Scored(per_case(hits(top, cases.truth), cases.sizes), (shown >= 0).sum() / offered, fit_seconds)


def top_items(
    fitted: Fitted, person_ids: Sequence[str], candidates: BoolArray, *, exclude_owned: bool, k: int = DEEPEST
) -> IntArray:
    """Item positions of the first k places of each case, -1 where the candidates run out: shape (cases, k)."""
    parts = [np.empty((0, k), dtype=np.int64)]
    for start in range(0, len(person_ids), CHUNK_PERSONS):
        persons = person_ids[start : start + CHUNK_PERSONS]
        mask = candidates[start : start + CHUNK_PERSONS]
        allowed = mask & ~fitted.owned(persons) if exclude_owned else mask
        ranked = fitted.rank(persons, allowed, k=k).items
        parts.append(np.pad(ranked, ((0, 0), (0, k - ranked.shape[1])), constant_values=-1))
    return np.concatenate(parts)


def hits(top: IntArray, truth: BoolArray) -> BoolArray:
    """Whether the item in each place was bought; a place left empty is no hit."""
    found: BoolArray = np.take_along_axis(truth, np.maximum(top, 0), axis=1) & (top >= 0)
    return found
