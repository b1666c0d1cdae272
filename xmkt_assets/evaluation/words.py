"""Results as sentences that a marketer can read without a statistician. Not here: any arithmetic beyond units."""

import polars as pl

from xmkt_assets.evaluation.effects import Effect
from xmkt_assets.evaluation.metrics import Metric

SMALLEST_UNITS = 100  # fen or cents per yuan or dollar


def sentence(arm: str, metric: Metric, effect: Effect, *, status: str, unit: str, is_preliminary: bool) -> str:
    """One comparison in one sentence."""
    if effect.interval_low is None or effect.interval_high is None or effect.difference is None:
        return f"{arm} on {metric.name}: {status}, {effect.reason}."
    ends = amount(effect.interval_low, unit), amount(effect.interval_high, unit)
    size = (
        f"{amount(effect.difference, unit)} against control (95% interval {ends[0]} to {ends[1]}, {_p(effect.p_value)})"
    )
    caution = f" Caution: {effect.reason}." if effect.reason else ""
    early = " Preliminary: the outcome window is still open." if is_preliminary else ""
    return f"{arm} on {metric.name}: {size}, {_direction(effect.interval_low, effect.interval_high)}.{caution}{early}"


def amount(value: float, unit: str) -> str:
    """Signed and in units people read: percentage points of a share, whole currency units of money."""
    return f"{value * 100:+.2f} points" if unit == "share" else f"{value / SMALLEST_UNITS:+.3f} {unit}"


def curve_sentences(curves: pl.DataFrame) -> list[str]:
    """One sentence per curve: does the score find people on whom the contact works?"""
    rows = curves.filter(pl.col("share") == 0.0).sort("campaign_id", "arm", "metric", "score_name")
    return [_curve_sentence(row) for row in rows.iter_rows(named=True)]


def _curve_sentence(row: dict[str, object]) -> str:
    what = f"{row['campaign_id']}, {row['arm']}, {row['metric']} by {row['score_name']}"
    low, high = row["qini_low"], row["qini_high"]
    if not isinstance(low, float) or not isinstance(high, float):
        return f"{what}: not applicable, {row['note']}."
    found = f"Qini {row['qini']:+.5f} (95% interval {low:+.5f} to {high:+.5f})"
    if low > 0:
        return f"{what}: {found}; better than a random order."
    if high < 0:
        return f"{what}: {found}; worse than a random order."
    return f"{what}: {found}; not told apart from a random order."


def _direction(low: float, high: float) -> str:
    if low > 0:
        return "higher than control"
    return "lower than control" if high < 0 else "no difference shown"


def _p(value: float | None) -> str:
    return "p not computed" if value is None else "p < .001" if value < 0.001 else f"p = {value:.3f}"
