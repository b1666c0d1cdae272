"""SQL models: what a file of ``dbt_like_sql/`` says, read by sqlglot. Pure: no Dagster, no database.

Here: the folder becomes `SqlModel` values (grain, kind, partition column, reads, columns, checks, code version),
and mistakes in a file become errors that name the file and the remedy. Running a model is ``warehouse``'s work;
turning it into an asset is ``sql_assets``'s.

The whole language of a file is SQL plus comments::

    -- grain: order_line_id              columns that identify one row; always checked unique and not null
    -- partition: ordered_on             rows of one UTC day, [$start, $end); as_of_on = snapshot of a day's end
    -- kind: view                        or neither line: a whole table, rebuilt at each run
    -- audit: as_of_on = viewed_on       only of a view over a long history: the rows on which promises are checked
    -- One row per …                     the description, up to the first line that is no comment
    select
        order_line_id, -- What the column means @not_null @unique @accepted(a, b) @references(schema.table.column)
"""

import difflib
import graphlib
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError, TokenError

if TYPE_CHECKING:
    from sqlglot.lineage import Node

SNAPSHOT_COLUMN: Final = "as_of_on"
CHECKS_FOLDER: Final = "checks"
Kind = Literal["table", "partition", "view"]
Rule = Literal["grain", "day", "unique", "not_null", "accepted", "references"]

_HEADER = re.compile(r"^--\s*(grain|partition|kind|audit|check|severity):\s*(.+?)\s*$")
_TAG = re.compile(r"@(\w+)(?:\(([^)]*)\))?")
_RULES_WITH_ARGUMENT: Final = {"unique": False, "not_null": False, "accepted": True, "references": True}


class SqlModelError(ValueError):
    """A file under ``dbt_like_sql/`` that cannot be used; the message names the file and the next step."""


@dataclass(frozen=True, slots=True)
class ColumnCheck:
    """One promise about a model's rows; `name` is the name of the asset check in the UI."""

    rule: Rule
    columns: tuple[str, ...]
    values: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        if self.rule == "grain":
            return "grain_is_unique"
        return f"{self.columns[0]}_is_in_range" if self.rule == "day" else f"{self.columns[0]}_{self.rule}"

    @property
    def description(self) -> str:
        names = ", ".join(self.columns)
        return {
            "grain": f"One row per ({names}).",
            "day": f"Every {names} is one of the days that are being rebuilt.",
            "unique": f"No two rows share the same {names}.",
            "not_null": f"{names} is never empty.",
            "accepted": f"{names} is one of: {', '.join(self.values)}.",
            "references": f"Every {names} exists in {', '.join(self.values)}.",
        }[self.rule]


@dataclass(frozen=True, slots=True)
class Column:
    """One output column: its name, its meaning in words, its promises."""

    name: str
    description: str
    checks: tuple[ColumnCheck, ...]


@dataclass(frozen=True)
class SqlModel:
    """One file ``dbt_like_sql/<schema>/<name>.sql`` = one table = one asset."""

    schema: str
    name: str
    path: str
    sql: str

    @property
    def table(self) -> str:
        return f"{self.schema}.{self.name}"

    @cached_property
    def ast(self) -> exp.Query:
        return parse_select(self.sql, path=self.path)

    @cached_property
    def headers(self) -> dict[str, str]:
        return {m[1]: m[2] for line in _leading_comments(self.sql) if (m := _HEADER.match(line))}

    @cached_property
    def grain(self) -> tuple[str, ...]:
        columns = tuple(c.strip() for c in self.headers.get("grain", "").split(",") if c.strip())
        if not columns:
            raise SqlModelError(
                f"{self.path} does not say its grain. Add a first comment such as "
                f'"-- grain: order_line_id" naming the columns that identify one row.'
            )
        return columns

    @cached_property
    def kind(self) -> Kind:
        if "partition" in self.headers:
            return "partition"
        return "view" if self.headers.get("kind") == "view" else "table"

    @property
    def partition_column(self) -> str | None:
        return self.headers.get("partition")

    @property
    def is_snapshot(self) -> bool:
        """Whether the rows describe the end of a day and may read all history before it."""
        return self.partition_column == SNAPSHOT_COLUMN

    @property
    def staged_sql(self) -> str:
        """What is computed to check the promises before rows, or a view, are published."""
        audited = self.headers.get("audit")
        return f"select * from ({self.sql}\n) where {audited}" if audited else self.sql

    @cached_property
    def description(self) -> str:
        lines = [line for line in _leading_comments(self.sql) if not _HEADER.match(line)]
        return " ".join(line.removeprefix("--").strip() for line in lines).strip()

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        return tuple(_column(e, path=self.path) for e in self.ast.selects)

    @cached_property
    def checks(self) -> tuple[ColumnCheck, ...]:
        """The promises of grain and partition first, then those of the column tags, without repeats."""
        implied = [ColumnCheck("grain", self.grain), *(ColumnCheck("not_null", (c,)) for c in self.grain)]
        if self.partition_column:  # a row of another day would be written again by every run, and never removed
            implied.append(ColumnCheck("day", (self.partition_column,)))
        tagged = [check for column in self.columns for check in column.checks]
        return tuple(dict.fromkeys([*implied, *tagged]))

    @cached_property
    def reads(self) -> frozenset[str]:
        """Tables read, as ``schema.table``, found in the syntax tree (names of CTEs are not tables)."""
        return tables_read(self.ast, path=self.path)

    @cached_property
    def refers_to(self) -> frozenset[str]:
        """Tables that a @references tag names: they must exist before the promise can be checked."""
        return frozenset(c.values[0].rpartition(".")[0] for c in self.checks if c.rule == "references") - {self.table}

    @cached_property
    def parameters(self) -> frozenset[str]:
        return frozenset(p.name for p in self.ast.find_all(exp.Placeholder))

    @cached_property
    def code_version(self) -> str:
        """Hash of the syntax tree without comments: reformatting marks nothing stale."""
        normal = self.ast.sql(dialect="duckdb", comments=False, normalize=True)
        return hashlib.sha256(f"{self.headers}{normal}".encode()).hexdigest()[:16]


@dataclass(frozen=True)
class SqlCheck:
    """One file ``dbt_like_sql/checks/<name>.sql``: a query that returns the offending rows; none = passed."""

    name: str
    path: str
    sql: str
    table: str
    severity: Literal["error", "warn"]
    description: str

    @cached_property
    def reads(self) -> frozenset[str]:
        return tables_read(parse_select(self.sql, path=self.path), path=self.path)


def parse_select(sql: str, *, path: str) -> exp.Query:
    """The single SELECT of a file. Raises `SqlModelError` with line and column of a syntax error."""
    try:
        statements = [s for s in sqlglot.parse(sql, read="duckdb") if s is not None]
    except TokenError as error:
        raise SqlModelError(f"{path}: not valid SQL ({error}). Look for a quote that is never closed.") from error
    except ParseError as error:
        at = error.errors[0] if error.errors else {}
        raise SqlModelError(
            f"{path}, line {at.get('line', '?')}, column {at.get('col', '?')}: not valid SQL near "
            f"{at.get('highlight', '')!r} ({at.get('description', error)}). "
            f"Paste the file into a DuckDB shell to see more."
        ) from error
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        raise SqlModelError(f"{path} holds {len(statements)} statements; wanted one bare SELECT. Remove the others.")
    return statements[0]


def tables_read(ast: exp.Query, *, path: str) -> frozenset[str]:
    """Names ``schema.table`` a query reads. A table without schema that is no CTE is an error."""
    ctes = {cte.alias_or_name for cte in ast.find_all(exp.CTE)}
    found = set()
    for table in ast.find_all(exp.Table):
        if not table.db and table.name in ctes:
            continue
        if not table.db:
            raise SqlModelError(
                f"{path} reads {table.name!r}, which is neither a CTE of the file nor written as schema.table. "
                f"Write the schema, for example staging.{table.name}."
            )
        found.add(f"{table.db}.{table.name}")
    return frozenset(found)


def load_models(folder: Path) -> dict[str, SqlModel]:
    """Every model of a ``dbt_like_sql`` folder by table name, upstream first. Raises `SqlModelError` on a cycle."""
    models = {}
    for path in sorted(folder.rglob("*.sql")):
        shown = f"{folder.name}/{path.relative_to(folder).as_posix()}"
        if path.parent.parent != folder:
            raise SqlModelError(f"{shown} lies at the wrong depth; wanted {folder.name}/<schema>/<table>.sql. Move it.")
        if path.parent.name != CHECKS_FOLDER:
            model = SqlModel(path.parent.name, path.stem, shown, path.read_text(encoding="utf-8"))
            _refuse_unfit(model)
            models[model.table] = model
    return {name: models[name] for name in _in_order(models)}


def load_checks(folder: Path, *, tables: Iterable[str]) -> tuple[SqlCheck, ...]:
    """Every zero-row query of the ``checks`` folder; its header names the table it speaks of."""
    known = sorted(tables)
    return tuple(_check(path, folder=folder, known=known) for path in sorted((folder / CHECKS_FOLDER).glob("*.sql")))


def refuse_unknown_reads(
    models: Mapping[str, SqlModel], *, known: Iterable[str], checks: Iterable[SqlCheck] = ()
) -> None:
    """Raise `SqlModelError` when a model or a check reads, or refers to, a table that nobody makes."""
    everything = {*models, *known}
    for model in models.values():
        for table in sorted((model.reads | model.refers_to) - everything):
            raise SqlModelError(_unknown_table(model.path, table, everything - {model.table}))
    for check in checks:
        for table in sorted(check.reads - everything):
            raise SqlModelError(_unknown_table(check.path, table, everything))


def upstream_columns(model: SqlModel, *, schema: Mapping[str, Iterable[str]]) -> dict[str, tuple[tuple[str, str], ...]]:
    """Column lineage: output column → the (table, column) pairs it is computed from.

    `schema` gives the columns of the tables read; a column that cannot be traced has no pairs.
    """
    from sqlglot.lineage import lineage

    nested: dict[str, dict[str, dict[str, str]]] = {}
    for table, columns in schema.items():
        db, name = table.split(".")
        nested.setdefault(db, {})[name] = dict.fromkeys(columns, "unknown")
    try:  # all columns at once: column by column, sqlglot would qualify the whole query anew for each
        roots = lineage(None, model.ast, schema=nested, dialect="duckdb", trim_selects=False)
    except SqlglotError:
        return {column.name: () for column in model.columns}
    return {column.name: _origins(roots.get(column.name.lower())) for column in model.columns}


def _origins(root: "Node | None") -> tuple[tuple[str, str], ...]:
    """(table, column) at the leaves of a lineage."""
    pairs = {
        (f"{node.source.db}.{node.source.name}", node.name.split(".")[-1].strip('"'))
        for node in (root.walk() if root else ())
        if isinstance(node.source, exp.Table) and node.source.db
    }
    return tuple(sorted(pairs))


def _leading_comments(sql: str) -> list[str]:
    lines = []
    for line in sql.splitlines():
        if not line.startswith("--"):
            break
        lines.append(line)
    return lines


def _column(expression: exp.Expr, *, path: str) -> Column:
    name = expression.alias_or_name
    comment = (expression.comments or [""])[-1].strip()
    if isinstance(expression, exp.Star) or name in ("", "*"):
        raise SqlModelError(
            f"{path}: the last SELECT has a column without a name. Write every column, each with its name."
        )
    description = _TAG.sub("", comment).strip()
    if not description:
        raise SqlModelError(
            f"{path}: column {name!r} has no meaning. End its line with a comment, such as {name}, -- What it means."
        )
    return Column(name, description, tuple(_tag_check(tag, name=name, path=path) for tag in _TAG.finditer(comment)))


def _tag_check(tag: re.Match[str], *, name: str, path: str) -> ColumnCheck:
    rule, argument = tag[1], tag[2]
    if rule not in _RULES_WITH_ARGUMENT:
        raise SqlModelError(
            f"{path}: column {name!r} carries the unknown tag @{rule}. Known tags: "
            f"{', '.join('@' + r for r in _RULES_WITH_ARGUMENT)}."
        )
    if _RULES_WITH_ARGUMENT[rule] != bool(argument):
        raise SqlModelError(
            f"{path}: column {name!r}: @{rule} {'needs' if not argument else 'takes no'} argument in brackets."
        )
    values = tuple(v.strip() for v in (argument or "").split(",") if v.strip())
    if rule == "references" and (len(values) != 1 or values[0].count(".") != 2):
        raise SqlModelError(
            f"{path}: column {name!r}: @references({argument}) names no column. Write it as schema.table.column, "
            f"for example @references(staging.courses.course_id)."
        )
    return ColumnCheck(rule, (name,), values)  # type: ignore[arg-type]


def _refuse_unfit(model: SqlModel) -> None:
    """Read everything lazily computed once, so that a mistake shows at load and not in the middle of a run."""
    _ = (model.checks, model.reads, model.refers_to, model.description)
    _refuse_unfit_columns(model)
    _refuse_unfit_kind(model)
    _refuse_unfit_partition(model)


def _refuse_unfit_columns(model: SqlModel) -> None:
    names = [c.name for c in model.columns]
    if repeated := sorted({n for n in names if names.count(n) > 1}):
        raise SqlModelError(f"{model.path} returns the columns {repeated} twice. Give each column a name of its own.")
    for column in (*model.grain, *filter(None, [model.partition_column])):
        if column not in names:
            close = difflib.get_close_matches(column, names, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise SqlModelError(
                f"{model.path}: header names column {column!r}, which the SELECT does not return.{hint}"
            )


def _refuse_unfit_kind(model: SqlModel) -> None:
    kind = model.headers.get("kind", "table")
    if kind not in ("table", "view") or (kind == "view" and model.partition_column):
        raise SqlModelError(
            f"{model.path} says kind {kind!r}{' and a partition' if model.partition_column else ''}; wanted "
            f"'-- kind: view' without a '-- partition:' line, or no such line at all for a table."
        )
    if "audit" in model.headers and kind != "view":
        raise SqlModelError(
            f"{model.path} has an '-- audit:' line and is no view; the promises of a table are checked on every new "
            f"row. Remove the line."
        )


def _refuse_unfit_partition(model: SqlModel) -> None:
    unknown = model.parameters - {"start", "end"}
    if unknown or (model.parameters and model.kind != "partition"):
        raise SqlModelError(
            f"{model.path} uses the parameters {sorted(model.parameters)}; only $start and $end exist, and only "
            f"in a file with a '-- partition: column' line."
        )
    day = model.partition_column
    if day and "start" not in model.parameters:
        raise SqlModelError(
            f"{model.path} is partitioned by {day}, but returns the same rows whatever the day. "
            f"Keep the rows of the day: where {day} >= $start and {day} < $end."
        )
    if model.is_snapshot and day not in model.grain:
        raise SqlModelError(
            f"{model.path} has rows of many days, each named by {day}, but its grain leaves the day out. "
            f'Write "-- grain: {day}, {", ".join(model.grain)}".'
        )


def _in_order(models: Mapping[str, SqlModel]) -> list[str]:
    graph = {name: sorted((model.reads | model.refers_to) & models.keys()) for name, model in models.items()}
    try:
        return list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        raise SqlModelError(
            f"The SQL models read each other in a circle: {' -> '.join(error.args[1])}. Break one of these reads."
        ) from error


def _check(path: Path, *, folder: Path, known: list[str]) -> SqlCheck:
    sql = path.read_text(encoding="utf-8")
    shown = f"{folder.name}/{CHECKS_FOLDER}/{path.name}"
    lines = _leading_comments(sql)
    headers = {m[1]: m[2] for line in lines if (m := _HEADER.match(line))}
    table = headers.get("check", "")
    if table not in known:
        raise SqlModelError(_unknown_table(shown, table or "(no '-- check: schema.table' line)", known))
    words = " ".join(line.removeprefix("--").strip() for line in lines if not _HEADER.match(line))
    severity = headers.get("severity", "error")
    if severity not in ("error", "warn"):
        raise SqlModelError(f"{shown} says severity {severity!r}; wanted error or warn, or no such line (error).")
    return SqlCheck(path.stem, shown, sql, table, severity, words)  # type: ignore[arg-type]


def _unknown_table(path: str, table: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(table, sorted(known), n=1)
    hint = f"Did you mean {close[0]}?" if close else "Add its file, or correct the name."
    return f"{path} reads {table}, which no SQL file, feed or Python asset makes. {hint}"
