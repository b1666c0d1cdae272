"""What the columns of the recommender tables written by Python mean; the SQL ones say it in their files.

One table per target (course, product) and name, so `COLUMNS` is keyed by the name without the target.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple


class Meaning(NamedTuple):
    """Description of a table and of each of its columns, for people."""

    description: str
    columns: Mapping[str, str]


_DAY: Final = {"as_of_on": "Day up to whose end interactions were known"}
_TARGET: Final = {**_DAY, "target": "What is recommended: course or product"}

MEANINGS: Final[dict[str, Meaning]] = {
    "leaderboard": Meaning(
        "One row per recommender, metric and compared_with, as of a date. Trap: compared_with 'nothing' is the metric "
        "itself, any other value the paired gain over that model.",
        {
            **_TARGET,
            "model": "The recommender, or 'not applicable'",
            "metric": "hr (hit rate), ndcg, mrr, map: means over cases; coverage: share of items shown; with @ cut-off",
            "compared_with": "'nothing' = the metric itself; else the model over which value is the paired gain",
            "value": "The metric, or the gain; empty where not applicable",
            "ci_low": "Lower end of the 95 % bootstrap interval, people resampled",
            "ci_high": "Upper end of the 95 % bootstrap interval, people resampled",
            "cases": "Purchase occasions judged on",
            "persons": "People behind them",
            "fit_seconds": "Time to learn",
            "note": "Why not applicable; else empty",
            "run_id": "MLflow run of the model",
        },
    ),
    "champion": Meaning(
        "One row per target as of a date: which recommender serves, whom it was weighed against, and why.",
        {
            **_TARGET,
            "outcome": "first, promoted, kept, untested or not applicable",
            "model": "The recommender that serves; empty = none",
            "challenger": "The best of the leaderboard",
            "champion_before": "The recommender that served before; empty = none",
            "metric": "Metric by which they were weighed",
            "gain": "Challenger minus champion before, on the same cases",
            "gain_low": "Lower end of the paired 95 % interval of the gain",
            "gain_high": "Upper end of the paired 95 % interval of the gain",
            "model_version": "Version in the MLflow registry; empty = none",
            "is_champion": "Whether this version took the alias champion",
            "run_id": "MLflow run that fitted the version",
            "reason": "The decision in words",
        },
    ),
    "recommendations": Meaning(
        "One row per consenting person and recommended item, as of a date; rank 1 first. Trap: scores compare within "
        "one person only.",
        {
            **_DAY,
            "person_id": "The person",
            "item_id": "Course or product recommended",
            "rank": "Place on the person's list, 1 = first",
            "score": "Score of the model; compares within one person only",
            "basis": "personal = from the person's own history; popularity = nothing known of the person",
            "model": "The recommender",
            "model_version": "Its version in the MLflow registry",
            "reason": "Why this item, in words",
        },
    ),
}
