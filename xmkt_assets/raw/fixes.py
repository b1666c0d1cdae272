"""Fixes: what people decided about quarantined rows, read from a CSV they edited, and kept for every later load.

A fix belongs to one refused row as it came (file, row number, text): a file delivered anew with another text is judged
anew. Here: the sheet for people, the judgement of an edited sheet, the table ``raw.quarantine_fixes``. Not here: the
load that applies fixes (``load``), the command (``xmkt_assets.quarantine``).
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from xmkt_assets.contracts import Contract
from xmkt_assets.erasure.suppression import REASON as ERASED
from xmkt_assets.raw.books import QUARANTINE
from xmkt_assets.raw.values import HIDDEN
from xmkt_assets.spreadsheet import spreadsheet_safe, spreadsheet_text
from xmkt_assets.warehouse import Equal, Replace, Session, Written

FIXES: Final = "raw.quarantine_fixes"
FIXES_DESCRIPTION: Final = (
    "One row per decision about a quarantined row: fixed (with the values to load in its place) or given up. Trap: a "
    "decision holds for the row as it came; a file delivered anew with another text is judged anew."
)
DECISIONS: Final = ("fixed", "given up")
FIXES_SCHEMA: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    "partner": pl.String,
    "feed": pl.String,
    "dt": pl.Date,
    "source_file": pl.String,
    "source_row": pl.Int64,
    "row_mark": pl.String,
    "decision": pl.String,
    "fixed_text": pl.String,
    "note": pl.String,
    "decided_by": pl.String,
    "decided_at": pl.Datetime("us"),
    "run_id": pl.String,
}
FIXES_COLUMNS: Final[Mapping[str, str]] = {
    "partner": "Firm that delivered the row",
    "feed": "Feed the row belongs to",
    "dt": "Day of its folder",
    "source_file": "File the row came in",
    "source_row": "Place of the row in the file, header not counted",
    "row_mark": "Hash of the refused row's place and text; ties the decision to that very row",
    "decision": "fixed = load fixed_text in its place; given up = stays out, no longer counts as open",
    "fixed_text": "The mended row as JSON, column by column; empty where given up",
    "note": "Why, in the words of who decided",
    "decided_by": "Who decided",
    "decided_at": "When the decision was taken over (UTC)",
    "run_id": "Run that took it over",
}
_PLACE: Final = ("feed", "partner", "dt", "source_file", "source_row")
_ABOUT: Final = (*_PLACE, "source_line", "reason", "decision", "note")


class FixError(ValueError):
    """A sheet that cannot be used at all; the message says what was found, what was wanted and what to do."""


class RefusedFix(NamedTuple):
    """One line of a sheet that was not taken over."""

    line: int
    reason: str


class Judged(NamedTuple):
    """What became of a sheet: rows of `FIXES_SCHEMA`, lines refused, and the days to load again."""

    fixes: pl.DataFrame
    refused: tuple[RefusedFix, ...]

    @property
    def days(self) -> list[date]:
        return sorted(set(self.fixes["dt"].to_list()))


# What ties a decision to a refused row: its place and its text as it came. In SQL, over the columns of the quarantine.
ROW_MARK: Final = "md5(concat_ws('|', source_file, source_row, coalesce(raw_text, '')))"


class TakenOver(NamedTuple):
    """What became of one sheet."""

    sheet: str
    decisions: int
    refused: tuple[RefusedFix, ...]


def row_mark(source_file: str, source_row: int, raw_text: str | None) -> str:
    """The same as `ROW_MARK`."""
    return hashlib.md5(f"{source_file}|{source_row}|{raw_text or ''}".encode(), usedforsecurity=False).hexdigest()


def sheets_folder(home: Path) -> Path:
    """Where edited sheets wait for the next load, in one folder per person who decided."""
    return home / "quarantine_fixes"


def waiting_sheets(home: Path) -> list[Path]:
    """Edited sheets that no load has taken over yet."""
    return sorted(sheets_folder(home).glob("*/*.csv"))


def write_sheet(session: Session, contract: Contract, path: Path, *, days: Iterable[date] | None = None) -> int:
    """Write the open refused rows of a feed as a CSV to edit, one column per value as it came; returns the rows.

    Put ``fixed`` or ``given up`` in `decision` and mend the values; lines without a decision are left as they are.
    """
    refused = open_rows(session, contract.feed, days=days)
    values = [_values(text, contract) for text in refused["raw_text"]]
    columns = {n: pl.Series(n, [v[n] for v in values], dtype=pl.String) for n in contract.column_names}
    blank = pl.lit("").alias("decision"), pl.lit("").alias("note")
    sheet = refused.drop("raw_text").with_columns(*blank).select(_ABOUT).with_columns(**columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    spreadsheet_safe(sheet.with_columns(pl.all().cast(pl.String))).write_csv(path, include_bom=True)
    return sheet.height


def open_rows(session: Session, feed: str | None = None, *, days: Iterable[date] | None = None) -> pl.DataFrame:
    """Refused rows that can be mended and nobody gave up, oldest first."""
    if QUARANTINE not in session.tables():
        return pl.DataFrame(schema={**dict.fromkeys(_ABOUT[:7], pl.String), "raw_text": pl.String})
    given_up = f"where {ROW_MARK} not in (select row_mark from {FIXES} where decision = 'given up')"
    rows = session.read(
        f"select feed, partner, dt, source_file, source_row, source_line, reason, raw_text from {QUARANTINE} "
        f"{given_up if FIXES in session.tables() else 'where true'} and source_row is not null "
        "and not starts_with(reason, 'held back') and reason <> $erased "
        "and ($feed is null or feed = $feed) order by dt, partner, feed, source_file, source_row",
        feed=feed,
        erased=ERASED,
    )
    return rows if days is None else rows.filter(pl.col("dt").is_in(sorted(days)))


def judge_sheet(
    session: Session, feeds: Mapping[str, Contract], path: Path, *, decided_by: str, decided_at: datetime
) -> Judged:
    """Decisions of an edited sheet. Raises `FixError` where the file is no such sheet."""
    lines = _sheet_lines(path)
    refused_rows = {_place(row): row for row in open_rows(session).iter_rows(named=True)}
    fixes, refused = [], []
    for line, given in lines:
        decision = given.get("decision", "").strip().lower()
        if not decision:
            continue
        complaint = _complaint(given, decision, feeds, refused_rows)
        if complaint:
            refused.append(RefusedFix(line, complaint))
            continue
        row = refused_rows[_place(given)]
        fixes.append(_fix(given, row, decision, feeds[given["feed"]], decided_by=decided_by, decided_at=decided_at))
    return Judged(pl.DataFrame(fixes, schema=FIXES_SCHEMA), tuple(refused))


def store_fixes(session: Session, fixes: pl.DataFrame, *, run_id: str) -> Written:
    """Add decisions to the table; a newer decision about the same row replaces the older one."""
    session.stage_rows("new_fixes", fixes.with_columns(run_id=pl.lit(run_id)))
    marks = Equal((("row_mark", fixes["row_mark"].to_list()),))
    return session.commit([Replace(FIXES, "new_fixes", marks, FIXES_DESCRIPTION, FIXES_COLUMNS)])[0]


def take_over(
    session: Session, feeds: Mapping[str, Contract], sheets: Sequence[Path], *, run_id: str, decided_at: datetime
) -> list[TakenOver]:
    """Store the decisions of waiting sheets; each sheet is removed, what could not be used stays beside it.

    Who decided is the folder of the sheet. A killed run takes the same sheet over again, with the same result.
    """
    taken = []
    for sheet in sheets:
        judged = _judged(session, feeds, sheet, decided_by=sheet.parent.name, decided_at=decided_at)
        if judged.fixes.height:
            store_fixes(session, judged.fixes, run_id=run_id)
        if judged.refused:
            lines = [f"line {line}: {reason}" for line, reason in judged.refused]
            sheet.with_suffix(".refused.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        sheet.unlink()
        taken.append(TakenOver(f"{sheet.parent.name}/{sheet.name}", judged.fixes.height, judged.refused))
    return taken


def empty_fixes(session: Session) -> Written:
    """Make the table where it does not exist yet."""
    session.stage_rows("no_fixes", pl.DataFrame(schema=FIXES_SCHEMA))
    nothing = Equal((("row_mark", []),))
    return session.commit([Replace(FIXES, "no_fixes", nothing, FIXES_DESCRIPTION, FIXES_COLUMNS)])[0]


def _judged(
    session: Session, feeds: Mapping[str, Contract], sheet: Path, *, decided_by: str, decided_at: datetime
) -> Judged:
    try:
        return judge_sheet(session, feeds, sheet, decided_by=decided_by, decided_at=decided_at)
    except FixError as error:
        return Judged(pl.DataFrame(schema=FIXES_SCHEMA), (RefusedFix(1, str(error)),))


def _sheet_lines(path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FixError(f"{path.name} cannot be read as UTF-8 ({error}). Save the sheet as CSV UTF-8.") from None
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if lacking := [name for name in (*_PLACE, "decision") if name not in (reader.fieldnames or ())]:
        raise FixError(
            f"{path.name} lacks the columns {lacking}; found {list(reader.fieldnames or ())[:12]}. Start from a sheet "
            f"made by: python -m xmkt_assets.quarantine export"
        )
    return [(reader.line_num, {k: spreadsheet_text(v or "") for k, v in row.items() if k}) for row in reader]


def _place(row: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in _PLACE)


def _complaint(
    given: Mapping[str, str],
    decision: str,
    feeds: Mapping[str, Contract],
    refused_rows: Mapping[tuple[str, ...], Mapping[str, object]],
) -> str:
    """Why a decided line cannot be taken over, with the remedy; empty when it can."""
    if decision not in DECISIONS:
        return f"decision is {decision!r}; wanted one of {', '.join(DECISIONS)}, or nothing."
    if given["feed"] not in feeds:
        return f"feed is {given['feed']!r}, which has no contract; wanted one of {', '.join(sorted(feeds))}."
    row = refused_rows.get(_place(given))
    if row is None:
        return (
            f"row {given['source_row']} of {given['source_file']} is not in quarantine (any more). Export the sheet "
            f"again and mend that one."
        )
    return _unmended(given, row, feeds[given["feed"]]) if decision == "fixed" else ""


def _unmended(given: Mapping[str, str], row: Mapping[str, object], contract: Contract) -> str:
    if lacking := [name for name in contract.column_names if name not in given]:
        return (
            f"the sheet lacks the columns {', '.join(lacking)} of {contract.feed}. Export it again and mend that one."
        )
    if hidden := [name for name in contract.column_names if given[name] == HIDDEN]:
        return f"{', '.join(hidden)} still says {HIDDEN}; wanted the hash the partner should have sent."
    before = _values(str(row["raw_text"] or ""), contract)
    if all(given[name].strip() == before[name].strip() for name in contract.column_names):
        return "no value was changed, so it would be refused again. Mend it, or write 'given up'."
    return ""


def _fix(
    given: Mapping[str, str],
    row: Mapping[str, object],
    decision: str,
    contract: Contract,
    *,
    decided_by: str,
    decided_at: datetime,
) -> dict[str, object]:
    text = str(row["raw_text"]) if row["raw_text"] is not None else None
    mended = json.dumps({n: given[n] or None for n in contract.column_names}, ensure_ascii=False)
    return {
        **{name: row[name] for name in _PLACE},
        "row_mark": row_mark(str(row["source_file"]), int(str(row["source_row"])), text),
        "decision": decision,
        "fixed_text": mended if decision == "fixed" else None,
        "note": given.get("note", ""),
        "decided_by": decided_by,
        "decided_at": decided_at,
    }


def _values(raw_text: str | None, contract: Contract) -> dict[str, str]:
    """Column → text as it came; empty for a line that could not be split."""
    try:
        found = json.loads(raw_text or "")
    except ValueError:
        found = {}
    found = found if isinstance(found, dict) else {}
    return {n: "" if found.get(n) is None else str(found[n]) for n in contract.column_names}
