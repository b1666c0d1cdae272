"""The demo: two simulated partner firms, one campaign, every stage through Dagster, and the truth beside the result.

Run it with ``make demo``. It writes what a real partner would write, runs the same jobs that sensors start, lets
the simulated people answer the list the platform made, and ends with what was found beside what is true. Nothing
here computes a result: it runs jobs and reads tables.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from xmkt_assets import simulate
from xmkt_assets.resources import REPOSITORY, prepare_home, settings

if TYPE_CHECKING:
    import dagster as dg
    import polars as pl

MARKER: Final = "made-by-demo.txt"
CAMPAIGN: Final = "autumn_joint"
EXAMPLES: Final = Path(__file__).parent / "campaigns" / "examples"
HISTORY_SHARE: Final = 0.75


class Calendar(NamedTuple):
    """When history ends, when the campaign starts, when its outcomes are complete."""

    first: date
    as_of: date
    launch: date
    last: date


def calendar(start_on: date, days: int) -> Calendar:
    """Three quarters of the days are history; the campaign's outcomes fill the rest."""
    history = round(days * HISTORY_SHARE)
    as_of = start_on + timedelta(days=history - 1)
    return Calendar(start_on, as_of, as_of + timedelta(days=1), start_on + timedelta(days=days - 1))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo. Returns the exit code."""
    options = _options(arguments)
    started = time.monotonic()
    when = calendar(options.start, options.days)
    home = settings().home
    clear_home(home)
    prepare_home(home, start_on=when.first)
    mark_home(home)
    _play(home, when, people=options.people, days=options.days, seed=options.seed)
    if options.scan:
        _look_for_contacts(home, people=options.people, seed=options.seed)
    from xmkt_assets.console import peak_memory_mib

    print(f"\nDone in {time.monotonic() - started:.0f} s, peak memory {peak_memory_mib():,} MiB.")
    return 0


def _play(home: Path, when: Calendar, *, people: int, days: int, seed: int) -> None:
    import dagster as dg

    from xmkt_assets.automation.jobs import EVALUATE, LOAD, PLAN, RETRAIN
    from xmkt_assets.automation.sensors import content_mark, plan_tags
    from xmkt_assets.console import run_job
    from xmkt_assets.definitions import build_defs
    from xmkt_assets.partitions import CAMPAIGNS_NAME
    from xmkt_assets.report import print_summary
    from xmkt_assets.resources import settings, warehouse_of

    print(
        f"▶ Simulating two partner firms: {people:,} people, {days} days from {when.first} (SIMULATED data)", flush=True
    )
    world = simulate.build_world(people=people, days=days, start_on=when.first, seed=seed)
    history = simulate.write_days(world, home / "landing", from_on=when.first, until_on=when.as_of)
    print(f"  {history.files:,} files, {history.rows:,} rows in {_shown(home / 'landing')}")
    _write_plan(home, when)

    defs, instance, warehouse = build_defs(), dg.DagsterInstance.get(), warehouse_of(settings())
    run_job(defs, instance, LOAD, says=f"Loading {when.first} … {when.as_of}", days=(when.first, when.as_of))
    run_job(defs, instance, RETRAIN, says=f"Profiles and models as of {when.as_of}", partition=when.as_of.isoformat())
    planned = plan_tags(CAMPAIGN, content_mark(home / "campaigns" / f"{CAMPAIGN}.yaml"))
    instance.add_dynamic_partitions(CAMPAIGNS_NAME, [CAMPAIGN])
    run_job(defs, instance, PLAN, says=f"Planning the campaign {CAMPAIGN}", partition=CAMPAIGN, tags=planned)

    listed = warehouse.read("select * from campaigns.campaign_list where campaign_id = $id", id=CAMPAIGN)
    print(f"\n▶ The simulated people answer the list of {listed.height:,} ({when.launch} … {when.last})", flush=True)
    answer = simulate.write_days(world, home / "landing", from_on=when.launch, until_on=when.last, campaign=listed)
    print(f"  {answer.files:,} files, {answer.rows:,} rows")
    run_job(defs, instance, LOAD, says=f"Loading {when.launch} … {when.last}", days=(when.launch, when.last))
    gates = [key for key in _snapshot_keys() if key.path[0] == "staging"]
    run_job(
        defs, instance, RETRAIN, says=f"Consent gates as of {when.last}", partition=when.last.isoformat(), only=gates
    )
    run_job(defs, instance, EVALUATE, says="Measuring what the campaign caused; publishing")
    truth = simulate.true_effects(world, listed)
    simulate.save_truth(truth, home, campaign_id=CAMPAIGN)
    simulate.save_world(world, home, history, from_on=when.first, until_on=when.last)
    print_summary(warehouse, campaign=CAMPAIGN, truth=truth, planted=history.planted + answer.planted)
    _erase_somebody(home, listed, asked_on=when.last)


def _erase_somebody(home: Path, listed: "pl.DataFrame", *, asked_on: date) -> None:
    """One person of the list asks to be erased; the receipt says what was done, and names nobody."""
    from xmkt_assets.automation.runs import run_erasure
    from xmkt_assets.console import print_table
    from xmkt_assets.erasure.receipts import FOLDER, verify_receipt
    from xmkt_assets.erasure.requests import Account, write_request
    from xmkt_assets.resources import settings, warehouse_of

    known_to_both = listed.drop_nulls(["user_id", "customer_id"]).sort("person_id")
    account = Account("insurer", str(known_to_both["customer_id"][0]))
    request = write_request(home, account, scope="everywhere", asked_on=asked_on)
    if not run_erasure(home, retrain=False):
        sys.exit("The erasure failed; see above.")
    receipt = home / FOLDER / f"{request.request_id}.json"
    removed = warehouse_of(settings()).read(
        "select table_name, rows_of_person_before, rows_of_person_after from staging.erasures "
        "where request_id = $id and table_name <> 'all' order by table_name",
        id=request.request_id,
    )
    print_table("One simulated person asked to be erased: their rows per table", removed)
    print(f"\n  receipt {_shown(receipt)}: {verify_receipt(home, receipt) or 'holds'}")


def _look_for_contacts(home: Path, *, people: int, seed: int) -> None:
    """The phones and e-mails from which the firms made their hashes must lie nowhere in the home."""
    from xmkt_assets.security import scan_home
    from xmkt_assets.simulate.people import contacts

    phones, emails = contacts(people, seed=seed)
    started = time.monotonic()
    hits = scan_home(home, [phone.removeprefix("+86") for phone in phones] + emails)
    print(
        f"\nScan of every byte of {_shown(home)} for the {people:,} phones and {people:,} e-mail addresses the firms "
        f"hashed upstream: {len(hits)} found, in {time.monotonic() - started:.0f} s."
    )
    for hit in hits[:10]:
        print(f"  {hit.file} {hit.place}")


def _snapshot_keys() -> "list[dg.AssetKey]":
    import dagster as dg

    from xmkt_assets.resources import SQL_FOLDER
    from xmkt_assets.sql_models import load_models

    return [dg.AssetKey([m.schema, m.name]) for m in load_models(SQL_FOLDER).values() if m.is_snapshot]


def _write_plan(home: Path, when: Calendar) -> None:
    """The shipped example plan, with the dates of this world."""
    text = (EXAMPLES / f"{CAMPAIGN}.yaml").read_text(encoding="utf-8")
    shipped = calendar(date(2026, 7, 1), 120)
    days = (when.last - when.launch).days + 1
    for found, wanted in (
        (f"as_of: {shipped.as_of}", f"as_of: {when.as_of}"),
        (f"launch_on: {shipped.launch}", f"launch_on: {when.launch}"),
        ("outcome_days: 30", f"outcome_days: {days}"),
    ):
        text = text.replace(found, wanted)
    (home / "campaigns" / f"{CAMPAIGN}.yaml").write_text(text, encoding="utf-8")


def clear_home(home: Path) -> None:
    """Empty a home an earlier demo made; refuse a folder that looks like somebody's data."""
    if not home.exists() or not any(home.iterdir()):
        return
    if not (home / MARKER).exists():
        sys.exit(
            f"{_shown(home)} holds data that neither `make demo` nor `make real` made. Set XMKT_HOME to an empty "
            f"folder, or move that one away."
        )
    shutil.rmtree(home)


def mark_home(home: Path) -> None:
    """Say that everything in this home can be made again, so that a later demo may replace it."""
    (home / MARKER).write_text(
        "Made by `make demo` or `make real`; the next one empties this folder.\n", encoding="utf-8"
    )


def _shown(path: Path) -> str:
    return str(path.relative_to(REPOSITORY)) if path.is_relative_to(REPOSITORY) else str(path)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m xmkt_assets.demo", description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=20_000, help="simulated people (default 20,000)")
    parser.add_argument("--days", type=int, default=120, help="simulated days (default 120)")
    parser.add_argument("--seed", type=int, default=7, help="seed of the simulated world (default 7)")
    parser.add_argument("--scan", action="store_true", help="then search every byte for the contacts hashed upstream")
    parser.add_argument("--start", type=date.fromisoformat, default=date(2026, 7, 1), help="first simulated day")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
