"""Claim risk: the probability that an insured person reports at least one claim in the next 60 days.

Here: two candidate models on the examples of one day, compared out of fold, the better one calibrated. Not here: the
examples and their two moments of observation (``dbt_like_sql/segments/risk_examples.sql``), storage, MLflow.

Steps: five stratified folds give each labelled example a probability from a model that did not see it; Platt's sigmoid
(Platt 1999), itself fitted on the other folds, calibrates it; the candidate with the smaller out-of-fold log loss wins
and is fitted again on everything, with a sigmoid fitted on all out-of-fold probabilities.
Where the examples cannot carry a model, or the model cannot tell claimants from others, the outcome is "not applicable"
with its reason: no probability at all, rather than the same one for everybody.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from xmkt_assets.segments.intervals import Floats, Interval, bootstrap, weighted_mean

FEATURES: Final = (
    "age_years",
    "city_tier",
    "active_policy_count",
    "health_policy_count",
    "accident_policy_count",
    "motor_policy_count",
    "travel_policy_count",
    "active_premium_fen",
    "cover_left_days",
    "claim_count",
    "claimed_fen",
    "days_since_claim",
    "product_view_30d_count",
    "course_view_30d_count",
    "dwell_30d_seconds",
)
LABEL: Final = "has_claim_60d"
MIN_CLAIMANTS: Final = 50
FOLDS: Final = 5
DRAWS: Final = 200
HIGH_TIMES, LOW_TIMES = 2.0, 0.5  # bands against the claim share of all insured people

SCORES_SCHEMA: Final = pl.Schema(
    {
        "person_id": pl.String,
        "claim_risk_share": pl.Float64,
        "claim_risk_band": pl.String,
        "model": pl.String,
        "reason": pl.String,
    }
)


class Fit(Protocol):
    """A candidate: rows of features, shape (n, features), and labels 0 or 1, shape (n,), in; a fitted model out."""

    def __call__(self, rows: Floats, labels: Floats, *, seed: int) -> "RiskModel": ...


class RiskModel(Protocol):
    """A fitted candidate: rows of features in, uncalibrated probabilities out; must survive pickling."""

    def __call__(self, rows: Floats) -> Floats: ...


@dataclass(frozen=True)
class LogisticRisk:
    """Logistic regression on standardised ln(1 + x); empty values become the median and a flag of their own."""

    pipeline: Any

    def __call__(self, rows: Floats) -> Floats:
        return np.asarray(self.pipeline.predict_proba(np.log1p(rows))[:, 1], dtype=np.float64)


@dataclass(frozen=True)
class BoostedRisk:
    """A small LightGBM: 80 trees of 8 leaves, empty values handled by the trees."""

    booster: Any

    def __call__(self, rows: Floats) -> Floats:
        return np.asarray(self.booster.predict(rows, num_threads=1), dtype=np.float64)


@dataclass(frozen=True)
class Sigmoid:
    """Platt's calibration: 1 / (1 + exp(−(slope · logit p + intercept)))."""

    slope: float
    intercept: float

    def __call__(self, shares: Floats) -> Floats:
        return _expit(self.slope * _logit(shares) + self.intercept)


@dataclass(frozen=True)
class ClaimRiskModel:
    """The chosen candidate with its calibration; `base_share` is the claim share of its examples."""

    name: str
    model: RiskModel
    sigmoid: Sigmoid
    base_share: float

    def claim_share(self, examples: pl.DataFrame) -> Floats:
        """Calibrated probability per row of `examples`, shape (n,), 0 to 1."""
        return self.sigmoid(self.model(feature_rows(examples)))


class CandidateScore(NamedTuple):
    """How one candidate did out of fold: AUC of the raw, Brier score and log loss of the calibrated probability."""

    name: str
    auc: Interval
    brier: Interval
    log_loss: Interval


class RiskReport(NamedTuple):
    """What the comparison found.

    `calibration`: one row per tenth of the chosen candidate's out-of-fold probabilities: people, predicted_share,
    observed_share, low, high (Wilson 95 % interval of observed_share). `base_log_loss`: of the claim share alone.
    """

    examples: int
    claimants: int
    chosen: str
    candidates: tuple[CandidateScore, ...]
    base_log_loss: float
    calibration: pl.DataFrame

    @property
    def best(self) -> CandidateScore:
        return next(c for c in self.candidates if c.name == self.chosen)


class ClaimRisk(NamedTuple):
    """What the examples of a day give.

    `scores`: one row per person to be scored (`SCORES_SCHEMA`), sorted by person_id. `model` is None exactly when
    `reason` is set; `report` is None where not even a comparison was possible.
    """

    scores: pl.DataFrame
    model: ClaimRiskModel | None
    report: RiskReport | None
    reason: str | None


def claim_risk(examples: pl.DataFrame, *, seed: int) -> ClaimRisk:
    """Claim risk of the people of one day from its examples: rows with a label to learn from, rows without to score.

    `examples`: person_id, observed_at, has_claim_60d, gender and `FEATURES`. Raises ValueError for a missing column.
    """
    _refuse_missing(examples)
    ordered = examples.sort("person_id", "observed_at")
    known, to_score = ordered.filter(pl.col(LABEL).is_not_null()), ordered.filter(pl.col(LABEL).is_null())
    if reason := _why_no_examples(known):
        return ClaimRisk(_unknown(to_score, reason=reason), None, None, reason)
    rows, labels = feature_rows(known), known[LABEL].cast(pl.Float64).to_numpy()
    report, raw = _compare(rows, labels, seed=seed)
    if report.best.auc.low <= 0.5:
        reason = (
            f"not applicable: out of fold the best model ({report.chosen}) ranks claimants no better than chance, "
            f"AUC {report.best.auc}"
        )
        return ClaimRisk(_unknown(to_score, reason=reason), None, report, reason)
    chosen = CANDIDATES[report.chosen](rows, labels, seed=seed)
    model = ClaimRiskModel(report.chosen, chosen, fit_sigmoid(raw[report.chosen], labels), float(labels.mean()))
    return ClaimRisk(_scored(to_score, model), model, report, None)


def feature_rows(examples: pl.DataFrame) -> Floats:
    """`FEATURES`, is_female and is_male as floats, shape (n, features); empty values are nan."""
    return (
        examples.select(
            *[pl.col(c).cast(pl.Float64) for c in FEATURES],
            is_female=(pl.col("gender") == "female").fill_null(False).cast(pl.Float64),
            is_male=(pl.col("gender") == "male").fill_null(False).cast(pl.Float64),
        )
        .to_numpy()
        .astype(np.float64)
    )


def claim_risk_band(share: float, *, base_share: float) -> str:
    """'high' from twice the claim share of all insured people, 'low' below half of it, else 'medium'."""
    if share >= HIGH_TIMES * base_share:
        return "high"
    return "low" if share < LOW_TIMES * base_share else "medium"


def fit_logistic(rows: Floats, labels: Floats, *, seed: int) -> LogisticRisk:
    """The baseline candidate; `rows` shape (n, features), `labels` 0 or 1."""
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(C=1.0, max_iter=500, random_state=seed),
    )
    return LogisticRisk(pipeline.fit(np.log1p(rows), labels))


def fit_boosted(rows: Floats, labels: Floats, *, seed: int) -> BoostedRisk:
    """The boosted candidate; small on purpose: a few hundred claimants carry no deep trees."""
    import lightgbm

    settings = {
        "objective": "binary",
        "learning_rate": 0.05,
        "num_leaves": 8,
        "min_data_in_leaf": 40,
        "lambda_l2": 1.0,
        "num_threads": 1,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    return BoostedRisk(lightgbm.train(settings, lightgbm.Dataset(rows, labels), num_boost_round=80))


def fit_sigmoid(shares: Floats, labels: Floats) -> Sigmoid:
    """Maximum-likelihood sigmoid of `labels` on the logit of `shares`, both shape (n,)."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=1e6, max_iter=500).fit(_logit(shares)[:, None], labels)
    return Sigmoid(float(fitted.coef_[0, 0]), float(fitted.intercept_[0]))


# The simpler one first: it wins a tie.
CANDIDATES: Final[dict[str, Fit]] = {"logistic_regression": fit_logistic, "lightgbm": fit_boosted}


def area_under_curve(labels: Floats, shares: Floats) -> Callable[[Floats], float]:
    """Area under the ROC curve as a statistic of weighted rows: the share of (claimant, other) pairs ranked rightly,
    ties half. nan where the weights leave only one class."""
    _, place = np.unique(shares, return_inverse=True)

    def of(weights: Floats) -> float:
        ones = np.bincount(place, weights * labels)
        zeros = np.bincount(place, weights * (1 - labels))
        pairs = ones.sum() * zeros.sum()
        return float(ones @ (zeros.cumsum() - zeros / 2) / pairs) if pairs else float("nan")

    return of


def calibration_table(labels: Floats, shares: Floats, *, bins: int = 10) -> pl.DataFrame:
    """One row per equally large group of neighbouring probabilities, the smallest first.

    Columns people, predicted_share, observed_share, low, high (Wilson 95 % interval of observed_share).
    """
    groups = np.array_split(np.argsort(shares, kind="stable"), bins)
    rows = [
        {
            "people": len(g),
            "predicted_share": float(shares[g].mean()),
            "observed_share": float(labels[g].mean()),
            **dict(zip(("low", "high"), _wilson(labels[g].sum(), len(g)), strict=True)),
        }
        for g in groups
        if len(g)
    ]
    return pl.DataFrame(rows)


def _refuse_missing(examples: pl.DataFrame) -> None:
    missing = [c for c in ("person_id", "observed_at", LABEL, "gender", *FEATURES) if c not in examples.columns]
    if missing:
        raise ValueError(
            f"The examples lack {missing}; found {examples.columns}. Rebuild segments.risk_examples for the day."
        )


def _why_no_examples(known: pl.DataFrame) -> str | None:
    if known.is_empty():
        return "not applicable: nobody was insured 60 days ago, so there is nothing to learn from"
    claimants = int(known[LABEL].sum())
    if claimants < MIN_CLAIMANTS:
        return (
            f"not applicable: {claimants} of {known.height} people insured 60 days ago claimed since, "
            f"wanted at least {MIN_CLAIMANTS}"
        )
    if known.height - claimants < MIN_CLAIMANTS:
        return f"not applicable: only {known.height - claimants} people did not claim, wanted at least {MIN_CLAIMANTS}"
    return None


def _compare(rows: Floats, labels: Floats, *, seed: int) -> tuple[RiskReport, dict[str, Floats]]:
    """The report, and the raw out-of-fold probabilities per candidate."""
    folds = _folds(labels, seed=seed)
    raw = {name: _out_of_fold(fit, rows, labels, folds=folds, seed=seed) for name, fit in CANDIDATES.items()}
    calibrated = {name: _cross_calibrated(shares, labels, folds=folds) for name, shares in raw.items()}
    scores = tuple(_score(name, labels, raw[name], calibrated[name], seed=seed) for name in CANDIDATES)
    chosen = min(scores, key=lambda s: s.log_loss.value).name
    base = float(labels.mean())
    report = RiskReport(
        examples=len(labels),
        claimants=int(labels.sum()),
        chosen=chosen,
        candidates=scores,
        base_log_loss=float(_log_losses(labels, np.full(len(labels), base)).mean()),
        calibration=calibration_table(labels, calibrated[chosen]),
    )
    return report, raw


def _folds(labels: Floats, *, seed: int) -> NDArray[np.int64]:
    """Fold number of each example; claimants are spread evenly over the folds."""
    from sklearn.model_selection import StratifiedKFold

    fold = np.zeros(len(labels), dtype=np.int64)
    splitter = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    for number, (_, held_out) in enumerate(splitter.split(labels[:, None], labels)):
        fold[held_out] = number
    return fold


def _out_of_fold(fit: Fit, rows: Floats, labels: Floats, *, folds: NDArray[np.int64], seed: int) -> Floats:
    shares = np.empty(len(labels))
    for number in range(FOLDS):
        held_out = folds == number
        shares[held_out] = fit(rows[~held_out], labels[~held_out], seed=seed)(rows[held_out])
    return shares


def _cross_calibrated(shares: Floats, labels: Floats, *, folds: NDArray[np.int64]) -> Floats:
    """Calibrated by a sigmoid of the other folds, so that the calibration is not judged on what it was fitted on."""
    calibrated = np.empty(len(labels))
    for number in range(FOLDS):
        held_out = folds == number
        calibrated[held_out] = fit_sigmoid(shares[~held_out], labels[~held_out])(shares[held_out])
    return calibrated


def _score(name: str, labels: Floats, raw: Floats, calibrated: Floats, *, seed: int) -> CandidateScore:
    def interval(statistic: Callable[[Floats], float]) -> Interval:
        return bootstrap(statistic, size=len(labels), draws=DRAWS, seed=seed)

    return CandidateScore(
        name=name,
        auc=interval(area_under_curve(labels, raw)),
        brier=interval(weighted_mean((labels - calibrated) ** 2)),
        log_loss=interval(weighted_mean(_log_losses(labels, calibrated))),
    )


def _scored(to_score: pl.DataFrame, model: ClaimRiskModel) -> pl.DataFrame:
    if to_score.is_empty():
        return SCORES_SCHEMA.to_frame()
    shares = model.claim_share(to_score)
    return pl.DataFrame(
        {
            "person_id": to_score["person_id"],
            "claim_risk_share": shares,
            "claim_risk_band": [claim_risk_band(s, base_share=model.base_share) for s in shares],
            "model": [model.name] * len(shares),
            "reason": [None] * len(shares),
        },
        schema=SCORES_SCHEMA,
    )


def _unknown(to_score: pl.DataFrame, *, reason: str) -> pl.DataFrame:
    return to_score.select(
        "person_id",
        claim_risk_share=pl.lit(None, pl.Float64),
        claim_risk_band=pl.lit("unknown"),
        model=pl.lit(None, pl.String),
        reason=pl.lit(reason),
    ).cast(SCORES_SCHEMA)


def _log_losses(labels: Floats, shares: Floats) -> Floats:
    safe = np.clip(shares, 1e-12, 1 - 1e-12)
    return np.asarray(-(labels * np.log(safe) + (1 - labels) * np.log1p(-safe)), dtype=np.float64)


def _wilson(successes: float, trials: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share (Wilson 1927)."""
    z = 1.959964
    share = successes / trials
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * float(np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2)))
    return middle - half, middle + half


def _logit(shares: Floats) -> Floats:
    safe = np.clip(shares, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(safe) - np.log1p(-safe), dtype=np.float64)


def _expit(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-x)), dtype=np.float64)
