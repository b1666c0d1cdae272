"""Columns and types of the two campaign tables, so that they exist and stay the same before and after any campaign."""

from typing import Final

import polars as pl

CAMPAIGN_LIST_DESCRIPTION: Final = (
    "One row per person on a campaign's list, contacted (treatment) or held out (control). Trap: the offer, the score "
    "and the reason of a control row say what would have been sent; nobody may send it."
)
EXCLUSIONS_DESCRIPTION: Final = (
    "One row per known person who is not on a campaign's list, with the first rule that applied. Trap: later rules "
    "were not asked, so counts per rule depend on their order."
)

LIST_RUNS: Final = "campaigns.list_runs"
LIST_RUNS_DESCRIPTION: Final = (
    "One row per making of a campaign's list: what it was made from, so that it can be made again and compared. Trap: "
    "the snapshot it was written with is the row's own (select snapshot_id, * from campaigns.list_runs)."
)

CAMPAIGN_LIST_SCHEMA: Final[dict[str, pl.DataType]] = {
    "campaign_id": pl.String(),
    "person_id": pl.String(),
    "arm": pl.String(),
    "course_id": pl.String(),
    "product_id": pl.String(),
    "channel": pl.String(),
    "treatment_share": pl.Float64(),
    "assignment_share": pl.Float64(),
    "consent_id": pl.String(),
    "score": pl.Float64(),
    "reason": pl.String(),
    "user_id": pl.String(),
    "customer_id": pl.String(),
    "as_of_on": pl.Date(),
    "launched_on": pl.Date(),
    "outcome_until_on": pl.Date(),
    "contact_cost_fen": pl.Int64(),
    "incentive_fen": pl.Int64(),
    "course_model_version": pl.String(),
    "product_model_version": pl.String(),
    "goal_metric": pl.String(),
    "budget_fen": pl.Int64(),
}

EXCLUSIONS_SCHEMA: Final[dict[str, pl.DataType]] = {
    "campaign_id": pl.String(),
    "person_id": pl.String(),
    "step": pl.Int64(),
    "rule": pl.String(),
    "detail": pl.String(),
    "as_of_on": pl.Date(),
}

LIST_RUNS_SCHEMA: Final[dict[str, pl.DataType]] = {
    "campaign_id": pl.String(),
    "run_id": pl.String(),
    "snapshot_read": pl.Int64(),
    "plan": pl.String(),
    "git_sha": pl.String(),
    "listed_count": pl.Int64(),
    "treated_count": pl.Int64(),
    "excluded_count": pl.Int64(),
    "list_sha256": pl.String(),
    "exclusions_sha256": pl.String(),
}

LIST_RUNS_COLUMNS: Final[dict[str, str]] = {
    "campaign_id": "Plan the list was made from",
    "run_id": "Dagster run that made it",
    "snapshot_read": "Lake snapshot every table was read from",
    "plan": "The plan as it was, JSON; with the salt of the arms",
    "git_sha": "Commit of the code that made it",
    "listed_count": "People listed",
    "treated_count": "People listed to be contacted",
    "excluded_count": "People left out",
    "list_sha256": "SHA-256 of the list as canonical CSV",
    "exclusions_sha256": "SHA-256 of the exclusions as canonical CSV",
}

CAMPAIGN_LIST_COLUMNS: Final[dict[str, str]] = {
    "campaign_id": "Plan the list was made from",
    "person_id": "Person on the list",
    "arm": "treatment = is contacted; control = held out at random, must not be contacted",
    "course_id": "Course offered",
    "product_id": "Insurance product offered with it",
    "channel": "Channel of the contact",
    "treatment_share": "Probability with which a listed person is contacted",
    "assignment_share": "Probability of the arm this person was assigned to",
    "consent_id": "Consent to joint marketing on which the listing rests",
    "score": "Score by which the list was ranked, 0 to 1; blind to the arm",
    "reason": "Why this offer goes to this person, in words",
    "user_id": "The course platform's id of the person; empty where it does not know them",
    "customer_id": "The insurer's id of the person; empty where it does not know them",
    "as_of_on": "Day whose end the list was made from",
    "launched_on": "First day of contact and of the outcome window",
    "outcome_until_on": "Last day of the outcome window",
    "contact_cost_fen": "Cost of the contact; 0 in the control arm",
    "incentive_fen": "Incentive set aside; 0 in the control arm",
    "course_model_version": "Model and version that recommended the course",
    "product_model_version": "Model and version that recommended the product",
    "goal_metric": "Metric the plan wants to move",
    "budget_fen": "Budget of the whole campaign when the list was made",
}

EXCLUSIONS_COLUMNS: Final[dict[str, str]] = {
    "campaign_id": "Plan the person was left out of",
    "person_id": "Person left out",
    "step": "Place of the rule in the order of decisions, from 1",
    "rule": "First rule that left the person out",
    "detail": "What the rule found, in words",
    "as_of_on": "Day whose end the decision was made from",
}
