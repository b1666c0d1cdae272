"""What the columns of the segment tables written by Python mean; the SQL ones say it in their files."""

from typing import Final

CLUSTERS_DESCRIPTION: Final = (
    "One row per consenting person as of a date: the value group the person's behaviour falls into. Trap: groups are "
    "fitted anew each day; compare the label of two days, never the cluster number."
)
CLUSTERS_COLUMNS: Final = {
    "as_of_on": "Day whose end the row describes",
    "person_id": "The person",
    "cluster": "Number of the group on this day, 0 = worthiest; empty where nobody could be grouped",
    "value_label": "Name of the group, by rule from its centre; unknown where nobody could be grouped",
    "reason": "Why the label, or why there is none",
    "model_version": "Version of value_clusters in the MLflow registry; empty = none",
}
RISK_DESCRIPTION: Final = (
    "One row per insured person as of a date: the probability of at least one claim in the next 60 days. Trap: an "
    "empty probability means nobody could tell, not no risk."
)
RISK_COLUMNS: Final = {
    "as_of_on": "Day whose end the row describes",
    "person_id": "The person",
    "claim_risk_share": "Calibrated probability of a claim within 60 days; empty where it could not be learnt",
    "claim_risk_band": "high, middle or low against the claim share of all insured people; unknown where not learnt",
    "model": "Candidate chosen by out-of-fold log loss",
    "reason": "Why there is no probability; empty where there is",
    "model_version": "Version of claim_risk in the MLflow registry; empty = none",
}
