"""Columns and types of the two evaluation tables, the same with and without any experiment."""

from typing import Final

import polars as pl

RESULTS_DESCRIPTION: Final = (
    "One row per experiment, arm and metric: the arm against control, per person assigned. Trap: read `status` first; "
    "only the row with is_goal answers the question the campaign asked, the others are looked at beside it."
)
CURVES_DESCRIPTION: Final = (
    "One row per experiment, arm, metric, score and share of people taken by that score, highest first. Trap: where a "
    "curve does not apply there is one row at share 0 with the reason in `note` and no numbers."
)

RESULTS_COLUMNS: Final[dict[str, tuple[pl.DataType, str]]] = {
    "campaign_id": (pl.String(), "Campaign or imported experiment"),
    "arm": (pl.String(), "Arm compared with control"),
    "metric": (pl.String(), "What was measured of each person within the window"),
    "source": (pl.String(), "platform = list made here; imported = experiment run elsewhere"),
    "unit": (pl.String(), "share of people, or money per person in the smallest unit of this currency"),
    "is_goal": (pl.Boolean(), "Whether the plan named this metric as its goal"),
    "status": (
        pl.String(),
        "measured, flagged (read the note first), blocked (arms are not as designed) or not applicable",
    ),
    "note": (pl.String(), "Why the status is not measured, or why the numbers are preliminary; empty otherwise"),
    "treated_count": (pl.Int64(), "People assigned to the arm"),
    "control_count": (pl.Int64(), "People assigned to control"),
    "treated_mean": (pl.Float64(), "Mean outcome of the arm"),
    "control_mean": (pl.Float64(), "Mean outcome of control"),
    "difference": (pl.Float64(), "Mean of the arm minus mean of control: the effect of being assigned"),
    "standard_error": (pl.Float64(), "Standard error of the difference, variances unpooled"),
    "interval_low": (pl.Float64(), "Lower end of the 95 % interval of the difference"),
    "interval_high": (pl.Float64(), "Upper end of the 95 % interval of the difference"),
    "p_value": (pl.Float64(), "Welch's test of no difference, two-sided"),
    "srm_p_value": (pl.Float64(), "Sample-ratio test over all arms; empty where it does not apply"),
    "srm_verdict": (pl.String(), "pass, warn (p < .01), block (p < .001) or not applicable"),
    "launched_on": (pl.Date(), "First day of the outcome window, earliest person"),
    "outcome_until_on": (pl.Date(), "Last day of the outcome window, latest person"),
    "measured_on": (pl.Date(), "Newest day whose consents to measurement and events were used"),
    "is_preliminary": (pl.Boolean(), "Whether the outcome window was still open on measured_on"),
    "verdict": (pl.String(), "The result in one sentence"),
}

CURVES_COLUMNS: Final[dict[str, tuple[pl.DataType, str]]] = {
    "campaign_id": (pl.String(), "Campaign or imported experiment"),
    "arm": (pl.String(), "Arm compared with control"),
    "metric": (pl.String(), "What was measured of each person within the window"),
    "score_name": (
        pl.String(),
        "assignment_score (ranked the list), t_learner (learnt uplift), response (learnt outcome)",
    ),
    "share": (pl.Float64(), "Share of people taken, highest score first"),
    "gain": (pl.Float64(), "Outcome gained per treated person by treating only these (Radcliffe, per capita)"),
    "gain_low": (pl.Float64(), "Lower end of the 95 % bootstrap interval of the gain"),
    "gain_high": (pl.Float64(), "Upper end of the 95 % bootstrap interval of the gain"),
    "random_gain": (pl.Float64(), "Gain of a random order: share times the effect on all"),
    "qini": (pl.Float64(), "Area between the curve and the random order, per capita, not normalised"),
    "qini_low": (pl.Float64(), "Lower end of the 95 % bootstrap interval of the Qini"),
    "qini_high": (pl.Float64(), "Upper end of the 95 % bootstrap interval of the Qini"),
    "person_count": (pl.Int64(), "People in the arm and in control"),
    "note": (pl.String(), "Why there is no curve; empty where there is"),
}

RESULTS_SCHEMA: Final[dict[str, pl.DataType]] = {name: kind for name, (kind, _) in RESULTS_COLUMNS.items()}
CURVES_SCHEMA: Final[dict[str, pl.DataType]] = {name: kind for name, (kind, _) in CURVES_COLUMNS.items()}
