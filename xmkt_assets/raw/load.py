"""Loading: the files of one feed become good rows, quarantined rows and one ledger line per file.

Every file is read once. Each value is cast to the contract's type in the same pass; a row with anything wrong
keeps its raw text and says what was found and what was wanted. Rows in = loaded + quarantined + duplicates,
per file. Nothing here decides which days are loaded (the asset does) or cleans values (``staging`` does).
"""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Final, NamedTuple

import duckdb
import polars as pl

from xmkt_assets.contracts import IN_WORDS, Contract, ContractColumn
from xmkt_assets.raw.landing import DropFile, content_hash
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
# No CSV of a person's making holds this character, so a whole JSON line arrives as one column.
_NEVER: Final = "E'\\x01'"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why no row of a file could be read."""

    status: str
    note: str


class FeedLoad(NamedTuple):
    """What one load of a feed did; `ledger` has one row per file."""

    written: Written | None
    ledger: pl.DataFrame
    row_counts: dict[date, int]


@dataclass(frozen=True, slots=True)
class _Layout:
    """How files of one kind and header are read: files that share a layout are read by one statement."""

    kind: str
    header: tuple[str, ...]
    present: frozenset[str]
    note: str
    row_problem: str = "null"  # SQL: reason why the row as a whole is unreadable

    def relation(self, paths: Sequence[Path]) -> str:
        """FROM clause that reads the files as text, with the column ``filename``."""
        names = "[" + ", ".join(_text(str(path)) for path in paths) + "]"
        if self.kind == "parquet":
            return f"read_parquet({names}, filename = true, hive_partitioning = false)"
        if self.kind == "jsonl":
            return _json_lines(names, self.header)
        columns = ", ".join(f"{_text(name)}: 'VARCHAR'" for name in self.header)
        return (
            f"read_csv({names}, filename = true, hive_partitioning = false, header = true, auto_detect = false, "
            f"delim = ',', quote = '\"', escape = '\"', columns = {{{columns}}}, "
            f"store_rejects = true, rejects_table = 'malformed', rejects_scan = 'malformed_scan')"
        )

    @property
    def raw_text(self) -> str:
        """SQL: the row as it came; empty where the columns as JSON must do."""
        return "line" if self.kind == "jsonl" else ""


def load_feed(
    session: Session, contract: Contract, files: Sequence[DropFile], *, run_id: str, loaded_at: datetime
) -> FeedLoad:
    """Load `files` of one feed and replace the days they belong to, in one transaction.

    Days without a file keep the rows they have: a cleaned-up landing folder empties nothing.
    """
    if not files:
        return FeedLoad(None, pl.DataFrame(schema=LEDGER_SCHEMA), {})
    _create_incoming(session, contract)
    problems = _read_files(session, contract, files)
    _number_rows(session)
    ledger = _ledger(session, contract, files, problems, run_id=run_id, loaded_at=loaded_at)
    session.stage_rows("new_ledger", ledger)
    session.stage_rows("new_quarantine", _quarantine(session, ledger, contract, problems))
    session.stage("new_rows", _best_rows(contract), {"loaded_at": loaded_at})
    days = sorted({file.dt for file in files})
    written = session.commit(_changes(contract, days))
    counts = session.connection.execute("select dt, count(*) from new_rows group by dt").fetchall()
    return FeedLoad(written[0], ledger, {**dict.fromkeys(days, 0), **dict(counts)})


def _changes(contract: Contract, days: list[date]) -> list[Replace]:
    of_feed = Equal((("feed", contract.feed), ("dt", days)))
    meanings = {c.name: c.meaning for c in contract.columns}
    return [
        Replace(f"raw.{contract.feed}", "new_rows", Equal((("dt", days),)), contract.description, meanings),
        Replace(
            QUARANTINE, "new_quarantine", of_feed, "One row per partner row that could not be used, with the reason."
        ),
        Replace(LEDGER, "new_ledger", of_feed, "One row per partner file, with what became of its rows."),
    ]


def empty_feed(session: Session, contract: Contract) -> None:
    """Stage no rows of the right shape as ``new_rows``, for a table that must exist before its first file."""
    _create_incoming(session, contract)
    _number_rows(session)
    session.stage("new_rows", _best_rows(contract), {"loaded_at": datetime(1970, 1, 1)})


def _create_incoming(session: Session, contract: Contract) -> None:
    typed = ", ".join(f"{c.name} {c.duckdb_type}" for c in contract.columns)
    session.connection.execute(
        f"create or replace temp table incoming (partner VARCHAR, dt DATE, source_file VARCHAR, file_order INTEGER, "
        f"position BIGINT, malformed_row BIGINT, {typed}, reason VARCHAR, raw_text VARCHAR)"
    )


def _read_files(session: Session, contract: Contract, files: Sequence[DropFile]) -> dict[str, Problem | str]:
    """Append the rows of all files to ``incoming``. Per file name: a note, or the `Problem` that kept its rows out."""
    session.stage_rows("drop_files", _file_frame(files))
    outcomes: dict[str, Problem | str] = {}
    groups: dict[_Layout, list[DropFile]] = {}
    for file in files:
        layout = _guarded_layout(session, contract, file)
        outcomes[file.name] = layout if isinstance(layout, Problem) else layout.note
        if isinstance(layout, _Layout):
            groups.setdefault(layout, []).append(file)
    for layout, members in groups.items():
        outcomes.update(_read_group(session, contract, layout, members))
    return outcomes


def _read_group(
    session: Session, contract: Contract, layout: _Layout, files: list[DropFile]
) -> dict[str, Problem | str]:
    """Read files of one layout at once; where that fails, halve, so that one bad file keeps no other out."""
    try:
        session.connection.execute(_insert_sql(contract, layout, [f.path for f in files]))
    except duckdb.Error as error:
        session.connection.execute("drop table if exists malformed; drop table if exists malformed_scan")
        if len(files) == 1:
            return {files[0].name: _unreadable(files[0], error)}
        half = len(files) // 2
        parts = (files[:half], files[half:])
        return {k: v for part in parts for k, v in _read_group(session, contract, layout, part).items()}
    if layout.kind == "csv":
        _add_malformed_lines(session)
    return {}


def _file_frame(files: Sequence[DropFile]) -> pl.DataFrame:
    rows = [(str(f.path), f.partner, f.dt, f.name, order) for order, f in enumerate(files)]
    schema = {
        "filename": pl.String,
        "partner": pl.String,
        "dt": pl.Date,
        "source_file": pl.String,
        "file_order": pl.Int32,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _unreadable(file: DropFile, error: BaseException) -> Problem:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    said = lines[0].replace(str(file.path), file.name)
    return Problem("unreadable", f"cannot be read: {said}. Ask the partner to deliver it again.")


def _guarded_layout(session: Session, contract: Contract, file: DropFile) -> _Layout | Problem:
    try:
        return _layout(session, contract, file)
    except (OSError, EOFError, zlib.error, duckdb.Error, UnicodeDecodeError) as error:
        return _unreadable(file, error)


def _layout(session: Session, contract: Contract, file: DropFile) -> _Layout | Problem:
    if file.size_bytes == 0:
        return Problem("empty", "is empty (0 bytes); wanted at least a header. Nothing to load.")
    if file.name.endswith(".jsonl"):
        return _json_layout(contract, file.path)
    if file.name.endswith(".parquet"):
        described = session.connection.execute(
            f"describe from read_parquet({_text(str(file.path))}, hive_partitioning = false)"
        )
        return _table_layout(contract, "parquet", [row[0] for row in described.fetchall()])
    header = _csv_header(file.path)
    if not header:
        return Problem("empty", "holds no header line. Nothing to load.")
    if len(set(header)) < len(header):
        return Problem("unreadable", f"names a column twice in its header {header}. Give every column one name.")
    return _table_layout(contract, "csv", header)


def _csv_header(path: Path) -> list[str]:
    """Names of the header line. Reads a gzip to its end: DuckDB takes a truncated one for a short one."""
    if path.name.endswith(".gz"):
        with gzip.open(path, "rb") as packed:
            first = packed.readline()
            while packed.read(1 << 20):
                pass
    else:
        with path.open("rb") as plain:
            first = plain.readline()
    line = first.decode("utf-8-sig")
    return [name.strip() for name in next(csv.reader(io.StringIO(line)), [])]


def _json_layout(contract: Contract, path: Path) -> _Layout:
    with path.open(encoding="utf-8") as lines:
        first: dict[str, object] = next((json.loads(line) for line in lines if _is_json_object(line)), {})
    broken = "case when not is_object then 'the line is no JSON object' end"
    note = _undeclared(contract, list(first))
    return _Layout("jsonl", contract.column_names, frozenset(contract.column_names), note, broken)


def _json_lines(names: str, columns: Sequence[str]) -> str:
    """Each line is read as text first, so that a line that is no JSON goes to quarantine as it came."""
    fields = ", ".join(f"case when is_object then json_extract_string(line, '$.{c}') end as {c}" for c in columns)
    return (
        f"(select {fields}, line, is_object, filename from (select line, filename, "
        f"case when json_valid(line) then json_type(line) = 'OBJECT' else false end as is_object from read_csv({names}, filename = true, hive_partitioning = false, "
        f"header = false, auto_detect = false, delim = {_NEVER}, quote = '', escape = '', "
        f"columns = {{'line': 'VARCHAR'}}) where line is not null))"
    )


def _is_json_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except json.JSONDecodeError:
        return False


def _table_layout(contract: Contract, kind: str, header: list[str]) -> _Layout:
    present = frozenset(header) & frozenset(contract.column_names)
    missing = [c.name for c in contract.columns if c.name not in present]
    required = [c.name for c in contract.columns if c.is_required and c.name not in present]
    note = _undeclared(contract, header)
    if missing and not required:
        note += f"lacks the optional columns {', '.join(missing)}, loaded as empty. "
    problem = "null"
    if required:
        wanted, found = ", ".join(contract.column_names), ", ".join(header)
        problem = _text(f"the file lacks column {', '.join(required)}; wanted {wanted}; found {found}")
        note += (
            f"lacks the required column {', '.join(required)}: every row is in quarantine. Deliver it with the column. "
        )
    return _Layout(kind, tuple(header), present, note, problem)


def _undeclared(contract: Contract, header: list[str]) -> str:
    extra = [name for name in header if name not in contract.column_names]
    return f"brings undeclared columns {', '.join(extra)}, which were not loaded. " if extra else ""


def _insert_sql(contract: Contract, layout: _Layout, paths: Sequence[Path]) -> str:
    """One pass over the files: text in, typed values and the reason of refusal out.

    Rows are numbered while they stream past in file order; a file's own numbers start where it starts.
    """
    texts = ", ".join(
        f"nullif(trim(cast({_name(c.name)} as varchar)), '') as {c.name}_text"
        if c.name in layout.present
        else f"cast(null as varchar) as {c.name}_text"
        for c in contract.columns
    )
    typed = ", ".join(f"{_cast(c)} as {c.name}" for c in contract.columns)
    reasons = ", ".join([layout.row_problem, *(r for c in contract.columns for r in _reasons(c, contract))])
    extra = ", line, is_object" if layout.raw_text else ""
    raw = layout.raw_text or "to_json({" + ", ".join(f"'{c.name}': {c.name}_text" for c in contract.columns) + "})"
    names = ", ".join(contract.column_names)
    return (
        f"insert into incoming by name "
        f"with texts as (select row_number() over () as position, filename, {texts}{extra} "
        f"from {layout.relation(paths)}), "
        f"typed as (select texts.*, {typed}, drop_files.* exclude (filename) from texts "
        f"inner join drop_files on texts.filename = drop_files.filename), "
        f"judged as (select *, nullif(concat_ws('; ', {reasons}), '') as reason from typed) "
        f"select partner, dt, source_file, file_order, position, "
        f"{names}, reason, case when reason is not null then {raw} end as raw_text from judged"
    )


def _cast(column: ContractColumn) -> str:
    text = f"{column.name}_text"
    if column.logical_type == "string":
        return text
    if column.logical_type == "timestamp":
        return f"try_cast({text} as timestamptz) at time zone 'UTC'"
    if column.logical_type == "integer":  # a plain cast would round 3.7 to 4 without a word
        return f"case when try_cast({text} as double) = try_cast({text} as bigint) then try_cast({text} as bigint) end"
    if column.logical_type == "number":
        return f"case when isfinite(try_cast({text} as double)) then try_cast({text} as double) end"
    return f"try_cast({text} as {column.duckdb_type})"


def _reasons(column: ContractColumn, contract: Contract) -> list[str]:
    """SQL expressions, null when all is well, else what was found and what was wanted."""
    name, text = column.name, f"{column.name}_text"
    found = f"'{name}: found ' || {_shown(text)} || ', wanted "
    reasons = []
    if column.is_required:
        reasons.append(f"case when {text} is null then '{name}: empty, wanted {IN_WORDS[column.logical_type]}' end")
    if column.logical_type != "string":
        reasons.append(
            f"case when {text} is not null and {name} is null then {found}{IN_WORDS[column.logical_type]}' end"
        )
    if column.minimum is not None:
        reasons.append(f"case when {name} < {column.minimum} then {found}at least {column.minimum}' end")
    if column.maximum is not None:
        reasons.append(f"case when {name} > {column.maximum} then {found}at most {column.maximum}' end")
    if column.valid_values:
        values = ", ".join(_text(v) for v in column.valid_values)
        shown = ", ".join(column.valid_values)
        reasons.append(f"case when {name} not in ({values}) then {found}one of {shown}' end")
    if column.pattern:
        reasons.append(
            f"case when not regexp_full_match({name}, {_text(column.pattern)}) then "
            f"'{name}: not of the form {column.pattern} (value not shown)' end"
        )
    if name == contract.event_time:
        reasons.append(
            f"case when cast({name} as date) <> dt then '{name}: lies on ' || cast({name} as date) || "
            f"' (UTC), wanted ' || dt || '; deliver the row in folder dt=' || cast({name} as date) end"
        )
    return reasons


def _shown(text: str) -> str:
    return f"'''' || left({text}, 60) || ''''"


def _add_malformed_lines(session: Session) -> None:
    """Lines DuckDB could not split into columns, as it came across them."""
    session.connection.execute(
        "insert into incoming by name select f.partner, f.dt, f.source_file, f.file_order, "
        "m.line - 1 as malformed_row, 'malformed line: ' || min(m.error_message) as reason, min(m.csv_line) as raw_text "
        "from malformed as m inner join malformed_scan as s on m.scan_id = s.scan_id and m.file_id = s.file_id "
        "inner join drop_files as f on s.file_path = f.filename group by all"
    )
    session.connection.execute("drop table malformed; drop table malformed_scan")


def _number_rows(session: Session) -> None:
    """View ``numbered``: ``incoming`` with `source_row`, the place of the record in its file, the header not counted.

    Malformed lines are known by their line; the k-th of them stands after (its row - k) well-formed records, so a
    well-formed record of rank r lies at r + the number of malformed lines with fewer than r such records before.
    """
    session.connection.execute(
        "create or replace temp table file_starts as select source_file, min(position) as first_position "
        "from incoming group by source_file; "
        "create or replace temp table malformed_lines as select source_file, malformed_row - row_number() over "
        "(partition by source_file order by malformed_row) as records_before from incoming "
        "where malformed_row is not null"
    )
    row = session.connection.execute("select count(*) from malformed_lines").fetchone()
    rank = "(i.position - s.first_position + 1)"
    shift = (
        f"(select count(*) from malformed_lines as m where m.source_file = i.source_file and m.records_before < {rank})"
        if row and row[0]
        else "0"
    )
    session.connection.execute(
        f"create or replace temp view numbered as select i.*, coalesce(i.malformed_row, {rank} + {shift}) as source_row "
        "from incoming as i inner join file_starts as s on i.source_file = s.source_file"
    )


def _best_rows(contract: Contract) -> str:
    """Good rows, one per key and day: the newest version, else the row of the last file."""
    newest = f"{contract.version_by} desc nulls last, " if contract.version_by else ""
    names = ", ".join(contract.column_names)
    return (
        f"select partner, dt, {names}, source_file, source_row, cast($loaded_at as timestamp) as loaded_at "
        f"from numbered where reason is null qualify row_number() over (partition by partner, dt, "
        f"{', '.join(contract.key)} order by {newest}file_order desc, position desc) = 1 order by dt, partner"
    )


def _ledger(
    session: Session,
    contract: Contract,
    files: Sequence[DropFile],
    problems: dict[str, Problem | str],
    *,
    run_id: str,
    loaded_at: datetime,
) -> pl.DataFrame:
    counted = session.read(
        f"with best as ({_best_rows(contract)}), kept as (select source_file, count(*) as n from best group by 1) "
        "select i.source_file, count(*) as rows_in, count(reason) as rows_quarantined, "
        "coalesce(max(kept.n), 0) as rows_loaded from incoming i left join kept using (source_file) group by 1",
        loaded_at=loaded_at,
    )
    counts = {row["source_file"]: row for row in counted.iter_rows(named=True)}
    none = {"rows_in": 0, "rows_quarantined": 0, "rows_loaded": 0}
    lines = [_ledger_line(contract, f, problems[f.name], counts.get(f.name, none)) for f in files]
    stamped = [{**line, "run_id": run_id, "loaded_at": loaded_at} for line in lines]
    return pl.DataFrame(stamped, schema=LEDGER_SCHEMA)


def _ledger_line(
    contract: Contract, file: DropFile, outcome: Problem | str, count: dict[str, int]
) -> dict[str, object]:
    rows_in, quarantined, loaded = count["rows_in"], count["rows_quarantined"], count["rows_loaded"]
    if isinstance(outcome, Problem):
        status, note = outcome.status, outcome.note
    else:
        note = outcome.strip()
        status = "loaded" if not quarantined else "rejected" if quarantined == rows_in else "partly quarantined"
    return {
        "partner": file.partner,
        "feed": file.feed,
        "dt": file.dt,
        "source_file": file.name,
        "size_bytes": file.size_bytes,
        "sha256": content_hash(file.path),
        "contract_version": contract.version,
        "status": status,
        "rows_in": None if status == "unreadable" else rows_in,
        "rows_loaded": loaded,
        "rows_quarantined": quarantined,
        "rows_duplicate": rows_in - loaded - quarantined,
        "note": note,
    }


def _quarantine(
    session: Session, ledger: pl.DataFrame, contract: Contract, problems: dict[str, Problem | str]
) -> pl.DataFrame:
    """Refused rows, and one line without a row number for each file of which nothing could be read."""
    rows = session.read(
        "select source_file, source_row, reason, raw_text from numbered where reason is not null "
        "order by source_file, source_row"
    )
    whole = [
        {"source_file": name, "reason": f"the file {p.note}"}
        for name, p in problems.items()
        if isinstance(p, Problem) and p.status == "unreadable"
    ]
    frame = pl.concat([rows, pl.DataFrame(whole, schema=rows.schema)])
    files = ledger.select("source_file", "partner", "feed", "dt", "run_id", quarantined_at="loaded_at")
    joined = frame.join(files, on="source_file", how="left", maintain_order="left")
    return joined.select(pl.col(name).cast(kind) for name, kind in QUARANTINE_SCHEMA.items())


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _name(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'
