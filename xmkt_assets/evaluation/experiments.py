"""Every experiment at once: people with their arms and outcomes in, the two evaluation tables out.

Here: which arms are compared by which metrics, and what is said where no comparison can be made. Not here: the
arithmetic of one comparison (`srm`, `effects`, `qini`, `t_learner`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from xmkt_assets.evaluation import covariates
from xmkt_assets.evaluation.effects import Effect, difference_in_means
from xmkt_assets.evaluation.metrics import Metric, metrics_of
from xmkt_assets.evaluation.qini import QiniCurve, qini_curve
from xmkt_assets.evaluation.srm import SampleRatio, sample_ratio
from xmkt_assets.evaluation.t_learner import cross_fitted_scores, not_learnable
from xmkt_assets.evaluation.tables import CURVES_SCHEMA, RESULTS_SCHEMA
from xmkt_assets.evaluation.words import sentence

CONTROL: Final = "control"
NO_ARM: Final = "none"
SCORES: Final = ("assignment_score", "t_learner", "response")

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Experiment:
    """One experiment. `people` has one row per person: the columns of ``evaluation.experiment_assignments`` and
    ``evaluation.experiment_outcomes``, sorted by person_id."""

    campaign_id: str
    people: pl.DataFrame

    @cached_property
    def source(self) -> str:
        return str(self.people["source"][0])

    @cached_property
    def goal_metric(self) -> str | None:
        return self.people["goal_metric"].drop_nulls().first()  # type: ignore[return-value]

    @cached_property
    def arms(self) -> tuple[str, ...]:
        """Arms to compare with control; ``none`` stands for them where only control has people."""
        return tuple(sorted(set(self.people["arm"]) - {CONTROL})) or (NO_ARM,)

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        return metrics_of(self.source)

    @cached_property
    def measured_on(self) -> date:
        return self.people["measured_on"].max()  # type: ignore[return-value]

    @cached_property
    def is_preliminary(self) -> bool:
        return bool(self.measured_on < self.people["outcome_until_on"].max())  # type: ignore[operator]

    @cached_property
    def sample_ratio(self) -> SampleRatio:
        counts = {arm: int(n) for arm, n in self.people.group_by("arm").len().iter_rows()}
        shares = dict(self.people.group_by("arm").agg(pl.col("assignment_share").first()).iter_rows())
        designed = self.people["treatment_share"].drop_nulls()
        if len(designed):
            shares |= {"treatment": designed[0], CONTROL: 1 - designed[0]}
            counts = dict.fromkeys(shares, 0) | counts
        return sample_ratio(counts, shares)

    @cached_property
    def unreadable(self) -> str | None:
        """Why no arm of the experiment can be compared; None where they can. A blocking sample ratio is apart."""
        if CONTROL not in set(self.people["arm"]):
            return f"no arm is called {CONTROL}; nothing to compare with"
        spread = self.people.group_by("arm").agg((pl.col("assignment_share").n_unique() > 1).alias("is_uneven"))
        uneven = sorted(spread.filter("is_uneven")["arm"])
        if uneven:
            return f"assignment shares differ within {', '.join(uneven)}; a plain difference would be biased"
        if self.measured_on < self.people["launched_on"].min():  # type: ignore[operator]
            return f"the outcome window has not begun: measured on {self.measured_on}"
        return None

    def unit(self, metric: Metric) -> str:
        """``share``, or the currency of the money; ``mixed`` where there are several."""
        if metric.kind == "share":
            return "share"
        currencies = self.people["currency"].drop_nulls().unique().to_list()
        return currencies[0] if len(currencies) == 1 else "CNY" if not currencies else "mixed"

    def outcome(self, metric: Metric, arm: str) -> Floats:
        column = self.people.filter(pl.col("arm") == arm)[metric.column]
        return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def experiments(people: pl.DataFrame) -> list[Experiment]:
    """The experiments in `people`, by campaign_id; none for an empty frame."""
    ordered = people.sort("campaign_id", "person_id")
    return [Experiment(str(part["campaign_id"][0]), part) for part in ordered.partition_by("campaign_id")]


def results(people: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``evaluation.experiment_results`` (schema `RESULTS_SCHEMA`), one per experiment, arm and metric."""
    rows = [
        _result_row(experiment, arm, metric)
        for experiment in experiments(people)
        for arm in experiment.arms
        for metric in experiment.metrics
    ]
    return pl.DataFrame(rows, schema=RESULTS_SCHEMA, orient="row")


def _result_row(experiment: Experiment, arm: str, metric: Metric) -> dict[str, object]:
    ratio, unit = experiment.sample_ratio, experiment.unit(metric)
    status, effect = _status_and_effect(experiment, arm, metric)
    return {
        "campaign_id": experiment.campaign_id,
        "arm": arm,
        "metric": metric.name,
        "source": experiment.source,
        "unit": unit,
        "is_goal": metric.name == experiment.goal_metric,
        "status": status,
        "note": _note(effect, experiment, ratio),
        **{name: value for name, value in effect._asdict().items() if name not in ("status", "reason")},
        "srm_p_value": ratio.p_value,
        "srm_verdict": ratio.verdict,
        "launched_on": experiment.people["launched_on"].min(),
        "outcome_until_on": experiment.people["outcome_until_on"].max(),
        "measured_on": experiment.measured_on,
        "is_preliminary": experiment.is_preliminary,
        "verdict": sentence(arm, metric, effect, status=status, unit=unit, is_preliminary=experiment.is_preliminary),
    }


def _status_and_effect(experiment: Experiment, arm: str, metric: Metric) -> tuple[str, Effect]:
    """The comparison, or an `Effect` without numbers and the reason for it."""
    treated, control = experiment.outcome(metric, arm), experiment.outcome(metric, CONTROL)
    nothing = Effect("not applicable", "", len(treated), len(control))
    if experiment.unreadable:
        return "not applicable", nothing._replace(reason=experiment.unreadable)
    if experiment.sample_ratio.verdict == "block":
        reason = f"arms are not as designed: {experiment.sample_ratio.reason}; find out who went missing first"
        return "blocked", nothing._replace(reason=reason)
    if experiment.unit(metric) == "mixed":
        return "not applicable", nothing._replace(reason="money in several currencies cannot be added")
    effect = difference_in_means(treated, control, kind=metric.kind)
    return effect.status, effect


def _note(effect: Effect, experiment: Experiment, ratio: SampleRatio) -> str:
    notes = [effect.reason]
    if ratio.verdict == "warn":
        notes.append(f"arms are hardly as designed: {ratio.reason}")
    if ratio.verdict == "not applicable" and not experiment.unreadable:
        notes.append(f"sample ratio not checked: {ratio.reason}")
    if experiment.is_preliminary:
        notes.append(f"window still open on {experiment.measured_on}")
    return "; ".join(note for note in notes if note)


class _Scored(NamedTuple):
    """One score of the people of two arms, or why there is none."""

    name: str
    values: Floats | None
    reason: str


def curves(
    people: pl.DataFrame, *, features: Mapping[str, pl.DataFrame], bootstrap_count: int, seed: int
) -> pl.DataFrame:
    """Rows of ``evaluation.uplift_curves`` (schema `CURVES_SCHEMA`) for every experiment, arm, metric and score.

    `features`: campaign_id of a list made here → numeric columns per person_id, as of the day the list was made.
    Imported experiments bring theirs as JSON in `people`.
    """
    rows: list[dict[str, object]] = []
    for experiment in experiments(people):
        known = _covariates(experiment, features.get(experiment.campaign_id))
        for arm in experiment.arms:
            rows += _arm_curves(experiment, arm, known, bootstrap_count=bootstrap_count, seed=seed)
    return pl.DataFrame(rows, schema=CURVES_SCHEMA, orient="row")


def _covariates(experiment: Experiment, features: pl.DataFrame | None) -> Floats:
    """(people, columns), rows as in `experiment.people`; no columns where nothing is known."""
    people = experiment.people.select("person_id", "covariates")
    if experiment.source == "imported":
        return covariates.matrix(covariates.from_json(people))
    if features is None or features.is_empty():
        return np.empty((people.height, 0))
    return covariates.matrix(
        people.select("person_id").join(features, on="person_id", how="left", maintain_order="left")
    )


def _arm_curves(
    experiment: Experiment, arm: str, known: Floats, *, bootstrap_count: int, seed: int
) -> Iterator[dict[str, object]]:
    chosen = experiment.people["arm"].is_in([arm, CONTROL]).to_numpy()
    pair = experiment.people.filter(pl.Series(chosen))
    is_treated = (pair["arm"] == arm).to_numpy()
    for metric in experiment.metrics:
        key = {"campaign_id": experiment.campaign_id, "arm": arm, "metric": metric.name, "person_count": pair.height}
        outcome = pair[metric.column].cast(pl.Float64).to_numpy()
        problem = _no_curve(experiment, metric, is_treated, outcome)
        for scored in _scores(pair["score"], known[chosen], is_treated, outcome, metric, problem=problem, seed=seed):
            row = key | {"score_name": scored.name}
            if scored.values is None:
                yield row | {"share": 0.0, "note": scored.reason}
                continue
            curve = qini_curve(
                scored.values, is_treated=is_treated, outcome=outcome, bootstrap_count=bootstrap_count, seed=seed
            )
            yield from (row | point for point in _points(curve))


def _no_curve(experiment: Experiment, metric: Metric, is_treated: npt.NDArray[np.bool_], outcome: Floats) -> str | None:
    if experiment.unreadable:
        return experiment.unreadable
    if experiment.sample_ratio.verdict == "block":
        return f"arms are not as designed: {experiment.sample_ratio.reason}"
    if experiment.unit(metric) == "mixed":
        return "money in several currencies cannot be added"
    if is_treated.all() or not is_treated.any():
        return "one of the two arms is empty"
    return None if outcome.any() else "nobody in either arm has this outcome"


def _scores(
    assignment_score: pl.Series,
    known: Floats,
    is_treated: npt.NDArray[np.bool_],
    outcome: Floats,
    metric: Metric,
    *,
    problem: str | None,
    seed: int,
) -> list[_Scored]:
    if problem:
        return [_Scored(name, None, problem) for name in SCORES]
    missing = assignment_score.null_count()
    given = _Scored(
        SCORES[0], None, f"{missing} of {len(assignment_score)} people have no score from before assignment"
    )
    if not missing:
        given = _Scored(SCORES[0], assignment_score.cast(pl.Float64).to_numpy(), "")
    gap = "no covariates" if not known.shape[1] else not_learnable(is_treated, outcome)
    if gap:
        return [given, *(_Scored(name, None, gap) for name in SCORES[1:])]
    is_share = metric.kind == "share"
    learnt = cross_fitted_scores(known, is_treated=is_treated, outcome=outcome, is_share=is_share, seed=seed)
    return [given, *(_Scored(name, values, "") for name, values in zip(SCORES[1:], learnt, strict=True))]


def _points(curve: QiniCurve) -> Iterator[dict[str, object]]:
    area = {"qini": curve.qini, "qini_low": curve.qini_low, "qini_high": curve.qini_high, "note": ""}
    whole = float(curve.gain[-1])
    for share, gain, low, high in zip(curve.shares, curve.gain, curve.gain_low, curve.gain_high, strict=True):
        numbers = {"share": share, "gain": gain, "gain_low": low, "gain_high": high, "random_gain": share * whole}
        yield {name: float(value) for name, value in numbers.items()} | area
