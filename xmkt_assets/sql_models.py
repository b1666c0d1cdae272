"""SQL models: what the folder ``dbt_like_sql/`` says, read by sqlglot. Pure: no Dagster, no database.

Here: the folder becomes `SqlModel` and `SqlCheck` values in the order they can be built, and every mistake in it
becomes a line that names the file and the remedy, all of them at once. What one file says is read in ``sql_file``,
what is wrong with it by itself in ``sql_lint``, whether its columns exist in ``sql_columns``, where they come from in
``sql_lineage``. Running a model is ``warehouse``'s work; turning it into an asset is ``sql_assets``'s.

The whole language of a file is SQL plus comments. Those that open the file are its header, in any order::

    -- grain: order_line_id              columns that identify one row; always checked unique and not null
    -- partition: ordered_on             rows of one UTC day, [$start, $end); as_of_on = snapshot of a day's end
    -- kind: view                        or neither line: a whole table, rebuilt at each run
    -- audit: as_of_on = viewed_on       only of a view over a long history: the rows on which promises are checked
    -- mapping: same day                 neighbouring days are read only to recognise repeats: no day waits for them
    -- engine: duckdb - quantile_cont …  the file does not promise to run on Spark as well, and why
    -- One row per …                     the description, up to the first line that is no comment
    select
        order_line_id, -- What the column means @not_null @unique @accepted(a, b) @references(schema.table.column)

A trailing window is written where it is read: ``$start - interval 27 days`` (also ``to_days(27)``, weeks) reads 27 days
before the day, ``$end + interval 2 days`` two days after it; each day is then made anew when one of those days is.
Of a snapshot nothing is said so: it reads the whole history before its day anyway.
"""

import gc
import graphlib
import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from sqlglot import exp

from xmkt_assets.sql_columns import Known, column_mistakes
from xmkt_assets.sql_file import (
    CHECK_HEADERS,
    SNAPSHOT_COLUMN,
    Column,
    ColumnCheck,
    Kind,
    Rule,
    SqlCheck,
    SqlModel,
    TableCheck,
    description_of,
    headers_of,
    parse_select,
    tables_read,
)
from xmkt_assets.sql_lineage import upstream_columns
from xmkt_assets.sql_lint import header_mistakes, mistakes_in
from xmkt_assets.sql_mistakes import SqlModelError, at, near

__all__ = [
    "CHECKS_FOLDER",
    "SNAPSHOT_COLUMN",
    "SQL_FOLDER",
    "Column",
    "ColumnCheck",
    "Kind",
    "Rule",
    "SqlCheck",
    "SqlFolder",
    "SqlModel",
    "SqlModelError",
    "TableCheck",
    "examine",
    "load_checks",
    "load_models",
    "no_collecting",
    "parse_select",
    "read_folder",
    "refuse_unknown_reads",
    "tables_read",
    "upstream_columns",
]

SQL_FOLDER: Final = Path(__file__).parent.parent / "dbt_like_sql"
CHECKS_FOLDER: Final = "checks"
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")


class SqlFolder(NamedTuple):
    """What a folder holds: models by table, upstream first; zero-row queries; everything that is wrong with them."""

    models: dict[str, SqlModel]
    checks: tuple[SqlCheck, ...]
    mistakes: tuple[str, ...] = ()


def read_folder(folder: Path, *, known: Known) -> SqlFolder:
    """Every model and query of a ``dbt_like_sql`` folder. Raises one `SqlModelError` with every mistake in it.

    `known`: the tables that feeds and Python assets make, with their columns (None where nobody says which).
    """
    found = examine(folder, known=known)
    if found.mistakes:
        raise SqlModelError(*found.mistakes)
    return found


def examine(folder: Path, *, known: Known) -> SqlFolder:
    """The same without raising: a file that cannot be read at all is left out, its mistakes are among the rest."""
    with no_collecting():
        return _examine(folder, known)


def _examine(folder: Path, known: Known) -> SqlFolder:
    models, mistakes = _read_models(folder)
    ordered, circles = _in_order(models)
    mistakes += circles + _made_twice(models, known)
    everything = {**known, **{table: _columns_of(model) for table, model in models.items()}}
    checks, unreadable = _read_checks(folder, tables=everything)
    mistakes += unreadable
    mistakes += _unknown_reads(models, everything, checks)
    mistakes += _unknown_columns([*models.values(), *checks], everything)
    mistakes += [m for model in models.values() for m in _unknown_references(model, everything)]
    return SqlFolder(ordered, tuple(checks), tuple(dict.fromkeys(mistakes)))


def load_models(folder: Path) -> dict[str, SqlModel]:
    """Every model of a ``dbt_like_sql`` folder by table name, upstream first. Raises `SqlModelError` on a mistake."""
    with no_collecting():
        models, mistakes = _read_models(folder)
    ordered, circles = _in_order(models)
    if mistakes or circles:
        raise SqlModelError(*mistakes, *circles)
    return ordered


def load_checks(folder: Path, *, tables: Iterable[str]) -> tuple[SqlCheck, ...]:
    """Every zero-row query of the ``checks`` folder; its header names the table it speaks of."""
    checks, mistakes = _read_checks(folder, tables=set(tables))
    if mistakes:
        raise SqlModelError(*mistakes)
    return tuple(checks)


def refuse_unknown_reads(
    models: Mapping[str, SqlModel], *, known: Iterable[str], checks: Iterable[SqlCheck] = ()
) -> None:
    """Raise `SqlModelError` when a model or a check reads, or refers to, a table that nobody makes."""
    if mistakes := _unknown_reads(models, {*models, *known}, checks):
        raise SqlModelError(*mistakes)


@contextmanager
def no_collecting() -> Iterator[None]:
    """Let the garbage collector rest while syntax trees and definitions are made, which stay.

    It would walk everything that Dagster has made again and again, and took a third of the time of loading.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _read_models(folder: Path) -> tuple[dict[str, SqlModel], list[str]]:
    """Models of every file that parses, and the mistakes that can be seen file by file."""
    models: dict[str, SqlModel] = {}
    mistakes: list[str] = []
    for path in sorted(folder.rglob("*.sql")):
        shown = f"{folder.name}/{path.relative_to(folder).as_posix()}"
        if path.parent.parent != folder:
            mistakes.append(f"{shown} lies at the wrong depth; wanted {folder.name}/<schema>/<table>.sql. Move it.")
            continue
        if path.parent.name == CHECKS_FOLDER:
            continue
        model = SqlModel(path.parent.name, path.stem, shown, path.read_text(encoding="utf-8"))
        mistakes += _misnamed(model)
        mistakes += mistakes_in(model)
        if _parses(model):
            models[model.table] = model
    return models, mistakes


def _parses(model: SqlModel) -> bool:
    """Whether what it reads is known; why not, `mistakes_in` has said."""
    try:
        return bool(model.ast) and model.reads is not None
    except SqlModelError:
        return False


def _misnamed(model: SqlModel) -> Iterator[str]:
    for name in (model.schema, model.name):
        if not _NAME.fullmatch(name):
            yield (
                f"{model.path}: {name!r} is no name of a schema or table; wanted small letters, digits and "
                f"underscores, a letter first. Rename it, for example {re.sub(r'[^a-z0-9_]+', '_', name.lower())}."
            )


def _made_twice(models: Mapping[str, SqlModel], known: Collection[str]) -> list[str]:
    """Tables that two files, or a file and something else, would make: SQL takes names for the same in any case."""
    mistakes = []
    seen: dict[str, SqlModel] = {}
    others = {table.casefold(): table for table in known}
    for table, model in models.items():
        name = table.casefold()
        if name in seen:
            mistakes.append(f"{model.path} makes the same table as {seen[name].path}. Remove or rename one.")
        elif name in others:
            mistakes.append(
                f"{model.path} makes {table}, which a feed or a Python asset makes already. Rename the file, or remove "
                f"the other."
            )
        seen[name] = model
    return mistakes


def _columns_of(model: SqlModel) -> tuple[str, ...] | None:
    """What a file with mistakes can still be known to return, so that no other file is blamed for them."""
    try:
        return model.column_names
    except SqlModelError:
        names = tuple(e.alias_or_name for e in model.ast.selects)
        return None if "*" in names or "" in names else names


def _unknown_reads(
    models: Mapping[str, SqlModel], everything: Collection[str], checks: Iterable[SqlCheck]
) -> list[str]:
    mistakes = []
    files: list[SqlModel | SqlCheck] = [*models.values(), *checks]
    for file in files:
        for table in sorted(file.reads - set(everything)):
            others = set(everything) - {file.table if isinstance(file, SqlModel) else ""}
            mistakes.append(_unknown_table(_place_of_read(file, table), table, others))
    for model in models.values():
        for column, target in _references(model):
            table = target.rpartition(".")[0]
            if table not in everything:
                place = at(model.path, column.line)
                mistakes.append(_unknown_table(place, table, set(everything) - {model.table}, verb="refers to"))
    return mistakes


def _unknown_columns(files: Iterable[SqlModel | SqlCheck], everything: Known) -> list[str]:
    return [m for file in files for m in column_mistakes(file.ast, text=file.text, known=everything)]


def _unknown_references(model: SqlModel, everything: Known) -> Iterator[str]:
    """@references tags that name a column which the table does not have."""
    for column, target in _references(model):
        table, _, wanted = target.rpartition(".")
        columns = everything.get(table)
        if columns is not None and wanted not in columns:
            hint = near(wanted, columns, otherwise=f"It has {', '.join(columns)}.")
            yield (
                f"{at(model.path, column.line)}: @references({target}) of column {column.name!r} names no column of "
                f"{table}. {hint}"
            )


def _references(model: SqlModel) -> Iterator[tuple[Column, str]]:
    try:
        columns = model.columns
    except SqlModelError:  # told file by file
        return
    for column in columns:
        for check in column.checks:
            if check.rule == "references":
                yield column, check.values[0]


def _place_of_read(file: SqlModel | SqlCheck, table: str) -> str:
    nodes = (node for node in file.ast.find_all(exp.Table) if f"{node.db}.{node.name}" == table)
    return next((file.text.at(node) for node in nodes), file.path)


def _in_order(models: Mapping[str, SqlModel]) -> tuple[dict[str, SqlModel], list[str]]:
    """Models upstream first, and the circles in which some of them read each other."""
    graph = {name: sorted(_upstream(model) & models.keys()) for name, model in models.items()}
    circles: list[str] = []
    while True:
        try:
            order = list(graphlib.TopologicalSorter(graph).static_order())
            return {name: models[name] for name in order}, circles
        except graphlib.CycleError as error:
            circle = error.args[1]
            circles.append(_circle(circle, models))
            graph[circle[1]] = [t for t in graph[circle[1]] if t != circle[0]]  # open it, to find the next one


def _upstream(model: SqlModel) -> frozenset[str]:
    return model.reads | {target.rpartition(".")[0] for _, target in _references(model)} - {model.table}


def _circle(circle: list[str], models: Mapping[str, SqlModel]) -> str:
    """In graphlib's circle each table is read by the next one."""
    places = [_place_of_read(models[reader], read) for read, reader in itertools.pairwise(circle)]
    return (
        f"The SQL models read each other in a circle: {' -> '.join(circle)} ({'; '.join(places)}). "
        f"Break one of these reads."
    )


def _read_checks(folder: Path, *, tables: Collection[str]) -> tuple[list[SqlCheck], list[str]]:
    """Checks of every file that parses, and the mistakes that can be seen file by file."""
    checks: list[SqlCheck] = []
    mistakes: list[str] = []
    for path in sorted((folder / CHECKS_FOLDER).glob("*.sql")):
        shown = f"{folder.name}/{CHECKS_FOLDER}/{path.name}"
        sql = path.read_text(encoding="utf-8")
        mistakes += header_mistakes(sql, path=shown, known=CHECK_HEADERS)
        headers = headers_of(sql)
        table, severity = headers.get("check", ""), headers.get("severity", "error")
        if table not in tables:
            named = table or "(no '-- check: schema.table' line)"
            mistakes.append(_unknown_table(shown, named, tables, verb="speaks of"))
        if severity not in ("error", "warn"):
            mistakes.append(f"{shown} says severity {severity!r}; wanted error or warn, or no such line (error).")
        check = SqlCheck(path.stem, shown, sql, table, severity, description_of(sql))  # type: ignore[arg-type]
        try:
            _ = check.reads
        except SqlModelError as error:
            mistakes += error.mistakes
        else:
            checks.append(check)
    return checks, mistakes


def _unknown_table(place: str, table: str, known: Iterable[str], *, verb: str = "reads") -> str:
    hint = near(table, known, otherwise="Add its file, or correct the name.")
    return f"{place} {verb} {table}, which no SQL file, feed or Python asset makes. {hint}"
