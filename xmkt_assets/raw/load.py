"""Loading: the files of one feed become good rows, quarantined rows and one ledger line per file.

Rows in = loaded + quarantined + duplicates, per file, each counted for itself. Nothing here decides which days are
loaded (the asset does), reads files (``reading`` does) or cleans values (``dbt_like_sql/staging`` does).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Final, NamedTuple

import polars as pl

from xmkt_assets.contracts import Contract
from xmkt_assets.raw.landing import DropFile, content_hash
from xmkt_assets.raw.reading import Problem, create_incoming, number_rows, read_files
from xmkt_assets.warehouse import Equal, Replace, Session, Written

LEDGER: Final = "raw.file_ledger"
QUARANTINE: Final = "raw.quarantine"
LEDGER_SCHEMA: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    "partner": pl.String,
    "feed": pl.String,
    "dt": pl.Date,
    "source_file": pl.String,
    "size_bytes": pl.Int64,
    "sha256": pl.String,
    "contract_version": pl.String,
    "status": pl.String,
    "rows_in": pl.Int64,
    "rows_loaded": pl.Int64,
    "rows_quarantined": pl.Int64,
    "rows_duplicate": pl.Int64,
    "note": pl.String,
    "run_id": pl.String,
    "loaded_at": pl.Datetime("us"),
}
QUARANTINE_SCHEMA: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    "partner": pl.String,
    "feed": pl.String,
    "dt": pl.Date,
    "source_file": pl.String,
    "source_row": pl.Int64,
    "reason": pl.String,
    "raw_text": pl.String,
    "run_id": pl.String,
    "quarantined_at": pl.Datetime("us"),
}


class FeedLoad(NamedTuple):
    """What one load of a feed did; `ledger` has one row per file."""

    written: Written | None
    ledger: pl.DataFrame
    row_counts: dict[date, int]


class _Counts(NamedTuple):
    """What became of the rows of one file."""

    rows_in: int = 0
    loaded: int = 0
    quarantined: int = 0
    duplicate: int = 0
    disputed_keys: int = 0


def load_feed(
    session: Session, contract: Contract, files: Sequence[DropFile], *, run_id: str, loaded_at: datetime
) -> FeedLoad:
    """Load `files` of one feed and replace the days of the partners they belong to, in one transaction.

    A partner's day without a file keeps the rows it has: a cleaned-up landing folder empties nothing.
    """
    if not files:
        return FeedLoad(None, pl.DataFrame(schema=LEDGER_SCHEMA), {})
    # Before reading: a file that changes meanwhile then differs from the ledger and is loaded again.
    hashes = {file.name: content_hash(file.path) for file in files}
    create_incoming(session, contract)
    problems = read_files(session, contract, files)
    number_rows(session)
    _pick_rows(session, contract, loaded_at=loaded_at)
    counts = _counts(session, contract)
    lines = [_ledger_line(contract, f, problems[f.name], counts.get(f.name, _Counts()), hashes[f.name]) for f in files]
    stamped = [{**line, "run_id": run_id, "loaded_at": loaded_at} for line in lines]
    ledger = pl.DataFrame(stamped, schema=LEDGER_SCHEMA)
    session.stage_rows("new_ledger", ledger)
    _stage_quarantine(session, contract, problems, run_id=run_id, loaded_at=loaded_at)
    written = session.commit(_changes(session, contract, files))
    rows_of_feed = [w for w in written if w.table == f"raw.{contract.feed}"]
    total = rows_of_feed[0]._replace(row_count=sum(w.row_count for w in rows_of_feed))
    per_day = session.connection.execute("select dt, count(*) from new_rows group by dt").fetchall()
    days = sorted({file.dt for file in files})
    return FeedLoad(total, ledger, {**dict.fromkeys(days, 0), **dict(per_day)})


def empty_feed(session: Session, contract: Contract) -> None:
    """Stage no rows of the right shape as ``new_rows``, for a table that must exist before its first file."""
    create_incoming(session, contract)
    number_rows(session)
    _pick_rows(session, contract, loaded_at=datetime(1970, 1, 1))


def _changes(session: Session, contract: Contract, files: Iterable[DropFile]) -> list[Replace]:
    """Per partner: its days of the feed, of the quarantine and of the ledger."""
    days: dict[str, set[date]] = {}
    for file in files:
        days.setdefault(file.partner, set()).add(file.dt)
    return [
        change for partner in sorted(days) for change in _changes_of(session, contract, partner, sorted(days[partner]))
    ]


def _changes_of(session: Session, contract: Contract, partner: str, days: list[date]) -> list[Replace]:
    staged = {name: f"{name}_{partner}" for name in ("new_rows", "new_quarantine", "new_ledger")}
    for name, of_partner in staged.items():
        session.connection.execute(
            f"create or replace temp view {of_partner} as select * from {name} where partner = '{partner}'"
        )
    of_feed = Equal((("partner", partner), ("feed", contract.feed), ("dt", days)))
    of_days = Equal((("partner", partner), ("dt", days)))
    meanings = {c.name: c.meaning for c in contract.columns}
    refused = "One row per partner row that could not be used, with the reason."
    files = "One row per partner file, with what became of its rows."
    return [
        Replace(f"raw.{contract.feed}", staged["new_rows"], of_days, contract.description, meanings),
        Replace(QUARANTINE, staged["new_quarantine"], of_feed, refused),
        Replace(LEDGER, staged["new_ledger"], of_feed, files),
    ]


def _pick_rows(session: Session, contract: Contract, *, loaded_at: datetime) -> None:
    """Stage ``new_rows``: good rows, one per key and day: the newest version, else the last row of the last file.

    Only rows whose key repeats are ranked (``repeats``); all others pass without being sorted.
    """
    key = f"partner, dt, {', '.join(contract.key)}"
    session.stage(
        "repeated_keys", f"select {key} from incoming where reason_ is null group by {key} having count(*) > 1"
    )
    content = ", ".join(f"'{name}': {name}" for name in contract.column_names)
    version = f"{contract.version_by} desc nulls last" if contract.version_by else "null"
    session.stage(
        "repeats",
        f"select {key}, source_file, file_order_, position_, {{{content}}} as content_, "
        f"row_number() over (partition by {key} order by {version}, file_order_ desc, position_ desc) as place_, "
        f"rank() over (partition by {key} order by {version}) as version_place_ "
        f"from incoming semi join repeated_keys using ({key}) where reason_ is null",
    )
    session.stage(
        "new_rows",
        f"select partner, dt, {', '.join(contract.column_names)}, source_file, source_row, "
        "cast($loaded_at as timestamp) as loaded_at from numbered "
        "anti join (from repeats where place_ > 1) as outdone using (file_order_, position_) "
        "where reason_ is null order by dt, partner",
        {"loaded_at": loaded_at},
    )


def _counts(session: Session, contract: Contract) -> dict[str, _Counts]:
    """Per file: what was read, kept, refused and repeated, and its keys that came with different contents."""
    key = f"partner, dt, {', '.join(contract.key)}"
    rows = session.connection.execute(
        "with came as (select source_file, count(*) as n, count(reason_) as refused from incoming "
        "group by source_file), "
        "kept as (select source_file, count(*) as n from new_rows group by source_file), "
        "again as (select source_file, count(*) filter (where place_ > 1) as n from repeats group by source_file), "
        f"disputed as (select {key} from repeats where version_place_ = 1 group by {key} "
        "having count(distinct content_) > 1), "
        f"in_dispute as (select source_file, count(distinct row({key})) as n from repeats "
        f"semi join disputed using ({key}) where version_place_ = 1 group by source_file) "
        "select came.source_file, came.n, coalesce(kept.n, 0), came.refused, coalesce(again.n, 0), "
        "coalesce(in_dispute.n, 0) from came left join kept using (source_file) left join again using (source_file) "
        "left join in_dispute using (source_file)"
    ).fetchall()
    return {name: _Counts(*numbers) for name, *numbers in rows}


def _ledger_line(
    contract: Contract, file: DropFile, outcome: Problem | str, counts: _Counts, sha256: str
) -> dict[str, object]:
    is_unreadable = isinstance(outcome, Problem) and outcome.status == "unreadable"
    return {
        "partner": file.partner,
        "feed": file.feed,
        "dt": file.dt,
        "source_file": file.name,
        "size_bytes": file.size_bytes,
        "sha256": sha256,
        "contract_version": contract.version,
        "status": _status(outcome, counts),
        "rows_in": None if is_unreadable else counts.rows_in,
        "rows_loaded": counts.loaded,
        "rows_quarantined": counts.quarantined,
        "rows_duplicate": counts.duplicate,
        "note": _note(outcome, counts),
    }


def _status(outcome: Problem | str, counts: _Counts) -> str:
    if isinstance(outcome, Problem):
        return outcome.status
    if not counts.quarantined:
        return "loaded"
    return "rejected" if counts.quarantined == counts.rows_in else "partly quarantined"


def _note(outcome: Problem | str, counts: _Counts) -> str:
    if isinstance(outcome, Problem):
        return outcome.note
    disputed = f"keys delivered with different contents: {counts.disputed_keys}; the last of each was kept."
    return f"{outcome}{disputed if counts.disputed_keys else ''}".strip()


def _stage_quarantine(
    session: Session, contract: Contract, problems: Mapping[str, Problem | str], *, run_id: str, loaded_at: datetime
) -> None:
    """Stage refused rows, and one line without a row number for each file of which nothing could be read."""
    whole = [
        (name, None, f"the file {p.note}", None)
        for name, p in problems.items()
        if isinstance(p, Problem) and p.status == "unreadable"
    ]
    kinds = {name: QUARANTINE_SCHEMA[name] for name in ("source_file", "source_row", "reason", "raw_text")}
    session.stage_rows("unread_files", pl.DataFrame(whole, schema=kinds, orient="row"))
    session.stage(
        "new_quarantine",
        "select f.partner, $feed as feed, f.dt, q.source_file, q.source_row, q.reason, q.raw_text, $run_id as run_id, "
        "cast($loaded_at as timestamp) as quarantined_at from (select source_file, source_row, reason_ as reason, "
        "raw_text_ as raw_text from numbered where reason_ is not null union all from unread_files) as q "
        "inner join drop_files as f on q.source_file = f.source_file order by q.source_file, q.source_row",
        {"feed": contract.feed, "run_id": run_id, "loaded_at": loaded_at},
    )
