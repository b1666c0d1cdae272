"""Targets: what is foretold of people, each by the same steps. Pure data: all in which the targets differ stands here.

Here: name, examples, label, features and horizon of each target, and the words in which it is shown. Not here: how a
probability is made (``scoring``), and the examples themselves (``dbt_like_sql/segments/*_examples.sql``).

Gender is in no target, age in claim risk alone (an actuarial reason; see ``xmkt_assets.protected``).
"""

from dataclasses import dataclass
from typing import Final, NamedTuple


@dataclass(frozen=True)
class Target:
    """One thing foretold.

    `name` names tables, columns and the registered model. `examples` is the table of examples, `label` its column of
    what happened within `horizon_days` days (empty = to be scored), `features` its columns that a model may see.
    `who` are the people scored, `event` what they may do, `done` the same when it has happened. `is_sensitive`: made
    of data that need a consent of their own. `serves` says what the share is for, `never` what it must not be used for.
    """

    name: str
    examples: str
    label: str
    features: tuple[str, ...]
    horizon_days: int
    is_sensitive: bool
    title: str
    who: str
    event: str
    done: str
    serves: str
    never: str

    @property
    def table(self) -> str:
        return f"segments.{self.name}"

    @property
    def validation_table(self) -> str:
        return f"{self.table}_validation"

    @property
    def comparison_table(self) -> str:
        return f"{self.table}_comparison"

    @property
    def share_column(self) -> str:
        return f"{self.name}_share"

    @property
    def band_column(self) -> str:
        return f"{self.name}_band"


class NotApplicable(NamedTuple):
    """A target that was asked for and cannot be learnt from what the firms share."""

    name: str
    reason: str


CLAIM_RISK: Final = Target(
    name="claim_risk",
    examples="segments.risk_examples",
    label="has_claim_60d",
    features=(
        "age_years",
        "city_tier",
        "active_policy_count",
        "health_policy_count",
        "accident_policy_count",
        "motor_policy_count",
        "travel_policy_count",
        "active_premium_fen",
        "cover_left_days",
        "claim_count",
        "claimed_fen",
        "days_since_claim",
        "product_view_30d_count",
        "course_view_30d_count",
        "dwell_30d_seconds",
    ),
    horizon_days=60,
    is_sensitive=True,
    title="Claim risk",
    who="insured people who consented to the use of claims",
    event="reports at least one claim within 60 days",
    done="claimed",
    serves="To plan claims work and prevention: whom the insurer's own service should look after first.",
    never="Not for prices, not to refuse or end a cover, not for any campaign or recommendation, not for the course "
    "platform. A person without a score is not a person without risk.",
)
LAPSE_RISK: Final = Target(
    name="lapse_risk",
    examples="segments.lapse_examples",
    label="has_lapsed_60d",
    features=(
        "city_tier",
        "active_policy_count",
        "health_policy_count",
        "accident_policy_count",
        "motor_policy_count",
        "life_policy_count",
        "active_premium_fen",
        "shortest_term_days",
        "first_end_days",
        "days_since_begun",
        "renewed_policy_count",
        "ended_policy_60d_count",
        "product_view_30d_count",
        "days_since_product_view_30d",
        "course_view_30d_count",
        "course_order_30d_count",
        "dwell_30d_seconds",
    ),
    horizon_days=60,
    is_sensitive=False,
    title="Lapse risk",
    who="people with a policy in force whose term is a month or longer",
    event="loses at least one of these policies within 60 days: cancelled, or ended and not renewed",
    done="lost a policy",
    serves="To remind in time: whom to tell that a term ends, and whose questions to answer before they leave.",
    never="Not for prices, not to hold back service or claims from people who seem about to leave.",
)
COURSE_PURCHASE: Final = Target(
    name="course_purchase",
    examples="segments.course_purchase_examples",
    label="has_bought_30d",
    features=(
        "city_tier",
        "is_customer",
        "active_policy_count",
        "course_view_30d_count",
        "viewed_course_30d_count",
        "course_view_day_30d_count",
        "dwell_30d_seconds",
        "days_since_course_view_30d",
        "course_order_count",
        "paid_fen",
        "days_since_course_order",
        "review_30d_count",
        "product_view_30d_count",
    ),
    horizon_days=30,
    is_sensitive=False,
    title="Course purchase",
    who="users of the course platform",
    event="pays for at least one course within 30 days (refunds left out)",
    done="bought a course",
    serves="To choose whom a course offer is likely to reach in time.",
    never="Not for prices: nobody pays more for being likely to buy. It says who buys, not whom a contact moves; for "
    "that see the uplift of campaigns.",
)
PRODUCT_PURCHASE: Final = Target(
    name="product_purchase",
    examples="segments.product_purchase_examples",
    label="has_bought_60d",
    features=(
        "city_tier",
        "is_user",
        "is_customer",
        "active_policy_count",
        "issued_policy_count",
        "days_since_policy_issue",
        "product_view_30d_count",
        "viewed_product_30d_count",
        "product_dwell_30d_seconds",
        "days_since_product_view_30d",
        "course_view_30d_count",
        "dwell_30d_seconds",
        "course_order_30d_count",
        "paid_30d_fen",
    ),
    horizon_days=60,
    is_sensitive=False,
    title="Insurance purchase",
    who="people known to either firm",
    event="is issued at least one policy within 60 days",
    done="took out a policy",
    serves="To choose whom an insurance offer is likely to concern; eligibility and suitability are decided elsewhere.",
    never="Not for prices, not to judge who may be insured. It says who buys, not whom a contact moves; for that see "
    "the uplift of campaigns.",
)
TARGETS: Final = (CLAIM_RISK, LAPSE_RISK, COURSE_PURCHASE, PRODUCT_PURCHASE)

CREDIT_RISK: Final = NotApplicable(
    "credit_risk",
    "not applicable: credit risk needs debts, arrears or defaults to learn from, and no feed of either firm carries "
    "them. A declared income is no such record, and a guess from it would be no credit risk",
)
NOT_APPLICABLE: Final = (CREDIT_RISK,)
