"""Run one SQL model on rows written by hand: input rows in, output rows out, nothing mocked but the storage.

`assert_model` is the helper for a test of a model. Only what matters is written::

    assert_model(
        "staging.course_orders",
        given={"raw.course_orders": [{"order_line_id": "l1", "ordered_at": "2026-07-01 08:30", "paid_fen": 900}]},
        expect=[{"order_line_id": "l1", "ordered_on": date(2026, 7, 1)}],
        day=date(2026, 7, 1),
    )

- Tables that are not given are empty; columns that are not given are null. Both have the types they have in the lake.
- A text stands for a value of the column's type: ``"2026-07-01"`` for a day. Rows may also be written as a table::

    given={"raw.course_orders": '''
        order_line_id | ordered_at       | paid_fen
        l1            | 2026-07-01 08:30 | 900
        l2            | 2026-07-01 09:00 |
    '''}

- A table the model does not read, or a column the table does not have, is a mistake in the test: did you mean …?
- `expect` has all rows in any order, and only the columns that are named are compared (``pytest.approx`` may be used).
- A difference is shown row by row, rows matched by the model's grain where `expect` names it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from functools import cache
from pathlib import Path

import duckdb
import polars as pl

from xmkt_assets.known_tables import known_tables
from xmkt_assets.sql_binding import Types, bind, create_table
from xmkt_assets.sql_mistakes import near
from xmkt_assets.sql_models import SqlModel, load_models

FOLDER = Path(__file__).parent.parent / "dbt_like_sql"
Row = Mapping[str, object]
Rows = pl.DataFrame | Sequence[Row]
Written = Rows | str


def read_model(table: str) -> SqlModel:
    schema, name = table.split(".")
    path = FOLDER / schema / f"{name}.sql"
    return SqlModel(schema, name, f"dbt_like_sql/{schema}/{name}.sql", path.read_text(encoding="utf-8"))


@cache
def lake_types() -> dict[str, dict[str, str]]:
    """Types of every column of every table, as DuckDB works them out from the files themselves."""
    return bind(load_models(FOLDER), known=known_tables()).types


def assert_model(
    table: str | SqlModel,
    *,
    given: Mapping[str, Written],
    expect: Written,
    day: date | None = None,
    through: date | None = None,
    types: Types | None = None,
) -> None:
    """Assert that the model makes the rows `expect` of the rows `given`; see the module's first lines.

    `day` is wanted by a partitioned model; with `through` the days from the one to the other are made in one query, as
    a backfill does. `types` stand in for those of the lake where a model is not one of ``dbt_like_sql``.
    """
    model = read_model(table) if isinstance(table, str) else table
    known = lake_types() if types is None else types
    _refuse_other_tables(model, given)
    with duckdb.connect(config={"threads": "1"}) as con:
        con.execute("set TimeZone = 'UTC'; set python_enable_replacements = false")
        for name in sorted(model.reads):
            _fill(con, name, given.get(name, ()), known.get(name))
        params = _bounds(model, day, through)
        relation = con.execute(model.sql, params) if params else con.execute(model.sql)
        kinds = {column[0]: str(column[1]) for column in relation.description or ()}
        found = [dict(zip(kinds, values, strict=True)) for values in relation.fetchall()]
        wanted = [_typed(con, row, kinds, table=model.table) for row in _as_rows(expect)]
    columns = list(dict.fromkeys(name for row in wanted for name in row)) or list(kinds)
    if difference := _difference(found, wanted, columns, key=model.grain):
        raise AssertionError(f"{model.table} {difference}")


def run_model(table: str, inputs: Mapping[str, Rows], *, day: date | None = None) -> pl.DataFrame:
    """Rows of `table` computed from `inputs` (``schema.table`` → rows), sorted by grain.

    Every table the model reads must be given, so that a test cannot forget one; give an empty frame with its schema
    where there are no rows. Types are those of the given rows: `assert_model` knows them by itself.
    """
    model = read_model(table)
    missing = model.reads - inputs.keys()
    assert not missing, f"{table} also reads {sorted(missing)}: give rows (or an empty frame) for them"
    with duckdb.connect(config={"threads": "1"}) as con:
        con.execute("set TimeZone='UTC'")
        for name, rows in inputs.items():
            _create(con, name, rows)
        params = _bounds(model, day)
        frame = con.sql(model.sql, params=params).pl() if params else con.sql(model.sql).pl()
    return frame.sort(list(model.grain))


def _create(con: duckdb.DuckDBPyConnection, table: str, rows: Rows) -> None:
    """A table of the types that the rows themselves have."""
    frame = rows if isinstance(rows, pl.DataFrame) else pl.DataFrame(list(rows), infer_schema_length=None)
    con.execute(f"create schema if not exists {table.split('.', maxsplit=1)[0]}")
    con.register("given", frame)
    con.execute(f"create table {table} as select * from given")
    con.unregister("given")


def _fill(con: duckdb.DuckDBPyConnection, table: str, given: Written, types: Mapping[str, str] | None) -> None:
    """A table of the types it has in the lake, with the given rows; what they leave out is null."""
    if types is None:
        raise AssertionError(
            f"nobody says what columns {table} has. Add it to xmkt_assets/known_tables.py, or give types="
        )
    create_table(con, table, types)
    rows = _as_rows(given)
    for row in rows:
        _refuse_other_columns(row, types, table=table)
        if not row:
            raise AssertionError(f"given {table}: a row without any column. Write at least one, such as its id")
        names = ", ".join(f'"{name}"' for name in row)
        places = ", ".join("?" * len(row))
        try:
            con.execute(f"insert into {table} ({names}) values ({places})", list(row.values()))
        except duckdb.Error as error:
            said = str(error).splitlines()[0]
            raise AssertionError(f"given {table}: {dict(row)} does not fit the types of the table. {said}") from error


def _as_rows(written: Written) -> list[Row]:
    if isinstance(written, pl.DataFrame):
        return written.to_dicts()
    return _of_table(written) if isinstance(written, str) else list(written)


def _of_table(text: str) -> list[Row]:
    """Rows of a table drawn with bars; an empty cell is null."""
    lines = [line for line in text.splitlines() if line.strip()]
    header, *rows = [[cell.strip() for cell in _inside(line.strip()).split("|")] for line in lines]
    for row in rows:
        assert len(row) == len(header), f"{len(header)} columns in the header, {len(row)} cells in {' | '.join(row)!r}"
    return [{name: cell or None for name, cell in zip(header, row, strict=True)} for row in rows]


def _inside(line: str) -> str:
    """A line without the bars around it, where it begins with one."""
    return line[1:].removesuffix("|") if line.startswith("|") else line


def _typed(con: duckdb.DuckDBPyConnection, row: Row, kinds: Mapping[str, str], *, table: str) -> dict[str, object]:
    """An expected row with its texts as values of the columns' types."""
    _refuse_other_columns(row, kinds, table=table)
    texts = [name for name, value in row.items() if isinstance(value, str)]
    if not texts:
        return dict(row)
    casts = ", ".join(f"cast(? as {kinds[name]})" for name in texts)
    try:
        values = con.execute(f"select {casts}", [row[name] for name in texts]).fetchone() or ()
    except duckdb.Error as error:
        said = str(error).splitlines()[0]
        raise AssertionError(f"expected of {table}: {dict(row)} does not fit the types of the table. {said}") from error
    return {**row, **dict(zip(texts, values, strict=True))}


def _refuse_other_tables(model: SqlModel, given: Mapping[str, object]) -> None:
    for table in given.keys() - model.reads:
        hint = near(table, model.reads, otherwise=f"It reads {', '.join(sorted(model.reads))}.")
        raise AssertionError(f"{model.table} does not read {table}. {hint}")


def _refuse_other_columns(row: Row, known: Iterable[str], *, table: str) -> None:
    for column in row.keys() - set(known):
        hint = near(column, known, otherwise=f"It has {', '.join(known)}.")
        raise AssertionError(f"{table} has no column {column!r}. {hint}")


def _difference(found: Sequence[Row], wanted: Sequence[Row], columns: Sequence[str], *, key: Sequence[str]) -> str:
    """What is missing, what is too many, what is otherwise; empty where nothing is."""
    missing = [{c: row.get(c) for c in columns} for row in wanted]
    extra: list[Row] = []
    for row in ({c: row[c] for c in columns} for row in found):
        alike = next((m for m in missing if all(_same(row[c], m[c]) for c in columns)), None)
        if alike is None:
            extra.append(row)
        else:
            missing.remove(alike)
    if not missing and not extra:
        return ""
    lines = [f"made {len(found)} rows, expected {len(wanted)}:"]
    for row in [*missing] if set(key) <= set(columns) else []:
        other = next((e for e in extra if all(_same(e[k], row[k]) for k in key)), None)
        if other is not None:
            missing.remove(row)
            extra.remove(other)
            wrong = [f"{c} is {other[c]!r}, expected {row[c]!r}" for c in columns if not _same(other[c], row[c])]
            lines.append(f"  otherwise   {_shown({k: row[k] for k in key})}: {'; '.join(wrong)}")
    lines += [f"  missing     {_shown(row)}" for row in missing]
    lines += [f"  unexpected  {_shown(row)}" for row in extra]
    return "\n".join(lines)


def _same(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12) or (math.isnan(one) and math.isnan(other))
    return bool(one == other)


def _shown(row: Row) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in row.items())


def _bounds(model: SqlModel, day: date | None, through: date | None = None) -> dict[str, datetime]:
    if not model.parameters:
        return {}
    assert day is not None, f"{model.table} is partitioned: give day="
    after = (through or day) + timedelta(days=1)
    bounds = {"start": datetime.combine(day, time()), "end": datetime.combine(after, time())}
    return {name: moment for name, moment in bounds.items() if name in model.parameters}
