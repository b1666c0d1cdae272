"""Raw: one asset per partner feed, loaded from the landing folder. Wiring only; loading is in ``xmkt_assets.raw``.

To add a feed, add its contract: nothing is registered here.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from xmkt_assets.contracts import Contract, contracts
from xmkt_assets.contracts.docs import columns_table, terms_table
from xmkt_assets.known_tables import known_tables
from xmkt_assets.materialisation import (
    SAMPLE_ROWS,
    add_day_counts,
    column_schema,
    markdown_table,
    sample,
    written_metadata,
)
from xmkt_assets.partitions import DAYS, days_of
from xmkt_assets.raw.books import (
    LEDGER,
    LEDGER_COLUMNS,
    LEDGER_DESCRIPTION,
    LEDGER_SCHEMA,
    QUARANTINE,
    QUARANTINE_COLUMNS,
    QUARANTINE_DESCRIPTION,
    QUARANTINE_SCHEMA,
)
from xmkt_assets.raw.drift import table_of
from xmkt_assets.raw.fixes import FIXES, empty_fixes, take_over, waiting_sheets
from xmkt_assets.raw.late import LATE, LATE_COLUMNS, LATE_DESCRIPTION
from xmkt_assets.raw.load import FeedLoad, empty_feed, load_feed
from xmkt_assets.resources import PartnerDrops, Warehouse
from xmkt_assets.showing import sample_columns
from xmkt_assets.warehouse import Equal, Replace, Session, Written

OWNERS = ["team:data-engineering"]
MANY_SHARE = 0.01
PROVENANCE = {
    "partner": "Which firm delivered the row",
    "dt": "Day of the folder it was delivered in",
    "source_file": "File it came in, under the landing folder",
    "source_row": "Place of the row in the file, header not counted",
    "loaded_at": "When it was loaded (UTC)",
}


def feed_asset(contract: Contract) -> dg.AssetsDefinition:
    """The asset of one feed: every file of the day, good rows here, bad rows in ``raw.quarantine``."""
    feed = contract.feed
    key = dg.AssetKey(["raw", feed])

    @dg.asset(
        key=key,
        group_name="raw",
        description=_description(contract),
        partitions_def=DAYS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=[FIXES.split(".")],
        code_version=contract.version,
        kinds={"duckdb", "ducklake"},
        owners=OWNERS,
        tags={"personal": "yes"} if contract.is_personal else {},
        metadata={"dagster/table_name": f"raw.{feed}", "key": ", ".join(contract.key), **_columns(contract)},
        check_specs=[
            dg.AssetCheckSpec(
                "files_are_readable", asset=key, description="Every file could be opened and read to its end."
            ),
            dg.AssetCheckSpec(
                "rows_add_up", asset=key, description="Rows in = loaded + quarantined + duplicates, per file."
            ),
            dg.AssetCheckSpec(
                "few_rows_refused",
                asset=key,
                description=f"At most {MANY_SHARE:.0%} of the rows went to quarantine. More than "
                f"{contract.max_refused_share:.0%} of a partner's day, and the day is held back: the table keeps it as "
                "it was.",
            ),
            dg.AssetCheckSpec(
                "units_are_steady",
                asset=key,
                description="Values are of the size, and values of a list as frequent, as in the days before. A day "
                "that looks like another unit (yuan for fen) is held back.",
            ),
        ],
    )
    def asset(context: dg.AssetExecutionContext, warehouse: Warehouse, drops: PartnerDrops) -> Iterator[Any]:
        days = days_of(context)
        files = drops.inventory(only_feed=feed).of(feed, days)
        with drops.lent(files) as local_files, warehouse.session() as session:
            read_snapshot = session.snapshot_id()
            load = load_feed(session, contract, local_files, run_id=context.run.run_id, loaded_at=_now())
            written = load.written or _untouched(session, contract)
            shown = _sample(session, contract, days[-1])
        add_day_counts(context, {**dict.fromkeys(days, 0), **load.row_counts})
        context.add_asset_metadata(shown, partition_key=days[-1].isoformat())
        yield dg.MaterializeResult(
            metadata={
                **written_metadata(written, read_snapshot_id=read_snapshot, days=len(days)),
                **_file_metadata(contract, load),
            },
            check_results=list(_checks(key, load)),
        )

    return asset


@dg.asset(
    key=["raw", "landing_strays"],
    group_name="raw",
    kinds={"duckdb", "ducklake"},
    owners=OWNERS,
    check_specs=[
        dg.AssetCheckSpec(
            "nothing_strays",
            asset=dg.AssetKey(["raw", "landing_strays"]),
            description="Every file in the landing folder belongs to a known partner, feed and day.",
        )
    ],
)
def landing_strays(context: dg.AssetExecutionContext, warehouse: Warehouse, drops: PartnerDrops) -> Iterator[Any]:
    """One row per file in the landing folder that belongs to no feed, with what to do about it.

    Such a file is not loaded and not touched; it stays where it lies until somebody moves it.
    """
    read_snapshot = warehouse.snapshot_id()
    strays = drops.inventory().strays
    seen = [{"source_file": name, "reason": reason, "seen_at": _now()} for name, reason in strays]
    rows = pl.DataFrame(seen, schema={"source_file": pl.String, "reason": pl.String, "seen_at": pl.Datetime("us")})
    written = warehouse.replace("raw.landing_strays", rows)
    for name, reason in strays:
        context.log.warning("%s: %s", name, reason)
    yield dg.MaterializeResult(
        metadata={
            **written_metadata(written, read_snapshot_id=read_snapshot),
            "strays": markdown_table(rows.drop("seen_at")),
        },
        check_results=[
            dg.AssetCheckResult(
                passed=rows.is_empty(),
                check_name="nothing_strays",
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"files": len(strays)},
            )
        ],
    )


@dg.asset(key=FIXES.split("."), group_name="raw", kinds={"duckdb", "ducklake"}, owners=OWNERS, tags={"personal": "yes"})
def quarantine_fixes(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[Any]:
    """One row per decision about a quarantined row: fixed, with the values to load in its place, or given up.

    Edited sheets wait in `quarantine_fixes/<who decided>/` under the home; taken over, they are removed. The next
    load of their days applies them. Make a sheet: `python -m xmkt_assets.quarantine export FEED SHEET.csv`.
    """
    sheets = waiting_sheets(Path(warehouse.home))
    with warehouse.session() as session:
        read_snapshot = session.snapshot_id()
        written = empty_fixes(session) if FIXES not in session.tables() else Written(FIXES, read_snapshot, 0)
        taken = take_over(session, contracts(), sheets, run_id=context.run.run_id, decided_at=_now())
        written = written._replace(snapshot_id=session.snapshot_id(), row_count=sum(t.decisions for t in taken))
    lines = [{"sheet": t.sheet, "line": line, "why": why} for t in taken for line, why in t.refused]
    for line in lines:
        context.log.warning("%s, line %s was not taken over: %s", *line.values())
    return dg.MaterializeResult(
        metadata={
            **written_metadata(written, read_snapshot_id=read_snapshot),
            "sheets_taken_over": len(taken),
            "lines_not_taken_over": markdown_table(pl.DataFrame(lines, schema={"sheet": str, "line": int, "why": str})),
        }
    )


def book_spec(table: str, description: str, columns: Mapping[str, str]) -> dg.AssetSpec:
    """A table that every feed asset writes a slice of, in the same transaction as its rows."""
    return dg.AssetSpec(
        key=table.split("."),
        description=f"{description} Written by every feed of this group, in the transaction that writes its rows.",
        deps=[["raw", feed] for feed in contracts()],
        group_name="raw",
        kinds={"ducklake"},
        owners=OWNERS,
        metadata={
            "dagster/table_name": table,
            **column_schema([dg.TableColumn(name, "", meaning) for name, meaning in columns.items()]),
        },
    )


def _description(contract: Contract) -> str:
    return "\n".join([contract.description, "", *terms_table(contract), "", *columns_table(contract)])


def _columns(contract: Contract) -> dict[str, Any]:
    of_feed = [dg.TableColumn(c.name, c.duckdb_type, c.meaning) for c in contract.columns]
    types = known_tables()[f"raw.{contract.feed}"]
    added = {name: dg.TableColumn(name, types[name], meaning) for name, meaning in PROVENANCE.items()}
    before = [added.pop("partner"), added.pop("dt")]
    return column_schema([*before, *of_feed, *added.values()])


def _sample(session: Session, contract: Contract, day: date) -> dict[str, Any]:
    """A few of the day's rows, without a personal column."""
    table = f"raw.{contract.feed}"
    columns = sample_columns(table, (*PROVENANCE, *contract.column_names))
    rows = session.read(f"select {', '.join(columns)} from {table} where dt = $day limit {SAMPLE_ROWS}", day=day)
    return sample(table, rows)


def _untouched(session: Session, contract: Contract) -> Written:
    """No file for these days: make sure the table exists, keep what it holds."""
    table = f"raw.{contract.feed}"
    if table not in session.tables():
        empty_feed(session, contract)
        session.stage_rows("no_ledger", pl.DataFrame(schema=LEDGER_SCHEMA))
        session.stage_rows("no_quarantine", pl.DataFrame(schema=QUARANTINE_SCHEMA))
        nothing = Equal((("dt", []),))  # a run that made and filled them meanwhile loses no row
        books = [
            Replace(LEDGER, "no_ledger", nothing, LEDGER_DESCRIPTION, LEDGER_COLUMNS),
            Replace(QUARANTINE, "no_quarantine", nothing, QUARANTINE_DESCRIPTION, QUARANTINE_COLUMNS),
        ]
        first = [change for change in books if change.table not in session.tables()]
        return session.commit([Replace(table, "new_rows", nothing, contract.description), *first])[0]
    return Written(table, session.snapshot_id(), 0)


def _file_metadata(contract: Contract, load: FeedLoad) -> dict[str, Any]:
    counted = (
        load.ledger.select("rows_in", "rows_loaded", "rows_quarantined", "rows_duplicate").sum().row(0, named=True)
    )
    troubled = load.ledger.filter((pl.col("status") != "loaded") | (pl.col("note") != ""))
    return {
        "files": load.ledger.height,
        **{name: int(value or 0) for name, value in counted.items()},
        "files_to_look_at": markdown_table(troubled.select("source_file", "status", "rows_quarantined", "note")),
    }


def _checks(key: dg.AssetKey, load: FeedLoad) -> Iterator[dg.AssetCheckResult]:
    ledger = load.ledger
    broken = ledger.filter(pl.col("status").is_in(["unreadable", "rejected"]))
    yield dg.AssetCheckResult(
        passed=broken.is_empty(),
        check_name="files_are_readable",
        asset_key=key,
        metadata={"files": markdown_table(broken.select("source_file", "status", "note"))},
    )
    total = pl.col("rows_loaded") + pl.col("rows_quarantined") + pl.col("rows_duplicate")
    unequal = ledger.filter(pl.col("rows_in") != total)
    yield dg.AssetCheckResult(
        passed=unequal.is_empty(), check_name="rows_add_up", asset_key=key, metadata={"files": unequal.height}
    )
    yield _refused_check(key, load)
    drifts = pl.DataFrame(table_of(load.drifts), schema_overrides={"dt": pl.Date})
    yield dg.AssetCheckResult(
        passed=drifts.is_empty(),
        check_name="units_are_steady",
        asset_key=key,
        severity=_severity(is_error=any(drift.blocks for drift in load.drifts)),
        metadata={"findings": markdown_table(drifts)} if drifts.height else {},
    )


def _refused_check(key: dg.AssetKey, load: FeedLoad) -> dg.AssetCheckResult:
    """Warns of many refused rows; an error when a day is held back for them."""
    rows_in, refused = (int(load.ledger[name].sum() or 0) for name in ("rows_in", "rows_quarantined"))
    share = refused / rows_in if rows_in else 0.0
    return dg.AssetCheckResult(
        passed=share <= MANY_SHARE and not load.held,
        check_name="few_rows_refused",
        asset_key=key,
        severity=_severity(is_error=bool(load.held)),
        metadata={
            "refused_share": share,
            "rows_refused": refused,
            "look_in": QUARANTINE,
            "days_held_back": "; ".join(f"{h.partner} {h.dt}: {h.why}" for h in load.held) or "none",
        },
    )


def _severity(*, is_error: bool) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


FEEDS = [feed_asset(contract) for contract in contracts().values()]
BOOKS = [
    book_spec(LEDGER, LEDGER_DESCRIPTION, LEDGER_COLUMNS),
    book_spec(QUARANTINE, QUARANTINE_DESCRIPTION, QUARANTINE_COLUMNS),
    book_spec(LATE, LATE_DESCRIPTION, LATE_COLUMNS),
]
ASSETS: list[dg.AssetsDefinition | dg.AssetSpec] = [*FEEDS, landing_strays, quarantine_fixes, *BOOKS]
