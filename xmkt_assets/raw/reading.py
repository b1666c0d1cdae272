"""Reading: the files of one feed become rows of the temporary table ``incoming``, typed and judged, read once.

Here: kinds of files, headers, lines that cannot be split, and the place of a row in its file. What a value must be
is in ``values``; which rows are kept is in ``load``.
"""

import csv
import gzip
import io
import itertools
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, cast

import duckdb
import polars as pl

from xmkt_assets.contracts import Contract
from xmkt_assets.raw.landing import DropFile
from xmkt_assets.raw.values import HIDDEN, reasons, shown_text, text_of, typed_value
from xmkt_assets.warehouse import Session, WarehouseError, literal

# No JSON of a machine's making holds this character, so a whole JSON line arrives as one column.
_NEVER: Final = "E'\\x01'"
_PATH: Final = "path_"
_REJECTS: Final = "store_rejects = true, rejects_table = 'malformed', rejects_scan = 'malformed_scan'"
_LONGEST_HEADER: Final = 1 << 20
_LONGEST_LINE_KEPT: Final = 100_000
_JSON_LINES_LOOKED_AT: Final = 1000
# What a file of any content can make the readers of this module raise.
_UNREADABLE: Final = (OSError, EOFError, zlib.error, duckdb.Error, csv.Error, ValueError, RecursionError)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why no row of a file could be read."""

    status: str
    note: str


@dataclass(frozen=True, slots=True)
class _Layout:
    """How files of one kind and header are read: files that share a layout are read by one statement."""

    kind: str
    columns: tuple[str, ...]  # as they stand in the file; for Parquet with their types, which must not mix
    present: frozenset[str]
    note: str
    row_problem: str = "null"  # SQL: reason why the row as a whole cannot be used
    keeps_lines: bool = True  # False where a line may hold what must not be stored

    def relation(self, paths: Sequence[Path]) -> str:
        """FROM clause that reads the files, every declared column under its own name, with the column of the path."""
        names = "[" + ", ".join(literal(_exactly(path)) for path in paths) + "]"
        origin = f"filename = '{_PATH}', hive_partitioning = false"
        if self.kind == "parquet":
            return f"read_parquet({names}, {origin})"
        if self.kind == "jsonl":
            return _json_lines(names, origin, sorted(self.present))
        columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in self.columns)
        return (
            f"read_csv({names}, {origin}, header = true, auto_detect = false, delim = ',', quote = '\"', "
            f"escape = '\"', columns = {{{columns}}}, {_REJECTS})"
        )


class _Malformed(NamedTuple):
    """A line that could not be split: its number as DuckDB counts, where it starts and how long it is, in bytes."""

    line: int
    start: int
    length: int


def create_incoming(session: Session, contract: Contract) -> None:
    """An empty table ``incoming`` for rows of `contract`, and one for the malformed lines that precede them."""
    typed = ", ".join(f"{c.name} {c.duckdb_type}" for c in contract.columns)
    session.connection.execute(
        f"create or replace temp table incoming (partner VARCHAR, dt DATE, source_file VARCHAR, file_order_ INTEGER, "
        f"position_ BIGINT, malformed_row_ BIGINT, {typed}, reason_ VARCHAR, raw_text_ VARCHAR); "
        "create or replace temp table malformed_before (source_file VARCHAR, records_before BIGINT, lines BIGINT)"
    )


def read_files(session: Session, contract: Contract, files: Sequence[DropFile]) -> dict[str, Problem | str]:
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


def number_rows(session: Session) -> None:
    """View ``numbered``: ``incoming`` with `source_row`, the place of the record in its file.

    The header and empty lines are no records; a line swallowed by an open quote is one. A well-formed record of
    rank r lies at r + the malformed lines that fewer than r well-formed records precede.
    """
    session.connection.execute(
        "create or replace temp table file_starts as select source_file, min(position_) as first_position "
        "from incoming group by source_file"
    )
    row = session.connection.execute("select count(*) from malformed_before").fetchone()
    before = (
        "asof left join malformed_before as m on r.source_file = m.source_file and r.record_ > m.records_before"
        if row and row[0]
        else "cross join (select 0 as lines) as m"
    )
    session.connection.execute(
        "create or replace temp view numbered as with ranked as "
        "(select i.*, i.position_ - s.first_position + 1 as record_ "
        "from incoming as i inner join file_starts as s on i.source_file = s.source_file) "
        "select r.* exclude (record_), coalesce(r.malformed_row_, r.record_ + coalesce(m.lines, 0)) as source_row "
        f"from ranked as r {before}"
    )


def _file_frame(files: Sequence[DropFile]) -> pl.DataFrame:
    rows = [(str(f.path), f.partner, f.dt, f.name, order) for order, f in enumerate(files)]
    kinds = {_PATH: pl.String, "partner": pl.String, "dt": pl.Date, "source_file": pl.String, "file_order_": pl.Int32}
    return pl.DataFrame(rows, schema=kinds, orient="row")


def _exactly(path: Path) -> str:
    """The path as a pattern that matches only itself: DuckDB reads ``x[1].csv`` as a pattern for ``x1.csv``."""
    return re.sub(r"([*?\[])", r"[\1]", str(path))


# --- what kind of file it is -------------------------------------------------------------------------------------


def _guarded_layout(session: Session, contract: Contract, file: DropFile) -> _Layout | Problem:
    try:
        return _layout(session, contract, file)
    except _UNREADABLE as error:
        return _unreadable(file, error)


def _layout(session: Session, contract: Contract, file: DropFile) -> _Layout | Problem:
    if file.size_bytes == 0:
        return Problem("empty", "is empty (0 bytes); wanted at least a header. Nothing to load.")
    if file.name.endswith(".jsonl"):
        return _json_layout(contract, file.path)
    if file.name.endswith(".parquet"):
        described = session.connection.execute(
            f"describe from read_parquet({literal(_exactly(file.path))}, hive_partitioning = false)"
        ).fetchall()
        return _table_layout(contract, "parquet", [row[0] for row in described], [f"{r[0]} {r[1]}" for r in described])
    header = _csv_header(file.path)
    if isinstance(header, Problem):
        return header
    # Undeclared columns get a name of our making: theirs may be empty, or the same but for upper case.
    columns = [name if name in contract.column_names else f"undeclared_{i}" for i, name in enumerate(header)]
    return _table_layout(contract, "csv", header, columns)


def _csv_header(path: Path) -> list[str] | Problem:
    """Names of the header line. Reads a gzip to its end: DuckDB takes a truncated one for a short one."""
    with _opened(path) as handle:
        first, *rest = re.split(rb"[\r\n]", handle.readline(_LONGEST_HEADER), maxsplit=1)
        chunks = iter(lambda: handle.read(1 << 20), b"")
        goes_on = any(chunk.strip() for chunk in [*rest, *itertools.islice(chunks, 1)])
        if path.name.endswith(".gz"):
            goes_on = max((bool(chunk.strip()) for chunk in chunks), default=False) or goes_on
    line = first.decode("utf-8-sig")
    if not line.strip():
        if goes_on:
            return Problem("unreadable", "begins with an empty line; wanted the header there. Remove the empty line.")
        return Problem("empty", "holds no header line. Nothing to load.")
    if not rest and len(first) == _LONGEST_HEADER:
        return Problem(
            "unreadable", f"has no line end in its first {_LONGEST_HEADER} bytes; wanted a CSV with a header."
        )
    names = [name.strip() for name in next(csv.reader(io.StringIO(line)))]
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        return Problem(
            "unreadable", f"names {_shown_names(twice)} twice in its header. Give every column its own name."
        )
    return names


def _opened(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if path.name.endswith(".gz") else path.open("rb")


def _table_layout(contract: Contract, kind: str, header: list[str], columns: list[str]) -> _Layout:
    present = frozenset(header) & frozenset(contract.column_names)
    missing = [c.name for c in contract.columns if c.name not in present]
    required = [c.name for c in contract.columns if c.is_required and c.name not in present]
    note = _undeclared(contract, header)
    if missing and not required:
        note += f"lacks the optional columns {', '.join(missing)}, loaded as empty. "
    problem = "null"
    if required:
        lacks = f"the file lacks column {', '.join(required)}; wanted {', '.join(contract.column_names)}"
        problem = literal(f"{lacks}; found {_shown_names(header)}")
        note += (
            f"lacks the required column {', '.join(required)}: every row is in quarantine. Deliver it with the column. "
        )
    return _Layout(kind, tuple(columns), present, note, problem, _may_keep_lines(contract, header))


def _json_layout(contract: Contract, path: Path) -> _Layout:
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        names = list(dict.fromkeys(n for line in itertools.islice(lines, _JSON_LINES_LOOKED_AT) for n in _fields(line)))
    declared = contract.column_names
    broken = "case when not is_object_ then 'the line is no JSON object; wanted one object per line' end"
    note = _undeclared(contract, names)
    return _Layout("jsonl", declared, frozenset(declared), note, broken, _may_keep_lines(contract, names))


def _fields(line: str) -> list[str]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return []
    return list(found) if isinstance(found, dict) else []


def _json_lines(names: str, origin: str, columns: Sequence[str]) -> str:
    """Each line is read as text first, so that a line that is no JSON goes to quarantine as it came."""
    fields = ", ".join(f"case when is_object_ then json_extract_string(line_, '$.{c}') end as {c}" for c in columns)
    return (
        f"(select {fields}, line_, is_object_, {_PATH} from (select line_, {_PATH}, "
        f"case when json_valid(line_) then json_type(line_) = 'OBJECT' else false end as is_object_ "
        f"from read_csv({names}, {origin}, header = false, auto_detect = false, strict_mode = false, "
        f"delim = {_NEVER}, quote = '', escape = '', columns = {{'line_': 'VARCHAR'}}, {_REJECTS})) "
        f"where line_ is not null)"
    )


def _undeclared(contract: Contract, names: list[str]) -> str:
    extra = [name for name in names if name not in contract.column_names]
    return f"brings undeclared columns {_shown_names(extra)}, which were not loaded. " if extra else ""


def _may_keep_lines(contract: Contract, names: Sequence[str]) -> bool:
    """Whether a line that could not be split may be stored: not where it may hold undeclared or unhashed values."""
    return set(names) <= set(contract.column_names) and not any(c.pattern for c in contract.columns)


def _shown_names(names: Sequence[str]) -> str:
    """Column names for people. A file without a header has values there: what looks like a contact is not shown."""
    shown = [HIDDEN if re.search(r"@|\d{5}", name) else (name or "(no name)")[:60] for name in names[:50]]
    return ", ".join([*shown, "…"] if len(names) > len(shown) else shown)


def _unreadable(file: DropFile, error: BaseException) -> Problem:
    said = (str(error).strip().splitlines() or [type(error).__name__])[0].replace(str(file.path), file.name)
    if isinstance(error, UnicodeDecodeError):
        return Problem("unreadable", f"is not UTF-8 text ({said}). Deliver it in UTF-8.")
    if "state machine reached an invalid state" in said:
        return Problem("unreadable", "mixes kinds of line ends (CR LF, LF, CR). Deliver it with one kind.")
    return Problem("unreadable", f"cannot be read: {said}. Ask the partner to deliver it again.")


# --- rows ----------------------------------------------------------------------------------------------------------


def _read_group(
    session: Session, contract: Contract, layout: _Layout, files: list[DropFile]
) -> dict[str, Problem | str]:
    """Read files of one layout at once; where that fails, halve, so that one bad file keeps no other out."""
    try:
        session.connection.execute(_insert_sql(contract, layout, [f.path for f in files]))
    except duckdb.FatalException as error:
        names = ", ".join(file.name for file in files[:5])
        raise WarehouseError(
            f"DuckDB broke down while it read {names}{' …' if len(files) > 5 else ''}: {str(error)[:200]}. Nothing was "
            f"written. Load these files one by one to find the one that does it, and move it out of the landing folder."
        ) from error
    except duckdb.Error as error:
        session.connection.execute("drop table if exists malformed; drop table if exists malformed_scan")
        if len(files) == 1:
            return {files[0].name: _unreadable(files[0], error)}
        half = len(files) // 2
        parts = (files[:half], files[half:])
        return {k: v for part in parts for k, v in _read_group(session, contract, layout, part).items()}
    if layout.kind != "parquet":
        _add_malformed_lines(session, layout, files)
    return {}


def _insert_sql(contract: Contract, layout: _Layout, paths: Sequence[Path]) -> str:
    """One pass over the files: text in, typed values and the reason of refusal out.

    Rows are numbered while they stream past in file order; a file's own numbers start where it starts.
    """
    texts = ", ".join(
        f"nullif(trim(cast({c.name} as varchar)), '') as {text_of(c)}"
        if c.name in layout.present
        else f"cast(null as varchar) as {text_of(c)}"
        for c in contract.columns
    )
    typed = ", ".join(f"{typed_value(c)} as {c.name}" for c in contract.columns)
    found = ", ".join(r for c in contract.columns for r in reasons(c, contract, is_present=c.name in layout.present))
    line = ", line_, is_object_" if layout.kind == "jsonl" else ""
    return (
        f"insert into incoming by name "
        f"with texts as (select row_number() over () as position_, {_PATH}, {texts}{line} "
        f"from {layout.relation(paths)}{_reading_all(layout)}), "
        f"typed as (select texts.*, {typed}, drop_files.* exclude ({_PATH}) from texts "
        f"inner join drop_files on texts.{_PATH} = drop_files.{_PATH}), "
        f"judged as (select *, coalesce({layout.row_problem}, nullif(concat_ws('; ', {found}), '')) as reason_ "
        f"from typed) "
        f"select partner, dt, source_file, file_order_, position_, {', '.join(contract.column_names)}, reason_, "
        f"case when reason_ is not null then {_raw_text(contract, layout)} end as raw_text_ from judged"
    )


def _reading_all(layout: _Layout) -> str:
    """SQL that keeps DuckDB from skipping columns: one that skips any breaks down at a line that is not UTF-8."""
    skipped = [name for name in layout.columns if name not in layout.present]
    return f" where strlen(concat({', '.join(skipped)})) >= 0" if layout.kind == "csv" and skipped else ""


def _raw_text(contract: Contract, layout: _Layout) -> str:
    """SQL: the row as it came, its declared columns only."""
    declared = ", ".join(f"'{c.name}': {shown_text(c)}" for c in contract.columns)
    declared = f"cast(to_json({{{declared}}}) as varchar)"
    return (
        f"case when is_object_ then {declared} else {_kept('line_', layout)} end"
        if layout.kind == "jsonl"
        else declared
    )


def _kept(line: str, layout: _Layout) -> str:
    if layout.keeps_lines:
        return f"left({line}, {_LONGEST_LINE_KEPT})"
    return literal(f"{HIDDEN[:-1]}: the line may hold what must not be stored; see the file)")


# --- lines that cannot be split ------------------------------------------------------------------------------------


def _add_malformed_lines(session: Session, layout: _Layout, files: Sequence[DropFile]) -> None:
    """Lines DuckDB could not split into columns, as it came across them.

    An open quote swallows lines up to the next quote: each of them becomes a row of its own, so that the ledger
    counts what was lost to the load.
    """
    session.connection.execute(
        "create or replace temp table bad_lines as select f.source_file, m.line, min(m.error_message) as problem, "
        "min(m.csv_line) as text, min(m.line_byte_position) as start, "
        "bool_or(m.error_type in ('UNQUOTED VALUE', 'LINE SIZE OVER MAXIMUM')) as is_open_quote "
        "from malformed as m inner join malformed_scan as s on m.scan_id = s.scan_id and m.file_id = s.file_id "
        f"inner join drop_files as f on s.file_path = f.{_PATH} group by f.source_file, m.line; "
        "drop table malformed; drop table malformed_scan"
    )
    session.stage_rows("counted", _counted_records(session, layout, files))
    session.connection.execute(_place_bad_lines(has_header=layout.kind == "csv"))
    session.connection.execute(
        "insert into incoming by name select f.partner, f.dt, f.source_file, f.file_order_, "
        "b.first_row + i - 1 as malformed_row_, 'malformed line: ' || "
        "case when i = 1 then b.problem else 'swallowed by the open quote of row ' || b.first_row end as reason_, "
        f"{_kept('b.lines[i]', layout)} as raw_text_ from (select *, unnest(range(1, len(lines) + 1)) as i "
        "from placed_lines) as b inner join drop_files as f on b.source_file = f.source_file; "
        "insert into malformed_before select source_file, records_before, max(first_row + len(lines) - 1) - "
        "records_before from placed_lines group by source_file, records_before"
    )


def _place_bad_lines(*, has_header: bool) -> str:
    """SQL: table ``placed_lines``, bad lines with the well-formed records before them and their own first row.

    DuckDB numbers a bad line among all records, the empty lines included; where there are such, ``counted`` knows.
    """
    earlier = "(partition by source_file order by line rows between unbounded preceding and 1 preceding)"
    return (
        "create or replace temp table placed_lines as with known as (select b.*, coalesce(c.records_before, b.line - "
        f"{int(has_header)} - row_number() over (partition by b.source_file order by b.line)) as records_before, "
        "case when is_open_quote then list_filter(string_split_regex(text, '[\\r\\n]+'), lambda x: x <> '') "
        "else [trim(text, chr(10) || chr(13))] end as lines from bad_lines as b "
        "left join counted as c on b.source_file = c.source_file and b.line = c.line) "
        f"select *, records_before + 1 + cast(coalesce(sum(len(lines)) over {earlier}, 0) as bigint) as first_row "
        "from known"
    )


def _counted_records(session: Session, layout: _Layout, files: Sequence[DropFile]) -> pl.DataFrame:
    """Well-formed records before each bad line, counted here for files that also have empty lines: both are rare."""
    bad = session.connection.execute(
        "select source_file, line, start, strlen(text) from bad_lines order by source_file, line"
    ).fetchall()
    places: dict[str, list[_Malformed]] = {}
    for name, line, start, length in bad:
        places.setdefault(name, []).append(_Malformed(line, start - 1, length))
    rows = [
        (file.name, line, count)
        for file in files
        if file.name in places and _has_empty_lines(file.path)
        for line, count in _records_before(file.path, layout, places[file.name])
    ]
    kinds = {"source_file": pl.String, "line": pl.Int64, "records_before": pl.Int64}
    return pl.DataFrame(rows, schema=kinds, orient="row")


def _has_empty_lines(path: Path) -> bool:
    with _opened(path) as lines:
        return any(not line.strip(b"\r\n") or b"\r\r" in line for line in lines)


def _records_before(path: Path, layout: _Layout, bad: Sequence[_Malformed]) -> list[tuple[int, int]]:
    """(line, well-formed records before it): what lies between bad lines is well-formed and can be counted."""
    with _opened(path) as handle:
        content = handle.read()
    begin, count, found = 0, -1 if layout.kind == "csv" else 0, []
    for line, start, length in bad:
        # DuckDB's places are some bytes early after an empty line, so a bad line ends at the next line end.
        count += _count_records(content[begin:start], layout.kind)
        line_end = re.compile(rb"[\r\n]+").search(content, max(start + length - 1, begin))
        begin = line_end.end() if line_end else len(content)
        found.append((line, count))
    return found


def _count_records(part: bytes, kind: str) -> int:
    text = part.decode("utf-8-sig", errors="replace")
    if kind == "jsonl":
        return sum(1 for line in re.split(r"[\r\n]+", text) if line)
    limit = csv.field_size_limit(len(text) + 1)
    try:
        return sum(1 for record in csv.reader(io.StringIO(text, newline="")) if record)
    finally:
        csv.field_size_limit(limit)
