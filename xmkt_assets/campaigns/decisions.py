"""Who is on a campaign's list and who is not, each with the first rule that decided it.

The order is `RULES`: consent, do-not-contact, the plan's audience, suitability; then, among those left, the ranking
by score and the budget. The arm comes from a hash (`holdout`) and is never read by a rule or by the ranking. Not
here: reading tables (``assets/campaigns.py``), scoring a pair (`joint`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

import polars as pl

from xmkt_assets.campaigns.holdout import arms, hash_share
from xmkt_assets.campaigns.joint import joint_offers
from xmkt_assets.campaigns.plan import CampaignPlan
from xmkt_assets.campaigns.tables import CAMPAIGN_LIST_SCHEMA, EXCLUSIONS_SCHEMA

ALL_CHANNELS: Final = "all"


class CampaignError(ValueError):
    """The tables a campaign is made from contradict each other; the message names them."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What was known at the end of the plan's `as_of` day; one frame per table, rows of that day only.

    Shapes: `consents` person_id, is_allowed, reason, consent_id (one row per known person; the population);
    `gate` partner, subject_id, person_id (joint-marketing gate); `do_not_contact` person_id, channel;
    `profiles` person_id, age_years, value_label, has_course_side, has_insurance_side, interests;
    `courses`/`products` person_id, item_id, rank, model, model_version (recommendations);
    `eligible_products` person_id, item_id (what the insurer may sell to whom);
    `catalogue` item_id, title, topics of both sides.
    """

    consents: pl.DataFrame
    gate: pl.DataFrame
    do_not_contact: pl.DataFrame
    profiles: pl.DataFrame
    courses: pl.DataFrame
    products: pl.DataFrame
    eligible_products: pl.DataFrame
    catalogue: pl.DataFrame


class Rule(NamedTuple):
    """One reason to leave a person out. `detail` gives the finding in words, or null where the rule does not apply."""

    name: str
    asks: str
    detail: Callable[[CampaignPlan], pl.Expr]


@dataclass(frozen=True, slots=True)
class Decisions:
    """The two tables of one campaign; together they hold every known person exactly once."""

    listed: pl.DataFrame
    exclusions: pl.DataFrame

    @property
    def treated_cost_fen(self) -> int:
        return int((self.listed["contact_cost_fen"] + self.listed["incentive_fen"]).sum())

    def waterfall(self) -> pl.DataFrame:
        """One row per step: people who came to it, people it left out, people who went on."""
        out = dict(self.exclusions.group_by("rule").len().iter_rows())
        dropped = [out.get(name, 0) for name in RULE_NAMES]
        came = [self.listed.height + sum(dropped[i:]) for i in range(len(RULE_NAMES))]
        return pl.DataFrame(
            {
                "step": range(1, len(RULE_NAMES) + 1),
                "rule": RULE_NAMES,
                "asks": [*(rule.asks for rule in RULES), BUDGET_ASKS],
                "came_count": came,
                "left_out_count": dropped,
                "went_on_count": [c - d for c, d in zip(came, dropped, strict=True)],
            },
            schema_overrides={"step": pl.Int64},
        )


def _no_consent(_: CampaignPlan) -> pl.Expr:
    return (
        pl.when(~pl.col("is_allowed"))
        .then(pl.coalesce("consent_reason", pl.lit("no reason recorded")))
        .when(~pl.col("is_in_gate"))
        .then(pl.lit("allowed, but not in staging.gate_joint_marketing"))
    )


def _do_not_contact(_: CampaignPlan) -> pl.Expr:
    opted = pl.col("opted_out_channel")
    return pl.when(opted.is_not_null()).then(pl.format("opted out of {}", opted))


def _outside_audience(plan: CampaignPlan) -> pl.Expr:
    """The first audience rule that the person fails, in words."""
    rules, age = plan.audience, pl.col("age_years")
    failed = [pl.when(~pl.col("has_profile")).then(pl.lit("no profile (no consent to profiling, or not yet built)"))]
    if rules.min_age is not None or rules.max_age is not None:
        failed.append(pl.when(age.is_null()).then(pl.lit("age unknown")))
    if rules.min_age is not None:
        failed.append(pl.when(age < rules.min_age).then(pl.lit(f"younger than {rules.min_age}")))
    if rules.max_age is not None:
        failed.append(pl.when(age > rules.max_age).then(pl.lit(f"older than {rules.max_age}")))
    if rules.value_labels:
        label = pl.coalesce("value_label", pl.lit("none"))
        wrong = ~pl.col("value_label").is_in(list(rules.value_labels)).fill_null(value=False)
        failed.append(pl.when(wrong).then(pl.format("value label is {}", label)))
    if rules.must_know_both_sides:
        for column, firm in (("has_course_side", "course platform"), ("has_insurance_side", "insurer")):
            unknown = ~pl.col(column).fill_null(value=False)
            failed.append(pl.when(unknown).then(pl.lit(f"not known to the {firm}")))
    return pl.coalesce(failed)


def _unsuitable(_: CampaignPlan) -> pl.Expr:
    """Suitability comes before any ranking: a product nobody may sell to the person is never a candidate."""
    return (
        pl.when(~pl.col("has_product"))
        .then(pl.lit("no eligible product is recommended"))
        .when(~pl.col("has_course"))
        .then(pl.lit("no course is recommended"))
    )


RULES: Final[tuple[Rule, ...]] = (
    Rule("consent", "Does the person consent to joint marketing?", _no_consent),
    Rule("do_not_contact", "May the person be contacted on this channel?", _do_not_contact),
    Rule("audience", "Does the plan address the person?", _outside_audience),
    Rule("suitability", "Is there an eligible product and a course to offer?", _unsuitable),
)
BUDGET: Final = "budget"
BUDGET_ASKS: Final = "Does the budget reach down to the person's score?"
RULE_NAMES: Final = (*(rule.name for rule in RULES), BUDGET)


def decide(plan: CampaignPlan, inputs: Inputs) -> Decisions:
    """List or leave out every known person.

    Raises:
        CampaignError: the consents name a person twice, or list and exclusions do not add up to the population.
    """
    products = inputs.products.join(inputs.eligible_products, on=["person_id", "item_id"], how="semi")
    people = _with_verdict(_population(plan, inputs, products=products), plan)
    left = people.filter(pl.col("step").is_null()).select("person_id")
    offers = joint_offers(
        courses=inputs.courses.join(left, on="person_id", how="semi"),
        products=products.join(left, on="person_id", how="semi"),
        interests=inputs.profiles.select("person_id", "interests"),
        catalogue=inputs.catalogue,
    )
    ranked = _within_budget(people.join(offers, on="person_id", how="inner"), plan)
    listed, unreached = ranked.filter(pl.col("fits")), ranked.filter(~pl.col("fits"))
    decisions = Decisions(_list_rows(listed, plan), _exclusion_rows(people, unreached, plan))
    _refuse_miscount(decisions, plan, population=people.height)
    return decisions


def _population(plan: CampaignPlan, inputs: Inputs, *, products: pl.DataFrame) -> pl.DataFrame:
    """One row per known person with everything that the rules read."""
    people = inputs.consents.select(
        "person_id", "is_allowed", pl.col("reason").alias("consent_reason"), "consent_id"
    ).sort("person_id")
    if people["person_id"].n_unique() != people.height:
        twice = people.filter(pl.col("person_id").is_duplicated())["person_id"].unique().sort().to_list()[:3]
        raise CampaignError(
            f"staging.consent_decisions as of {plan.as_of} holds {people.height} rows for "
            f"{people['person_id'].n_unique()} people (e.g. {twice}); one row per person was wanted. "
            f"Rebuild that table's partition {plan.as_of}."
        )
    flags = {"has_product": products, "has_course": inputs.courses, "has_profile": inputs.profiles}
    for flag, frame in flags.items():
        people = people.with_columns(pl.col("person_id").is_in(frame["person_id"].unique().implode()).alias(flag))
    traits = inputs.profiles.select("person_id", "age_years", "value_label", "has_course_side", "has_insurance_side")
    return (
        people.join(_partner_ids(inputs.gate), on="person_id", how="left")
        .join(_opt_outs(inputs.do_not_contact, plan), on="person_id", how="left")
        .join(traits, on="person_id", how="left")
        .with_columns(pl.col("is_in_gate").fill_null(value=False))
        .sort("person_id")
    )


def _partner_ids(gate: pl.DataFrame) -> pl.DataFrame:
    """One row per person of the gate; with several accounts at one firm the smallest id stands for the person."""
    subject, partner = pl.col("subject_id"), pl.col("partner")
    return gate.group_by("person_id").agg(
        subject.filter(partner == "course_platform").min().alias("user_id"),
        subject.filter(partner == "insurer").min().alias("customer_id"),
        pl.lit(value=True).alias("is_in_gate"),
    )


def _opt_outs(do_not_contact: pl.DataFrame, plan: CampaignPlan) -> pl.DataFrame:
    applies = do_not_contact.filter(pl.col("channel").is_in([ALL_CHANNELS, plan.channel]))
    return applies.group_by("person_id").agg(pl.col("channel").min().alias("opted_out_channel"))


def _with_verdict(people: pl.DataFrame, plan: CampaignPlan) -> pl.DataFrame:
    """Add step, rule and detail of the first rule that applies; null where none does."""
    people = people.with_columns(rule.detail(plan).alias(f"detail_{rule.name}") for rule in RULES)
    found = [(step, rule.name, pl.col(f"detail_{rule.name}")) for step, rule in enumerate(RULES, start=1)]
    return people.with_columns(
        pl.coalesce(pl.when(detail.is_not_null()).then(pl.lit(step, pl.Int64)) for step, _, detail in found).alias(
            "step"
        ),
        pl.coalesce(pl.when(detail.is_not_null()).then(pl.lit(name)) for _, name, detail in found).alias("rule"),
        pl.coalesce(detail for _, _, detail in found).alias("detail"),
    )


def _within_budget(candidates: pl.DataFrame, plan: CampaignPlan) -> pl.DataFrame:
    """Rank by score, draw the arms, and walk down until the next treated person would pass the budget.

    Only treated people cost; the walk stops at the first that does not fit, so more budget never lists fewer. Equal
    scores are in the order of a second hash: chance, the same at each run, and unrelated to arm and to id.
    """
    lot = [hash_share(person, salt=f"{plan.salt}|order") for person in candidates["person_id"]]
    ranked = candidates.with_columns(pl.Series("lot", lot, dtype=pl.Float64))
    ranked = ranked.sort(["score", "lot", "person_id"], descending=[True, False, False])
    arm = arms(ranked["person_id"], holdout_share=plan.holdout_share, salt=plan.salt)
    ranked = ranked.with_columns(arm)
    spent = (pl.col("arm") == "treatment").cast(pl.Int64).cum_sum() * plan.treated_cost_fen
    return ranked.with_columns((spent <= plan.budget_fen).alias("fits"))


def _list_rows(listed: pl.DataFrame, plan: CampaignPlan) -> pl.DataFrame:
    treated = pl.col("arm") == "treatment"
    rows = listed.with_columns(
        campaign_id=pl.lit(plan.id),
        channel=pl.lit(plan.channel),
        treatment_share=pl.lit(plan.treatment_share),
        assignment_share=pl.when(treated).then(plan.treatment_share).otherwise(plan.holdout_share),
        as_of_on=pl.lit(plan.as_of),
        launched_on=pl.lit(plan.launch_on),
        outcome_until_on=pl.lit(plan.outcome_until_on),
        contact_cost_fen=pl.when(treated).then(plan.contact_cost_fen).otherwise(0),
        incentive_fen=pl.when(treated).then(plan.incentive_fen).otherwise(0),
        goal_metric=pl.lit(plan.goal_metric),
        budget_fen=pl.lit(plan.budget_fen),
    )
    return rows.select(pl.col(name).cast(kind) for name, kind in CAMPAIGN_LIST_SCHEMA.items()).sort("person_id")


def _exclusion_rows(people: pl.DataFrame, unreached: pl.DataFrame, plan: CampaignPlan) -> pl.DataFrame:
    by_rule = people.filter(pl.col("step").is_not_null()).select("person_id", "step", "rule", "detail")
    by_budget = unreached.select(
        "person_id",
        pl.lit(len(RULE_NAMES), pl.Int64).alias("step"),
        pl.lit(BUDGET).alias("rule"),
        pl.format("score {} is below what the budget reaches", pl.col("score").round(4)).alias("detail"),
    )
    rows = pl.concat([by_rule, by_budget]).with_columns(campaign_id=pl.lit(plan.id), as_of_on=pl.lit(plan.as_of))
    return rows.select(pl.col(name).cast(kind) for name, kind in EXCLUSIONS_SCHEMA.items()).sort("person_id")


def _refuse_miscount(decisions: Decisions, plan: CampaignPlan, *, population: int) -> None:
    listed, excluded = decisions.listed.height, decisions.exclusions.height
    both = decisions.listed.join(decisions.exclusions, on="person_id", how="semi").height
    if listed + excluded != population or both:
        raise CampaignError(
            f"Campaign {plan.id}: {listed} listed + {excluded} left out ({both} in both) do not add up to the "
            f"{population} known people as of {plan.as_of}. Nothing was written; this is a mistake in the platform."
        )
    if decisions.treated_cost_fen > plan.budget_fen:
        raise CampaignError(
            f"Campaign {plan.id}: contacts cost {decisions.treated_cost_fen} fen, above the budget of "
            f"{plan.budget_fen} fen. Nothing was written; this is a mistake in the platform."
        )
