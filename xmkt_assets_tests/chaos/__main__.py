"""``python -m xmkt_assets_tests.chaos``: kill loads at random moments and print what was found after each."""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Final

from xmkt_assets_tests.chaos.kills import Chaos, Kill, run_chaos
from xmkt_assets_tests.chaos.scene import WAYS

HEADINGS: Final = (
    "kill      after  in commit  new tables  orphans  rerun s  tables as undisturbed  looks  halves  failed looks"
)


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 where every rerun gave the undisturbed tables and no reader saw half a load."""
    chosen = _parser().parse_args(arguments)
    found = None
    print(
        "kill      after  in commit  new tables  orphans  rerun s  tables as undisturbed  looks  halves  failed looks"
    )
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        for found in run_chaos(
            Path(folder), kills=chosen.kills, people=chosen.people, seed=chosen.seed, way=chosen.way
        ):
            print(_line(len(found.kills), found), flush=True)
    return _close(found)


def _line(number: int, found: Chaos) -> str:
    kill = found.kills[-1]
    when = f"{kill.after_seconds:6.2f} s{' (ended)' if kill.had_ended else ''}"
    same = found.tables - len(kill.differing)
    return (
        f"{number:4}  {when:>9}  {'yes' if kill.is_in_commit else 'no':>9}  {kill.tables_new:7}/{found.tables}  "
        f"{kill.orphans:7}  {kill.again_seconds:7.1f}  {same:18}/{found.tables}  {kill.looks:5}  "
        f"{len(kill.halves):6}  {len(kill.failed_looks):12}"
    )


def _close(found: Chaos | None) -> int:
    if found is None:
        return 1
    kills = found.kills
    in_commit = sum(kill.is_in_commit for kill in kills)
    print(
        f"\n{len(kills)} kills of a load of {found.rows:,} rows in {found.tables} tables that takes "
        f"{found.load_seconds:.1f} s; {in_commit} within a commit, {sum(k.had_ended for k in kills)} after its end."
    )
    print(f"Tables that differ from the undisturbed load after the rerun: {sum(len(k.differing) for k in kills)}.")
    print(f"Half loads seen in {sum(k.looks for k in kills):,} looks: {sum(len(k.halves) for k in kills)}.")
    for kill in kills:
        _complain(kill)
    return 0 if found.is_sound else 1


def _complain(kill: Kill) -> None:
    for said in (*(f"differs: {table}" for table in kill.differing), *kill.halves, *kill.failed_looks[:3]):
        print(f"  after {kill.after_seconds:.2f} s: {said}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m xmkt_assets_tests.chaos",
        description="kill -9 at random moments of a load; then load again and compare.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--people", type=int, default=400, help="simulated people; more make a longer load")
    parser.add_argument("--way", choices=sorted(WAYS), default="job", help="the load job, or the same without Dagster")
    parser.add_argument("--seed", type=int, default=7)
    return parser


if __name__ == "__main__":
    sys.exit(main())
