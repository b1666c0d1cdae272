"""What the tables of each target hold: columns with their meaning, in words a marketer reads. Pure data.

Not here: the rows (``scoring``), the types (``xmkt_assets.known_tables``).
"""

from collections.abc import Mapping
from typing import NamedTuple

from xmkt_assets.segments.targets import Target


class Meaning(NamedTuple):
    """A table in words: what a row is, and what each column means."""

    description: str
    columns: Mapping[str, str]


def scores_meaning(target: Target) -> Meaning:
    """`segments.<target>`."""
    return Meaning(
        f"One row of {target.who} as of a date: the probability that the person {target.event}. Trap: an empty "
        "probability means nobody could tell, not never.",
        {
            "as_of_on": "Day whose end the row describes",
            "person_id": "The person",
            target.share_column: f"Calibrated probability that the person {target.event}; empty where not learnt",
            target.band_column: "high from twice the share of all on, low below half of it, else medium; unknown where "
            "not learnt",
            "model": "Kind of model, chosen by out-of-fold log loss",
            "why": "What moves the probability most: + raises it, - lowers it; empty where there is none",
            "reason": "Why there is no probability; empty where there is",
            "model_version": f"Version of {target.name} in the MLflow registry; empty = none",
        },
    )


def validation_meaning(target: Target) -> Meaning:
    """`segments.<target>_validation`."""
    return Meaning(
        f"{target.title} put to the test: one row per past example, with what was foretold by a model that had not "
        "seen the person, and what happened. No rows where nothing was learnt that day. Trap: these are examples of "
        f"{target.horizon_days} days ago, at most a few thousand, and not the people scored.",
        {
            "as_of_on": "Day whose model is put to the test",
            "person_id": "The person",
            "observed_at": "Moment from which on the future was foretold (UTC)",
            "is_positive": f"Whether the person then {target.done} within {target.horizon_days} days",
            "predicted_share": "Probability foretold: calibrated, of the chosen kind of model, out of fold",
            "fold": "Part of the examples the person was in, 0 to 4: foretold by a model of the other parts",
        },
    )


def comparison_meaning(target: Target) -> Meaning:
    """`segments.<target>_comparison`."""
    return Meaning(
        f"{target.title}: how each kind of model did, one row per kind and metric as of a date, out of fold. Read "
        "segments.model_comparison for all targets together.",
        {
            "as_of_on": "Day whose examples they were compared on",
            "target": "What is foretold",
            "candidate": "Kind of model",
            "metric": "auc (0.5 = chance, 1 = perfect), brier and log_loss (smaller is better), calibration_slope "
            "(1 is perfect), calibration_intercept (0 is perfect)",
            "value": "The metric",
            "low": "Lower end of its 95 % interval",
            "high": "Upper end of its 95 % interval",
            "is_chosen": "Whether this kind of model made the scores of the day",
        },
    )


def meanings(target: Target) -> dict[str, Meaning]:
    """Every table of a target."""
    return {
        target.table: scores_meaning(target),
        target.validation_table: validation_meaning(target),
        target.comparison_table: comparison_meaning(target),
    }
