"""One file of ``dbt_like_sql/``: what it says, read by sqlglot. Pure: no Dagster, no database.

Here: a file becomes a `SqlModel` (grain, kind, partition column, window, reads, columns, promises, code version) or a
`SqlCheck`. Not here: what is wrong with it (``sql_lint``), and what needs the whole folder (``sql_models``). The
language of the comments is described there.
"""

import hashlib
import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, TokenError

from xmkt_assets.sql_mistakes import SqlModelError, SqlText, at, near, output_name, quote_mistake, syntax_mistake
from xmkt_assets.sql_windows import Unreadable, Window, read_window

SNAPSHOT_COLUMN: Final = "as_of_on"
SAME_DAY: Final = "same day"
MODEL_HEADERS: Final = ("grain", "partition", "kind", "audit", "mapping", "engine")
CHECK_HEADERS: Final = ("check", "severity", "engine")
Kind = Literal["table", "partition", "view"]
Rule = Literal["grain", "day", "unique", "not_null", "accepted", "references"]

_NAMES: Final = "|".join(dict.fromkeys((*MODEL_HEADERS, *CHECK_HEADERS)))
HEADER: Final = re.compile(rf"^--\s*({_NAMES}):\s*(.+?)\s*$")
_TAG: Final = re.compile(r"@(\w+)(?:\(([^)]*)\))?")
_RULES_WITH_ARGUMENT: Final = {"unique": False, "not_null": False, "accepted": True, "references": True}
_SHAPELESS: Final = ("mapping", "engine")  # headers that change no row
_CHECK_NAMES: Final[Mapping[Rule, str]] = {
    "grain": "grain_is_unique",
    "not_null": "required_columns_are_filled",
    "day": "rows_lie_in_their_days",
    "accepted": "values_are_accepted",
    "unique": "unique_columns_do_not_repeat",
    "references": "references_exist",
}


@dataclass(frozen=True, slots=True)
class ColumnCheck:
    """One promise about a model's rows; those of one kind share an asset check, a `TableCheck`."""

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
class TableCheck:
    """All promises of one kind of a model: one asset check in the UI. One for each column would cost Dagster more than
    reading the rows."""

    rule: Rule
    promises: tuple[ColumnCheck, ...]

    @property
    def name(self) -> str:
        return _CHECK_NAMES[self.rule]

    @property
    def description(self) -> str:
        if self.rule == "not_null":
            return f"Never empty: {', '.join(p.columns[0] for p in self.promises)}."
        return " ".join(promise.description for promise in self.promises)


@dataclass(frozen=True, slots=True)
class Column:
    """One output column: its name, its meaning in words, its promises, where it is written."""

    name: str
    description: str
    checks: tuple[ColumnCheck, ...]
    line: int | None = None


class SqlFile:
    """What every file holds: one SELECT under its headers."""

    path: str
    sql: str

    @property
    def text(self) -> SqlText:
        return SqlText(self.path, self.sql)

    @cached_property
    def ast(self) -> exp.Query:
        return parse_select(self.sql, path=self.path)

    @cached_property
    def headers(self) -> dict[str, str]:
        return headers_of(self.sql)


@dataclass(frozen=True)
class SqlModel(SqlFile):
    """One file ``dbt_like_sql/<schema>/<name>.sql`` = one table = one asset."""

    schema: str
    name: str
    path: str
    sql: str

    @property
    def table(self) -> str:
        return f"{self.schema}.{self.name}"

    def header_at(self, name: str) -> str:
        """Place of a header line."""
        lines = enumerate(leading_comments(self.sql), start=1)
        return at(self.path, next((n for n, line in lines if (m := HEADER.match(line)) and m[1] == name), None))

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
        return description_of(self.sql)

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the last SELECT. Raises `SqlModelError` with all that are wrong about them."""
        columns: list[Column] = []
        mistakes: list[str] = []
        for expression in self.ast.selects:
            try:
                columns.append(_column(expression, text=self.text))
            except SqlModelError as error:
                mistakes += error.mistakes
        if mistakes:
            raise SqlModelError(*mistakes)
        return tuple(columns)

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @cached_property
    def checks(self) -> tuple[ColumnCheck, ...]:
        """The promises of grain and partition first, then those of the column tags, without repeats."""
        implied = [ColumnCheck("grain", self.grain), *(ColumnCheck("not_null", (c,)) for c in self.grain)]
        if self.partition_column:  # a row of another day would be written again by every run, and never removed
            implied.append(ColumnCheck("day", (self.partition_column,)))
        tagged = [check for column in self.columns for check in column.checks]
        return tuple(dict.fromkeys([*implied, *tagged]))

    @cached_property
    def table_checks(self) -> tuple[TableCheck, ...]:
        """The promises by kind, in the order in which the kinds first occur."""
        kinds = dict.fromkeys(check.rule for check in self.checks)
        return tuple(TableCheck(kind, tuple(c for c in self.checks if c.rule == kind)) for kind in kinds)

    @cached_property
    def reads(self) -> frozenset[str]:
        """Tables read, as ``schema.table``, found in the syntax tree (names of CTEs are not tables)."""
        return tables_read(self.ast, text=self.text)

    @cached_property
    def refers_to(self) -> frozenset[str]:
        """Tables that a @references tag names: they must exist before the promise can be checked."""
        return frozenset(c.values[0].rpartition(".")[0] for c in self.checks if c.rule == "references") - {self.table}

    @cached_property
    def parameters(self) -> frozenset[str]:
        return frozenset(p.name for p in self.ast.find_all(exp.Placeholder))

    @cached_property
    def reads_days(self) -> tuple[Window, tuple[Unreadable, ...]]:
        """The days around its own that the query reads, and offsets of which nobody knows how many days they are."""
        return read_window(self.ast)

    @property
    def days_before(self) -> int:
        """Days before its own whose change makes a day stale; 0 = none."""
        return self._window.days_before

    @property
    def days_after(self) -> int:
        """Days after its own whose change makes a day stale; 0 = none."""
        return self._window.days_after

    @property
    def maps_same_day(self) -> bool:
        """Whether neighbouring days are read only to recognise repeats: their change makes no other day stale."""
        return self.headers.get("mapping") == SAME_DAY

    @property
    def has_window(self) -> bool:
        """Whether a trailing window means anything: of one day's events, not of a snapshot that reads all history."""
        return self.kind == "partition" and not self.is_snapshot

    @property
    def _window(self) -> Window:
        return self.reads_days[0] if self.has_window and not self.maps_same_day else Window()

    @property
    def engine(self) -> str | None:
        """The only engine the file promises to run on; None = DuckDB and, transpiled, Spark."""
        return engine_of(self.headers)[0]

    @property
    def engine_reason(self) -> str:
        """Why the file runs on one engine only."""
        return engine_of(self.headers)[1]

    @cached_property
    def code_version(self) -> str:
        """Hash of the syntax tree without comments: reformatting marks nothing stale.

        Writing a tree changes it, and a copy takes five times as long: it is given away, and parsed again if needed.
        """
        tree = self.__dict__.pop("ast", None) or parse_select(self.sql, path=self.path)
        normal = tree.sql(dialect="duckdb", comments=False, normalize=True, copy=False)
        shaping = {name: value for name, value in self.headers.items() if name not in _SHAPELESS}
        return hashlib.sha256(f"{shaping}{normal}".encode()).hexdigest()[:16]


@dataclass(frozen=True)
class SqlCheck(SqlFile):
    """One file ``dbt_like_sql/checks/<name>.sql``: a query that returns the offending rows; none = passed."""

    name: str
    path: str
    sql: str
    table: str
    severity: Literal["error", "warn"]
    description: str

    @property
    def engine(self) -> str | None:
        """The only engine the file promises to run on; None = DuckDB and, transpiled, Spark."""
        return engine_of(self.headers)[0]

    @cached_property
    def reads(self) -> frozenset[str]:
        return tables_read(self.ast, text=self.text)


def parse_select(sql: str, *, path: str) -> exp.Query:
    """The single SELECT of a file. Raises `SqlModelError` with line and column of a syntax error."""
    try:
        statements = [s for s in sqlglot.parse(sql, read="duckdb") if s is not None]
    except TokenError as error:
        raise SqlModelError(quote_mistake(SqlText(path, sql), error)) from error
    except ParseError as error:
        raise SqlModelError(syntax_mistake(SqlText(path, sql), error)) from error
    if len(statements) != 1:
        raise SqlModelError(f"{path} holds {len(statements)} statements; wanted one bare SELECT. Remove the others.")
    if not isinstance(statements[0], exp.Query):
        found = statements[0].key.upper()
        raise SqlModelError(f"{path} holds a statement {found}; wanted one bare SELECT. Write what the rows are.")
    _correct_lines(statements[0], sql)
    return statements[0]


def _correct_lines(ast: exp.Query, sql: str) -> None:
    """The lines that sqlglot 30 notes go wrong after comments; its offsets are right."""
    breaks = [found.start() for found in re.finditer("\n", sql)]
    for node in ast.find_all(exp.Identifier, exp.Func, exp.Star):
        meta = node.meta
        if "start" in meta:
            meta["line"] = bisect_left(breaks, meta["start"]) + 1


def tables_read(ast: exp.Query, *, text: SqlText) -> frozenset[str]:
    """Names ``schema.table`` a query reads. A table without schema that is no CTE is an error."""
    ctes = {cte.alias_or_name for cte in ast.find_all(exp.CTE)}
    found, mistakes = set(), []
    for table in ast.find_all(exp.Table):
        if not table.name or (not table.db and table.name in ctes):  # a function in FROM has no name
            continue
        if not table.db:
            hint = near(table.name, ctes, otherwise=f"Write the schema, for example staging.{table.name}.")
            mistakes.append(
                f"{text.at(table)} reads {table.name!r}, which is neither a CTE of the file nor written as "
                f"schema.table. {hint}"
            )
        found.add(f"{table.db}.{table.name}")
    if mistakes:
        raise SqlModelError(*mistakes)
    return frozenset(found)


def headers_of(sql: str) -> dict[str, str]:
    return {m[1]: m[2] for line in leading_comments(sql) if (m := HEADER.match(line))}


def description_of(sql: str) -> str:
    lines = [line for line in leading_comments(sql) if not HEADER.match(line)]
    return " ".join(line.removeprefix("--").strip() for line in lines).strip()


def engine_of(headers: dict[str, str]) -> tuple[str | None, str]:
    """Engine and reason of an ``-- engine: duckdb - reason`` line."""
    engine, _, reason = headers.get("engine", "").partition(" - ")
    return engine.strip() or None, reason.strip()


def leading_comments(sql: str) -> list[str]:
    lines = []
    for line in sql.splitlines():
        if not line.startswith("--"):
            break
        lines.append(line)
    return lines


def _column(expression: exp.Expr, *, text: SqlText) -> Column:
    name = output_name(expression)
    line = text.line(expression.args["alias"] if isinstance(expression, exp.Alias) else expression)
    place = at(text.path, line)
    comment = (expression.comments or [""])[-1].strip()
    if isinstance(expression, exp.Star) or name in ("", "*"):
        raise SqlModelError(
            f"{place}: the last SELECT has a column without a name. Write every column, each with its name."
        )
    description = _TAG.sub("", comment).strip()
    mistakes = []
    if not description:
        mistakes.append(
            f"{place}: column {name!r} has no meaning. End its line with a comment, such as {name}, -- What it means."
        )
    checks = []
    for tag in _TAG.finditer(comment):
        try:
            checks.append(_tag_check(tag, name=name, place=place))
        except SqlModelError as error:
            mistakes += error.mistakes
    if mistakes:
        raise SqlModelError(*mistakes)
    return Column(name, description, tuple(checks), line)


def _tag_check(tag: re.Match[str], *, name: str, place: str) -> ColumnCheck:
    rule, argument = tag[1], tag[2]
    if rule not in _RULES_WITH_ARGUMENT:
        known = ", ".join("@" + r for r in _RULES_WITH_ARGUMENT)
        raise SqlModelError(f"{place}: column {name!r} carries the unknown tag @{rule}. Known tags: {known}.")
    if _RULES_WITH_ARGUMENT[rule] != bool(argument):
        raise SqlModelError(
            f"{place}: column {name!r}: @{rule} {'needs' if not argument else 'takes no'} argument in brackets."
        )
    values = tuple(v.strip() for v in (argument or "").split(",") if v.strip())
    if rule == "references" and (len(values) != 1 or values[0].count(".") != 2):
        raise SqlModelError(
            f"{place}: column {name!r}: @references({argument}) names no column. Write it as schema.table.column, "
            f"for example @references(staging.courses.course_id)."
        )
    return ColumnCheck(rule, (name,), values)  # type: ignore[arg-type]
