"""What is measured of a person within the outcome window of an experiment. Adding a metric = one line in `METRICS`.

Each metric reads one column of ``evaluation.experiment_outcomes``; how that column is counted is said there. Not
here: differences between arms (`effects`).
"""

from typing import Final, Literal, NamedTuple

Source = Literal["platform", "imported"]


class Metric(NamedTuple):
    """One outcome: `column` of the outcomes, a share of people (0/1 per person) or money (smallest unit per person)."""

    name: str
    column: str
    source: Source
    kind: Literal["share", "money"]
    description: str


METRICS: Final[tuple[Metric, ...]] = (
    Metric("participation_share", "has_course_view", "platform", "share", "People who viewed any course"),
    Metric("course_conversion_share", "has_course_order", "platform", "share", "People who paid for any course"),
    Metric("product_conversion_share", "has_policy", "platform", "share", "People to whom a policy was issued"),
    Metric("course_repurchase_share", "has_course_repurchase", "platform", "share", "Earlier buyers who paid again"),
    Metric("policy_renewal_share", "has_policy_renewal", "platform", "share", "People who renewed a policy"),
    Metric("spend_fen", "spend_fen", "platform", "money", "Courses paid and premiums of policies issued, per person"),
    Metric("visit_share", "has_visit", "imported", "share", "People who visited"),
    Metric("conversion_share", "has_conversion", "imported", "share", "People who converted"),
    Metric("spend", "spend_fen", "imported", "money", "Spend per person, in the experiment's own currency"),
)


def goal_names() -> tuple[str, ...]:
    """Metrics that a campaign of this platform may name as its goal."""
    return tuple(metric.name for metric in METRICS if metric.source == "platform")


def metrics_of(source: str) -> tuple[Metric, ...]:
    """Metrics that an experiment of this source can be read by."""
    return tuple(metric for metric in METRICS if metric.source == source)
