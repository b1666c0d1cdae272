"""What a model promises of its rows, checked on the new rows before they are published. Pure: no Dagster.

All promises of a model are counted in ONE query over the staged rows; rows are fetched only of those that are broken.
Here are the promises of one file (grain, partition day, column tags). Checks that are files of their own are in
``audits``.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from xmkt_assets.sql_models import ColumnCheck, SqlModel
from xmkt_assets.warehouse import Session, literal

if TYPE_CHECKING:
    import polars as pl

STAGED: Final = "staged_rows"
FIRST_ROWS: Final = 5
# How far from its day an event's id is looked for before it is published, so that a day costs the same however long
# the history. The look over all days is a check of its own (`repeated_on_any_day`).
NEAR_DAYS: Final = 31
FULL_LOOK: Final = "grain_is_unique_over_all_days"  # the check of that name, run on demand


class Audit(NamedTuple):
    """One promise checked on new rows: how many rows break it, and the first of them."""

    check: ColumnCheck
    broken: int
    sample: "pl.DataFrame"


class _Question(NamedTuple):
    """What breaks one promise: `number` is a query of how many (none: a condition counts it), `rows` of the rows."""

    number: str
    rows: str


def audit(session: Session, model: SqlModel, days: Sequence[date] = ()) -> list[Audit]:
    """Check every promise of the model on the staged rows, which are to become the rows of `days`."""
    import polars as pl

    if not model.checks:
        return []
    has_history = bool(model.partition_column) and bool(session.columns(model.table))
    conditions = [_condition(check) for check in model.checks]
    asked = [
        _row_question(model, check, condition) if condition else _question(model, check, has_history=has_history)
        for check, condition in zip(model.checks, conditions, strict=True)
    ]
    counted = [f"count(*) filter (where {condition}) as n{i}" for i, condition in enumerate(conditions) if condition]
    parts = [f"(select {', '.join(counted)} from {STAGED})"] if counted else []
    parts += [f"({asked[i].number.format(name=f'n{i}')})" for i, condition in enumerate(conditions) if not condition]
    names = ", ".join(f"n{i}" for i in range(len(asked)))
    bounds = _bounds(days)
    counts = session.read(f"select {names} from {', '.join(parts)}", **_used(" ".join(parts), bounds)).row(0)
    return [
        Audit(check, int(count), _first(session, question.rows, bounds) if count else pl.DataFrame())
        for check, question, count in zip(model.checks, asked, counts, strict=True)
    ]


def repeated_on_any_day(model: SqlModel) -> str | None:
    """Query of the ids that a table of events has more than once, however far apart; None where a day is enough.

    Bound to the days of a run that writes some, it looks at those around them, as the promise of the grain does.
    """
    columns, day = model.grain, model.partition_column
    if not day or model.is_snapshot or day in columns:
        return None
    first, after = (f"cast({moment} interval {NEAR_DAYS} day as date)" for moment in ("$start -", "$end +"))
    around = f"{day} >= {first} and {day} < {after}"
    return _repeats(f"select {_names(columns)}, {day} from {model.table} where {around}", columns, model)


def _condition(check: ColumnCheck) -> str | None:
    """SQL that is true of a row which breaks the promise; None where one row alone cannot break it."""
    column = check.columns[0]
    if check.rule == "not_null":
        return f"{column} is null"
    if check.rule == "day":
        return f"{column} is null or not ({column} >= $first and {column} < $after)"
    if check.rule == "accepted":
        values = ", ".join(literal(value) for value in check.values)
        return f"{column} is not null and cast({column} as varchar) not in ({values})"
    return None


def _row_question(model: SqlModel, check: ColumnCheck, condition: str) -> _Question:
    return _Question("", f"select {_keys(model, check)} from {STAGED} where {condition}")


def _question(model: SqlModel, check: ColumnCheck, *, has_history: bool) -> _Question:
    if check.rule != "references":
        query = _repeated(model, check, has_history=has_history)
        return _Question(f"select count(*) as {{name}} from ({query})", query)
    column = check.columns[0]
    table, _, target = check.values[0].rpartition(".")
    unknown = f"from {STAGED} as s anti join {table} as t on t.{target} = s.{column} where s.{column} is not null"
    keys = ", ".join(f"s.{name}" for name in dict.fromkeys([*model.grain, column]))
    return _Question(f"select count(*) as {{name}} {unknown}", f"select {keys} {unknown}")


def _repeated(model: SqlModel, check: ColumnCheck, *, has_history: bool) -> str:
    """Ids that several rows share. An event's id must be new to the days around its own, a snapshot's to its day."""
    day = model.partition_column
    columns = [day, *check.columns] if day and model.is_snapshot else list(check.columns)
    names = _names(columns)
    if day is None or day in columns:
        return f"select {names}, count(*) as times from {STAGED} group by {names} having count(*) > 1"
    rows = f"select {names}, {day} from {STAGED}"
    if has_history:
        near = f"({day} >= $near_first and {day} < $first or {day} >= $after and {day} < $near_after)"
        rows += f" union all select {names}, {day} from {model.table} where {near} and ({names}) in "
        rows += f"(select {names} from {STAGED})"
    # Two rows of a long range may lie further apart than an id is looked for; each of their days alone would pass.
    return f"{_repeats(rows, columns, model)} and (count(*) > 2 or coalesce(max({day}) - min({day}), 0) <= {NEAR_DAYS})"


def _repeats(rows: str, columns: Sequence[str], model: SqlModel) -> str:
    day = model.partition_column
    counts = f"count(*) as times, min({day}) as first_on, max({day}) as last_on"
    return f"select {_names(columns)}, {counts} from ({rows}) group by {_names(columns)} having count(*) > 1"


def _names(columns: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(columns))


def _keys(model: SqlModel, check: ColumnCheck) -> str:
    return _names([*model.grain, *check.columns])


def _bounds(days: Sequence[date]) -> dict[str, object]:
    if not days:
        return {}
    first, after, near = days[0], days[-1] + timedelta(days=1), timedelta(days=NEAR_DAYS)
    return {"first": first, "after": after, "near_first": first - near, "near_after": after + near}


def _used(query: str, bounds: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in bounds.items() if f"${name} " in f"{query} " or f"${name})" in query}


def _first(session: Session, query: str, bounds: Mapping[str, object]) -> "pl.DataFrame":
    return session.read(f"select * from ({query}) limit {FIRST_ROWS}", **_used(query, bounds))
