"""Who becomes champion. The gate: a new recipe replaces the champion's only on evidence, never on a lucky point.

Here: the rule, on the rows of a leaderboard. Not here: fitting, registering, moving the alias (the champion assets).
The gate compares *recipes*, all refitted before the same split: yesterday's pickled model may have seen today's test
purchases, so comparing it would flatter it. The recipe that wins is then refitted on everything up to the as-of date.
"""

from dataclasses import asdict, dataclass
from typing import Final, Literal, NamedTuple

import polars as pl

from xmkt_assets.recommenders.evaluate import NOT_APPLICABLE, NOTHING

Outcome = Literal["first", "promoted", "kept", "untested", "not applicable"]

DECISION_SCHEMA: Final = pl.Schema(
    {
        "outcome": pl.String,
        "model": pl.String,
        "challenger": pl.String,
        "champion_before": pl.String,
        "metric": pl.String,
        "gain": pl.Float64,
        "gain_low": pl.Float64,
        "gain_high": pl.Float64,
        "reason": pl.String,
    }
)


@dataclass(frozen=True)
class Decision:
    """Which recipe serves from now on (`model`, None = none) and why.

    `gain` with its 95 % interval is the challenger's over `champion_before`, None where there was nothing to compare.
    Outcomes: 'first' champion of all; 'promoted' over the champion before; champion 'kept' (its recipe, refitted);
    popularity put in 'untested', for want of test purchases; 'not applicable': no model at all.
    """

    outcome: Outcome
    model: str | None
    challenger: str | None
    champion_before: str | None
    metric: str
    gain: float | None
    gain_low: float | None
    gain_high: float | None
    reason: str

    def frame(self) -> pl.DataFrame:
        """The decision as one row."""
        return pl.DataFrame([asdict(self)], schema=DECISION_SCHEMA)


class _Gain(NamedTuple):
    value: float
    low: float | None
    high: float | None

    @property
    def is_proven(self) -> bool:
        return self.low is not None and self.low > 0

    def __str__(self) -> str:
        bounds = "no interval" if self.low is None or self.high is None else f"95 % {self.low:+.4f} to {self.high:+.4f}"
        return f"{self.value:+.4f} ({bounds})"


def decide(
    leaderboard: pl.DataFrame, *, champion: str | None, metric: str, baseline: str, can_learn: bool = True
) -> Decision:
    """Apply the gate to the rows of one leaderboard (`evaluate.LEADERBOARD_SCHEMA`).

    A challenger replaces the champion only if its paired gain over the champion *and* over the `baseline` (popularity
    under the same eligibility) are both above 0 with the whole 95 % interval. Without a champion the best member takes
    the place; the baseline is a member, so nobody worse than popularity can. A champion whose recipe is not on the
    leaderboard any more counts as no champion. `can_learn` = there is any interaction to fit on.
    """
    if not can_learn:
        return _no_gain("not applicable", None, champion, metric, f"not applicable: {_note(leaderboard)}")
    ranked = _ranked(leaderboard, metric)
    if not ranked:
        return _unjudged(champion, metric, baseline, _note(leaderboard))
    if champion is None or champion not in ranked:
        return _first(ranked, champion, metric)
    rivals = [model for model in ranked if model != champion]
    proven = [m for m in rivals if _is_proven(leaderboard, m, metric, champion=champion, baseline=baseline)]
    if proven:
        return _promoted(leaderboard, proven[0], champion, metric)
    return _kept(leaderboard, ranked, champion, metric, baseline)


def _ranked(leaderboard: pl.DataFrame, metric: str) -> list[str]:
    """Models from best to worst; equal ones in the order of the leaderboard, which is simplest first."""
    rows = leaderboard.filter(pl.col("metric") == metric, pl.col("compared_with") == NOTHING)
    best = rows.filter(pl.col("value").is_not_null()).sort("value", descending=True, maintain_order=True)
    return best["model"].to_list()


def _gain(leaderboard: pl.DataFrame, model: str, over: str, metric: str) -> _Gain:
    one = (pl.col("model") == model) & (pl.col("compared_with") == over) & (pl.col("metric") == metric)
    rows = leaderboard.filter(one).select("value", "ci_low", "ci_high").rows()
    if len(rows) != 1:
        raise ValueError(
            f"The leaderboard has {len(rows)} rows for the gain of {model!r} over {over!r} in {metric}; wanted 1. "
            f"Materialise the leaderboard of this day again."
        )
    return _Gain(*rows[0])


def _is_proven(leaderboard: pl.DataFrame, model: str, metric: str, *, champion: str, baseline: str) -> bool:
    return all(model == over or _gain(leaderboard, model, over, metric).is_proven for over in {champion, baseline})


def _first(ranked: list[str], champion: str | None, metric: str) -> Decision:
    gone = f"; the recipe of the champion before, {champion}, is no longer a member" if champion else ""
    reason = f"{ranked[0]} is the best of {len(ranked)} by {metric} and there is no champion to beat{gone}"
    return _no_gain("first", ranked[0], champion, metric, reason, challenger=ranked[0])


def _unjudged(champion: str | None, metric: str, baseline: str, note: str) -> Decision:
    if champion:
        return _no_gain("kept", champion, champion, metric, f"{champion} stays: {note}")
    reason = f"{baseline} takes the place untested, as the simplest: {note}"
    return _no_gain("untested", baseline, None, metric, reason)


def _promoted(leaderboard: pl.DataFrame, challenger: str, champion: str, metric: str) -> Decision:
    gain = _gain(leaderboard, challenger, champion, metric)
    reason = f"{challenger} beats the champion {champion} in {metric} by {gain} and beats popularity"
    return Decision("promoted", challenger, challenger, champion, metric, *gain, reason=reason)


def _kept(leaderboard: pl.DataFrame, ranked: list[str], champion: str, metric: str, baseline: str) -> Decision:
    rivals = [model for model in ranked if model != champion]
    if not rivals:
        return _no_gain("kept", champion, champion, metric, f"{champion} stays: it is the only member")
    gain = _gain(leaderboard, rivals[0], champion, metric)
    if ranked[0] == champion:
        reason = f"{champion} stays: it is still the best in {metric}"
    elif gain.is_proven:
        reason = f"{champion} stays: {rivals[0]} beats it in {metric} by {gain}, but does not provably beat {baseline}"
    else:
        reason = f"{champion} stays: the gain of {rivals[0]} in {metric}, {gain}, is not proven to be above 0"
    return Decision("kept", champion, rivals[0], champion, metric, *gain, reason=reason)


def _no_gain(
    outcome: Outcome,
    model: str | None,
    champion: str | None,
    metric: str,
    reason: str,
    *,
    challenger: str | None = None,
) -> Decision:
    return Decision(outcome, model, challenger, champion, metric, None, None, None, reason)


def _note(leaderboard: pl.DataFrame) -> str:
    notes = leaderboard.filter(pl.col("model") == NOT_APPLICABLE)["note"].drop_nulls()
    return str(notes[0]) if len(notes) else "the leaderboard is empty"
