"""Reading: the files of one feed become rows of the temporary table ``incoming``, typed and judged, read once.

Here: kinds of files, headers, lines that cannot be split, and the place of a row in its file. What the bytes of a text
file are is in ``text_files``, what a value must be in ``values``; which rows are kept is in ``load``.

Rows stand in ``incoming`` in the order of the files, so a row's place is its `rowid`: a counter over all rows would
let one core alone read. What is the same for a whole file (partner, day, name) is kept once, in ``drop_files``.
"""

import csv
import io
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import duckdb

from xmkt_assets.contracts import Contract, ContractColumn
from xmkt_assets.contracts.door import header_hints
from xmkt_assets.contracts.versions import ContractVersion, VersionColumn, version_for, versions
from xmkt_assets.raw.landing import DropFile
from xmkt_assets.raw.text_files import (
    Malformed,
    TextLook,
    line_starts,
    look_through,
    opened,
    readable_copy,
    records_before,
)
from xmkt_assets.raw.values import (
    HIDDEN,
    Fault,
    faults,
    masked,
    quick_of,
    quick_value,
    shown_text,
    text_of,
    trimmed,
    typed_value,
    unprintable,
)
from xmkt_assets.warehouse import Session, WarehouseError, literal

DELIMITERS: Final = (",", "\t", ";", "|")
# No JSON of a machine's making holds this character, so a whole JSON line arrives as one column.
_NEVER: Final = "E'\\x01'"
_REJECTS: Final = "store_rejects = true, rejects_table = 'malformed', rejects_scan = 'malformed_scan'"
# Which of the files of one statement a row came from; a file with a column of this name is read alone.
_FILE_INDEX: Final = "file_index"
# Read by a statement of its own: all cores then work on it.
_LARGE_FILE_BYTES: Final = 16 << 20
_LONGEST_HEADER: Final = 1 << 20
_LONGEST_LINE_KEPT: Final = 100_000
_NESTED: Final = re.compile(r"^(STRUCT|MAP|UNION)\b|\]$")
_IN_WORDS: Final = {"gb18030": "GB18030 (GBK)", "utf-16": "UTF-16"}
# What a file of any content can make the readers of this module raise.
_UNREADABLE: Final = (OSError, EOFError, zlib.error, duckdb.Error, csv.Error, ValueError, LookupError, RecursionError)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why no row of a file could be read."""

    status: str
    note: str


class Read(NamedTuple):
    """A file whose rows were read: what is to be said of it, and the version of the contract it was written to."""

    note: str
    contract_version: str


@dataclass(frozen=True, slots=True)
class _Layout:
    """How files of one kind and header are read: files that share a layout are read by one statement."""

    kind: str
    version: ContractVersion
    columns: tuple[str, ...]  # as they stand in the file; for Parquet with their types, which must not mix
    present: frozenset[str]  # of the version's columns
    delimiter: str = ""
    row_problem: str = "null"  # SQL: reason why the row as a whole cannot be used
    keeps_lines: bool = True  # False where a line may hold what must not be stored
    edges: tuple[str, ...] | None = None  # blanks a text can end with; None = any
    is_printable: bool = False  # True where no control character is in the file
    alone: int = -1  # number of a file that must be read by a statement of its own

    def relation(self, paths: Sequence[Path]) -> str:
        """FROM clause that reads the files, every column under its name in the file, with the number of the file."""
        names = "[" + ", ".join(literal(_exactly(path)) for path in paths) + "]"
        if self.kind == "parquet":
            return f"read_parquet({names}, hive_partitioning = false)"
        if self.kind == "jsonl":
            return _json_lines(names, sorted(self.present))
        columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in self.columns)
        return (
            f"read_csv({names}, hive_partitioning = false, header = true, auto_detect = false, "
            f"delim = {literal(self.delimiter)}, quote = '\"', escape = '\"', columns = {{{columns}}}, {_REJECTS})"
        )


@dataclass(frozen=True, slots=True)
class _Source:
    """One file as it is read: `path` is the delivered file or its readable copy."""

    file: DropFile
    order: int
    path: Path
    look: TextLook
    note: str = ""


def create_incoming(session: Session, contract: Contract) -> None:
    """An empty table ``incoming`` for rows of `contract`, and those of what is known of the files and their lines."""
    typed = ", ".join(f"{c.name} {c.duckdb_type}" for c in contract.columns)
    session.connection.execute(
        f"create or replace temp table incoming (file_order_ INTEGER, malformed_row_ BIGINT, {typed}, "
        "reason_ VARCHAR, raw_text_ VARCHAR, masked_values_ INTEGER); "
        "create or replace temp table drop_files (file_order_ INTEGER, partner VARCHAR, dt DATE, source_file VARCHAR, "
        "first_position_ BIGINT); "
        "create or replace temp table malformed_before (file_order_ INTEGER, records_before BIGINT, lines BIGINT); "
        "create or replace temp table row_lines (file_order_ INTEGER, source_row BIGINT, source_line BIGINT)"
    )


def read_files(session: Session, contract: Contract, files: Sequence[DropFile]) -> dict[str, Problem | Read]:
    """Append the rows of all files to ``incoming``. Per file name: what is to be said, or why no row was read."""
    outcomes: dict[str, Problem | Read] = {}
    groups: dict[_Layout, list[_Source]] = {}
    with TemporaryDirectory(prefix="xmkt-") as copies:
        for order, file in enumerate(files):
            found = _guarded_source(session, contract, file, order, copies=Path(copies))
            if isinstance(found, Problem):
                outcomes[file.name] = found
                continue
            source, layout = found
            outcomes[file.name] = Read(source.note, layout.version.version)
            groups.setdefault(layout, []).append(source)
        _insert_files(session, list(enumerate(files)))
        bad: dict[int, list[Malformed]] = {}
        for layout, members in groups.items():
            outcomes.update(_read_group(session, contract, layout, members, bad))
        _place_files(session)
        number_rows(session)
        _place_refused_rows(session, groups, bad)
    return outcomes


def number_rows(session: Session) -> None:
    """View ``numbered``: ``incoming`` with `position_`, and `source_row`, the place of the record in its file.

    The header and empty lines are no records; a line swallowed by an open quote is one. A well-formed record of
    rank r lies at r + the malformed lines that fewer than r well-formed records precede.
    """
    before = (
        "asof left join malformed_before as m on r.file_order_ = m.file_order_ and r.record_ > m.records_before"
        if has_malformed_lines(session)
        else "cross join (select 0 as lines) as m"
    )
    session.connection.execute(
        "create or replace temp view numbered as with ranked as "
        "(select i.*, i.rowid as position_, i.rowid - f.first_position_ + 1 as record_, f.partner, f.dt, f.source_file "
        "from incoming as i inner join drop_files as f on i.file_order_ = f.file_order_) "
        "select r.* exclude (record_), coalesce(r.malformed_row_, r.record_ + coalesce(m.lines, 0)) as source_row "
        f"from ranked as r {before}"
    )


def has_malformed_lines(session: Session) -> bool:
    row = session.connection.execute("select count(*) from malformed_before").fetchone()
    return bool(row and row[0])


def _insert_files(session: Session, files: Sequence[tuple[int, DropFile]]) -> None:
    columns = [[order for order, _ in files], *([getattr(f, n) for _, f in files] for n in ("partner", "dt", "name"))]
    session.connection.execute(
        "insert into drop_files select unnest(cast($1 as INTEGER[])), unnest(cast($2 as VARCHAR[])), "
        "unnest(cast($3 as DATE[])), unnest(cast($4 as VARCHAR[])), null",
        columns,
    )


def _place_files(session: Session) -> None:
    """Where each file's rows begin. Rows of a file follow one another, or their numbers would be wrong."""
    session.connection.execute(
        "create or replace temp table file_places as select file_order_, min(rowid) as first_position, "
        "max(rowid) - min(rowid) + 1 as span, count(*) as records from incoming where malformed_row_ is null "
        "group by file_order_; "
        "update drop_files as f set first_position_ = p.first_position from file_places as p "
        "where f.file_order_ = p.file_order_"
    )
    row = session.connection.execute("select count(*) from file_places where span <> records").fetchone()
    if row and row[0]:
        raise WarehouseError(
            f"{row[0]} files were read out of order, so their rows cannot be numbered; nothing was written. "
            "Set preserve_insertion_order = true in DuckDB and load again."
        )


def _exactly(path: Path) -> str:
    """The path as a pattern that matches only itself: DuckDB reads ``x[1].csv`` as a pattern for ``x1.csv``."""
    return re.sub(r"([*?\[])", r"[\1]", str(path))


# --- what kind of file it is -------------------------------------------------------------------------------------


def _guarded_source(
    session: Session, contract: Contract, file: DropFile, order: int, *, copies: Path
) -> tuple[_Source, _Layout] | Problem:
    try:
        return _source(session, contract, file, order, copies=copies)
    except _UNREADABLE as error:
        return _unreadable(file.name, (file.path, copies / str(order)), error)


def _source(
    session: Session, contract: Contract, file: DropFile, order: int, *, copies: Path
) -> tuple[_Source, _Layout] | Problem:
    if file.problem is not None:
        return Problem("unreadable", file.problem)
    if file.size_bytes == 0:
        return Problem("empty", "is empty (0 bytes); wanted at least a header. Nothing to load.")
    if file.name.endswith(".parquet"):
        source = _Source(file, order, file.path, TextLook())
        found: tuple[_Layout, str] | Problem = _parquet_layout(session, contract, source)
    else:
        source = _text_source(file, order, copies)
        is_json = file.name.removesuffix(".gz").endswith(".jsonl")
        found = _json_layout(session, contract, source) if is_json else _csv_layout(contract, source)
    if isinstance(found, Problem):
        return found
    layout, note = found
    is_ambiguous = _FILE_INDEX in (name.split(" ")[0].lower() for name in layout.columns)
    if is_ambiguous or file.size_bytes >= _LARGE_FILE_BYTES:
        layout = replace(layout, alone=order)
    return replace(source, note=source.note + note), layout


def _text_source(file: DropFile, order: int, copies: Path) -> _Source:
    """The file, or where it is not UTF-8 or mixes kinds of line ends a copy that is and does not."""
    path, look, note = file.path, look_through(file.path), ""
    if look.encoding != "utf-8":
        note = f"was read as {_IN_WORDS[look.encoding]}. "
        path = readable_copy(path, look, copies / f"{order}.txt")
        look = look_through(path)
    if look.has_mixed_line_ends:
        path = readable_copy(path, look, copies / f"{order}-one-line-end.txt")
        look = replace(look_through(path), lines=look.lines)
    if look.fault:
        note += f"is neither UTF-8 nor GB18030 throughout (first at {look.fault}): such lines are in quarantine. "
    return _Source(file, order, path, look, note)


def _parquet_layout(session: Session, contract: Contract, source: _Source) -> tuple[_Layout, str]:
    described = session.connection.execute(
        f"describe from read_parquet({literal(_exactly(source.path))}, hive_partitioning = false)"
    ).fetchall()
    layout, note = _layout(contract, source, "parquet", [row[0] for row in described])
    nested = [name for name, kind, *_ in described if name in layout.present and _NESTED.search(kind)]
    if nested:
        problem = literal(f"the file holds nested values in column {', '.join(nested)}; wanted one value per row")
        layout = replace(layout, row_problem=problem)
    return replace(layout, columns=tuple(f"{row[0]} {row[1]}" for row in described)), note


def _csv_layout(contract: Contract, source: _Source) -> tuple[_Layout, str] | Problem:
    line = _header_line(source)
    if isinstance(line, Problem):
        return line
    delimiter = _delimiter(contract, line)
    names = _names(line, delimiter)
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        return Problem(
            "unreadable", f"names {_shown_names(twice)} twice in its header. Give every column its own name."
        )
    layout, note = _layout(contract, source, "csv", names)
    # Undeclared columns get a name of our making: theirs may be empty, or the same but for upper case.
    declared = layout.version.then.column_names
    columns = tuple(name if name in declared else f"undeclared_{i}" for i, name in enumerate(names))
    is_plain = not source.look.has_odd_characters
    edges = _edges(source.look, delimiter) if is_plain else None
    return replace(layout, columns=columns, delimiter=delimiter, edges=edges, is_printable=is_plain), note


def _edges(look: TextLook, delimiter: str) -> tuple[str, ...]:
    """Blanks a text can end with: line ends, and tabs that separate, are part of a text only within quotes."""
    quoted = ("\n", "\r") if look.has_quotes else ()
    return (" ", *quoted, *(("\t",) if look.has_tabs and (quoted or delimiter != "\t") else ()))


def _header_line(source: _Source) -> str | Problem:
    with opened(source.path) as handle:
        first, *rest = re.split(rb"[\r\n]", handle.readline(_LONGEST_HEADER), maxsplit=1)
        if b"\0" in first:
            return Problem(
                "unreadable",
                "holds NUL bytes in its header: no text, or UTF-16 without a byte order mark. Deliver it in UTF-8.",
            )
        line = first.decode("utf-8-sig")
        if not line.strip():
            if any(chunk.strip() for chunk in [*rest, *iter(lambda: handle.read(1 << 20), b"")]):
                said = "begins with an empty line; wanted the header there. Remove the empty line."
                return Problem("unreadable", said)
            return Problem("empty", "holds no header line. Nothing to load.")
    if not rest and len(first) == _LONGEST_HEADER:
        return Problem(
            "unreadable", f"has no line end in its first {_LONGEST_HEADER} bytes; wanted a CSV with a header."
        )
    return line


def _delimiter(contract: Contract, line: str) -> str:
    """The delimiter that gives most of the names a version of the contract knows; the data are not asked."""
    known = {name for version in versions(contract) for name in version.then.column_names}
    return max(DELIMITERS, key=lambda delimiter: len(known.intersection(_names(line, delimiter))))


def _names(line: str, delimiter: str) -> list[str]:
    return [name.strip() for name in next(csv.reader(io.StringIO(line), delimiter=delimiter))]


def _layout(contract: Contract, source: _Source, kind: str, header: list[str]) -> tuple[_Layout, str]:
    """How a file with these columns is read, and what is to be said of its header."""
    version = version_for(contract, header, dt=source.file.dt, promised=source.file.contract_version)
    then = version.then
    present = frozenset(header) & frozenset(then.column_names)
    missing = [c.name for c in then.columns if c.name not in present]
    required = [name for name in missing if name in then.required_names]
    extra = [name for name in header if name not in then.column_names]
    note, problem = "", "null"
    if extra:
        note = f"brings undeclared columns {_shown_names(extra)}, which were not loaded. "
    if extra and contract.undeclared_columns == "refuse":
        problem = f"the file brings undeclared columns {_shown_names(extra)}; wanted {', '.join(then.column_names)}"
        note = f"brings undeclared columns {_shown_names(extra)}: every row is in quarantine. Deliver it without them. "
    if missing and not required:
        note += f"lacks the optional columns {', '.join(missing)}, loaded as empty. "
    if required:
        problem = f"the file lacks column {', '.join(required)}; wanted {', '.join(then.column_names)}"
        problem += f"; found {_shown_names(header)}"
        note += f"lacks the required column {', '.join(required)}: every row is in quarantine. "
        note += "Deliver it with the column. "
    note += "".join(f"{hint} " for hint in header_hints(contract, version, header, dt=source.file.dt))
    problem = literal(problem) if problem != "null" else problem
    keeps_lines = set(header) <= set(then.column_names) and not any(c.pattern for c in then.columns)
    return _Layout(kind, version, (), present, row_problem=problem, keeps_lines=keeps_lines), note


def _json_layout(session: Session, contract: Contract, source: _Source) -> tuple[_Layout, str]:
    """Every line is looked at: a field may stand in a single one."""
    lines = _json_relation(f"[{literal(_exactly(source.path))}]")
    found = session.connection.execute(
        f"select distinct unnest(json_keys(line_)) as name from {lines} where is_object_ order by name"
    ).fetchall()
    session.connection.execute("drop table if exists malformed; drop table if exists malformed_scan")
    names = [name for (name,) in found]
    version = version_for(contract, names, dt=source.file.dt, promised=source.file.contract_version)
    declared = version.then.column_names
    layout, note = _layout(contract, source, "jsonl", [*declared, *(n for n in names if n not in declared)])
    is_plain = not (source.look.has_odd_characters or source.look.has_backslashes)
    edges = _edges(source.look, ",") if is_plain else None
    broken = "case when not is_object_ then 'the line is no JSON object; wanted one object per line' end"
    problem = broken if layout.row_problem == "null" else layout.row_problem
    layout = replace(layout, version=version, columns=declared, row_problem=problem)
    return replace(layout, edges=edges, is_printable=is_plain), note


def _json_lines(names: str, columns: Sequence[str]) -> str:
    """Each line is read as text first, so that a line that is no JSON goes to quarantine as it came."""
    paths = ", ".join(f"'$.{column}'" for column in columns)
    fields = ", ".join(f"found_[{i}] as {column}" for i, column in enumerate(columns, start=1))
    found = f"case when is_object_ then json_extract_string(line_, [{paths}]) end"
    return (
        f"(select {fields}, line_, is_object_, {_FILE_INDEX} "
        f"from (select *, {found} as found_ from {_json_relation(names)}))"
    )


def _json_relation(names: str) -> str:
    return (
        f"(select line_, {_FILE_INDEX}, case when json_valid(line_) then json_type(line_) = 'OBJECT' else false end "
        f"as is_object_ from read_csv({names}, hive_partitioning = false, header = false, auto_detect = false, "
        f"strict_mode = false, delim = {_NEVER}, quote = '', escape = '', columns = {{'line_': 'VARCHAR'}}, "
        f"{_REJECTS}) where line_ is not null)"
    )


def _shown_names(names: Sequence[str]) -> str:
    """Column names for people. A file without a header has values there: what looks like a contact is not shown."""
    shown = [HIDDEN if re.search(r"@|\d{5}", name) else (name or "(no name)")[:60] for name in names[:50]]
    return ", ".join([*shown, "…"] if len(names) > len(shown) else shown)


def _unreadable(name: str, paths: Iterable[Path], error: BaseException) -> Problem:
    said = (str(error).strip().splitlines() or [type(error).__name__])[0]
    for path in paths:
        said = said.replace(str(path), name)
    if isinstance(error, UnicodeDecodeError):
        if error.encoding.startswith("utf-16"):
            return Problem("unreadable", "begins like UTF-16 text and is none throughout. Deliver it in UTF-8.")
        place = f"byte {error.start + 1} of the header"
        return Problem("unreadable", f"is neither UTF-8 text nor GB18030 ({place}). Deliver it in UTF-8.")
    if isinstance(error, LookupError):
        return Problem("unreadable", str(error))
    if "state machine reached an invalid state" in said:
        return Problem("unreadable", "mixes kinds of line ends (CR LF, LF, CR). Deliver it with one kind.")
    return Problem("unreadable", f"cannot be read: {said}. Ask the partner to deliver it again.")


# --- rows ----------------------------------------------------------------------------------------------------------


def _read_group(
    session: Session, contract: Contract, layout: _Layout, sources: list[_Source], bad: dict[int, list[Malformed]]
) -> dict[str, Problem | Read]:
    """Read files of one layout at once; where that fails, halve, so that one bad file keeps no other out."""
    try:
        session.connection.execute(_insert_sql(contract, layout, sources))
    except duckdb.FatalException as error:
        names = ", ".join(source.file.name for source in sources[:5])
        raise WarehouseError(
            f"DuckDB broke down while it read {names}{' …' if len(sources) > 5 else ''}: {str(error)[:200]}. Nothing "
            f"was written. Load these files one by one to find the one that does it, and move it out of the landing "
            f"folder."
        ) from error
    except duckdb.Error as error:
        session.connection.execute("drop table if exists malformed; drop table if exists malformed_scan")
        if len(sources) == 1:
            file, path = sources[0].file, sources[0].path
            return {file.name: _unreadable(file.name, (path, file.path), error)}
        half = len(sources) // 2
        parts = (sources[:half], sources[half:])
        return {k: v for part in parts for k, v in _read_group(session, contract, layout, part, bad).items()}
    if layout.kind != "parquet":
        bad.update(_add_malformed_lines(session, layout, sources))
    return {}


def _insert_sql(contract: Contract, layout: _Layout, sources: Sequence[_Source]) -> str:
    """One pass over the files: text in, typed values and the reason of refusal out.

    No step may lead rows past one another (a join might), or their places would be lost. Several files are read by one
    core: two would put the rows of one file between those of another, and a window without order is what forbids it.
    """
    columns = [_judged(c) for c in layout.version.columns]
    order = _per_file([str(source.order) for source in sources])
    day = _per_file([f"date '{source.file.dt}'" for source in sources])
    line = ["line_", "is_object_"] if layout.kind == "jsonl" else []
    texts = [f"{_given_text(c, layout)} as {text_of(c.column)}" for c in layout.version.columns]
    quick = [f"{sql} as {quick_of(c)}" for c in columns if (sql := quick_value(c))]
    steps = [
        [f"{order} as file_order_", f"{day} as day_", *line, *texts],
        *_mending(layout.version.columns),
        ["*", *quick],
        ["*", *(f"{typed_value(c)} as {c.name}" for c in columns)],
        ["*", f"{_reason(contract, layout)} as reason_"],
        [
            *("file_order_", *contract.column_names, "reason_"),
            f"case when reason_ is not null then {_raw_text(columns, layout)} end as raw_text_",
            *(["masked_values_"] if any(_is_masked(c) for c in columns) else []),
        ],
    ]
    relation = layout.relation([source.path for source in sources]) + _reading_all(layout)
    if len(sources) > 1:
        every = "*" if layout.kind == "jsonl" else f"*, {_FILE_INDEX}"
        in_turn = f"select {every}, row_number() over () as nth_ from {relation}"
        relation = f"(select * exclude (nth_) from ({in_turn}) where nth_ > 0)"
    for step in steps:
        relation = f"(select {', '.join(step)} from {relation})"
    return f"insert into incoming by name {relation}"


def _per_file(values: Sequence[str]) -> str:
    """SQL of the value that belongs to the row's file."""
    if len(set(values)) == 1:
        return values[0]
    return f"list_extract([{', '.join(values)}], cast({_FILE_INDEX} as bigint) + 1)"


def _given_text(column: VersionColumn, layout: _Layout) -> str:
    """SQL of the text as the file has it, trimmed."""
    if column.file_name not in layout.present:
        return "cast(null as varchar)"
    given = column.file_name if layout.kind != "parquet" else f"cast({column.file_name} as varchar)"
    return trimmed(given, layout.edges)


def _mending(columns: Sequence[VersionColumn]) -> list[list[str]]:
    """Steps that turn texts of an earlier version into today's, and mask contacts in free text."""
    of_then = [f"{c.text(text_of(c.column))} as {text_of(c.column)}" for c in columns if c.steps]
    free = [text_of(c.column) for c in columns if _is_masked(c.column)]
    steps = [[f"* replace ({', '.join(of_then)})"]] if of_then else []
    if free:
        count = " + ".join(f"cast({text} is distinct from {text}masked_ as integer)" for text in free)
        instead = ", ".join(f"{text}masked_ as {text}" for text in free)
        left_out = ", ".join(f"{text}masked_" for text in free)
        steps.append(["*", *(f"{masked(text)} as {text}masked_" for text in free)])
        steps.append([f"* exclude ({left_out}) replace ({instead})", f"{count} as masked_values_"])
    return steps


def _judged(column: VersionColumn) -> ContractColumn:
    """The column its values are judged by: yuan of an earlier version that were turned into fen may have a point."""
    return replace(column.column, unit=None) if any(step.factor for step in column.steps) else column.column


def _is_masked(column: ContractColumn) -> bool:
    return column.holds_free_text and column.logical_type == "string" and column.pattern is None


def _reason(contract: Contract, layout: _Layout) -> str:
    """SQL of why the row is refused, null when all is well. The words are made for the rows that need them."""
    found: list[Fault] = []
    for column in layout.version.columns:
        is_present = column.file_name in layout.present
        found += faults(_judged(column), contract, is_present=is_present, day="day_")
        if is_present and column.column.logical_type == "string":
            found += [unprintable(column.column)] if not layout.is_printable else []
            found += [_nested(column)] if layout.kind == "jsonl" else []
    is_bad = " or ".join(f"({fault.condition})" for fault in found)
    words = ", ".join(f"case when {fault.condition} then {fault.words} end" for fault in found)
    judged = f"case when coalesce({is_bad}, false) then concat_ws('; ', {words}) end"
    return f"coalesce({layout.row_problem}, {judged})" if layout.row_problem != "null" else judged


def _nested(column: VersionColumn) -> Fault:
    text, name = text_of(column.column), column.column.name
    kinds = f"json_type(line_, '$.{column.file_name}') in ('OBJECT', 'ARRAY')"
    may_be = f"(starts_with({text}, '{{') or starts_with({text}, '['))"
    return Fault(
        f"case when {may_be} then {kinds} else false end", f"'{name}: found a nested value, wanted one plain value'"
    )


def _reading_all(layout: _Layout) -> str:
    """SQL that keeps DuckDB from skipping columns: one that skips any breaks down at a line that is not UTF-8."""
    read = {c.file_name for c in layout.version.columns} & layout.present
    skipped = [name for name in layout.columns if name not in read]
    return f" where strlen(concat({', '.join(skipped)})) >= 0" if layout.kind == "csv" and skipped else ""


def _raw_text(columns: Sequence[ContractColumn], layout: _Layout) -> str:
    """SQL: the row as it came, its declared columns only."""
    declared = ", ".join(f"'{c.name}': {shown_text(c)}" for c in columns)
    declared = f"cast(to_json({{{declared}}}) as varchar)"
    return (
        f"case when is_object_ then {declared} else {_kept('line_', layout)} end"
        if layout.kind == "jsonl"
        else declared
    )


def _kept(line: str, layout: _Layout) -> str:
    if layout.keeps_lines:
        return masked(f"left({line}, {_LONGEST_LINE_KEPT})")
    return literal(f"{HIDDEN[:-1]}: the line may hold what must not be stored; see the file)")


# --- lines that cannot be split ------------------------------------------------------------------------------------


def _add_malformed_lines(session: Session, layout: _Layout, sources: Sequence[_Source]) -> dict[int, list[Malformed]]:
    """Lines DuckDB could not split into columns, as it came across them. Per file: where they lie.

    An open quote swallows lines up to the next quote: each of them becomes a row of its own, so that the ledger
    counts what was lost to the load.
    """
    session.connection.execute(
        "create or replace temp table bad_lines as select f.file_order_, m.line, min(m.error_message) as problem, "
        "min(m.csv_line) as text, min(m.line_byte_position) as start, "
        "bool_or(m.error_type in ('UNQUOTED VALUE', 'LINE SIZE OVER MAXIMUM')) as is_open_quote "
        "from malformed as m inner join malformed_scan as s on m.scan_id = s.scan_id and m.file_id = s.file_id "
        "inner join (select unnest(cast($1 as INTEGER[])) as file_order_, unnest(cast($2 as VARCHAR[])) as path) as f "
        "on s.file_path = f.path group by f.file_order_, m.line",
        [[source.order for source in sources], [str(source.path) for source in sources]],
    )
    session.connection.execute("drop table malformed; drop table malformed_scan")
    bad: dict[int, list[Malformed]] = {}
    for order, line, start, length in session.connection.execute(
        "select file_order_, line, start - 1, strlen(text) from bad_lines order by file_order_, line"
    ).fetchall():
        bad.setdefault(order, []).append(Malformed(line, start, length))
    if bad:
        _place_bad_lines(session, layout, [s for s in sources if s.order in bad], bad)
    return bad


def _place_bad_lines(
    session: Session, layout: _Layout, sources: Sequence[_Source], bad: Mapping[int, list[Malformed]]
) -> None:
    """Give each bad line its own row, and count them for the rows that follow."""
    counted = [
        (source.order, line, count)
        for source in sources
        if _has_empty_lines(source.path)
        for line, count in records_before(_content(source.path), delimiter=layout.delimiter, bad=bad[source.order])
    ]
    orders, lines, counts = zip(*counted, strict=True) if counted else ((), (), ())
    session.connection.execute(
        "create or replace temp table counted as select unnest(cast($1 as INTEGER[])) as file_order_, "
        "unnest(cast($2 as BIGINT[])) as line, unnest(cast($3 as BIGINT[])) as records_before",
        [list(orders), list(lines), list(counts)],
    )
    session.connection.execute(
        _placed_lines(has_header=layout.kind == "csv")
        + "; insert into incoming by name select file_order_, first_row + i - 1 as malformed_row_, "
        "'malformed line: ' || case when i = 1 then problem else 'swallowed by the open quote of row ' || first_row "
        f"end as reason_, {_kept('lines[i]', layout)} as raw_text_ "
        "from (select *, unnest(range(1, len(lines) + 1)) as i from placed_lines); "
        "insert into malformed_before select file_order_, records_before, max(first_row + len(lines) - 1) - "
        "records_before from placed_lines group by file_order_, records_before"
    )


def _placed_lines(*, has_header: bool) -> str:
    """SQL: table ``placed_lines``, bad lines with the well-formed records before them and their own first row.

    DuckDB numbers a bad line among all records, the empty lines included; where there are such, ``counted`` knows.
    """
    earlier = "(partition by file_order_ order by line rows between unbounded preceding and 1 preceding)"
    return (
        "create or replace temp table placed_lines as with known as (select b.*, coalesce(c.records_before, b.line - "
        f"{int(has_header)} - row_number() over (partition by b.file_order_ order by b.line)) as records_before, "
        "case when is_open_quote then list_filter(string_split_regex(text, '[\\r\\n]+'), lambda x: x <> '') "
        "else [trim(text, chr(10) || chr(13))] end as lines from bad_lines as b "
        "left join counted as c on b.file_order_ = c.file_order_ and b.line = c.line) "
        f"select *, records_before + 1 + cast(coalesce(sum(len(lines)) over {earlier}, 0) as bigint) as first_row "
        "from known"
    )


def _has_empty_lines(path: Path) -> bool:
    with opened(path) as lines:
        return any(not line.strip(b"\r\n") or b"\r\r" in line for line in lines)


def _content(path: Path) -> bytes:
    with opened(path) as handle:
        return handle.read()


# --- physical lines --------------------------------------------------------------------------------------------------


def _place_refused_rows(
    session: Session, groups: Mapping[_Layout, Sequence[_Source]], bad: Mapping[int, list[Malformed]]
) -> None:
    """Fill ``row_lines``: the physical line in which each refused row of a text file begins, for people to find it.

    Where a file has one line for each row, a row's line follows from its number; else the file is walked once.
    """
    found = session.connection.execute(
        "select file_order_, count(*), count(reason_) from incoming group by file_order_"
    ).fetchall()
    records = {order: count for order, count, refused in found if refused}
    for layout, sources in groups.items():
        for source in sources:
            if layout.kind == "parquet" or source.order not in records:
                continue
            refused = f"from numbered where reason_ is not null and file_order_ = {source.order}"
            header = int(layout.kind == "csv")
            if source.look.lines == records[source.order] + header:
                session.connection.execute(
                    f"insert into row_lines select file_order_, source_row, source_row + {header} {refused}"
                )
                continue
            rows = {row for (row,) in session.connection.execute(f"select source_row {refused}").fetchall()}
            lines = _lines_of(rows, source, layout, bad.get(source.order, []))
            session.connection.execute(
                f"insert into row_lines select {source.order}, unnest(cast($1 as BIGINT[])), "
                "unnest(cast($2 as BIGINT[]))",
                [list(lines), list(lines.values())],
            )


def _lines_of(rows: set[int], source: _Source, layout: _Layout, bad: Sequence[Malformed]) -> dict[int, int]:
    """Row → physical line."""
    starts = line_starts(_content(source.path), delimiter=layout.delimiter, bad=bad)
    last = max(rows)
    return {row: line for row, line in zip(range(1, last + 1), starts, strict=False) if row in rows}
