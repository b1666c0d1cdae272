"""Qini: does a score find the people on whom the contact works?

People are ordered by score, highest first. For the first share phi of them, with n_t treated and n_c control people
whose outcomes add to Y_t and Y_c, the gain per treated person is (Radcliffe 2007, "Using control groups to target on
predicted lift", in per-capita form)::

    q(phi) = (Y_t - Y_c * n_t / n_c) / N_t          N_t = treated people in all; q = 0 while n_c = 0
    Qini   = integral over phi of q(phi) - phi * q(1)

so q(1) is the difference in means, the straight line phi * q(1) is a random order, and Qini is the area between, in
outcome per person. Nothing divides it by a perfect curve: other libraries do, and the same scores give .0035 here and
.058 or .155 there; never compare a Qini with one defined otherwise.

Equal scores are one step of the curve, so a constant score gives 0 exactly and the order of rows never shows.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

CURVE_POINTS: Final = 21
CONFIDENCE: Final = 0.95
_PEOPLE_AT_ONCE: Final = 500_000

Floats = npt.NDArray[np.float64]


class QiniCurve(NamedTuple):
    """Curve and area with bootstrap percentile intervals over people; `shares` are evenly spaced from 0 to 1.

    The score is taken as given: the intervals hold the chance of who was sampled, not of how the score was learnt.
    """

    shares: Floats
    gain: Floats
    gain_low: Floats
    gain_high: Floats
    qini: float
    qini_low: float
    qini_high: float


class _Arm(NamedTuple):
    """People of one arm by score, highest first: their outcomes, and how many of them each step of the curve holds."""

    outcome: Floats
    until: npt.NDArray[np.intp]


class _Sums(NamedTuple):
    """People and outcomes of one arm from the top down to each step; one row per weighting."""

    people: Floats
    outcome: Floats


def qini_curve(
    score: npt.ArrayLike,
    *,
    is_treated: npt.ArrayLike,
    outcome: npt.ArrayLike,
    bootstrap_count: int = 200,
    seed: int,
    points: int = CURVE_POINTS,
) -> QiniCurve:
    """Qini curve of `score` (higher = contact first), one value per person in each of the three arrays.

    Raises:
        ValueError: lengths differ, a value is NaN, or an arm is empty.
    """
    arms = _arms(*_checked(score, is_treated, outcome))
    shares = np.linspace(0, 1, points)
    gain, qini = _curves(*_once(arms), shares)
    drawn_gain, drawn_qini = _bootstrap(arms, shares, count=bootstrap_count, seed=seed)
    tails = [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)]
    low, high = np.percentile(drawn_gain, tails, axis=0)
    qini_low, qini_high = np.percentile(drawn_qini, tails)
    return QiniCurve(shares, gain[0], low, high, float(qini[0]), float(qini_low), float(qini_high))


def qini(score: npt.ArrayLike, *, is_treated: npt.ArrayLike, outcome: npt.ArrayLike) -> float:
    """The Qini area alone; same definition and errors as `qini_curve`."""
    arms = _arms(*_checked(score, is_treated, outcome))
    return float(_curves(*_once(arms), np.array([0.0, 1.0]))[1][0])


def _checked(score: npt.ArrayLike, is_treated: npt.ArrayLike, outcome: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
    arrays = {"score": score, "is_treated": is_treated, "outcome": outcome}
    score_, treated_, outcome_ = (np.asarray(a, dtype=np.float64) for a in arrays.values())
    if not len(score_) == len(treated_) == len(outcome_):
        lengths = f"{len(score_)}, {len(treated_)} and {len(outcome_)}"
        raise ValueError(f"score, is_treated and outcome have {lengths} values; one per person in each was wanted.")
    for name, values in zip(arrays, (score_, treated_, outcome_), strict=True):
        if np.isnan(values).any():
            raise ValueError(f"{name} holds {int(np.isnan(values).sum())} NaN; drop these people or give them a value.")
    if treated_.sum() in (0, len(treated_)):
        raise ValueError(f"{int(treated_.sum())} of {len(treated_)} people are treated; a Qini needs both arms.")
    return score_, treated_, outcome_


def _arms(score: Floats, treated: Floats, outcome: Floats) -> tuple[_Arm, _Arm]:
    """Treated and control, sorted by score and, within one score, by outcome: the same in any order of rows."""
    order = np.lexsort((outcome, -score))
    score, treated, outcome = score[order], treated[order], outcome[order]
    last_of_step = np.flatnonzero(np.r_[score[1:] != score[:-1], True])
    in_arm = (treated == 1, treated != 1)
    return tuple(_Arm(outcome[mask], np.r_[0, np.cumsum(mask)[last_of_step]]) for mask in in_arm)  # type: ignore[return-value]


def _once(arms: tuple[_Arm, _Arm]) -> tuple[_Sums, _Sums]:
    """Sums with every person counted once."""
    treated, control = (_sums(np.ones((1, len(arm.outcome))), arm) for arm in arms)
    return treated, control


def _sums(weights: Floats, arm: _Arm) -> _Sums:
    """Weighted sums down to each step, step 0 = nobody. Shapes (b, people of the arm) → (b, steps + 1)."""
    return _Sums(_down_to(weights, arm.until), _down_to(weights * arm.outcome, arm.until))


def _down_to(values: Floats, until: npt.NDArray[np.intp]) -> Floats:
    cumulated = np.zeros((values.shape[0], values.shape[1] + 1))
    np.cumsum(values, axis=1, out=cumulated[:, 1:])
    return cumulated[:, until]


def _curves(treated: _Sums, control: _Sums, shares: Floats) -> tuple[Floats, Floats]:
    """Gains at `shares` and the Qini, one row per weighting: (b, points) and (b,)."""
    n_t, n_c = treated.people, control.people
    matched = control.outcome * n_t / np.maximum(n_c, 1)
    gain = np.where(n_c > 0, treated.outcome - matched, 0.0) / n_t[:, -1:]
    phi = (n_t + n_c) / (n_t + n_c)[:, -1:]
    above = gain - phi * gain[:, -1:]
    area = ((above[:, 1:] + above[:, :-1]) / 2 * np.diff(phi, axis=1)).sum(axis=1)
    at_shares = np.stack([np.interp(shares, p, g) for p, g in zip(phi, gain, strict=True)])
    return at_shares, area


def _bootstrap(arms: tuple[_Arm, _Arm], shares: Floats, *, count: int, seed: int) -> tuple[Floats, Floats]:
    """Draw people with replacement within each arm (the arms' sizes are the design's), `count` times."""
    random = np.random.default_rng(seed)
    at_once = max(1, _PEOPLE_AT_ONCE // sum(len(arm.outcome) for arm in arms))
    gains, areas = [], []
    for start in range(0, count, at_once):
        draws = min(at_once, count - start)
        treated, control = (_sums(_drawn(random, len(arm.outcome), draws), arm) for arm in arms)
        gain, area = _curves(treated, control, shares)
        gains.append(gain)
        areas.append(area)
    return np.concatenate(gains), np.concatenate(areas)


def _drawn(random: np.random.Generator, size: int, draws: int) -> Floats:
    """How often each of `size` people is drawn, `draws` times over: (draws, size); each row adds to `size`."""
    chosen = random.integers(size, size=(draws, size))
    return np.stack([np.bincount(row, minlength=size) for row in chosen]).astype(np.float64)
