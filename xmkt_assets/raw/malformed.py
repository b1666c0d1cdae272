"""Malformed lines: lines that cannot be split into columns, as rows of their own, and where refused rows lie.

Here: the number of such a row among the records of its file, and the physical line in which a refused row begins. How
well-formed rows are read is in ``reading``.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from xmkt_assets.raw.layouts import Layout, Source
from xmkt_assets.raw.text_files import Malformed, line_starts, opened, records_before
from xmkt_assets.warehouse import Session


def add_malformed_lines(session: Session, layout: Layout, sources: Sequence[Source]) -> dict[int, list[Malformed]]:
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
    session: Session, layout: Layout, sources: Sequence[Source], bad: Mapping[int, list[Malformed]]
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
        f"end as reason_, {layout.kept('lines[i]')} as raw_text_ "
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


def place_refused_rows(
    session: Session, groups: Mapping[Layout, Sequence[Source]], bad: Mapping[int, list[Malformed]]
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


def _lines_of(rows: set[int], source: Source, layout: Layout, bad: Sequence[Malformed]) -> dict[int, int]:
    """Row → physical line."""
    starts = line_starts(_content(source.path), delimiter=layout.delimiter, bad=bad)
    last = max(rows)
    return {row: line for row, line in zip(range(1, last + 1), starts, strict=False) if row in rows}
