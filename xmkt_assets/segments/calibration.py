"""Calibration: shares that mean what they say, and how far they do.

Here: Platt's sigmoid, the slope and intercept of calibration with intervals, the table by tenths. Not here: on which
examples these are fitted and judged (``scoring``).
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from xmkt_assets.segments.candidates import expit, logit
from xmkt_assets.segments.intervals import Floats, Interval

RIDGE: Final = 1e-6
TOLERANCE: Final = 1e-8
Z: Final = 1.959964  # 95 % of a normal distribution lie within it


@dataclass(frozen=True)
class Sigmoid:
    """Platt's calibration (Platt 1999): 1 / (1 + exp(-(slope · logit p + intercept)))."""

    slope: float
    intercept: float

    def __call__(self, shares: Floats) -> Floats:
        return expit(self.slope * logit(shares) + self.intercept)


class Calibration(NamedTuple):
    """How shares agree with what happened: slope 1 and intercept 0 are perfect.

    Slope below 1: high shares are too high and low ones too low. `intercept`: by how many log-odds all shares are too
    low (above 0) or too high, at slope 1 (calibration in the large). Cox 1958; Van Calster et al. 2019.
    """

    slope: Interval
    intercept: Interval


def fit_sigmoid(shares: Floats, labels: Floats) -> Sigmoid:
    """Maximum-likelihood sigmoid of `labels` on the logit of `shares`, both shape (n,).

    Newton's steps, halved while they do not help; a ridge of `RIDGE` on the slope keeps it finite where shares part
    the labels without a fault. Two numbers: a general solver takes ten times as long.
    """
    logits = logit(shares)
    line = np.array([0.0, float(logit(labels.mean(keepdims=True))[0])])
    loss = _loss(line, logits, labels)
    for _ in range(100):
        step = _newton_step(line, logits, labels)
        while (further := _loss(line + step, logits, labels)) > loss and np.abs(step).max() > TOLERANCE:
            step = step / 2
        line, loss = line + step, further
        if np.abs(step).max() <= TOLERANCE:
            break
    return Sigmoid(float(line[0]), float(line[1]))


def calibration_of(shares: Floats, labels: Floats) -> Calibration:
    """Slope and intercept of `shares` against `labels`, with Wald intervals."""
    sigmoid = fit_sigmoid(shares, labels)
    found = sigmoid(shares)
    weights, logits = found * (1 - found), logit(shares)
    middle = float(weights @ logits / weights.sum())
    spread = float(weights @ (logits - middle) ** 2)
    error = float(1 / np.sqrt(max(spread, 1e-12)))
    return Calibration(_wald(sigmoid.slope, error), _in_the_large(logits, labels))


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


def _in_the_large(logits: Floats, labels: Floats) -> Interval:
    """The intercept that makes the mean share the observed one, at slope 1: Newton's steps on a concave likelihood."""
    shift = 0.0
    for _ in range(25):
        found = expit(logits + shift)
        step = float((labels - found).sum() / max((found * (1 - found)).sum(), 1e-12))
        shift += float(np.clip(step, -2, 2))
        if abs(step) < 1e-9:
            break
    found = expit(logits + shift)
    return _wald(shift, float(1 / np.sqrt(max((found * (1 - found)).sum(), 1e-12))))


def _loss(line: Floats, logits: Floats, labels: Floats) -> float:
    """Negative log likelihood, ln(1 + e^x) - y x, with the ridge."""
    x = line[0] * logits + line[1]
    return float((np.logaddexp(0, x) - labels * x).sum() + RIDGE / 2 * line[0] ** 2)


def _newton_step(line: Floats, logits: Floats, labels: Floats) -> Floats:
    found = expit(line[0] * logits + line[1])
    weights, left = found * (1 - found), labels - found
    gradient = np.array([left @ logits - RIDGE * line[0], left.sum()])
    cross = weights @ logits
    curvature = np.array([[weights @ logits**2 + RIDGE, cross], [cross, weights.sum() + RIDGE]])
    return np.asarray(np.linalg.solve(curvature, gradient), dtype=np.float64)


def _wald(value: float, error: float) -> Interval:
    return Interval(value, value - Z * error, value + Z * error)


def _wilson(successes: float, trials: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share (Wilson 1927)."""
    share = successes / trials
    middle = (share + Z**2 / (2 * trials)) / (1 + Z**2 / trials)
    half = Z / (1 + Z**2 / trials) * float(np.sqrt(share * (1 - share) / trials + Z**2 / (4 * trials**2)))
    return middle - half, middle + half
