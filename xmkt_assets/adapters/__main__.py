"""`python -m xmkt_assets.adapters --data DIR --home DIR`: write every drop and print a summary."""

import argparse
import sys
from pathlib import Path

from xmkt_assets.adapters import ADAPTERS, AdapterSummary


def main(arguments: list[str]) -> None:
    """Write the drops of every adapter into HOME/landing with the default seeds and dates."""
    parser = argparse.ArgumentParser(prog="python -m xmkt_assets.adapters", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with insurance_bruun, hahow, hillstrom")
    parser.add_argument("--home", type=Path, required=True, help="XMKT_HOME; drops go to its landing folder")
    chosen = parser.parse_args(arguments)
    for write_drops in ADAPTERS:
        print(report(write_drops(chosen.data, chosen.home / "landing")))


def report(summary: AdapterSummary) -> str:
    """Lines for a reader: what was written, then every note on what is not observed."""
    head = f"{summary.dataset}: {summary.files:,} files, {summary.first_on} … {summary.last_on}"
    rows = [f"  {feed:<36}{count:>9,} rows" for feed, count in summary.rows.items()]
    return "\n".join([head, *rows, *(f"  note: {note}" for note in summary.notes)])


if __name__ == "__main__":
    main(sys.argv[1:])
