"""What DuckDB itself says of the SQL files before there are any rows: types of columns, and mistakes only it can see.

Every query is planned on empty tables of the known columns, upstream first, so a misspelt function, an aggregate in the
wrong place or a text compared with a day shows here and not in a run. Types come out as the lake will hold them. Not
here: names of tables and columns (``sql_models`` tells all of them at once; DuckDB stops at the first).
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import duckdb

from xmkt_assets.sql_file import SqlCheck, SqlModel
from xmkt_assets.sql_mistakes import at

Types = Mapping[str, Mapping[str, str]]
"""Table → column → DuckDB type."""

# Written into the text: binding a datetime makes DuckDB import pandas and numpy first, 0.4 s.
_DAY: Final = {"start": "timestamp '2026-07-01'", "end": "timestamp '2026-07-02'"}
_PARAMETER: Final = re.compile(r"""--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(start|end)\b""", re.DOTALL)
_KIND: Final = re.compile(r"^(Binder|Catalog|Parser|Conversion|Invalid Input) Error:\s*")
_LINE: Final = re.compile(r"^LINE (\d+):", re.MULTILINE)


class Bound(NamedTuple):
    """Types of every table that could be planned, and the mistakes of those that could not."""

    types: dict[str, dict[str, str]]
    mistakes: tuple[str, ...]


def bind(models: Mapping[str, SqlModel], checks: Iterable[SqlCheck] = (), *, known: Types) -> Bound:
    """Plan `models` (upstream first) and `checks` on empty tables. What reads a table that failed is passed over."""
    types = {table: dict(columns) for table, columns in known.items()}
    mistakes: list[str] = []
    files: list[SqlModel | SqlCheck] = [*models.values(), *checks]
    with duckdb.connect(config={"threads": "1"}) as connection:
        connection.execute("set TimeZone = 'UTC'; set python_enable_replacements = false")
        for table, columns in known.items():
            create_table(connection, table, columns)
        for file in files:
            if not file.reads <= types.keys():
                continue
            found = _plan(connection, file)
            if isinstance(found, str):
                mistakes.append(found)
            elif isinstance(file, SqlModel):
                types[file.table] = found
                create_table(connection, file.table, found)
                mistakes += _misnamed(file, found)
    return Bound(types, tuple(mistakes))


def create_table(connection: duckdb.DuckDBPyConnection, table: str, columns: Mapping[str, str]) -> None:
    """An empty table, with its schema."""
    typed = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
    connection.execute(f"create schema if not exists {table.split('.', maxsplit=1)[0]}")
    connection.execute(f"create table if not exists {table} ({typed})")


def _plan(connection: duckdb.DuckDBPyConnection, file: SqlModel | SqlCheck) -> dict[str, str] | str:
    """Columns and types of a query, or what DuckDB has against it."""
    try:
        rows = connection.execute(f"describe\n{_PARAMETER.sub(_dated, file.sql)}").fetchall()
    except duckdb.Error as error:
        return _in_words(file, error)
    return {row[0]: row[1] for row in rows}


def _dated(found: re.Match[str]) -> str:
    """A parameter as a moment; comments and quoted texts as they are."""
    return _DAY[found[1]] if found[1] else found[0]


def _in_words(file: SqlModel | SqlCheck, error: duckdb.Error) -> str:
    text = str(error).strip()
    placed = _LINE.search(text)
    words = (text[: placed.start()] if placed else text).partition("Candidate functions")[0]
    said = _KIND.sub("", re.sub(r"\s+", " ", words)).strip()
    line = int(placed[1]) - 1 if placed else None  # the word DESCRIBE stands on a line of its own before
    return f"{at(file.path, line)}: DuckDB refuses the query: {said} Correct it; nothing was run."


def _misnamed(model: SqlModel, types: Mapping[str, str]) -> list[str]:
    """A column whose name in the table would not be the one its file means."""
    pairs = zip(model.columns, types, strict=False)
    return [
        f"{at(model.path, column.line)}: column {column.name!r} would be called {named!r} by DuckDB. Write 'as "
        f"{column.name}'."
        for column, named in pairs
        if column.name != named
    ]
