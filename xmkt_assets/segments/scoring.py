"""Scoring: from the examples of a target to a share, a band and a reason for each person.

Here: candidates compared out of fold, the best one calibrated and fitted again, everybody scored in chunks. Not here:
the candidates (``candidates``), what is foretold (``targets``), the examples and their two moments of observation
(``dbt_like_sql/segments/*_examples.sql``), storage, MLflow.

Steps: five stratified folds give each labelled example a share from a model that did not see it; Platt's sigmoid,
itself fitted on the other folds, calibrates it; the candidate with the smallest out-of-fold log loss wins and is
fitted again on everything, with a sigmoid fitted on all out-of-fold shares.
Where the examples cannot carry a model, or the best cannot tell who will from who will not, the outcome is "not
applicable" with its reason: no share at all, rather than the same one for everybody.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from xmkt_assets.segments import reasons
from xmkt_assets.segments.calibration import Calibration, Sigmoid, calibration_of, calibration_table, fit_sigmoid
from xmkt_assets.segments.candidates import CANDIDATES, Candidate, Fit, Model
from xmkt_assets.segments.intervals import Floats, Interval, bootstraps, weighted_mean
from xmkt_assets.segments.targets import Target

MIN_POSITIVES: Final = 50
FOLDS: Final = 5
DRAWS: Final = 200
MOST_COMPARED: Final = 8_000  # examples that candidates are compared on
MOST_FITTED: Final = 50_000  # examples that the chosen one is fitted on
CHUNK_ROWS: Final = 100_000
HIGH_TIMES, LOW_TIMES = 2.0, 0.5  # bands against the share of all examples
UNKNOWN: Final = "unknown"

VALIDATION_SCHEMA: Final = pl.Schema(
    {
        "person_id": pl.String(),
        "observed_at": pl.Datetime("us"),
        "is_positive": pl.Boolean(),
        "predicted_share": pl.Float64(),
        "fold": pl.Int64(),
    }
)
COMPARISON_SCHEMA: Final = pl.Schema(
    {
        "target": pl.String,
        "candidate": pl.String,
        "metric": pl.String,
        "value": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "is_chosen": pl.Boolean,
    }
)


@dataclass(frozen=True)
class ScoreModel:
    """The chosen candidate with its calibration; `base_share` is the share of its examples to whom it happened."""

    target: str
    name: str
    features: tuple[str, ...]
    model: Model
    sigmoid: Sigmoid
    base_share: float

    def shares(self, examples: pl.DataFrame) -> Floats:
        """Calibrated share per row of `examples`, shape (n,), 0 to 1."""
        return self.sigmoid(self.model(feature_rows(examples, self.features)))

    def why(self, examples: pl.DataFrame) -> list[str]:
        """Per row of `examples` the values that move its share most, in words."""
        rows = feature_rows(examples, self.features)
        return reasons.in_words(self.sigmoid.slope * self.model.contributions(rows), rows, self.features)


class CandidateScore(NamedTuple):
    """How one candidate did out of fold: AUC of the raw share; Brier score, log loss and calibration after the sigmoid.

    Calibration after a sigmoid fitted elsewhere says how far the sigmoid can be trusted on people it has not seen.
    """

    name: str
    auc: Interval
    brier: Interval
    log_loss: Interval
    calibration: Calibration

    @property
    def metrics(self) -> dict[str, Interval]:
        return {
            "auc": self.auc,
            "brier": self.brier,
            "log_loss": self.log_loss,
            "calibration_slope": self.calibration.slope,
            "calibration_intercept": self.calibration.intercept,
        }


class ScoreReport(NamedTuple):
    """What the comparison found.

    `examples` of which `positives`; `calibration`: `calibration_table` of the chosen candidate out of fold.
    `base_log_loss`: of the share of positives alone. `validation`: `VALIDATION_SCHEMA`, one row per example compared.
    """

    examples: int
    positives: int
    chosen: str
    candidates: tuple[CandidateScore, ...]
    base_log_loss: float
    calibration: pl.DataFrame
    validation: pl.DataFrame

    @property
    def best(self) -> CandidateScore:
        return next(c for c in self.candidates if c.name == self.chosen)


class Scores(NamedTuple):
    """What the examples of a day give.

    `people`: one row per person to be scored (`scores_schema`), sorted by person_id. `model` is None exactly when
    `reason` is set; `report` is None where not even a comparison was possible, or a standing model scored.
    """

    people: pl.DataFrame
    model: ScoreModel | None
    report: ScoreReport | None
    reason: str | None


def scores_schema(target: Target) -> pl.Schema:
    """Columns of `Scores.people`."""
    return pl.Schema(
        {
            "person_id": pl.String,
            target.share_column: pl.Float64,
            target.band_column: pl.String,
            "model": pl.String,
            "why": pl.String,
            "reason": pl.String,
        }
    )


def score_people(
    target: Target, examples: pl.DataFrame, *, seed: int, candidates: Sequence[Candidate] = CANDIDATES
) -> Scores:
    """Shares of the people of one day from its examples: rows with a label to learn from, rows without to score.

    `examples`: person_id, observed_at, the target's label and features. Raises ValueError for a missing column.
    """
    known, to_score = _known_and_to_score(target, examples)
    if reason := _why_no_examples(target, known):
        return Scores(_unknown(target, to_score, reason=reason), None, None, reason)
    compared = _drawn(known, MOST_COMPARED, seed=seed)
    report, raw = _compare(target, compared, candidates, seed=seed)
    if report.best.auc.low <= 0.5:
        reason = (
            f"not applicable: out of fold the best model ({report.chosen}) ranks who {target.done} no better than "
            f"chance, AUC {report.best.auc}"
        )
        return Scores(_unknown(target, to_score, reason=reason), None, report, reason)
    sigmoid = fit_sigmoid(raw[report.chosen], _labels(target, compared))
    model = _fitted(target, _drawn(known, MOST_FITTED, seed=seed), report.chosen, sigmoid, candidates, seed=seed)
    return Scores(scored(target, to_score, model), model, report, None)


def score_with(target: Target, examples: pl.DataFrame, model: ScoreModel) -> Scores:
    """Shares of the people of one day from a model of an earlier day: nothing is learnt."""
    _, to_score = _known_and_to_score(target, examples)
    return Scores(scored(target, to_score, model), model, None, None)


def scored(target: Target, to_score: pl.DataFrame, model: ScoreModel) -> pl.DataFrame:
    """`scores_schema` of the people in `to_score`, a chunk at a time."""
    parts = [_chunk_scored(target, chunk, model) for chunk in to_score.iter_slices(CHUNK_ROWS) if chunk.height]
    return pl.concat([scores_schema(target).to_frame(), *parts])


def feature_rows(examples: pl.DataFrame, features: Sequence[str]) -> Floats:
    """`features` as floats, shape (n, features); what is empty or no finite number is nan."""
    rows = examples.select(pl.col(c).cast(pl.Float64) for c in features).to_numpy().astype(np.float64)
    return np.where(np.isfinite(rows), rows, np.nan)


def band(share: float, *, base_share: float) -> str:
    """'high' from twice the share of all examples, 'low' below half of it, else 'medium'."""
    if share >= HIGH_TIMES * base_share:
        return "high"
    return "low" if share < LOW_TIMES * base_share else "medium"


def comparison_rows(target: Target, found: Scores) -> pl.DataFrame:
    """`COMPARISON_SCHEMA`: one row per candidate and metric; none where nothing was compared."""
    used = found.model.name if found.model else None
    rows = [
        (target.name, candidate.name, metric, *interval, candidate.name == used)
        for candidate in (found.report.candidates if found.report else ())
        for metric, interval in candidate.metrics.items()
    ]
    return pl.DataFrame(rows, schema=COMPARISON_SCHEMA, orient="row")


def validation_rows(found: Scores) -> pl.DataFrame:
    """`VALIDATION_SCHEMA`: the examples compared; none where no model was fitted this day."""
    has_new = found.report is not None and found.model is not None
    return found.report.validation if has_new and found.report else VALIDATION_SCHEMA.to_frame()


def area_under_curve(labels: Floats, shares: Floats) -> Callable[[Floats], float]:
    """Area under the ROC curve as a statistic of weighted rows: the share of (positive, other) pairs ranked rightly,
    ties half. nan where the weights leave only one class."""
    _, place = np.unique(shares, return_inverse=True)

    def of(weights: Floats) -> float:
        ones = np.bincount(place, weights * labels)
        zeros = np.bincount(place, weights * (1 - labels))
        pairs = ones.sum() * zeros.sum()
        return float(ones @ (zeros.cumsum() - zeros / 2) / pairs) if pairs else float("nan")

    return of


def _known_and_to_score(target: Target, examples: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    wanted = ("person_id", "observed_at", target.label, *target.features)
    missing = [c for c in wanted if c not in examples.columns]
    if missing:
        raise ValueError(
            f"The examples of {target.name} lack {missing}; found {examples.columns}. "
            f"Rebuild {target.examples} for the day."
        )
    ordered = examples.select(wanted).sort("person_id", "observed_at")
    is_known = pl.col(target.label).is_not_null()
    return ordered.filter(is_known), ordered.filter(~is_known)


def _why_no_examples(target: Target, known: pl.DataFrame) -> str | None:
    seen = f"people seen {target.horizon_days} days ago"
    if known.is_empty():
        return f"not applicable: there are no {seen}, so there is nothing to learn from"
    positives = int(known[target.label].sum())
    if positives < MIN_POSITIVES:
        return (
            f"not applicable: {positives} of {known.height} {seen} {target.done} since, wanted at least {MIN_POSITIVES}"
        )
    if known.height - positives < MIN_POSITIVES:
        return (
            f"not applicable: all but {known.height - positives} of {known.height} {seen} {target.done} since, wanted "
            f"at least {MIN_POSITIVES} others to learn from"
        )
    return None


def _drawn(known: pl.DataFrame, most: int, *, seed: int) -> pl.DataFrame:
    """At most `most` examples, the same ones for the same seed, in the order they had."""
    if known.height <= most:
        return known
    picked = np.random.default_rng(seed).choice(known.height, most, replace=False, shuffle=False)
    return known[np.sort(picked)]


def _labels(target: Target, known: pl.DataFrame) -> Floats:
    return known[target.label].cast(pl.Float64).to_numpy()


def _compare(
    target: Target, known: pl.DataFrame, candidates: Sequence[Candidate], *, seed: int
) -> tuple[ScoreReport, dict[str, Floats]]:
    """The report, and the raw out-of-fold shares per candidate."""
    rows, labels = feature_rows(known, target.features), _labels(target, known)
    folds = _folds(labels, seed=seed)
    raw = {c.name: _out_of_fold(c.fit, rows, labels, folds=folds, seed=seed) for c in candidates}
    calibrated = {name: _cross_calibrated(shares, labels, folds=folds) for name, shares in raw.items()}
    found = _candidate_scores(labels, raw, calibrated, seed=seed)
    chosen = min(found, key=lambda s: s.log_loss.value).name
    base = np.full(len(labels), labels.mean())
    report = ScoreReport(
        examples=len(labels),
        positives=int(labels.sum()),
        chosen=chosen,
        candidates=found,
        base_log_loss=float(_log_losses(labels, base).mean()),
        calibration=calibration_table(labels, calibrated[chosen]),
        validation=_validation(target, known, calibrated[chosen], folds),
    )
    return report, raw


def _folds(labels: Floats, *, seed: int) -> NDArray[np.int64]:
    """Fold number of each example; positives are spread evenly over the folds."""
    from sklearn.model_selection import StratifiedKFold

    fold = np.zeros(len(labels), dtype=np.int64)
    splitter = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    for number, (_, held_out) in enumerate(splitter.split(labels[:, None], labels)):
        fold[held_out] = number
    return fold


def _each_fold(folds: NDArray[np.int64]) -> Iterator[NDArray[np.bool_]]:
    """Which examples are held out, fold by fold."""
    return (folds == number for number in range(FOLDS))


def _out_of_fold(fit: Fit, rows: Floats, labels: Floats, *, folds: NDArray[np.int64], seed: int) -> Floats:
    shares = np.empty(len(labels))
    for held_out in _each_fold(folds):
        shares[held_out] = fit(rows[~held_out], labels[~held_out], seed=seed)(rows[held_out])
    return shares


def _cross_calibrated(shares: Floats, labels: Floats, *, folds: NDArray[np.int64]) -> Floats:
    """Calibrated by a sigmoid of the other folds, so that the calibration is not judged on what it was fitted on."""
    calibrated = np.empty(len(labels))
    for held_out in _each_fold(folds):
        calibrated[held_out] = fit_sigmoid(shares[~held_out], labels[~held_out])(shares[held_out])
    return calibrated


def _candidate_scores(
    labels: Floats, raw: dict[str, Floats], calibrated: dict[str, Floats], *, seed: int
) -> tuple[CandidateScore, ...]:
    statistics = [
        statistic
        for name in raw
        for statistic in (
            area_under_curve(labels, raw[name]),
            weighted_mean((labels - calibrated[name]) ** 2),
            weighted_mean(_log_losses(labels, calibrated[name])),
        )
    ]
    found = bootstraps(statistics, size=len(labels), draws=DRAWS, seed=seed)
    return tuple(
        CandidateScore(name, auc, brier, log_loss, calibration_of(calibrated[name], labels))
        for name, auc, brier, log_loss in zip(raw, found[0::3], found[1::3], found[2::3], strict=True)
    )


def _validation(target: Target, known: pl.DataFrame, shares: Floats, folds: NDArray[np.int64]) -> pl.DataFrame:
    return known.select(
        "person_id",
        "observed_at",
        is_positive=pl.col(target.label),
        predicted_share=pl.Series(shares),
        fold=pl.Series(folds),
    ).cast(VALIDATION_SCHEMA)


def _fitted(
    target: Target,
    known: pl.DataFrame,
    chosen: str,
    sigmoid: Sigmoid,
    candidates: Sequence[Candidate],
    *,
    seed: int,
) -> ScoreModel:
    fit = next(c.fit for c in candidates if c.name == chosen)
    labels = _labels(target, known)
    model = fit(feature_rows(known, target.features), labels, seed=seed)
    return ScoreModel(target.name, chosen, target.features, model, sigmoid, float(labels.mean()))


def _chunk_scored(target: Target, chunk: pl.DataFrame, model: ScoreModel) -> pl.DataFrame:
    shares = model.shares(chunk)
    return pl.DataFrame(
        {
            "person_id": chunk["person_id"],
            target.share_column: shares,
            target.band_column: [band(s, base_share=model.base_share) for s in shares],
            "model": [model.name] * len(shares),
            "why": model.why(chunk),
            "reason": [None] * len(shares),
        },
        schema=scores_schema(target),
    )


def _unknown(target: Target, to_score: pl.DataFrame, *, reason: str) -> pl.DataFrame:
    return to_score.select(
        "person_id",
        pl.lit(None, pl.Float64).alias(target.share_column),
        pl.lit(UNKNOWN).alias(target.band_column),
        model=pl.lit(None, pl.String),
        why=pl.lit(None, pl.String),
        reason=pl.lit(reason),
    ).cast(scores_schema(target))


def _log_losses(labels: Floats, shares: Floats) -> Floats:
    safe = np.clip(shares, 1e-12, 1 - 1e-12)
    return np.asarray(-(labels * np.log(safe) + (1 - labels) * np.log1p(-safe)), dtype=np.float64)
