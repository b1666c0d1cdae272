"""Withdrawals: applied at the end of every load. Wiring only; what is done is in ``xmkt_assets.withdrawals``."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl

from xmkt_assets.exports import FOLDER, check_again, write_exports
from xmkt_assets.materialisation import markdown_table, written_metadata
from xmkt_assets.resources import Warehouse
from xmkt_assets.secrets import home_secret
from xmkt_assets.warehouse import Session, Written
from xmkt_assets.withdrawals import APPLIED, DESCRIPTION, REFUSALS, Removal, Run, apply_withdrawals


@dg.asset(
    key=APPLIED.split("."),
    group_name="staging",
    description=f"{DESCRIPTION} Runs with every load: a withdrawal is obeyed in the run that brings it, for all days.",
    deps=[REFUSALS.split(".")],
    kinds={"python", "ducklake"},
    owners=["team:compliance"],
    metadata={"dagster/table_name": APPLIED},
)
def withdrawals_applied(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult:
    """Take people who refuse a purpose now out of profiles, scores, recommendations and lists not yet launched.

    The export files of such a list are written again; whoever sent the earlier ones must send them again.
    """
    read_snapshot = warehouse.snapshot_id()
    run = Run(context.run.run_id, datetime.now(UTC).replace(tzinfo=None))
    with warehouse.session() as session:
        done = apply_withdrawals(session, run)
        files = _export_again(session, done, home=Path(warehouse.home))
        written = Written(APPLIED, session.snapshot_id(), len(done))
    for one in done:
        context.log.info("%s: %d rows of %d people %s", one.table, one.rows, one.people, one.action)
    if files:
        context.log.warning("People left lists after their files were written. Send these again: %s", ", ".join(files))
    changed = pl.DataFrame([(d.table, d.action, d.people, d.rows) for d in done], schema=_SHOWN, orient="row")
    return dg.MaterializeResult(
        metadata={
            **written_metadata(written, read_snapshot_id=read_snapshot),
            "tables_changed": markdown_table(changed),
            "rows_removed": int(changed["rows"].sum()),
            "files_to_send_again": ", ".join(files) or "none",
        }
    )


def _export_again(session: Session, done: list[Removal], *, home: Path) -> list[str]:
    """Files of the lists that lost people, written anew where there were any; people are checked as for any export."""
    newest = "as_of_on = (select max(as_of_on) from staging.gate_joint_marketing)"
    files = []
    for campaign in (c for one in done for c in one.campaigns if (home / FOLDER / c).exists()):
        checked = check_again(
            session.read("select * from campaigns.campaign_list where campaign_id = $id", id=campaign),
            allowed=session.read(f"select person_id from staging.gate_joint_marketing where {newest}"),
            refused=session.read(f"select person_id, channel from staging.do_not_contact where {newest}"),
        )
        secret = home_secret(home, "pseudonyms")
        files += [f.file for f in write_exports(home, checked.listed, campaign_id=campaign, secret=secret)]
    return files


_SHOWN = {"table": pl.String, "action": pl.String, "people": pl.Int64, "rows": pl.Int64}

ASSETS = [withdrawals_applied]
