"""Trial: what the door would say of files before a partner sends them. They are loaded into a lake that is thrown away.

The same code reads them as in earnest (``raw.load``), so nothing here judges anything itself. Values of refused rows
are told as the quarantine keeps them. Drift is not tried: it needs the days before, which a partner does not have here.
"""

import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from xmkt_assets.contracts.model import Contract

_DAY: Final = re.compile(r"dt=(\d{4}-\d{2}-\d{2})")
_REFUSED_SHOWN: Final = 20


class TrialError(ValueError):
    """Files that cannot be tried; the message says what is missing."""


class TrialReport(NamedTuple):
    """What would become of the files, in lines for a person; good where no file and no row would be refused."""

    is_good: bool
    text: str


def try_files(contract: Contract, files: Sequence[Path], *, partner: str | None, day: str | None) -> TrialReport:
    """Load `files` as those of one day of `contract` into a passing lake, and say what became of them.

    The day is that of the files' ``dt=`` folders where `day` is not given. Raises `TrialError` where partner, day or a
    file is missing.
    """
    from xmkt_assets.contracts import contracts
    from xmkt_assets.raw.landing import take_inventory
    from xmkt_assets.raw.load import load_feed
    from xmkt_assets.warehouse import Lake

    sender = _sender(contract, partner)
    with tempfile.TemporaryDirectory(prefix="contract-check-") as folder:
        home = Path(folder)
        days = _lay_out(files, home / "landing" / sender / contract.feed, day=day)
        found = take_inventory(home / "landing", contracts() | {contract.feed: contract}, only_feed=contract.feed)
        with Lake(home, threads=2).session() as session:
            now = datetime.now(UTC).replace(tzinfo=None)
            load = load_feed(session, contract, found.of(contract.feed, days), run_id="check", loaded_at=now)
            ledger = load.ledger.select("source_file", "status", "contract_version", "rows_in", "rows_loaded", "note")
            refused = session.connection.execute(
                "select source_file, source_row, source_line, reason from new_quarantine where source_row is not null "
                f"order by all limit {_REFUSED_SHOWN}"
            ).fetchall()
    lines = [_file_line(line) for line in ledger.iter_rows(named=True)]
    lines += [f"{_short(name)}, {_place(row, line)}: {reason}" for name, row, line, reason in refused]
    lines += [f"{stray.name.rpartition('/')[2]}: {stray.reason}" for stray in found.strays]
    is_good = not found.strays and set(ledger["status"]) <= {"loaded"}
    lines.append("Nothing would be refused." if is_good else "Something would be refused: mend it before sending.")
    return TrialReport(is_good, "\n".join(lines))


def _sender(contract: Contract, partner: str | None) -> str:
    senders = contract.partners
    if partner is None and len(senders) == 1:
        return senders[0]
    if partner not in senders:
        raise TrialError(f"{contract.feed} comes from {', '.join(senders)}; found {partner!r}. Name one: --partner.")
    return partner


def _lay_out(files: Sequence[Path], folder: Path, *, day: str | None) -> set[date]:
    """Copy the files into folders of their days, as they would lie in the landing folder."""
    if not files:
        raise TrialError("No file to check. Name one or more after the feed.")
    days = set()
    for path in files:
        if not path.is_file():
            raise TrialError(f"There is no file {path}.")
        dt = _day_of(path, day)
        place = folder / f"dt={dt.isoformat()}" / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
        days.add(dt)
    return days


def _day_of(path: Path, day: str | None) -> date:
    inner = _DAY.search(str(path.resolve()))
    said = day or (inner.group(1) if inner else None)
    try:
        return date.fromisoformat(said or "")
    except ValueError:
        raise TrialError(
            f"{path.name} lies in no folder dt=YYYY-MM-DD and --day is {day!r}. Say its day, such as --day 2026-07-01."
        ) from None


def _file_line(line: Mapping[str, Any]) -> str:
    """One line of the ledger in words."""
    rows, loaded = line["rows_in"], line["rows_loaded"]
    counted = "unread" if rows is None else f"{loaded:,} of {rows:,} rows would be loaded"
    name = _short(line["source_file"])
    return f"{name}: {line['status']}, by version {line['contract_version']}; {counted}. {line['note']}".rstrip()


def _place(row: int, line: int | None) -> str:
    return f"row {row}" if line is None else f"line {line}"


def _short(name: str) -> str:
    return name.rpartition("/")[2]
