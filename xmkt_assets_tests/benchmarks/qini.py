"""The Qini curve with bootstrap intervals beside a plain loop: pandas, one resample after the other."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pytest

from xmkt_assets.evaluation.qini import QiniCurve, qini_curve
from xmkt_assets_tests.benchmarks.measure import Comparison, seconds_of, take_turns

SIZES: Final = {"people": 20_000, "resamples": 200}


def run(sizes: Mapping[str, int], repeats: int) -> list[Comparison]:
    people = _people(sizes["people"])
    found: dict[str, Any] = {}

    def ours() -> None:
        found["ours"] = qini_curve(**people, bootstrap_count=sizes["resamples"], seed=7, points=21)

    def peer() -> None:
        found["peer"] = _plain(people, resamples=sizes["resamples"])

    seconds = take_turns(seconds_of(ours), seconds_of(peer), repeats=repeats)
    note = _agreement(found["ours"], found["peer"])
    what = f"Qini, {sizes['people']:,} people, {sizes['resamples']} resamples"
    return [Comparison(what, "pandas, resample by resample", *seconds, note=note)]


def _people(count: int) -> dict[str, Any]:
    """A score that finds part of those on whom contact works; some scores are equal."""
    random = np.random.default_rng(7)
    works = random.random(count)
    is_treated = random.random(count) < 0.5
    outcome = (random.random(count) < 0.1 + 0.1 * works * is_treated).astype(float)
    return {"score": np.round(works + random.normal(0, 0.5, count), 4), "is_treated": is_treated, "outcome": outcome}


def _plain(people: Mapping[str, Any], *, resamples: int) -> tuple[float, float, float]:
    """(Qini, low, high) by the textbook, with people drawn within each arm."""
    import pandas as pd

    frame = pd.DataFrame(people)
    random = np.random.default_rng(8)
    rows = [np.flatnonzero(frame["is_treated"] == arm) for arm in (True, False)]
    drawn = [
        _plain_qini(frame.iloc[np.concatenate([random.choice(r, len(r)) for r in rows])]) for _ in range(resamples)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return _plain_qini(frame), float(low), float(high)


def _plain_qini(frame: Any) -> float:
    """Area between the gain per treated person and a random order, equal scores in one step."""
    treated = frame["is_treated"].astype(float)
    steps = (
        frame.assign(n_t=treated, n_c=1 - treated, y_t=frame["outcome"] * treated, y_c=frame["outcome"] * (1 - treated))
        .groupby("score")[["n_t", "n_c", "y_t", "y_c"]]
        .sum()
        .sort_index(ascending=False)
        .cumsum()
    )
    matched = (steps["y_c"] / steps["n_c"].where(steps["n_c"] > 0)) * steps["n_t"]
    gain = ((steps["y_t"] - matched) / steps["n_t"].iloc[-1]).fillna(0.0).to_numpy()
    share = ((steps["n_t"] + steps["n_c"]) / len(frame)).to_numpy()
    above = np.concatenate([[0.0], gain - share * gain[-1]])
    return float(np.trapezoid(above, np.concatenate([[0.0], share])))


def _agreement(ours: QiniCurve, peer: tuple[float, float, float]) -> str:
    value, low, high = peer
    assert ours.qini == pytest.approx(value, abs=1e-12), f"our Qini {ours.qini}, plain {value}"
    return (
        f"both {value:.5f}; intervals from draws of their own: "
        f"{ours.qini_low:.4f} to {ours.qini_high:.4f}, {low:.4f} to {high:.4f}"
    )
