"""Command line: ``python -m xmkt_assets.simulate.bad_input --into FOLDER`` writes the corpus as a landing folder."""

import argparse
import sys
from datetime import date
from pathlib import Path

from xmkt_assets.simulate.bad_input import CORPUS, place, write_first
from xmkt_assets.simulate.world import DEFAULT_START_ON


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or 2 where the folder is not empty: bad input must not be mixed into real deliveries."""
    chosen = _parser().parse_args(arguments)
    if chosen.into.exists() and any(chosen.into.iterdir()):
        print(f"Nothing written: {chosen.into} is not empty. Name a new folder.", file=sys.stderr)
        return 2
    placed = place(CORPUS, first_on=chosen.start, seed=chosen.seed)
    files = write_first(placed, chosen.into)
    for kind, _, names, _ in placed:
        print(f"{kind.name}: {kind.why}\n    {', '.join(repr(name) for name in names)}")
    print(f"\n{len(placed)} kinds of bad input in {files} files under {chosen.into}. All values are made up.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m xmkt_assets.simulate.bad_input", description="Write one example of every kind of bad input."
    )
    parser.add_argument("--into", type=Path, required=True, help="folder that becomes a landing folder")
    parser.add_argument("--start", type=date.fromisoformat, default=DEFAULT_START_ON, help="first day delivered")
    parser.add_argument("--seed", type=int, default=7)
    return parser


if __name__ == "__main__":
    sys.exit(main())
