"""Reading: the files of one feed become rows of the temporary table ``incoming``, typed and judged, read once.

Here: the one pass over files of one layout, and the place of a row in its file. What kind of file it is, is in
``layouts``, lines that cannot be split are in ``malformed``, what a value must be in ``values``; which rows are kept is
in ``load``.

Rows stand in ``incoming`` in the order of the files, so a row's place is its `rowid`: a counter over all rows would
let one core alone read. What is the same for a whole file (partner, day, name) is kept once, in ``drop_files``.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import duckdb

from xmkt_assets.contracts import Contract, ContractColumn
from xmkt_assets.contracts.versions import VersionColumn
from xmkt_assets.raw.landing import DropFile
from xmkt_assets.raw.layouts import FILE_INDEX, Layout, Problem, Source, look_at, unreadable
from xmkt_assets.raw.malformed import add_malformed_lines, place_refused_rows
from xmkt_assets.raw.text_files import Malformed
from xmkt_assets.raw.values import (
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
from xmkt_assets.warehouse import Session, WarehouseError

__all__ = ["Problem", "Read", "create_incoming", "has_malformed_lines", "number_rows", "read_files"]


class Read(NamedTuple):
    """A file whose rows were read: what is to be said of it, and the version of the contract it was written to."""

    note: str
    contract_version: str


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
    groups: dict[Layout, list[Source]] = {}
    with TemporaryDirectory(prefix="xmkt-") as copies:
        for order, file in enumerate(files):
            found = look_at(session, contract, file, order, copies=Path(copies))
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
        place_refused_rows(session, groups, bad)
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


def _read_group(
    session: Session, contract: Contract, layout: Layout, sources: list[Source], bad: dict[int, list[Malformed]]
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
            return {file.name: unreadable(file.name, (path, file.path), error)}
        half = len(sources) // 2
        parts = (sources[:half], sources[half:])
        return {k: v for part in parts for k, v in _read_group(session, contract, layout, part, bad).items()}
    if layout.kind != "parquet":
        bad.update(add_malformed_lines(session, layout, sources))
    return {}


def _insert_sql(contract: Contract, layout: Layout, sources: Sequence[Source]) -> str:
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
        every = "*" if layout.kind == "jsonl" else f"*, {FILE_INDEX}"
        in_turn = f"select {every}, row_number() over () as nth_ from {relation}"
        relation = f"(select * exclude (nth_) from ({in_turn}) where nth_ > 0)"
    for step in steps:
        relation = f"(select {', '.join(step)} from {relation})"
    return f"insert into incoming by name {relation}"


def _per_file(values: Sequence[str]) -> str:
    """SQL of the value that belongs to the row's file."""
    if len(set(values)) == 1:
        return values[0]
    return f"list_extract([{', '.join(values)}], cast({FILE_INDEX} as bigint) + 1)"


def _given_text(column: VersionColumn, layout: Layout) -> str:
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


def _reason(contract: Contract, layout: Layout) -> str:
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


def _reading_all(layout: Layout) -> str:
    """SQL that keeps DuckDB from skipping columns: one that skips any breaks down at a line that is not UTF-8."""
    read = {c.file_name for c in layout.version.columns} & layout.present
    skipped = [name for name in layout.columns if name not in read]
    return f" where strlen(concat({', '.join(skipped)})) >= 0" if layout.kind == "csv" and skipped else ""


def _raw_text(columns: Sequence[ContractColumn], layout: Layout) -> str:
    """SQL: the row as it came, its declared columns only."""
    declared = ", ".join(f"'{c.name}': {shown_text(c)}" for c in columns)
    declared = f"cast(to_json({{{declared}}}) as varchar)"
    return (
        f"case when is_object_ then {declared} else {layout.kept('line_')} end" if layout.kind == "jsonl" else declared
    )
