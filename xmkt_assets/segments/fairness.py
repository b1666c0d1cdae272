"""Fairness: how groups of people fare with each score, by gender and by age band. Pure.

Here: what was foretold of people and what happened, in; one row per target, attribute and group, out; the findings in
words. Not here: which model may use an attribute at all (``xmkt_assets.protected``), and what to do about a finding:
that is for people to decide.

Of each group:

* selection share: the part of the group among the fifth of all people with the highest predicted shares (who would be
  chosen first), or under the value label "high value". Its ratio to the largest group's is held against the four-fifths
  rule (Uniform Guidelines on Employee Selection Procedures, 29 CFR 1607.4(D), 1978): a ratio under 4/5 is a finding,
  unless the difference may be chance, which the same paragraph excepts. The interval of the ratio is that of Katz et
  al. (1978, Biometrics 34), half a person added to each count so that a group of whom nobody is chosen has one too,
  and Bonferroni's for all pairs of groups of the attribute: some group is always the largest, by chance as well.
* calibration ratio: observed share / mean predicted share; 1 = it happened as often as foretold, 2 = twice as often.
  Its interval is Wilson's of the observed share over the mean predicted one (the predictions are taken as they are).
* true and false positive rate: the part chosen of those to whom it happened, and of those to whom it did not.

These cannot all be equal at once where the groups differ in how often it happens (Chouldechova 2017, Big Data 5): a
finding is a question to look into, no verdict. Groups of few people are left out, with the reason.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl

from xmkt_assets.segments.intervals import Interval, wilson

ATTRIBUTES: Final = ("gender", "age_band")
HIGH_VALUE: Final = "high value"
TOP_SHARE: Final = 0.2
FOUR_FIFTHS: Final = 0.8
WELL_CALIBRATED: Final = (0.8, 1.25)
LEAST_PEOPLE: Final = 30
LEAST_CASES: Final = 5  # people to whom it happened, or did not, that a rate is told of
UNKNOWN: Final = "unknown"
EVERYBODY: Final = "all"

FAIRNESS_DESCRIPTION: Final = (
    "One row per target, attribute (gender, age band) and group as of a date: how the group fares with the score, out "
    "of fold. No model but claim_risk may use age, and none gender; other features may still stand for them. Trap: "
    "groups may differ because they behave differently; a finding is a question to look into, no verdict."
)
FAIRNESS_COLUMNS: Final = {
    "as_of_on": "Day whose end the row describes",
    "target": "What is foretold, or value_label",
    "attribute": "gender or age_band; all = nothing could be compared, see reason",
    "group_name": "Group of the attribute; unknown = not stated",
    "people": "People with a prediction whose outcome is known, or with a value label; empty under 30",
    "positives": "Of these, people to whom it happened; empty under 5",
    "selection_share": "Part of the group among the fifth with the highest predictions, or labelled high value",
    "selection_low": "Lower end of its 95 % interval (Wilson)",
    "selection_high": "Upper end of it",
    "selection_ratio": "Selection share by that of the group with the largest; under 0.8 breaks the four-fifths rule",
    "selection_ratio_low": "Lower end of its interval, 95 % for all pairs of groups of the attribute together",
    "selection_ratio_high": "Upper end of it; under 1 = not by chance",
    "mean_predicted_share": "Mean of the predicted shares",
    "observed_share": "Part of the group to whom it happened",
    "calibration_ratio": "Observed share by mean predicted share; 1 = as foretold, over 1 = more often",
    "calibration_ratio_low": "Lower end of its 95 % interval",
    "calibration_ratio_high": "Upper end of it",
    "true_positive_rate": "Part selected of those to whom it happened",
    "true_positive_low": "Lower end of its 95 % interval (Wilson)",
    "true_positive_high": "Upper end of it",
    "false_positive_rate": "Part selected of those to whom it did not happen",
    "false_positive_low": "Lower end of its 95 % interval (Wilson)",
    "false_positive_high": "Upper end of it",
    "finding": "What to look into, in words; empty = nothing",
    "reason": "Why numbers are empty; empty where none is",
}
_TEXTS: Final = ("target", "attribute", "group_name", "finding", "reason")
FAIRNESS_SCHEMA: Final = pl.Schema(
    {
        name: pl.String if name in _TEXTS else pl.Int64 if name in ("people", "positives") else pl.Float64
        for name in FAIRNESS_COLUMNS
        if name != "as_of_on"
    }
)


class _Counts(NamedTuple):
    """A group in numbers: None of what is not foretold, and of `selected` where nobody comes before the others."""

    name: str
    people: int
    selected: int | None
    positives: int | None = None
    selected_positives: int | None = None
    predicted: float | None = None


def of_scores(validation: pl.DataFrame, people: pl.DataFrame, *, target: str) -> pl.DataFrame:
    """How groups fare with one target, `FAIRNESS_SCHEMA`.

    `validation`: person_id, is_positive, predicted_share of people whose outcome is known, out of fold; `people`:
    person_id and `ATTRIBUTES`. A person of whom an attribute is not known belongs to the group 'unknown'.
    """
    if validation.is_empty():
        reason = f"not applicable: no prediction of {target} has an outcome to be held against on this day"
        return _nothing(target, reason)
    rows = validation.with_columns(is_selected=_top(validation["predicted_share"]))
    return _table(_with_attributes(rows, people), target=target)


def of_labels(labels: pl.DataFrame, people: pl.DataFrame) -> pl.DataFrame:
    """Part of each group under the label 'high value'; what needs an outcome is empty, with the reason.

    `labels`: person_id, value_label.
    """
    labelled = labels.filter(pl.col("value_label") != UNKNOWN)
    if labelled.is_empty():
        return _nothing("value_label", "not applicable: nobody has a value label on this day")
    rows = labelled.select("person_id", is_selected=pl.col("value_label") == HIGH_VALUE)
    return _table(_with_attributes(rows, people), target="value_label")


def findings(table: pl.DataFrame) -> list[str]:
    """Every finding of the table with its target and group."""
    told = table.filter(pl.col("finding") != "")
    named = told.select("target", "attribute", "group_name", "finding").iter_rows()
    return [
        f"{target}, {attribute.replace('_', ' ')} {group}: {finding}" for target, attribute, group, finding in named
    ]


def in_words(table: pl.DataFrame) -> str:
    """What the table says, for a person who reads no statistics: findings, what is in order, what could not be said."""
    lines = [f"- {finding}" for finding in findings(table)]
    judged = table.filter(pl.col("people").is_not_null())
    for target, rows in judged.group_by("target", maintain_order=True):
        if not (rows["finding"] != "").any():
            lines.append(f"- {target[0]}: nothing to look into among {rows.height} groups")
    lines += [f"- {target}: {reason}" for target, reason in _not_applicable(table)]
    left_out = table.filter(pl.col("people").is_null() & (pl.col("attribute") != EVERYBODY)).height
    if left_out:
        lines.append(f"- {left_out} groups of fewer than {LEAST_PEOPLE} people are left out")
    return "\n".join(
        [*lines, "", "A finding is a question to look into, no verdict: groups may differ in what they do."]
    )


def _not_applicable(table: pl.DataFrame) -> Sequence[tuple[str, str]]:
    return table.filter(pl.col("attribute") == EVERYBODY).select("target", "reason").rows()


def _top(shares: pl.Series) -> pl.Series:
    """Whether a share is among the highest fifth; empty where that cannot be said, because too many are equal.

    People with equal shares are selected together or not at all, so that no order of the rows decides.
    """
    wanted = max(1, round(TOP_SHARE * len(shares)))
    least = float(shares.sort(descending=True)[wanted - 1])
    candidates: tuple[pl.Series, ...] = (shares >= least, shares > least)
    for top in candidates:
        if 0.5 * wanted <= top.sum() <= 1.5 * wanted:
            return top
    return pl.Series([None] * len(shares), dtype=pl.Boolean)


def _with_attributes(rows: pl.DataFrame, people: pl.DataFrame) -> pl.DataFrame:
    joined = rows.join(people.select("person_id", *ATTRIBUTES), on="person_id", how="left", maintain_order="left")
    return joined.with_columns(pl.col(ATTRIBUTES).fill_null(UNKNOWN))


def _table(rows: pl.DataFrame, *, target: str) -> pl.DataFrame:
    found: list[dict[str, Any]] = []
    for attribute in ATTRIBUTES:
        groups = [_Counts(**counts) for counts in _counted(rows, attribute).iter_rows(named=True)]
        compared = [group for group in groups if group.people >= LEAST_PEOPLE]
        found += [{"target": target, "attribute": attribute, **_row(group, compared)} for group in groups]
    return pl.DataFrame(found, schema=FAIRNESS_SCHEMA)


def _counted(rows: pl.DataFrame, attribute: str) -> pl.DataFrame:
    nobody = pl.lit(None, pl.Int64)
    has_selected = rows["is_selected"].null_count() == 0
    counts = {"people": pl.len(), "selected": pl.col("is_selected").sum() if has_selected else nobody}
    if "is_positive" in rows.columns:
        both = (pl.col("is_positive") & pl.col("is_selected")).sum()
        counts |= {
            "positives": pl.col("is_positive").sum(),
            "selected_positives": both if has_selected else nobody,
            "predicted": pl.col("predicted_share").mean(),
        }
    name = pl.col("name")
    counted = rows.group_by(pl.col(attribute).alias("name")).agg(**counts)
    return counted.sort(name == UNKNOWN, ~name.str.starts_with("under"), name)


def _largest(groups: Sequence[_Counts]) -> _Counts | None:
    """The group with the largest selection share; None where nobody is selected."""
    enough = [g for g in groups if g.selected]
    return max(enough, key=lambda g: ((g.selected or 0) / g.people, g.people, g.name), default=None)


def _row(group: _Counts, compared: Sequence[_Counts]) -> dict[str, Any]:
    if group.people < LEAST_PEOPLE:
        reason = f"fewer than {LEAST_PEOPLE} people: left out, so that nobody is pointed at"
        return {"group_name": group.name, "finding": "", "reason": reason}
    ratio, calibration, largest = _selection_ratio(group, compared), _calibration(group), _largest(compared)
    return {
        "group_name": group.name,
        "people": group.people,
        **_three(("selection_share", "selection_low", "selection_high"), _rate(group.selected, group.people)),
        **_three(("selection_ratio", "selection_ratio_low", "selection_ratio_high"), ratio),
        **_outcomes(group),
        **_three(("calibration_ratio", "calibration_ratio_low", "calibration_ratio_high"), calibration),
        "finding": "; ".join(_found(ratio, calibration, largest=largest.name if largest else "")),
        "reason": "; ".join(_why_empty(group)) or None,
    }


def _outcomes(group: _Counts) -> dict[str, Any]:
    """What happened to the people of the group, and to whom of them it was foretold."""
    if group.positives is None:
        return {}
    negatives = group.people - group.positives
    wrongly = None if group.selected_positives is None else (group.selected or 0) - group.selected_positives
    true = _rate(group.selected_positives, group.positives, least=LEAST_CASES)
    false = _rate(wrongly, negatives, least=LEAST_CASES)
    known = {"positives": group.positives, "observed_share": group.positives / group.people}
    return {
        "mean_predicted_share": group.predicted,
        **(known if group.positives >= LEAST_CASES else {}),
        **_three(("true_positive_rate", "true_positive_low", "true_positive_high"), true),
        **_three(("false_positive_rate", "false_positive_low", "false_positive_high"), false),
    }


def _calibration(group: _Counts) -> Interval | None:
    if group.positives is None or group.positives < LEAST_CASES or not group.predicted:
        return None
    value, low, high = wilson(group.positives, group.people)
    return Interval(value / group.predicted, low / group.predicted, high / group.predicted)


def _rate(cases: int | None, people: int, *, least: int = 1) -> Interval | None:
    return None if cases is None or people < least else wilson(cases, people)


def _why_empty(group: _Counts) -> list[str]:
    reasons = []
    if group.positives is None:
        reasons.append("not applicable: a value label foretells nothing that could be held against it")
    elif group.positives < LEAST_CASES:
        reasons.append(f"it happened to fewer than {LEAST_CASES} people: too few for a rate")
    elif group.people - group.positives < LEAST_CASES:
        reasons.append(f"it happened to all but fewer than {LEAST_CASES} people: too few for a rate")
    if group.selected is None:
        reasons.append("not applicable: too many people have the same prediction to say who comes first")
    return reasons


def _selection_ratio(group: _Counts, compared: Sequence[_Counts]) -> Interval | None:
    largest = _largest(compared)
    if largest is None or group.selected is None or largest.selected is None:
        return None
    if group == largest:
        return Interval(1.0, 1.0, 1.0)
    a, n, b, m = (count + 0.5 for count in (group.selected, group.people, largest.selected, largest.people))
    middle, error = np.log((a / n) / (b / m)), np.sqrt(1 / a - 1 / n + 1 / b - 1 / m)
    z = NormalDist().inv_cdf(1 - 0.025 / math.comb(len(compared), 2))
    low, high = np.exp([middle - z * error, middle + z * error])
    value = (group.selected / group.people) / (largest.selected / largest.people)
    return Interval(value, float(low), float(high))


def _found(ratio: Interval | None, calibration: Interval | None, *, largest: str) -> list[str]:
    """What to look into; `largest` is the group that `ratio` compares with."""
    told = []
    if ratio and ratio.value < FOUR_FIFTHS and ratio.high < 1:
        told.append(
            f"selected {ratio.value:.2f} times as often as {largest} [{ratio.low:.2f}, {ratio.high:.2f}]; the "
            f"four-fifths rule asks for {FOUR_FIFTHS:.2f} or more"
        )
    lowest, highest = WELL_CALIBRATED
    if calibration and (calibration.low > highest or calibration.high < lowest):
        told.append(
            f"happens {calibration.value:.2f} times as often as foretold [{calibration.low:.2f}, "
            f"{calibration.high:.2f}]; {lowest} to {highest} is in order"
        )
    return told


def _three(names: tuple[str, str, str], interval: Interval | None) -> dict[str, float]:
    return {} if interval is None else dict(zip(names, interval, strict=True))


def _nothing(target: str, reason: str) -> pl.DataFrame:
    row = {"target": target, "attribute": EVERYBODY, "group_name": EVERYBODY, "finding": "", "reason": reason}
    return pl.DataFrame([row], schema=FAIRNESS_SCHEMA)
