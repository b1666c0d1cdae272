"""Campaigns: from a plan file to the list and the exclusions. Wiring only; the decisions are in
``xmkt_assets.campaigns``.

A campaign is a partition: materialising partition ``<id>`` reads ``$XMKT_HOME/campaigns/<id>.yaml``.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import polars as pl

from xmkt_assets.campaigns import tables
from xmkt_assets.campaigns.decisions import CampaignError, Decisions, decide
from xmkt_assets.campaigns.inputs import read_inputs
from xmkt_assets.campaigns.pictures import waterfall_figure
from xmkt_assets.campaigns.plan import CampaignPlan, PlanError, load_plan
from xmkt_assets.materialisation import column_schema, markdown_table, picture, sample, written_metadata
from xmkt_assets.partitions import CAMPAIGNS
from xmkt_assets.reproduction import run_row
from xmkt_assets.resources import Warehouse
from xmkt_assets.showing import sample_columns
from xmkt_assets.snapshots import as_of_session
from xmkt_assets.warehouse import Equal, Replace, Session, Written

LIST = "campaigns.campaign_list"
EXCLUSIONS = "campaigns.exclusions"
OWNERS = ["team:marketing"]
UPSTREAM = (
    "staging.consent_decisions",
    "staging.gate_joint_marketing",
    "staging.do_not_contact",
    "segments.person_profile",
    "recommenders.course_recommendations",
    "recommenders.product_recommendations",
    "recommenders.product_eligibility",
    "recommenders.course_items",
    "recommenders.product_items",
)


def _spec(table: str, description: str) -> dg.AssetSpec:
    any_day = [dg.AssetDep(name.split("."), partition_mapping=dg.AllPartitionMapping()) for name in UPSTREAM]
    return dg.AssetSpec(
        key=table.split("."),
        group_name="campaigns",
        description=description,
        deps=any_day,
        partitions_def=CAMPAIGNS,
        kinds={"python", "polars"},
        owners=OWNERS,
        tags={"personal": "yes"},
        metadata={"dagster/table_name": table},
    )


class Audit(NamedTuple):
    """One promise of a list, checked on the new rows before they are published; `broken` counts what breaks it."""

    name: str
    promise: str
    broken: str

    @property
    def spec(self) -> dg.AssetCheckSpec:
        return dg.AssetCheckSpec(self.name, asset=LIST.split("."), description=self.promise, blocking=True)


# A second method beside `decide`: these read the tables again and share no code with it.
AUDITS = (
    Audit(
        "everyone_is_accounted_for",
        "Each person known as of the plan's day is on the list or among the exclusions, once; nobody else is.",
        """
        with placed as (
            select person_id from new_list union all select person_id from new_exclusions
        ),
        known as (
            select person_id from staging.consent_decisions where purpose = 'joint_marketing' and as_of_on = $day
        ),
        counted as (
            select person_id, sum(is_known) as known_count, sum(1 - is_known) as placed_count
            from (select person_id, 1 as is_known from known union all select person_id, 0 as is_known from placed)
            group by person_id
        )
        select count(*) from counted where known_count <> 1 or placed_count <> 1
        """,
    ),
    Audit(
        "nobody_is_listed_without_consent",
        "Each listed person passed the joint-marketing gate on the plan's day, under the consent that the row names.",
        """
        select count(*)
        from new_list as l
        anti join staging.gate_joint_marketing as g
            on g.as_of_on = $day and g.person_id = l.person_id and g.consent_id = l.consent_id
        """,
    ),
    Audit(
        "nobody_is_listed_against_their_word",
        "No listed person opted out of the channel, or of all, by the plan's day.",
        """
        select count(*)
        from new_list as l
        semi join staging.do_not_contact as d
            on d.as_of_on = $day and d.person_id = l.person_id and d.channel in ('all', l.channel)
        """,
    ),
    Audit(
        "products_offered_may_be_sold",
        "Each product on the list may be sold to the person, by recommenders.product_eligibility of the plan's day.",
        """
        select count(*)
        from new_list as l
        anti join recommenders.product_eligibility as e
            on e.as_of_on = $day and e.person_id = l.person_id and e.item_id = l.product_id
        """,
    ),
    Audit(
        "contacts_stay_within_budget",
        "Contacts and incentives of the treated cost no more than the budget, and controls cost nothing.",
        """
        select
            count(case when arm = 'control' and contact_cost_fen + incentive_fen > 0 then 1 end)
            + case when coalesce(sum(contact_cost_fen + incentive_fen), 0) > max(budget_fen) then 1 else 0 end
        from new_list
        """,
    ),
)


@dg.multi_asset(
    specs=[_spec(LIST, tables.CAMPAIGN_LIST_DESCRIPTION), _spec(EXCLUSIONS, tables.EXCLUSIONS_DESCRIPTION)],
    check_specs=[audit.spec for audit in AUDITS],
    name="campaign",
)
def campaign(context: dg.AssetExecutionContext, warehouse: Warehouse) -> Iterator[Any]:
    """List or leave out every known person for one plan; both tables change in one transaction."""
    read_snapshot = warehouse.snapshot_id()
    try:
        plan = load_plan(context.partition_key, folder=Path(warehouse.home) / "campaigns")
        with as_of_session(warehouse.lake, read_snapshot) as past:  # all tables of one and the same moment
            decisions = decide(plan, read_inputs(past, plan))
    except (PlanError, CampaignError) as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    with warehouse.session() as session:
        session.stage_rows("new_list", decisions.listed)
        session.stage_rows("new_exclusions", decisions.exclusions)
        checked = [_audit(session, plan, audit) for audit in AUDITS]
        if not all(result.passed for result in checked):
            yield from checked
            raise dg.Failure(_refusal(plan, checked), allow_retries=False)
        session.stage_rows("new_run", run_row(plan, decisions, run_id=context.run.run_id, read_snapshot=read_snapshot))
        written = _publish(session, plan, run_id=context.run.run_id, read_snapshot=read_snapshot)
    story = _story(plan, decisions)
    for one, rows in zip(written, (decisions.listed, decisions.exclusions), strict=False):
        yield _result(one, rows, read_snapshot=read_snapshot, story=story)
    yield from checked


def _audit(session: Session, plan: CampaignPlan, audit: Audit) -> dg.AssetCheckResult:
    params = {"day": plan.as_of} if "$day" in audit.broken else {}
    broken = int(session.read(audit.broken, **params).item() or 0)
    return dg.AssetCheckResult(
        passed=broken == 0, check_name=audit.name, asset_key=LIST.split("."), metadata={"breaking_it": broken}
    )


def _refusal(plan: CampaignPlan, checked: list[dg.AssetCheckResult]) -> str:
    broken = [audit for audit, result in zip(AUDITS, checked, strict=True) if not result.passed]
    promises = " ".join(f"Broken: {audit.promise}" for audit in broken)
    return (
        f"Campaign {plan.id}: the new list breaks {len(broken)} promise(s) and was not published; an earlier list "
        f"stands. {promises} Rebuild the tables that the list reads as of {plan.as_of}, in order, and run again."
    )


def _publish(session: Session, plan: CampaignPlan, *, run_id: str, read_snapshot: int) -> list[Written]:
    """Both tables, and the note from which the list can be made again."""
    scope = Equal((("campaign_id", plan.id),))
    this_run = Equal((("campaign_id", plan.id), ("run_id", run_id)))
    return session.commit(
        [
            Replace(LIST, "new_list", scope, tables.CAMPAIGN_LIST_DESCRIPTION, tables.CAMPAIGN_LIST_COLUMNS),
            Replace(EXCLUSIONS, "new_exclusions", scope, tables.EXCLUSIONS_DESCRIPTION, tables.EXCLUSIONS_COLUMNS),
            Replace(tables.LIST_RUNS, "new_run", this_run, tables.LIST_RUNS_DESCRIPTION, tables.LIST_RUNS_COLUMNS),
        ],
        read_snapshot_id=read_snapshot,
    )


def _story(plan: CampaignPlan, decisions: Decisions) -> dict[str, Any]:
    waterfall = decisions.waterfall()
    details = decisions.exclusions.filter(pl.col("rule") != "budget").group_by("rule", "detail").agg(people=pl.len())
    arms = decisions.listed.group_by("arm", "assignment_share").agg(
        people=pl.len(), cost_fen=(pl.col("contact_cost_fen") + pl.col("incentive_fen")).sum()
    )
    return {
        "waterfall": markdown_table(waterfall),
        "waterfall_picture": picture(waterfall_figure(waterfall, title=plan.id), title="who came, who was left out"),
        "arms": markdown_table(arms.sort("arm", descending=True)),
        "exclusion_details": markdown_table(details.sort("people", "detail", descending=[True, False])),
        "plan": dg.MetadataValue.json(plan.model_dump(mode="json")),
        "spent_fen": decisions.treated_cost_fen,
        "budget_fen": plan.budget_fen,
    }


def _result(one: Written, rows: pl.DataFrame, *, read_snapshot: int, story: dict[str, Any]) -> dg.MaterializeResult:
    meanings = tables.CAMPAIGN_LIST_COLUMNS if one.table == LIST else tables.EXCLUSIONS_COLUMNS
    columns = [dg.TableColumn(name, str(kind), meanings[name]) for name, kind in rows.schema.items()]
    return dg.MaterializeResult(
        asset_key=one.table.split("."),
        metadata={
            **written_metadata(one, read_snapshot_id=read_snapshot),
            **column_schema(columns),
            **sample(one.table, rows.select(sample_columns(one.table, rows.columns))),
            **story,
        },
        data_version=dg.DataVersion(f"snapshot-{one.snapshot_id}"),
    )


ASSETS = [campaign]
