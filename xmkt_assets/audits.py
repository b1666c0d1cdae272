"""Zero-row checks on rows that are not visible yet: write, audit, publish. Pure: no Dagster.

A check is a query over finished tables. Before a commit, every table the commit writes is replaced in the query's
syntax tree by what the table will be: its old rows outside the slice, and the staged ones. Tables written by one commit
are laid over each other together, and views over them are unfolded. Nothing here takes the write lock.

Not here: what a column promises (``sql_assets``), the commit (``warehouse``), how a result is shown (``publishing``).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import sqlglot
from sqlglot import exp

from xmkt_assets.sql_models import SqlCheck
from xmkt_assets.warehouse import Days, Equal, Replace, Scope, Session, Whole, scope_condition

if TYPE_CHECKING:
    import polars as pl

FIRST_ROWS: Final = 5
# What $start and $end of a check are where no day is given: a run on demand looks at all of them.
ALL_DAYS: Final = (datetime(1, 1, 1), datetime(9999, 12, 31))


class Finding(NamedTuple):
    """What one check found: how many rows offend, and the first of them."""

    check: SqlCheck
    offending: int
    first: "pl.DataFrame"

    @property
    def passed(self) -> bool:
        return self.offending == 0


class _Overlaid(NamedTuple):
    """A table as it will be, as a query with its parameters."""

    query: exp.Query
    parameters: Mapping[str, object]


def audit_changes(session: Session, changes: Sequence[object], checks: Iterable[SqlCheck]) -> list[Finding]:
    """Run the `checks` that speak of a table that `changes` write, on what the tables will be."""
    replaced = [change for change in changes if isinstance(change, Replace)]
    written = {change.table for change in replaced}
    asked = [check for check in checks if check.table in written]
    if not asked:
        return []
    overlays = {table: _overlay(session, table, replaced) for table in sorted(written)}
    views = _views(session)
    return [_find(session, check, overlays, views, _bounds(check.table, replaced)) for check in asked]


def run_check(session: Session, check: SqlCheck, *, days: Sequence[date] = ()) -> Finding:
    """Run one check on the tables as they are; `days` bound it where its query asks for a day."""
    bounds = (_midnight(min(days)), _midnight(max(days)) + timedelta(days=1)) if days else ALL_DAYS
    return _find(session, check, {}, {}, bounds)


def overlaid(query: exp.Query, overlays: Mapping[str, exp.Query], views: Mapping[str, exp.Query]) -> exp.Query:
    """`query` with every table of `overlays` replaced by its query, also inside the `views` it reads."""

    def put(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Column) and f"{node.db}.{node.table}" in overlays:
            node.set("db", None)  # a subquery has one name only
        name = f"{node.db}.{node.name}" if isinstance(node, exp.Table) and node.db else ""
        if name and (node.args.get("when") or node.args.get("version")):  # an older state stays as it is
            return node
        laid = overlays.get(name)
        if laid is None and name in views and _reaches(views[name], overlays, views):
            laid = overlaid(views[name], overlays, {v: q for v, q in views.items() if v != name})
        if laid is None:
            return node
        subquery = laid.copy().subquery(node.alias_or_name)
        subquery.set("joins", node.args.get("joins"))
        return subquery

    result = query.copy().transform(put)
    assert isinstance(result, exp.Query)
    return result


def _reaches(query: exp.Query, overlays: Mapping[str, exp.Query], views: Mapping[str, exp.Query]) -> bool:
    names = {f"{t.db}.{t.name}" for t in query.find_all(exp.Table) if t.db}
    deeper = {v: q for v, q in views.items() if v not in names}
    return bool(names & overlays.keys()) or any(_reaches(views[n], overlays, deeper) for n in names & views.keys())


def _find(
    session: Session,
    check: SqlCheck,
    overlays: Mapping[str, _Overlaid],
    views: Mapping[str, exp.Query],
    bounds: tuple[datetime, datetime],
) -> Finding:
    query = check.ast
    if overlays:
        query = overlaid(query, {table: laid.query for table, laid in overlays.items()}, views)
    values = {name: value for laid in overlays.values() for name, value in laid.parameters.items()}
    values |= {"start": bounds[0], "end": bounds[1]}
    used = {p.name for p in query.find_all(exp.Placeholder)}
    counted = f"select *, count(*) over () as offending_rows from ({query.sql('duckdb')}) limit {FIRST_ROWS}"
    rows = session.read(counted, **{name: value for name, value in values.items() if name in used})
    count = int(rows["offending_rows"][0]) if rows.height else 0
    return Finding(check, count, rows.drop("offending_rows"))


def _overlay(session: Session, table: str, changes: Sequence[Replace]) -> _Overlaid:
    """`table` as it will be: old rows outside all slices that are replaced, and the staged rows of each."""
    ours = [change for change in changes if change.table == table]
    parts = [f"select * from temp.{change.staged}" for change in ours]
    parameters: dict[str, object] = {}
    if session.columns(table) and not any(isinstance(change.scope, Whole) for change in ours):
        slices = [_slice(change.scope, f"{table.replace('.', '_')}_{i}_") for i, change in enumerate(ours)]
        inside = " or ".join(f"({condition})" for condition, _ in slices)
        parts.insert(0, f"select * from {table} where not coalesce({inside}, false)")
        parameters = {name: value for _, values in slices for name, value in values.items()}
    query = sqlglot.parse_one(" union all by name ".join(parts), read="duckdb")
    assert isinstance(query, exp.Query)
    return _Overlaid(query, parameters)


def _slice(scope: Scope, prefix: str) -> tuple[str, dict[str, object]]:
    """The condition of a slice, its parameters renamed: several slices, and the check's own, meet in one query."""
    condition, values = scope_condition(scope)
    tree = sqlglot.parse_one(condition, read="duckdb")
    for placeholder in list(tree.find_all(exp.Placeholder)):
        placeholder.set("this", f"{prefix}{placeholder.name}")
    return tree.sql("duckdb"), {f"{prefix}{name}": value for name, value in values.items()}


def _bounds(table: str, changes: Iterable[Replace]) -> tuple[datetime, datetime]:
    """First and last moment of the days a commit writes of `table`; all days where it says none."""
    spans = [_span(change.scope) for change in changes if change.table == table]
    if not spans or any(span is None for span in spans):
        return ALL_DAYS
    known = [span for span in spans if span is not None]
    return min(first for first, _ in known), max(after for _, after in known)


def _span(scope: Scope) -> tuple[datetime, datetime] | None:
    if isinstance(scope, Days):
        return _midnight(scope.start), _midnight(scope.end)
    if not isinstance(scope, Equal):
        return None
    values = [v for _, value in scope.values for v in (value if isinstance(value, list) else [value])]
    days = [v for v in values if isinstance(v, date) and not isinstance(v, datetime)]
    return (_midnight(min(days)), _midnight(max(days)) + timedelta(days=1)) if days else None


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time())


def _views(session: Session) -> dict[str, exp.Query]:
    """Every view of the lake as its query."""
    rows = session.connection.execute(
        "select schema_name || '.' || view_name, sql from duckdb_views() where database_name = 'lake' and not internal"
    ).fetchall()
    made = {name: sqlglot.parse_one(sql, read="duckdb") for name, sql in rows}
    return {name: tree.expression for name, tree in made.items() if isinstance(tree.expression, exp.Query)}
