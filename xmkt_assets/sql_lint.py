"""What is wrong with one file of ``dbt_like_sql/``, as far as it can be seen without the others. Pure: no Dagster.

Here: headers, columns, kind, partition, window, engine, names of CTEs; one look each, none stopped by what another
found. Not here: what needs the whole folder (``sql_models``), whether columns exist (``sql_columns``), types
(``sql_binding``), what Spark cannot do (``sql_portability``).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from sqlglot import exp

from xmkt_assets.sql_file import (
    CHECK_HEADERS,
    HEADER,
    MODEL_HEADERS,
    SAME_DAY,
    SqlModel,
    leading_comments,
)
from xmkt_assets.sql_mistakes import SqlModelError, at, near

_NAMES: Final = "|".join(dict.fromkeys((*MODEL_HEADERS, *CHECK_HEADERS)))
_MISPLACED: Final = re.compile(rf"^\s*--\s*({_NAMES}):\s*\S", re.MULTILINE)
_LIKE_A_HEADER: Final = re.compile(r"^--\s*([A-Za-z_]+)\s*[:=](?!\w*//)")


def mistakes_in(model: SqlModel) -> tuple[str, ...]:
    """Every mistake of a file that can be seen without other files, each once; none = the file can be used."""
    found: list[str] = []
    for look in _LOOKS:
        try:
            found += look(model)
        except SqlModelError as error:  # what one look stumbles over must not hide what the others see
            found += error.mistakes
    return tuple(dict.fromkeys(found))


def header_mistakes(sql: str, *, path: str, known: Sequence[str]) -> Iterator[str]:
    """Headers that are misspelt, repeated, of another kind of file, without value, or not at the top."""
    top = leading_comments(sql)
    seen: set[str] = set()
    for number, line in enumerate(top, start=1):
        written = _LIKE_A_HEADER.match(line)
        if written is None:
            continue
        name, header = written[1], HEADER.match(line)
        if header is None:
            yield from _unknown_header(name, line, place=at(path, number), known=known)
        elif name not in known:
            yield f"{at(path, number)}: the header '-- {name}:' means nothing here. Known: {', '.join(known)}."
        elif name in seen:
            yield f"{at(path, number)}: the header '-- {name}:' stands there twice. Keep one."
        seen.add(name)
    for below in _MISPLACED.finditer(sql, pos=sum(len(line) + 1 for line in top)):
        line_number = sql.count("\n", 0, below.start(1)) + 1
        yield (
            f"{at(path, line_number)}: the header '-- {below[1]}:' is read only in the comment lines that open the "
            f"file, before any blank line or SQL. Move it to the top."
        )


def _unknown_header(name: str, line: str, *, place: str, known: Sequence[str]) -> Iterator[str]:
    """A word with a colon is a description, unless it is nearly a header."""
    meant = near(name, known, otherwise="", likeness=0.75).removeprefix("Did you mean ").removesuffix("?")
    if not meant:
        return
    if name == meant:
        wrong = "has no value" if line.rstrip().endswith((":", "=")) else "is not written with a colon"
        yield f"{place}: the header '{line.strip()}' {wrong}. Write it as '-- {meant}: value'."
    else:
        yield f"{place}: there is no header '-- {name}:'. Did you mean '-- {meant}:'?"


def _headers_are_known(model: SqlModel) -> Iterator[str]:
    return header_mistakes(model.sql, path=model.path, known=MODEL_HEADERS)


def _says_its_grain(model: SqlModel) -> Iterator[str]:
    _ = model.grain
    yield from ()


def _reads_tables(model: SqlModel) -> Iterator[str]:
    _ = model.reads
    yield from ()


def _ctes_are_told_apart(model: SqlModel) -> Iterator[str]:
    """A CTE may bear the name of the table it reads; elsewhere in the file that name must not mean the table, too."""
    tables = [table for table in model.ast.find_all(exp.Table) if table.db]
    for with_ in model.ast.find_all(exp.With):
        seen: set[str] = set()
        for cte in with_.expressions:
            name = cte.alias_or_name
            if name.casefold() in seen:
                yield f"{model.text.at(cte.args['alias'])}: a second CTE is called {name!r}. Rename one."
            seen.add(name.casefold())
            for table in tables:
                if table.name.casefold() == name.casefold() and all(cte is not c for c in _ctes_around(table)):
                    yield (
                        f"{model.text.at(table)}: {table.db}.{table.name} is read although a CTE of the file "
                        f"is called {name!r} as well, so the two are easily confused. Rename the CTE."
                    )


def _ctes_around(node: exp.Expr) -> Iterator[exp.Expr]:
    around = node.parent
    while around is not None:
        if isinstance(around, exp.CTE):
            yield around
        around = around.parent


def _columns_fit(model: SqlModel) -> Iterator[str]:
    names = model.column_names
    if repeated := sorted({n for n in names if names.count(n) > 1}):
        place = at(model.path, max(c.line or 0 for c in model.columns if c.name in repeated) or None)
        yield f"{place} returns the columns {repeated} twice. Give each column a name of its own."
    named = [*(("grain", c) for c in model.grain), *(("partition", c) for c in [model.partition_column] if c)]
    for header, column in named:
        if column not in names:
            hint = near(column, names, otherwise=f"It returns {', '.join(names)}.")
            place = model.header_at(header)
            yield f"{place}: header names column {column!r}, which the SELECT does not return. {hint}"


def _kind_fits(model: SqlModel) -> Iterator[str]:
    kind = model.headers.get("kind", "table")
    if kind not in ("table", "view") or (kind == "view" and model.partition_column):
        yield (
            f"{model.header_at('kind')} says kind {kind!r}{' and a partition' if model.partition_column else ''}; "
            f"wanted '-- kind: view' without a '-- partition:' line, or no such line at all for a table."
        )
    if "audit" in model.headers and kind != "view":
        yield (
            f"{model.header_at('audit')} has an '-- audit:' line and is no view; the promises of a table are checked "
            f"on every new row. Remove the line."
        )


def _partition_fits(model: SqlModel) -> Iterator[str]:
    unknown = model.parameters - {"start", "end"}
    if unknown or (model.parameters and model.kind != "partition"):
        first = next(p for p in model.ast.find_all(exp.Placeholder) if not unknown or p.name in unknown)
        yield (
            f"{model.text.at(first)} uses the parameters {sorted(model.parameters)}; only $start and $end exist, and "
            f"only in a file with a '-- partition: column' line."
        )
    day = model.partition_column
    if day and "start" not in model.parameters:
        yield (
            f"{model.header_at('partition')} is partitioned by {day}, but returns the same rows whatever the day. "
            f"Keep the rows of the day: where {day} >= $start and {day} < $end."
        )
    if model.is_snapshot and day not in model.grain:
        yield (
            f"{model.header_at('grain')} has rows of many days, each named by {day}, but its grain leaves the day out. "
            f'Write "-- grain: {day}, {", ".join(model.grain)}".'
        )


def _window_fits(model: SqlModel) -> Iterator[str]:
    mapping = model.headers.get("mapping")
    if mapping is not None and (mapping != SAME_DAY or not model.has_window):
        yield (
            f"{model.header_at('mapping')} says mapping {mapping!r}; wanted '-- mapping: {SAME_DAY}', in a file of "
            f"one day's events ('-- partition: column', no snapshot), or no such line."
        )
    if model.has_window and not model.maps_same_day:
        for unreadable in model.reads_days[1]:
            yield (
                f"{model.text.at(unreadable.shifted)}: {unreadable.found} {unreadable.why}; or, where neighbouring "
                f"days are read only to recognise repeats, add the line '-- mapping: {SAME_DAY}'."
            )


def _engine_fits(model: SqlModel) -> Iterator[str]:
    if "engine" in model.headers and (model.engine != "duckdb" or not model.engine_reason):
        yield (
            f"{model.header_at('engine')} says engine {model.headers['engine']!r}; wanted '-- engine: duckdb - "
            f"reason', such as '-- engine: duckdb - quantile_cont has no exact counterpart', or no such line."
        )


_LOOKS: Final[tuple[Callable[[SqlModel], Iterator[str]], ...]] = (
    _headers_are_known,
    _reads_tables,
    _ctes_are_told_apart,
    _says_its_grain,
    _columns_fit,
    _kind_fits,
    _partition_fits,
    _window_fits,
    _engine_fits,
)
