"""What a campaign's list is made from, read from the lake as it is or as it was. Pure: no Dagster.

Not here: what is decided from it (`decisions`).
"""

from typing import Protocol

import duckdb
import polars as pl

from xmkt_assets.campaigns.decisions import CampaignError, Inputs
from xmkt_assets.campaigns.plan import CampaignPlan


class Reads(Protocol):
    """The lake, or the lake as of a snapshot."""

    def read(self, query: str, **params: object) -> pl.DataFrame: ...


def read_inputs(lake: Reads, plan: CampaignPlan) -> Inputs:
    """What was known at the end of the plan's `as_of` day.

    Raises:
        CampaignError: a table is missing, or has no rows of that day though people consented to joint marketing.
    """
    consents = _as_of(lake, plan, "staging.consent_decisions", where="purpose = 'joint_marketing'")
    must = bool(consents["is_allowed"].any())
    profiles = _as_of(lake, plan, "segments.person_profile", must_have_rows=must)
    return Inputs(
        consents=consents,
        gate=_as_of(lake, plan, "staging.gate_joint_marketing", must_have_rows=must),
        do_not_contact=_as_of(lake, plan, "staging.do_not_contact", must_have_rows=False),
        profiles=profiles,
        courses=_as_of(lake, plan, "recommenders.course_recommendations", must_have_rows=must),
        products=_as_of(lake, plan, "recommenders.product_recommendations", must_have_rows=must),
        eligible_products=_as_of(lake, plan, "recommenders.product_eligibility", must_have_rows=must),
        catalogue=_catalogue(lake, plan),
    )


def _as_of(
    lake: Reads, plan: CampaignPlan, table: str, *, where: str = "true", must_have_rows: bool = True
) -> pl.DataFrame:
    try:
        rows = lake.read(f"select * from {table} where as_of_on = $day and {where}", day=plan.as_of)
    except duckdb.CatalogException as error:
        raise CampaignError(_missing(plan, table, "does not exist")) from error
    if must_have_rows and rows.is_empty():
        raise CampaignError(_missing(plan, table, f"has no rows as of {plan.as_of}"))
    return rows


def _catalogue(lake: Reads, plan: CampaignPlan) -> pl.DataFrame:
    """Courses and products by the words of today's catalogue; it has no history."""
    query = "select item_id, title, topics from recommenders.{}_items"
    try:
        return pl.concat(lake.read(query.format(side)) for side in ("course", "product"))
    except duckdb.CatalogException as error:
        raise CampaignError(_missing(plan, "recommenders.course_items or product_items", "does not exist")) from error


def _missing(plan: CampaignPlan, table: str, found: str) -> str:
    return (
        f"Campaign {plan.id}: {table} {found}; the plan reads it as of {plan.as_of}. Materialise the partition "
        f"{plan.as_of} of {table} (and what it reads), or set as_of in campaigns/{plan.id}.yaml to a day that has it."
    )
