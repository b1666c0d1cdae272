"""What the columns of the segment tables written by Python mean; the SQL ones say it in their files."""

from typing import Final

CLUSTERS_DESCRIPTION: Final = (
    "One row per consenting person as of a date: the value group the person's behaviour falls into, and why. Trap: "
    "compare the label of two days, never the cluster number."
)
CLUSTERS_COLUMNS: Final = {
    "as_of_on": "Day whose end the row describes",
    "person_id": "The person",
    "cluster": "Number of the group on this day, 0 = worthiest; empty where nobody could be grouped",
    "value_label": "Name of the group, by rule or kept from the last snapshot; unknown where nobody could be grouped",
    "membership_strength": "How far inside the group: 0 on the border to the next one, 1 in its centre",
    "why": "What of the person's behaviour speaks for this group (+) or for the next one (-), most telling first",
    "method": "How the groups were found: k-means or ward; empty where nobody could be grouped",
    "reason": "Why nobody could be grouped; empty where everybody was",
    "model_version": "Version of value_clusters in the MLflow registry; empty = none",
}
CHOICE_DESCRIPTION: Final = (
    "One row per day, method and number of groups that was compared: the evidence, and which one was chosen. A day "
    "without alternatives has one row that says why. Nobody is in it."
)
CHOICE_COLUMNS: Final = {
    "as_of_on": "Day whose end the row describes",
    "method": "k-means or ward; empty where nothing could be compared",
    "k": "Number of groups; empty where nothing could be compared",
    "silhouette": "How well the groups are separated: mean of a sample of people, -1 to 1; empty = not compared",
    "silhouette_low": "Lower end of its 95 % interval over the people sampled",
    "silhouette_high": "Upper end of its 95 % interval over the people sampled",
    "stability": "How far two random halves of the people agree on the groups: mean adjusted Rand index, 1 = wholly",
    "stability_low": "The smallest of the splits into halves",
    "stability_high": "The largest of the splits into halves",
    "is_chosen": "Whether the groups of the day are made so",
    "why": "Why it was chosen, or why nothing could be; empty for all others",
}
