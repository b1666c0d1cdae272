"""Holding back: a day of which too much was refused, or whose values look like another unit, does not replace what is
in the lake. Pure: works on the rows a load has staged.

Two rules, so that a bad delivery never takes good rows away:

* A partner's day is held back when more than the contract's share of its rows was refused, or its values drifted: the
  lake keeps the day as it was, and the rows that came are in quarantine, all of them.
* A file of which no row could be used keeps the rows of its earlier delivery; the other files of the day are loaded.

Which rows are refused is judged in ``values``; drift in ``drift``.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Final, NamedTuple

import polars as pl

from xmkt_assets.contracts import Contract
from xmkt_assets.raw.drift import Drift
from xmkt_assets.warehouse import Session, literal

HELD: Final = "held back"
# Below this, a share says little: one bad row of three must not keep two good ones out.
MIN_REFUSED_ROWS: Final = 5
REASON: Final = "held back with its day: "
_NEXT_STEP: Final = "Nothing to mend in this row: it is loaded with its day once the day is accepted."
_USELESS: Final = ("unreadable", "rejected")


class Held(NamedTuple):
    """A partner's day that does not replace what is in the lake, and why."""

    partner: str
    dt: date
    why: str


def days_to_hold(
    contract: Contract, ledger: pl.DataFrame, drifts: Iterable[Drift], *, no_mistakes: Mapping[str, int]
) -> tuple[Held, ...]:
    """Days to hold back, from one ledger line per file.

    `no_mistakes` = refused rows per file that say nothing of its quality: people gave them up, or were erased.
    """
    left_out = pl.Series("left_out", [no_mistakes.get(name, 0) for name in ledger["source_file"]], dtype=pl.Int64)
    refused = (pl.col("rows_quarantined") - pl.col("left_out")).sum().alias("refused")
    days = (
        ledger.with_columns(left_out)
        .group_by("partner", "dt")
        .agg(pl.col("rows_in").sum(), refused)
        .sort("partner", "dt")
    )
    held = {
        (partner, dt): _too_many(contract, refused_rows, rows_in)
        for partner, dt, rows_in, refused_rows in days.iter_rows()
        if refused_rows >= MIN_REFUSED_ROWS and refused_rows > contract.max_refused_share * rows_in
    }
    for drift in drifts:
        if drift.blocks:
            held.setdefault((drift.partner, drift.dt), drift.message)
    return tuple(Held(partner, dt, why) for (partner, dt), why in sorted(held.items()))


def hold_back(lines: Sequence[Mapping[str, object]], held: Iterable[Held]) -> list[dict[str, object]]:
    """Ledger lines with the files of held days marked: nothing of them is loaded, their good rows are in quarantine."""
    why = {(h.partner, h.dt): h.why for h in held}
    return [_held_line(line, why.get((line["partner"], line["dt"]))) for line in lines]  # type: ignore[arg-type]


def stage_published(
    session: Session, contract: Contract, ledger: pl.DataFrame, held: Sequence[Held]
) -> tuple[str, dict[str, int]]:
    """Stage the rows to publish; returns the staged table and, per useless file, the rows it keeps from before."""
    kept = _stage_kept(session, contract, ledger, held)
    if not held and not kept:
        return "new_rows", kept
    days = ", ".join(f"({literal(h.partner)}, date '{h.dt}')" for h in held)
    also = "union all by name select * from kept_rows" if kept else ""
    session.connection.execute(
        "create or replace temp view published_rows as select * from new_rows "
        f"where {f'(partner, dt) not in ({days})' if held else 'true'} {also}"
    )
    return "published_rows", kept


def add_held_rows(
    session: Session, contract: Contract, held: Sequence[Held], *, run_id: str, loaded_at: datetime
) -> None:
    """Add the good rows of held days to ``new_quarantine``, so that everything that came is accounted for."""
    values = ", ".join(f"'{name}': {name}" for name in contract.column_names)
    for partner, dt, why in held:
        session.connection.execute(
            "insert into new_quarantine by name select partner, $feed as feed, dt, source_file, source_row, "
            f"{literal(REASON)} || $why as reason, {literal(_NEXT_STEP)} as next_step, "
            f"cast(to_json({{{values}}}) as varchar) as raw_text, $run_id as run_id, "
            "cast($loaded_at as timestamp) as quarantined_at from new_rows where partner = $partner and dt = $dt",
            {"feed": contract.feed, "why": why, "run_id": run_id, "loaded_at": loaded_at, "partner": partner, "dt": dt},
        )


def _too_many(contract: Contract, refused: int, rows_in: int) -> str:
    return (
        f"{refused:,} of {rows_in:,} rows ({refused / rows_in:.1%}) were refused, at most "
        f"{contract.max_refused_share:.1%} may be. The lake keeps this day as it was. Deliver a corrected "
        f"file, or mend the rows: python -m xmkt_assets.quarantine export {contract.feed} SHEET.csv"
    )


def _held_line(line: Mapping[str, object], why: str | None) -> dict[str, object]:
    if why is None or line["status"] == "unreadable":
        return dict(line)
    loaded, refused = int(str(line["rows_loaded"])), int(str(line["rows_quarantined"]))
    note = f"{HELD}: {why} {line['note']}".strip()
    return {**line, "status": HELD, "rows_loaded": 0, "rows_quarantined": refused + loaded, "note": note}


def _stage_kept(session: Session, contract: Contract, ledger: pl.DataFrame, held: Sequence[Held]) -> dict[str, int]:
    """Stage ``kept_rows``: what the lake holds of useless files of days that are not held; rows of the same key that
    came in another file now take their place.
    """
    held_days = {(h.partner, h.dt) for h in held}
    useless = [
        (name, partner, dt)
        for name, partner, dt, status in ledger.select("source_file", "partner", "dt", "status").iter_rows()
        if status in _USELESS and (partner, dt) not in held_days
    ]
    table = f"raw.{contract.feed}"
    if not useless or not session.columns(table):
        return {}
    key = ", ".join(("partner", "dt", *contract.key))
    session.stage(
        "kept_rows",
        f"select * from {table} as old where source_file in (select unnest($names)) and dt in (select unnest($days)) "
        f"and ({key}) not in (select ({key}) from new_rows)",
        {"names": [name for name, _, _ in useless], "days": sorted({dt for _, _, dt in useless})},
    )
    found = session.connection.execute("select source_file, count(*) from kept_rows group by source_file").fetchall()
    return dict(found)
