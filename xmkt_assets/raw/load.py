"""Loading: the files of one feed become good rows, quarantined rows and one ledger line per file.

Rows in = loaded + quarantined + duplicates, per file, each counted for itself. Nothing here decides which days are
loaded (the asset does), reads files (``reading`` does) or cleans values (``dbt_like_sql/staging`` does).
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl

from xmkt_assets.contracts import Contract
from xmkt_assets.erasure.suppression import REASON as ERASED
from xmkt_assets.erasure.suppression import erased_condition
from xmkt_assets.raw.books import (
    LEDGER,
    LEDGER_COLUMNS,
    LEDGER_DESCRIPTION,
    LEDGER_SCHEMA,
    QUARANTINE,
    QUARANTINE_COLUMNS,
    QUARANTINE_DESCRIPTION,
    QUARANTINE_SCHEMA,
)
from xmkt_assets.raw.drift import Drift, find_drift, find_refused_columns
from xmkt_assets.raw.holding import Held, add_held_rows, days_to_hold, hold_back, stage_published
from xmkt_assets.raw.landing import DropFile, content_hash
from xmkt_assets.raw.late import LATE, LATE_COLUMNS, LATE_DESCRIPTION, stage_late_rows
from xmkt_assets.raw.mending import apply_fixes, settle
from xmkt_assets.raw.reading import Problem, Read, create_incoming, has_malformed_lines, number_rows, read_files
from xmkt_assets.warehouse import Equal, Replace, Session, Written, literal

# What to do about a refused row: SQL of a condition on its reason, and the step in words. The first that holds counts.
_NEXT_STEPS: Final = (
    ("q.reason like 'malformed line: swallowed%'", "Close the quote of the row named, or double it; deliver again."),
    ("q.reason ilike 'malformed line:%utf-8%'", "Write the file in UTF-8 throughout and deliver it again."),
    ("q.reason like 'malformed line:%'", "Mend the line (its quotes and number of values) and deliver the file again."),
    ("q.reason like 'the line is no JSON%'", "Write one whole JSON object on the line and deliver the file again."),
    ("q.reason like 'the file lacks column %'", "Deliver the file with the columns of its contract."),
    ("q.reason like 'the file brings undeclared%'", "Deliver the file without them, or agree on a new contract."),
    ("q.reason like 'the file holds nested%'", "Deliver the file with one plain value per column and row."),
    ("q.reason like 'the file %'", "Do what the reason says and deliver the file again."),
    ("q.reason like '%; deliver the row in folder dt=%'", "Deliver the row in a file of the folder that is named."),
    ("q.reason like '%: empty, wanted %'", "Fill in the value at its source, or leave the row out; deliver again."),
    ("q.reason like '%control characters%'", "Remove the invisible characters at their source; deliver again."),
)
_LAST_STEP: Final = "Correct the value at its source and deliver the file again."


class FeedLoad(NamedTuple):
    """What one load of a feed did; `ledger` has one row per file."""

    written: Written | None
    ledger: pl.DataFrame
    row_counts: dict[date, int]
    held: tuple[Held, ...] = ()
    drifts: tuple[Drift, ...] = ()


class _Counts(NamedTuple):
    """What became of the rows of one file."""

    rows_in: int = 0
    loaded: int = 0
    quarantined: int = 0
    duplicate: int = 0
    disputed_keys: int = 0
    masked_values: int = 0


def load_feed(
    session: Session, contract: Contract, files: Sequence[DropFile], *, run_id: str, loaded_at: datetime
) -> FeedLoad:
    """Load `files` of one feed and replace the days of the partners they belong to, in one transaction.

    A partner's day without a file keeps the rows it has: a cleaned-up landing folder empties nothing.
    """
    if not files:
        return FeedLoad(None, pl.DataFrame(schema=LEDGER_SCHEMA), {})
    create_incoming(session, contract)
    with ThreadPoolExecutor(max_workers=1) as beside:
        hashing = beside.submit(lambda: {file.name: _hash(file) for file in files})
        outcomes = read_files(session, contract, files)
        hashes = hashing.result()
    decided = apply_fixes(session, contract, files)
    erased = _refuse_erased(session, contract)  # after the fixes, so that nobody is mended back in
    settled = settle(session, decided)
    _pick_rows(session, contract, loaded_at=loaded_at)
    counts = _counts(session, contract)
    lines = [_ledger_line(contract, f, outcomes[f.name], counts.get(f.name, _Counts()), hashes[f.name]) for f in files]
    stamp = {"run_id": run_id, "loaded_at": loaded_at}
    days = sorted({file.dt for file in files})
    drifts = find_drift(session, contract, "new_rows", days, sizes=_sizes(lines))
    found = pl.DataFrame([{**line, **stamp} for line in lines], schema=LEDGER_SCHEMA)
    no_mistakes = {f.name: settled.given_up.get(f.name, 0) + erased.get(f.name, 0) for f in files}
    held = days_to_hold(contract, found, drifts, no_mistakes=no_mistakes)
    published, kept = stage_published(session, contract, found, held)
    noted = [_add_notes(line, kept=kept, mended=settled.mended) for line in hold_back(lines, held)]
    ledger = pl.DataFrame([{**line, **stamp} for line in noted], schema=LEDGER_SCHEMA)
    session.stage_rows("new_ledger", ledger)
    _stage_quarantine(session, contract, outcomes, run_id=run_id, loaded_at=loaded_at)
    add_held_rows(session, contract, held, run_id=run_id, loaded_at=loaded_at)
    drifts = (*drifts, *find_refused_columns(session, contract))
    holds = [(h.partner, h.dt) for h in held]
    stage_late_rows(session, contract, days, staged=published, held=holds, run_id=run_id)
    written = session.commit(_changes(session, contract, files, published, held))
    rows_of_feed = [w for w in written if w.table == f"raw.{contract.feed}"]
    total = Written(f"raw.{contract.feed}", written[0].snapshot_id, sum(w.row_count for w in rows_of_feed))
    loaded = {day: sum(line["rows_loaded"] + line["rows_kept"] for line in noted if line["dt"] == day) for day in days}
    return FeedLoad(total, ledger, loaded, held, drifts)


def _hash(file: DropFile) -> str:
    """Hash of a file while it is read; none where it changed meanwhile, so that the ledger asks for it again."""
    if file.problem or file.sha256:
        return "" if file.problem else file.sha256
    found = content_hash(file.path)
    try:
        now = file.path.stat()
    except FileNotFoundError:
        return ""
    return found if (now.st_size, now.st_mtime_ns) == (file.size_bytes, file.modified_ns) else ""


def _sizes(lines: Iterable[Mapping[str, Any]]) -> dict[tuple[str, date], int]:
    """Good rows of each partner's day."""
    sizes: dict[tuple[str, date], int] = {}
    for line in lines:
        day = line["partner"], line["dt"]
        sizes[day] = sizes.get(day, 0) + line["rows_loaded"]
    return {day: rows for day, rows in sizes.items() if rows}


def _refuse_erased(session: Session, contract: Contract) -> dict[str, int]:
    """Refuse the rows of people who were erased, and keep nothing of them; returns how many per file."""
    if contract.subject_column is None:
        return {}
    subject = f"incoming.{contract.subject_column}"
    condition = erased_condition(session, session.home, partner="f.partner", subject=subject)
    if condition == "false":
        return {}
    session.connection.execute(
        f"update incoming set reason_ = {literal(ERASED)}, raw_text_ = null from drop_files as f "
        f"where f.file_order_ = incoming.file_order_ and {condition}"
    )
    counted = "select source_file, count(*) from numbered where reason_ = $1 group by source_file"
    return dict(session.connection.execute(counted, [ERASED]).fetchall())


def empty_feed(session: Session, contract: Contract) -> None:
    """Stage no rows of the right shape as ``new_rows``, for a table that must exist before its first file."""
    create_incoming(session, contract)
    number_rows(session)
    _pick_rows(session, contract, loaded_at=datetime(1970, 1, 1))


def _changes(
    session: Session, contract: Contract, files: Iterable[DropFile], published: str, held: Iterable[Held]
) -> list[Replace]:
    """Per partner: its days of the feed (unless held back), of the quarantine, of the ledger and of late rows."""
    days: dict[str, set[date]] = {}
    for file in files:
        days.setdefault(file.partner, set()).add(file.dt)
    kept_as_they_are = {(h.partner, h.dt) for h in held}
    changes: list[Replace] = []
    for partner in sorted(days):
        replaced = [day for day in sorted(days[partner]) if (partner, day) not in kept_as_they_are]
        changes += _changes_of(session, contract, partner, sorted(days[partner]), replaced=replaced, staged=published)
    return changes


def _changes_of(
    session: Session, contract: Contract, partner: str, days: list[date], *, replaced: list[date], staged: str
) -> list[Replace]:
    views = {name: f"{name}_{partner}" for name in (staged, "new_quarantine", "new_ledger", "new_late_rows")}
    for name, of_partner in views.items():
        session.connection.execute(
            f"create or replace temp view {of_partner} as select * from {name} where partner = {literal(partner)}"
        )
    of_feed = Equal((("partner", partner), ("feed", contract.feed), ("dt", days)))
    of_replaced = Equal((("partner", partner), ("feed", contract.feed), ("dt", replaced)))
    meanings = {c.name: c.meaning for c in contract.columns}
    rows = Equal((("partner", partner), ("dt", replaced)))
    return [
        Replace(f"raw.{contract.feed}", views[staged], rows, contract.description, meanings),
        Replace(QUARANTINE, views["new_quarantine"], of_feed, QUARANTINE_DESCRIPTION, QUARANTINE_COLUMNS),
        Replace(LEDGER, views["new_ledger"], of_feed, LEDGER_DESCRIPTION, LEDGER_COLUMNS),
        Replace(LATE, views["new_late_rows"], of_replaced, LATE_DESCRIPTION, LATE_COLUMNS),
    ]


def _pick_rows(session: Session, contract: Contract, *, loaded_at: datetime) -> None:
    """Stage ``new_rows``: good rows, one per key and day: the newest version, else the last row of the last file.

    Only rows whose key repeats are ranked (``repeats``); all others pass without being sorted, and are written once:
    ``new_rows`` is a view wherever the rows already stand in their order.
    """
    _stage_repeats(session, contract)
    repeated = session.connection.execute("select count(*) from repeats where place_ > 1").fetchone()
    outdone = "anti join (select position_ from repeats where place_ > 1) as outdone using (position_) "
    in_order = _days_in_order(session)
    query = (
        f"select partner, dt, {', '.join(contract.column_names)}, source_file, "
        f"source_row, timestamp {literal(loaded_at)} as loaded_at from numbered "
        f"{outdone if repeated and repeated[0] else ''}where reason_ is null"
        f"{'' if in_order else ' order by dt, partner'}"
    )
    if not in_order or has_malformed_lines(session):  # every look at the view would sort anew
        session.stage("sorted_rows", query)
        query = "select * from sorted_rows"
    session.connection.execute(f"create or replace temp view new_rows as {query}")


def _stage_repeats(session: Session, contract: Contract) -> None:
    """Stage ``repeats``: the good rows whose key repeats, with their place among those of their key, the kept one 1."""
    key = f"partner, dt, {', '.join(contract.key)}"
    key_hash = _key_hash(session, contract)
    _stage_repeated_hashes(session, key_hash)
    content = ", ".join(f"'{name}': {name}" for name in contract.column_names)
    version = f"{contract.version_by} desc nulls last" if contract.version_by else "null"
    session.stage(
        "repeats",
        f"select {key}, source_file, position_, {{{content}}} as content_, "
        f"row_number() over (partition by {key} order by {version}, file_order_ desc, position_ desc) as place_, "
        f"rank() over (partition by {key} order by {version}) as version_place_ "
        f"from (select i.*, i.rowid as position_, f.partner, f.dt, f.source_file from incoming as i "
        f"inner join drop_files as f on i.file_order_ = f.file_order_ where i.reason_ is null "
        f"and {key_hash} in (select key_hash_ from repeated_hashes))",
    )


def _key_hash(session: Session, contract: Contract) -> str:
    """SQL of the hash of a row's key within its partner's day; a snapshot brings the same keys every day."""
    row = session.connection.execute("select count(distinct row(partner, dt)) from drop_files").fetchone()
    scope = ["partner", "dt"] if row and row[0] > 1 else []
    return f"hash({', '.join([*scope, *contract.key])})"


def _stage_repeated_hashes(session: Session, key_hash: str) -> None:
    """Stage the hashes that more than one good row's key has: 8 bytes a key are sorted here in a fifth of the time in
    which DuckDB groups the keys. A hash may stand for several keys; those are told apart afterwards.
    """
    hashes = session.connection.execute(
        f"select {key_hash} as key_hash_ from incoming inner join drop_files using (file_order_) where reason_ is null"
    ).fetchnumpy()["key_hash_"]
    hashes.sort()
    repeated = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
    session.stage_rows("repeated_hashes", pl.DataFrame({"key_hash_": repeated}, schema={"key_hash_": pl.UInt64}))


def _days_in_order(session: Session) -> bool:
    """Whether the rows stand by day and partner already: what is stored together is found together."""
    found = session.connection.execute(
        "select dt, partner from drop_files where first_position_ is not null order by first_position_"
    ).fetchall()
    return found == sorted(found)


def _counts(session: Session, contract: Contract) -> dict[str, _Counts]:
    """Per file: what was read, kept, refused, repeated and masked, and its keys that came with different contents."""
    key = f"partner, dt, {', '.join(contract.key)}"
    rows = session.connection.execute(
        "with came as (select file_order_, count(*) as n, count(reason_) as refused, sum(masked_values_) as masked "
        "from incoming group by file_order_), "
        "kept as (select source_file, count(*) as n from new_rows group by source_file), "
        "again as (select source_file, count(*) filter (where place_ > 1) as n from repeats group by source_file), "
        f"disputed as (select {key} from repeats where version_place_ = 1 group by {key} "
        "having count(distinct content_) > 1), "
        f"in_dispute as (select source_file, count(distinct row({key})) as n from repeats "
        f"semi join disputed using ({key}) where version_place_ = 1 group by source_file) "
        "select source_file, came.n, coalesce(kept.n, 0), came.refused, coalesce(again.n, 0), "
        "coalesce(in_dispute.n, 0), coalesce(came.masked, 0) from came inner join drop_files using (file_order_) "
        "left join kept using (source_file) left join again using (source_file) "
        "left join in_dispute using (source_file)"
    ).fetchall()
    return {name: _Counts(*numbers) for name, *numbers in rows}


def _ledger_line(
    contract: Contract, file: DropFile, outcome: Problem | Read, counts: _Counts, sha256: str
) -> dict[str, object]:
    is_unreadable = isinstance(outcome, Problem) and outcome.status == "unreadable"
    return {
        "partner": file.partner,
        "feed": file.feed,
        "dt": file.dt,
        "source_file": file.name,
        "size_bytes": file.size_bytes,
        "sha256": sha256,
        "contract_version": contract.version if isinstance(outcome, Problem) else outcome.contract_version,
        "status": _status(outcome, counts),
        "rows_in": None if is_unreadable else counts.rows_in,
        "rows_loaded": counts.loaded,
        "rows_quarantined": counts.quarantined,
        "rows_duplicate": counts.duplicate,
        "rows_kept": 0,
        "note": f"{_note(outcome, counts)} {_shortfall(file, counts)}".strip(),
    }


def _status(outcome: Problem | Read, counts: _Counts) -> str:
    if isinstance(outcome, Problem):
        return outcome.status
    if not counts.quarantined:
        return "loaded"
    return "rejected" if counts.quarantined == counts.rows_in else "partly quarantined"


def _note(outcome: Problem | Read, counts: _Counts) -> str:
    note = outcome.note
    if isinstance(outcome, Problem):
        return note
    if counts.disputed_keys:
        note += f"keys delivered with different contents: {counts.disputed_keys}; the last of each was kept. "
    if counts.masked_values:
        note += f"free texts in which a phone number, e-mail address or ID number was masked: {counts.masked_values}. "
    return note.strip()


def _shortfall(file: DropFile, counts: _Counts) -> str:
    if file.expected_rows is None or file.problem or file.expected_rows == counts.rows_in:
        return ""
    return (
        f"its manifest promises {file.expected_rows:,} rows, found {counts.rows_in:,}: ask the partner which is right."
    )


def _add_notes(line: Mapping[str, Any], *, kept: Mapping[str, int], mended: Mapping[str, int]) -> dict[str, Any]:
    """The ledger line with what was mended and what stays of an earlier delivery."""
    name, notes = line["source_file"], [line["note"]]
    if name in mended:
        notes.append(f"{_rows(mended[name])} loaded as people mended {'it' if mended[name] == 1 else 'them'}.")
    if name in kept:
        notes.append(f"{kept[name]} rows of its earlier delivery stay, because nothing in this one could be used.")
    return {**line, "rows_kept": kept.get(name, 0), "note": " ".join(note for note in notes if note)}


def _rows(count: int) -> str:
    return "1 row was" if count == 1 else f"{count} rows were"


def _stage_quarantine(
    session: Session, contract: Contract, outcomes: Mapping[str, Problem | Read], *, run_id: str, loaded_at: datetime
) -> None:
    """Stage refused rows, and one line without a row number for each file of which nothing could be read."""
    whole = [
        (name, f"the file {p.note}")
        for name, p in outcomes.items()
        if isinstance(p, Problem) and p.status == "unreadable"
    ]
    kinds = {name: QUARANTINE_SCHEMA[name] for name in ("source_file", "reason")}
    session.stage_rows("unread_files", pl.DataFrame(whole, schema=kinds, orient="row"))
    named = ", ".join(literal(name) for name in contract.column_names)
    steps = " ".join(f"when {condition} then {literal(step)}" for condition, step in _NEXT_STEPS)
    session.stage(
        "new_quarantine",
        "select f.partner, $feed as feed, f.dt, q.source_file, q.source_row, q.source_line, "
        f"case when split_part(q.reason, ':', 1) in ({named}) then split_part(q.reason, ':', 1) end as column_name, "
        f"q.reason, case {steps} else {literal(_LAST_STEP)} end as next_step, q.raw_text, $run_id as run_id, "
        "cast($loaded_at as timestamp) as quarantined_at from (select n.source_file, n.source_row, l.source_line, "
        "n.reason_ as reason, n.raw_text_ as raw_text from numbered as n left join row_lines as l "
        "on n.file_order_ = l.file_order_ and n.source_row = l.source_row where n.reason_ is not null "
        "union all select source_file, null, null, reason, null from unread_files) as q "
        "inner join drop_files as f on q.source_file = f.source_file order by q.source_file, q.source_row",
        {"feed": contract.feed, "run_id": run_id, "loaded_at": loaded_at},
    )
