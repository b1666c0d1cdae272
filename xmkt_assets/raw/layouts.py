"""Layouts: what kind of file a delivered file is, and how files of its kind and header are read.

Here: kinds of files, headers, delimiters, and why a file as a whole cannot be read. What the bytes of a text file are
is in ``text_files``; its rows are read in ``reading``.
"""

import csv
import io
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import duckdb

from xmkt_assets.contracts import Contract
from xmkt_assets.contracts.door import header_hints
from xmkt_assets.contracts.versions import ContractVersion, version_for, versions
from xmkt_assets.raw.landing import DropFile
from xmkt_assets.raw.text_files import TextLook, look_through, opened, readable_copy
from xmkt_assets.raw.values import HIDDEN, masked
from xmkt_assets.warehouse import Session, literal

DELIMITERS: Final = (",", "\t", ";", "|")
# No JSON of a machine's making holds this character, so a whole JSON line arrives as one column.
_NEVER: Final = "E'\\x01'"
_REJECTS: Final = "store_rejects = true, rejects_table = 'malformed', rejects_scan = 'malformed_scan'"
# Which of the files of one statement a row came from; a file with a column of this name is read alone.
FILE_INDEX: Final = "file_index"
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


@dataclass(frozen=True, slots=True)
class Layout:
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

    def kept(self, line: str) -> str:
        """SQL of what may be stored of a line that cannot be split."""
        if self.keeps_lines:
            return masked(f"left({line}, {_LONGEST_LINE_KEPT})")
        return literal(f"{HIDDEN[:-1]}: the line may hold what must not be stored; see the file)")


@dataclass(frozen=True, slots=True)
class Source:
    """One file as it is read: `path` is the delivered file or its readable copy."""

    file: DropFile
    order: int
    path: Path
    look: TextLook
    note: str = ""


def look_at(
    session: Session, contract: Contract, file: DropFile, order: int, *, copies: Path
) -> tuple[Source, Layout] | Problem:
    """How `file` is to be read, or why no row of it can be. A copy in UTF-8, where one is needed, lies in `copies`."""
    try:
        return _source(session, contract, file, order, copies=copies)
    except _UNREADABLE as error:
        return unreadable(file.name, (file.path, copies / str(order)), error)


def _source(
    session: Session, contract: Contract, file: DropFile, order: int, *, copies: Path
) -> tuple[Source, Layout] | Problem:
    if file.problem is not None:
        return Problem("unreadable", file.problem)
    if file.size_bytes == 0:
        return Problem("empty", "is empty (0 bytes); wanted at least a header. Nothing to load.")
    if file.name.endswith(".parquet"):
        source = Source(file, order, file.path, TextLook())
        found: tuple[Layout, str] | Problem = _parquet_layout(session, contract, source)
    else:
        source = _text_source(file, order, copies)
        is_json = file.name.removesuffix(".gz").endswith(".jsonl")
        found = _json_layout(session, contract, source) if is_json else _csv_layout(contract, source)
    if isinstance(found, Problem):
        return found
    layout, note = found
    is_ambiguous = FILE_INDEX in (name.split(" ")[0].lower() for name in layout.columns)
    if is_ambiguous or file.size_bytes >= _LARGE_FILE_BYTES:
        layout = replace(layout, alone=order)
    return replace(source, note=source.note + note), layout


def _text_source(file: DropFile, order: int, copies: Path) -> Source:
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
    return Source(file, order, path, look, note)


def _parquet_layout(session: Session, contract: Contract, source: Source) -> tuple[Layout, str]:
    described = session.connection.execute(
        f"describe from read_parquet({literal(_exactly(source.path))}, hive_partitioning = false)"
    ).fetchall()
    layout, note = _layout(contract, source, "parquet", [row[0] for row in described])
    nested = [name for name, kind, *_ in described if name in layout.present and _NESTED.search(kind)]
    if nested:
        problem = literal(f"the file holds nested values in column {', '.join(nested)}; wanted one value per row")
        layout = replace(layout, row_problem=problem)
    return replace(layout, columns=tuple(f"{row[0]} {row[1]}" for row in described)), note


def _csv_layout(contract: Contract, source: Source) -> tuple[Layout, str] | Problem:
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


def _header_line(source: Source) -> str | Problem:
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


def _layout(contract: Contract, source: Source, kind: str, header: list[str]) -> tuple[Layout, str]:
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
    return Layout(kind, version, (), present, row_problem=problem, keeps_lines=keeps_lines), note


def _json_layout(session: Session, contract: Contract, source: Source) -> tuple[Layout, str]:
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
        f"(select {fields}, line_, is_object_, {FILE_INDEX} "
        f"from (select *, {found} as found_ from {_json_relation(names)}))"
    )


def _json_relation(names: str) -> str:
    return (
        f"(select line_, {FILE_INDEX}, case when json_valid(line_) then json_type(line_) = 'OBJECT' else false end "
        f"as is_object_ from read_csv({names}, hive_partitioning = false, header = false, auto_detect = false, "
        f"strict_mode = false, delim = {_NEVER}, quote = '', escape = '', columns = {{'line_': 'VARCHAR'}}, "
        f"{_REJECTS}) where line_ is not null)"
    )


def _shown_names(names: Sequence[str]) -> str:
    """Column names for people. A file without a header has values there: what looks like a contact is not shown."""
    shown = [HIDDEN if re.search(r"@|\d{5}", name) else (name or "(no name)")[:60] for name in names[:50]]
    return ", ".join([*shown, "…"] if len(names) > len(shown) else shown)


def unreadable(name: str, paths: Iterable[Path], error: BaseException) -> Problem:
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


def _exactly(path: Path) -> str:
    """The path as a pattern that matches only itself: DuckDB reads ``x[1].csv`` as a pattern for ``x1.csv``."""
    return re.sub(r"([*?\[])", r"[\1]", str(path))
