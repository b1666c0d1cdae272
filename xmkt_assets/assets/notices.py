"""Notices: the sharing agreement's, as a table. Wiring only; the rows are made in ``xmkt_assets.notices``."""

from pathlib import Path

import dagster as dg

from xmkt_assets.agreement import AgreementError, agreement_path, read_agreement
from xmkt_assets.materialisation import markdown_table, materialised
from xmkt_assets.notices import COLUMNS, DESCRIPTION, TABLE, notice_rows
from xmkt_assets.resources import Warehouse


@dg.asset(
    key=TABLE.split("."),
    group_name="staging",
    description=DESCRIPTION,
    kinds={"python", "yaml"},
    owners=["team:compliance"],
    metadata={"dagster/table_name": TABLE},
)
def notices(warehouse: Warehouse) -> dg.MaterializeResult:
    """The notices of the agreement that counts in this home: its own file, else the packaged one."""
    home = Path(warehouse.home)
    try:
        rows = notice_rows(read_agreement(home).notices)
    except AgreementError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    read_snapshot = warehouse.snapshot_id()
    written = warehouse.replace(TABLE, rows, description=DESCRIPTION, columns=COLUMNS)
    shown = {"agreement": agreement_path(home).name, "notices": markdown_table(rows)}
    return materialised(written, rows, read_snapshot_id=read_snapshot, metadata=shown, columns=COLUMNS)


ASSETS = [notices]
