"""Quarantine from the command line: what was refused, a sheet to mend it in, and one command that loads it again.

``python -m xmkt_assets.quarantine`` lists; ``export FEED SHEET.csv`` writes the open rows for editing; ``replay
SHEET.csv --by NAME`` takes over the decisions and loads the days they belong to. The same without a command: put the
sheet into ``<home>/quarantine_fixes/<your name>/`` and run ``load_partner_drops`` for its days.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

import polars as pl

from xmkt_assets.contracts import contracts
from xmkt_assets.raw.fixes import FIXES, FixError, judge_sheet, open_rows, sheets_folder, write_sheet
from xmkt_assets.resources import Warehouse, prepare_home, settings, warehouse_of


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands. Returns the exit code."""
    options = _options(arguments)
    warehouse = warehouse_of(settings())
    if options.command == "export":
        return _export(warehouse, options.feed, options.sheet, days=options.day)
    if options.command == "replay":
        return _replay(warehouse, options.sheet, decided_by=options.by)
    return _list(warehouse)


def _list(warehouse: Warehouse) -> int:
    from xmkt_assets.console import print_table

    with warehouse.session() as session:
        rows = open_rows(session)
    what = pl.col("reason").str.split(": found").list.first().str.slice(0, 70).alias("reason")
    counts = rows.group_by("feed", "dt", what).agg(pl.len().alias("rows")).sort("dt", "feed", "reason")
    print_table(f"Open rows in quarantine: {rows.height:,}", counts)
    if rows.height:
        print("\nMend them: python -m xmkt_assets.quarantine export FEED SHEET.csv")
    return 0


def _export(warehouse: Warehouse, feed: str, sheet: Path, *, days: list[date] | None) -> int:
    if feed not in contracts():
        sys.exit(f"There is no feed {feed!r}; wanted one of {', '.join(sorted(contracts()))}.")
    with warehouse.session() as session:
        rows = write_sheet(session, contracts()[feed], sheet, days=days or None)
    print(
        f"{rows:,} refused rows of {feed} are in {sheet}. Write 'fixed' or 'given up' in the column decision, mend the"
    )
    print(f"values, then: python -m xmkt_assets.quarantine replay {sheet} --by YOUR-NAME")
    return 0


def _replay(warehouse: Warehouse, sheet: Path, *, decided_by: str) -> int:
    """Lay `sheet` where the load looks for it and load its days, as runs that the Dagster pages show."""
    import dagster as dg

    from xmkt_assets.automation.jobs import LOAD
    from xmkt_assets.console import RunFailedError, run_job
    from xmkt_assets.definitions import build_defs
    from xmkt_assets.partitions import contiguous

    days = _days_of(warehouse, sheet, decided_by=decided_by)
    before = _open_count(warehouse)
    home = settings().home
    prepare_home(home)
    target = sheets_folder(home) / decided_by / sheet.name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(sheet, target)
    defs, instance = build_defs(), dg.DagsterInstance.get()
    try:
        for first, last in contiguous(days):
            run_job(defs, instance, LOAD, says=f"Loading {first} … {last} again", days=(first, last))
    except RunFailedError as error:
        sys.exit(str(error))
    print(f"\n{before:,} rows were open in quarantine, {_open_count(warehouse):,} are now; decisions are in {FIXES}.")
    return 0


def _days_of(warehouse: Warehouse, sheet: Path, *, decided_by: str) -> list[date]:
    """Days the decisions of a sheet belong to; leaves with what is wrong where there is none."""
    try:
        with warehouse.session() as session:
            judged = judge_sheet(session, contracts(), sheet, decided_by=decided_by, decided_at=datetime(1970, 1, 1))
    except FixError as error:
        sys.exit(str(error))
    for line, reason in judged.refused:
        print(f"  line {line} is not taken over: {reason}")
    if judged.fixes.is_empty():
        sys.exit(f"{sheet} holds no decision that can be taken over; nothing was loaded.")
    return judged.days


def _open_count(warehouse: Warehouse) -> int:
    with warehouse.session() as session:
        return open_rows(session).height


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m xmkt_assets.quarantine", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("list", help="open rows by feed, day and reason (what is done without a command)")
    export = commands.add_parser("export", help="write the open rows of a feed as a sheet to edit")
    export.add_argument("feed")
    export.add_argument("sheet", type=Path)
    export.add_argument("--day", type=date.fromisoformat, action="append", help="only this day; may be repeated")
    replay = commands.add_parser("replay", help="take over an edited sheet and load its days again")
    replay.add_argument("sheet", type=Path)
    replay.add_argument("--by", required=True, help="who decided; kept with the decision")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
