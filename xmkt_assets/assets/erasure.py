"""Erasure: one materialisation carries out every waiting request. Wiring only; see ``xmkt_assets.erasure``."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from xmkt_assets.erasure import suppression, work
from xmkt_assets.erasure.registry import registry_of
from xmkt_assets.erasure.requests import FOLDER, Request, RequestError, pending, read_request
from xmkt_assets.erasure.work import Erased, Place, erase
from xmkt_assets.materialisation import markdown_table
from xmkt_assets.resources import PartnerDrops, Warehouse

OWNERS = ["team:compliance"]
ERASURES = dg.AssetKey(work.ERASURES.split("."))
ERASED_SUBJECTS = dg.AssetKey(suppression.TABLE.split("."))


@dg.multi_asset(
    name="erasures",
    specs=[
        dg.AssetSpec(
            ERASURES,
            group_name="staging",
            description=f"{work.DESCRIPTION}\n\nMaterialising it carries out every request that waits as a file in "
            f"`{FOLDER}/` of the home: the person leaves all tables, older snapshots, delivered files, exports, models "
            "and logs. The receipt is in `receipts/`.",
            kinds={"python", "ducklake"},
            owners=OWNERS,
            metadata={"dagster/table_name": work.ERASURES},
        ),
        dg.AssetSpec(
            ERASED_SUBJECTS,
            group_name="raw",
            description=suppression.DESCRIPTION,
            kinds={"python", "ducklake"},
            owners=OWNERS,
            metadata={"dagster/table_name": suppression.TABLE},
        ),
    ],
    check_specs=[
        dg.AssetCheckSpec(
            "nothing_is_left",
            asset=ERASURES,
            description="No byte under the home and no row of the lake names a person whose request was carried out.",
        )
    ],
    can_subset=False,
)
def erasures(context: dg.AssetExecutionContext, warehouse: Warehouse, drops: PartnerDrops) -> Any:
    """Carry out every waiting request; nothing that names a person goes into the log or the metadata."""
    home = Path(warehouse.home)
    requests, faults = read_pending(home)
    landing = None if "://" in drops.landing else Path(drops.landing)
    place = Place(home, warehouse.lake, landing, registry_of(home) if requests else None)
    now = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    done = erase(place, requests, run_id=context.run.run_id, now=now, say=context.log.info) if requests else []
    _make_tables(warehouse)
    open_again = [one for one in done if not one.is_complete]
    yield dg.MaterializeResult(asset_key=ERASED_SUBJECTS)
    yield dg.MaterializeResult(
        asset_key=ERASURES,
        metadata={
            "requests": len(done),
            "receipts": _receipts(done),
            "refused_requests": markdown_table(_faults(faults)),
        },
        check_results=[
            dg.AssetCheckResult(passed=not open_again, check_name="nothing_is_left", metadata={"open": len(open_again)})
        ],
    )
    if faults or open_again:
        raise dg.Failure(_complaint(open_again, faults), allow_retries=False)


def read_pending(home: Path) -> tuple[list[Request], list[str]]:
    """Requests that can be carried out, and what is wrong with the others."""
    requests, faults = [], []
    for path in pending(home):
        try:
            requests.append(read_request(path))
        except RequestError as error:
            faults.append(str(error))
    return requests, faults


def _make_tables(warehouse: Warehouse) -> None:
    """Both tables exist from the first materialisation on, also before the first request."""
    known = warehouse.lake.tables()
    if work.ERASURES not in known:
        none = pl.DataFrame(schema=work.SCHEMA)
        warehouse.replace(work.ERASURES, none, description=work.DESCRIPTION, columns=work.COLUMNS)
    if suppression.TABLE not in known:
        with warehouse.session() as session:
            suppression.suppress(session, Path(warehouse.home), [], request_id="", erased_at=datetime(1970, 1, 1))


def _receipts(done: Sequence[Erased]) -> dg.MarkdownMetadataValue:
    shown = [
        (one.request_id, one.content["status"], sum(t["rows_of_person_before"] for t in one.content["tables"]))
        for one in done
    ]
    kinds = {"request": pl.String, "status": pl.String, "rows_removed": pl.Int64}
    return markdown_table(pl.DataFrame(shown, schema=kinds, orient="row"))


def _faults(faults: Sequence[str]) -> pl.DataFrame:
    return pl.DataFrame({"what_is_wrong": faults}, schema={"what_is_wrong": pl.String})


def _complaint(open_again: Sequence[Erased], faults: Sequence[str]) -> str:
    still = [
        f"Request {one.request_id} is not complete: its receipt names what still holds the person. Remove these files "
        "by hand, wait for runs and long queries to end, then materialise staging.erasures again."
        for one in open_again
    ]
    return " ".join([*still, *faults])


ASSETS = [erasures]
