"""The effect of an arm: difference in means against control, with an interval that does not assume equal variances.

Not here: whether the arms may be compared at all (`srm`), several experiments at once (`experiments`).
"""

from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

BUYERS_FOR_MONEY: Final = 50
CONFIDENCE: Final = 0.95

Status = Literal["measured", "flagged", "not applicable"]


class Effect(NamedTuple):
    """Mean of the arm minus mean of control, per person assigned (also those never reached).

    `status`: ``measured``; ``flagged`` = measured, but read `reason` first; ``not applicable`` = no effect, `reason`
    says why and every number that could not be computed is None.
    """

    status: Status
    reason: str
    treated_count: int
    control_count: int
    treated_mean: float | None = None
    control_mean: float | None = None
    difference: float | None = None
    standard_error: float | None = None
    interval_low: float | None = None
    interval_high: float | None = None
    p_value: float | None = None


def difference_in_means(
    treated: npt.NDArray[np.float64],
    control: npt.NDArray[np.float64],
    *,
    kind: Literal["share", "money"],
    confidence: float = CONFIDENCE,
) -> Effect:
    """Welch's two-sample comparison; on 0/1 outcomes that is the unpooled two-sample interval of shares.

    Args:
        treated, control: one outcome per person of the arm, 0 where nothing happened; 1-d.

    Raises:
        ValueError: an outcome is missing: a person without outcome is a 0, not a gap.
    """
    if np.isnan(treated).any() or np.isnan(control).any():
        gaps = int(np.isnan(treated).sum() + np.isnan(control).sum())
        raise ValueError(f"{gaps} people have no outcome (NaN); write 0 where nothing happened within the window.")
    if min(len(treated), len(control)) < 2:
        reason = f"{len(treated)} treated and {len(control)} control people; each arm needs at least 2"
        return Effect("not applicable", reason, len(treated), len(control))
    means = float(treated.mean()), float(control.mean())
    if not treated.any() and not control.any():
        return Effect("not applicable", "nobody in either arm has this outcome", len(treated), len(control), *means)
    return _welch(treated, control, flag=_money_flag(control, kind=kind), confidence=confidence)


def _money_flag(control: npt.NDArray[np.float64], *, kind: Literal["share", "money"]) -> str:
    """Few buyers make intervals of money too short: coverage of 95 % intervals was .91 at 12 buyers, .85 at 6."""
    buyers = int(np.count_nonzero(control))
    if kind == "share" or buyers >= BUYERS_FOR_MONEY:
        return ""
    return f"only {buyers} buyers in control (under {BUYERS_FOR_MONEY}): the interval is too narrow to rely on"


def _welch(
    treated: npt.NDArray[np.float64], control: npt.NDArray[np.float64], *, flag: str, confidence: float
) -> Effect:
    from scipy import stats

    parts = [float(arm.var(ddof=1)) / len(arm) for arm in (treated, control)]
    standard_error = float(np.sqrt(sum(parts)))
    counts, means = (len(treated), len(control)), (float(treated.mean()), float(control.mean()))
    difference = means[0] - means[1]
    if standard_error == 0:
        return Effect("not applicable", "the outcome does not vary within the arms", *counts, *means, difference)
    # Shares of the sum, not its parts: the squares of variances near the smallest float would be 0.
    freedom = 1 / sum((p / sum(parts)) ** 2 / (n - 1) for p, n in zip(parts, counts, strict=True))
    half = float(stats.t.ppf((1 + confidence) / 2, freedom)) * standard_error
    p_value = float(2 * stats.t.sf(abs(difference) / standard_error, freedom))
    interval = difference - half, difference + half
    return Effect(
        "flagged" if flag else "measured", flag, *counts, *means, difference, standard_error, *interval, p_value
    )
