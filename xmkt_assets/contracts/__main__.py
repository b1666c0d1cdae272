"""Command line: ``python -m xmkt_assets.contracts`` writes the docs, prints a feed, or tries a partner's files."""

import argparse
import json
import sys
from pathlib import Path

from xmkt_assets.contracts import FOLDER, Contract, contracts
from xmkt_assets.contracts.docs import page, standard_document, unversioned_changes

DOCS = FOLDER / "README.md"


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, 1 where files would be refused or docs cannot be written, 2 where the arguments do not fit."""
    chosen = _parser().parse_args(arguments)
    if chosen.docs:
        return write_docs(DOCS, again=chosen.again)
    feed = chosen.json or (chosen.check[0] if chosen.check else "")
    if feed not in contracts():
        print(f"There is no feed {feed!r}. Known: {', '.join(contracts())}.", file=sys.stderr)
        return 2
    if chosen.json:
        print(json.dumps(standard_document(contracts()[feed]), ensure_ascii=False, indent=2))
        return 0
    return check(contracts()[feed], [Path(name) for name in chosen.check[1:]], partner=chosen.partner, day=chosen.day)


def write_docs(path: Path, *, again: bool = False) -> int:
    """Write the page, unless a contract changed and its version number did not (`again` writes all the same)."""
    every = list(contracts().values())
    complaints = unversioned_changes(every, path.read_text(encoding="utf-8") if path.exists() else "")
    if complaints and not again:
        print("\n".join(complaints), file=sys.stderr)
        print("Nothing written. --again writes all the same: for a version that no partner has seen.", file=sys.stderr)
        return 1
    path.write_text(page(every), encoding="utf-8")
    print(f"{path.name}: {len(every)} contracts.")
    return 0


def check(contract: Contract, files: list[Path], *, partner: str | None, day: str | None) -> int:
    """Print what the door would say of `files`."""
    from xmkt_assets.contracts.trial import TrialError, try_files

    try:
        report = try_files(contract, files, partner=partner, day=day)
    except TrialError as unfit:
        print(unfit, file=sys.stderr)
        return 2
    print(report.text)
    return 0 if report.is_good else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m xmkt_assets.contracts", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--docs", action="store_true", help=f"write {DOCS.name} of the contracts")
    what.add_argument("--json", metavar="FEED", help="print a contract as a document of the ODCS v3.1.0")
    what.add_argument("--check", nargs="+", metavar=("FEED", "FILE"), help="say what would become of these files")
    parser.add_argument("--again", action="store_true", help="with --docs: also where a version number did not move")
    parser.add_argument("--partner", help="with --check: who delivers, where several partners deliver the feed")
    parser.add_argument(
        "--day", help="with --check: day of the folder, such as 2026-07-01; else from dt=... in the path"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
