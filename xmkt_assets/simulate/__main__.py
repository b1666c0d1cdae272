"""Command line: ``python -m xmkt_assets.simulate --home DIR`` writes simulated drops and stores the world."""

import argparse
import sys
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from xmkt_assets.simulate import build_world, save_world, write_days
from xmkt_assets.simulate.world import DEFAULT_START_ON


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or 2 where the arguments do not fit."""
    chosen = _parser().parse_args(arguments)
    began = time.perf_counter()
    try:
        world = build_world(people=chosen.people, days=chosen.days, start_on=chosen.start, seed=chosen.seed)
        from_on = chosen.from_on or chosen.start
        until_on = chosen.until_on or world.calendar.on(chosen.days - 1)
        summary = write_days(world, chosen.home / "landing", from_on=from_on, until_on=until_on)
    except ValueError as unfit:
        print(f"Nothing simulated: {unfit}", file=sys.stderr)
        return 2
    stored = save_world(world, chosen.home, summary, from_on=from_on, until_on=until_on)
    print(
        f"SIMULATED data of two made-up firms: {chosen.people:,} people, {from_on} to {until_on}, seed {chosen.seed}."
    )
    seconds = time.perf_counter() - began
    print(f"{summary.rows:,} rows in {summary.files:,} files under {chosen.home / 'landing'} in {seconds:.1f} s.")
    print(f"{summary.planted:,} dirty rows planted on purpose: {_in_words(summary.planted_by_kind)}.")
    print(f"World stored in {stored}.")
    return 0


def _in_words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts.items())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m xmkt_assets.simulate", description="Simulate two partner firms and write their drop files."
    )
    parser.add_argument("--home", type=Path, required=True, help="folder that gets landing/ and simulator/")
    parser.add_argument("--people", type=int, default=20_000)
    parser.add_argument("--days", type=int, default=120, help="length of the simulated world")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--start", type=date.fromisoformat, default=DEFAULT_START_ON, help="first day of the world")
    parser.add_argument(
        "--from", dest="from_on", type=date.fromisoformat, help="first day to write (default: first day of the world)"
    )
    parser.add_argument(
        "--until", dest="until_on", type=date.fromisoformat, help="last day to write (default: last day of the world)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
