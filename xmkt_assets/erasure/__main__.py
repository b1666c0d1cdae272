"""Command: ``python -m xmkt_assets.erasure --partner insurer --subject k123`` writes a request, carries it out and
prints the receipt; ``--verify RECEIPT`` says whether a receipt holds.

The id stands on the command line only while the command runs; ``--subject -`` reads it from the pipe instead, where
neither the shell's history nor the list of processes shows it.
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from xmkt_assets.contracts import PARTNERS
from xmkt_assets.erasure.receipts import FOLDER, verify_receipt
from xmkt_assets.erasure.requests import Account, RequestError, write_request
from xmkt_assets.resources import prepare_home, settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 where the receipt holds, 1 where not, 2 where nothing could be asked for."""
    chosen = _options(arguments)
    home = settings().home
    if chosen.verify:
        wrong = verify_receipt(home, chosen.verify)
        print(wrong or "The receipt holds: nobody changed it, and this home wrote it.")
        return 1 if wrong else 0
    if not settings().lake.exists():
        print(f"There is no lake in {home.name}. Set XMKT_HOME to the home to erase from.", file=sys.stderr)
        return 2
    return _erase(home, chosen)


def _erase(home: Path, chosen: argparse.Namespace) -> int:
    from xmkt_assets.automation.runs import run_erasure

    subject = sys.stdin.readline().strip() if chosen.subject == "-" else chosen.subject
    try:
        account = Account(chosen.partner, subject)
        request = write_request(home, account, scope=chosen.scope, asked_on=datetime.now(UTC).date())
    except RequestError as error:
        print(error, file=sys.stderr)
        return 2
    prepare_home(home)
    is_done = run_erasure(home, retrain=chosen.retrain)
    receipt = home / FOLDER / f"{request.request_id}.json"
    if receipt.exists():
        print(receipt.read_text(encoding="utf-8"), end="")
    return 0 if is_done else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m xmkt_assets.erasure", description="Erases one person.")
    parser.add_argument("--verify", type=Path, metavar="RECEIPT", help="only say whether a receipt holds")
    parser.add_argument("--partner", choices=PARTNERS, help="firm that keeps the account")
    parser.add_argument("--subject", help="the firm's own id of the person; - reads it from the pipe")
    parser.add_argument("--scope", choices=("everywhere", "account"), default="everywhere", help="default: everywhere")
    parser.add_argument("--retrain", action="store_true", help="train again at once, instead of by the sensor")
    chosen = parser.parse_args(arguments)
    if not chosen.verify and not (chosen.partner and chosen.subject):
        parser.error("give --partner and --subject, or --verify")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
