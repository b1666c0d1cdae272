"""Exports: the files of a campaign for the firms. Wiring only; what is in them is said in ``xmkt_assets.exports``."""

from pathlib import Path

import dagster as dg
import polars as pl

from xmkt_assets.exports import Checked, check_again, write_exports
from xmkt_assets.materialisation import markdown_table
from xmkt_assets.partitions import CAMPAIGNS
from xmkt_assets.resources import Warehouse
from xmkt_assets.secrets import home_secret

_ANY_DAY = dg.AllPartitionMapping()


@dg.asset(
    key=["campaigns", "exports"],
    group_name="campaigns",
    deps=[
        ["campaigns", "campaign_list"],
        dg.AssetDep(["staging", "gate_joint_marketing"], partition_mapping=_ANY_DAY),
        dg.AssetDep(["staging", "do_not_contact"], partition_mapping=_ANY_DAY),
    ],
    partitions_def=CAMPAIGNS,
    kinds={"csv", "file"},
    owners=["team:marketing"],
    tags={"personal": "yes"},
)
def exports(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult:
    """The files `exports/<campaign>/<firm>.csv`: whom each firm contacts, with what, through which channel, and why.

    Held-out people are in no file. Who withdrew or opted out since the list was made, by the newest day of the gates,
    is left out here as well. Materialise it again before sending: it is cheap, and consent may have changed.
    """
    home, campaign = Path(warehouse.home), context.partition_key
    checked = _checked(warehouse, campaign)
    if checked.withdrawn:
        context.log.info("%d people withdrew since the list was made and are left out", checked.withdrawn)
    done = write_exports(home, checked.listed, campaign_id=campaign, secret=home_secret(home, "pseudonyms"))
    return dg.MaterializeResult(
        metadata={
            "files": markdown_table(pl.DataFrame(done)),
            "dagster/row_count": sum(one.rows for one in done),
            "people_contacted": checked.listed.height,
            "people_left_out_since_the_list": checked.withdrawn,
            **{f"sha256_{one.partner}": one.sha256 for one in done},
        }
    )


def _checked(warehouse: Warehouse, campaign: str) -> Checked:
    listed = warehouse.read("select * from campaigns.campaign_list where campaign_id = $id", id=campaign)
    newest = "as_of_on = (select max(as_of_on) from staging.gate_joint_marketing)"
    allowed = warehouse.read(f"select distinct person_id from staging.gate_joint_marketing where {newest}")
    refused = warehouse.read(f"select person_id, channel from staging.do_not_contact where {newest}")
    return check_again(listed, allowed=allowed, refused=refused)


ASSETS = [exports]
