"""SQL models as Dagster assets: one asset per file, its promises as asset checks. Thin: what a file says is in
``sql_models``, how rows are replaced in ``warehouse``.

Write, audit, publish: rows are computed into a temporary table, the promises are checked there, and only then
does one transaction replace the old rows. A broken promise fails the step, names rows, and leaves the old ones.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, NamedTuple

import dagster as dg
import duckdb
import polars as pl

from xmkt_assets.materialisation import add_day_counts, column_schema, written_metadata
from xmkt_assets.partitions import DAYS, HISTORY
from xmkt_assets.resources import Warehouse
from xmkt_assets.sql_models import ColumnCheck, SqlCheck, SqlModel, upstream_columns
from xmkt_assets.warehouse import Days, Equal, Replace, Scope, Session, Whole, Written

STAGED = "staged_rows"
PERSON_COLUMNS = {"person_id", "user_id", "customer_id", "subject_id"}
LONG_RANGE_DAYS = 31  # Dagster stores a result once per day of a range: a long one carries figures only
OWNERS = {"staging": "team:data-engineering", "segments": "team:data-science", "recommenders": "team:data-science"}


class Audit(NamedTuple):
    """One promise checked on new rows: how many rows break it, and the first of them."""

    check: ColumnCheck
    broken: int
    sample: pl.DataFrame


class Catalogue(NamedTuple):
    """What a model's asset must know of the tables around it."""

    partitions: Mapping[str, dg.PartitionsDefinition[str] | None]
    snapshots: frozenset[str]
    columns: Mapping[str, tuple[str, ...]]
    empty: Mapping[str, Mapping[str, pl.DataType | type[pl.DataType]]]


def sql_asset(model: SqlModel, catalogue: Catalogue) -> dg.AssetsDefinition:
    """The asset of one SQL file."""
    partitioned = model.kind == "partition"

    @dg.asset(
        key=[model.schema, model.name],
        group_name=model.schema,
        description=f"{model.description}\n\n```sql\n{model.sql}\n```",
        deps=[_dependency(model, table, catalogue) for table in sorted(model.reads | model.refers_to)],
        check_specs=_check_specs(model),
        partitions_def=DAYS if partitioned else None,
        # A snapshot costs the same day by day, and shares its job with Python assets that take one day at a time.
        backfill_policy=dg.BackfillPolicy.single_run() if partitioned and not model.is_snapshot else None,
        code_version=model.code_version,
        kinds={"sql", "ducklake"} | ({"view"} if model.kind == "view" else set()),
        owners=[OWNERS.get(model.schema, "team:marketing-analytics")],
        metadata={"dagster/table_name": model.table, "file": model.path, "grain": ", ".join(model.grain)},
        tags={"personal": "yes"} if PERSON_COLUMNS & {c.name for c in model.columns} else {},
    )
    def asset(context: dg.AssetExecutionContext, warehouse: Warehouse) -> Iterator[Any]:
        with warehouse.session() as session:
            yield from _materialise(context, session, model, catalogue)

    return asset


def sql_check(check: SqlCheck) -> dg.AssetChecksDefinition:
    """The asset check of one zero-row query."""
    is_error = check.severity == "error"

    @dg.asset_check(
        asset=check.table.split("."),
        name=check.name,
        description=check.description,
        blocking=is_error,
        additional_deps=[table.split(".") for table in sorted(check.reads - {check.table})],
    )
    def run(warehouse: Warehouse) -> dg.AssetCheckResult:
        rows = warehouse.read(check.sql)
        severity = dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN
        metadata: dict[str, Any] = {
            "offending_rows": rows.height,
            "query": dg.MetadataValue.md(f"```sql\n{check.sql}\n```"),
        }
        return dg.AssetCheckResult(passed=rows.is_empty(), severity=severity, metadata=metadata)

    return run


def _dependency(model: SqlModel, table: str, catalogue: Catalogue) -> dg.AssetDep:
    """A snapshot reads all days up to its own of an event table, and the same day of another snapshot."""
    upstream = catalogue.partitions.get(table)
    mapping: dg.PartitionMapping | None = None
    if model.kind == "partition" and upstream is not None:
        same_day = upstream == DAYS and (not model.is_snapshot or table in catalogue.snapshots)
        mapping = (
            dg.IdentityPartitionMapping() if same_day else HISTORY if upstream == DAYS else dg.AllPartitionMapping()
        )
    return dg.AssetDep(dg.AssetKey(table.split(".")), partition_mapping=mapping)


def _check_specs(model: SqlModel) -> list[dg.AssetCheckSpec]:
    key = dg.AssetKey([model.schema, model.name])
    return [dg.AssetCheckSpec(c.name, asset=key, description=c.description, blocking=True) for c in model.checks]


def _materialise(
    context: dg.AssetExecutionContext, session: Session, model: SqlModel, catalogue: Catalogue
) -> Iterator[Any]:
    _make_declared_tables(session, model, catalogue)
    days = [date.fromisoformat(key) for key in context.partition_keys] if model.kind == "partition" else []
    read_snapshot = session.snapshot_id()
    try:
        stage(session, model, days)
        audits = audit(session, model, days)
    except (duckdb.CatalogException, duckdb.BinderException, duckdb.ParserException) as error:
        raise dg.Failure(_explain(model, error)) from error
    if any(a.broken for a in audits):
        yield from _check_results(model, audits)
        raise dg.Failure(_refusal(model, audits), allow_retries=False)
    written = _publish(session, model, days)
    add_day_counts(context, _day_counts(session, model, days))
    yield dg.MaterializeResult(
        metadata={
            **written_metadata(written, read_snapshot_id=read_snapshot),
            **({} if len(days) > LONG_RANGE_DAYS else _column_metadata(session, model, catalogue)),
        },
        data_version=dg.DataVersion(f"snapshot-{written.snapshot_id}"),
        check_results=list(_check_results(model, audits)),
    )


def stage(session: Session, model: SqlModel, days: Sequence[date]) -> None:
    """Compute the new rows. An event table takes the whole range in one query, a snapshot one query a day."""
    if not days:
        session.stage(STAGED, model.staged_sql)
    elif model.is_snapshot:
        for i, day in enumerate(days):
            session.stage(f"{STAGED}_{i}", model.sql, _window(model, day, day))
        parts = " union all by name ".join(f"select * from {STAGED}_{i}" for i in range(len(days)))
        session.stage(STAGED, parts)
    else:
        session.stage(STAGED, model.sql, _window(model, days[0], days[-1]))


def _window(model: SqlModel, first: date, last: date) -> dict[str, object]:
    window = {"start": datetime.combine(first, time()), "end": datetime.combine(last + timedelta(days=1), time())}
    return {name: value for name, value in window.items() if name in model.parameters}


def _publish(session: Session, model: SqlModel, days: Sequence[date]) -> Written:
    if model.kind == "view":
        rows = int(session.read(f"select count(*) as n from {STAGED}").item())
        return Written(model.table, session.create_view(model.table, model.sql), rows)
    scope: Scope = Whole()
    if model.partition_column:
        scope = Days(model.partition_column, days[0], days[-1] + timedelta(days=1))
    meanings = {c.name: c.description for c in model.columns}
    return session.commit([Replace(model.table, STAGED, scope, model.description, meanings)])[0]


def audit(session: Session, model: SqlModel, days: Sequence[date] = ()) -> list[Audit]:
    """Check every promise of the model on the staged rows, which are to become the rows of `days`."""
    return [_audit_one(session, model, check, days) for check in model.checks]


def _audit_one(session: Session, model: SqlModel, check: ColumnCheck, days: Sequence[date]) -> Audit:
    query, params = _broken_rows(session, model, check, days)
    rows = session.read(f"select *, count(*) over () as broken_rows from ({query}) limit 5", **params)
    count = int(rows["broken_rows"][0]) if rows.height else 0
    return Audit(check, count, rows.drop("broken_rows"))


def _broken_rows(
    session: Session, model: SqlModel, check: ColumnCheck, days: Sequence[date]
) -> tuple[str, Mapping[str, object]]:
    """Query (with its parameters) of the staged rows that break one promise."""
    keys = ", ".join(dict.fromkeys([*model.grain, *check.columns]))
    column = check.columns[0]
    match check.rule:
        case "grain" | "unique":
            return _repeated(session, model, check, days)
        case "day":
            inside = f"{column} >= $first and {column} < $after"
            return f"select {keys} from {STAGED} where {column} is null or not ({inside})", _bounds(days)
        case "not_null":
            return f"select {keys} from {STAGED} where {column} is null", {}
        case "accepted":
            wanted = f"cast({column} as varchar) not in (select unnest($values))"
            values = {"values": list(check.values)}
            return f"select {keys} from {STAGED} where {column} is not null and {wanted}", values
        case "references":
            table, _, target = check.values[0].rpartition(".")
            wanted = f"{column} not in (select {target} from {table} where {target} is not null)"
            return f"select {keys} from {STAGED} where {column} is not null and {wanted}", {}


def _repeated(
    session: Session, model: SqlModel, check: ColumnCheck, days: Sequence[date]
) -> tuple[str, Mapping[str, object]]:
    """Rows that share an id. An event's id must be new to the whole table, a value of a snapshot to its own day."""
    day = model.partition_column
    columns = [day, *check.columns] if day and model.is_snapshot else list(check.columns)
    names = ", ".join(dict.fromkeys(columns))
    if day is None or day in columns or not session.columns(model.table):
        return f"select {names}, count(*) as times from {STAGED} group by {names} having count(*) > 1", {}
    new = f"select {names}, {day} from {STAGED}"
    elsewhere = f"({day} < $first or {day} >= $after) and ({names}) in (select {names} from {STAGED})"
    both = f"{new} union all select {names}, {day} from {model.table} where {elsewhere}"
    counts = f"count(*) as times, min({day}) as first_on, max({day}) as last_on"
    return f"select {names}, {counts} from ({both}) group by {names} having count(*) > 1", _bounds(days)


def _bounds(days: Sequence[date]) -> dict[str, object]:
    return {"first": days[0], "after": days[-1] + timedelta(days=1)}


def _check_results(model: SqlModel, audits: Iterable[Audit]) -> Iterator[dg.AssetCheckResult]:
    for check, broken, sample in audits:
        metadata: dict[str, Any] = {"rows_breaking_it": broken}
        if broken:
            metadata["first_rows"] = dg.MetadataValue.json(
                [{k: str(v) for k, v in r.items()} for r in sample.to_dicts()]
            )
        yield dg.AssetCheckResult(
            passed=broken == 0,
            check_name=check.name,
            asset_key=dg.AssetKey([model.schema, model.name]),
            metadata=metadata,
        )


def _refusal(model: SqlModel, audits: Iterable[Audit]) -> str:
    broken = [a for a in audits if a.broken]
    lines = [f"{a.check.description} Broken by {a.broken} rows, first {a.sample.to_dicts()[:3]}." for a in broken]
    return (
        f"{model.table}: the new rows break {len(broken)} promise(s) and were not published; the old rows stand. "
        + " ".join(lines)
        + f" Mend {model.path} or its inputs and run again."
    )


def _explain(model: SqlModel, error: Exception) -> str:
    first = str(error).strip().splitlines()[0]
    return (
        f"{model.path} cannot run: {first} Materialise the tables it reads first "
        f"({', '.join(sorted(model.reads | model.refers_to))}), or correct the name."
    )


def _make_declared_tables(session: Session, model: SqlModel, catalogue: Catalogue) -> None:
    """A table that may rightly have no rows yet (no campaign has run) is made empty, of its declared columns."""
    wanted = [t for t in sorted(model.reads) if t in catalogue.empty]
    missing = [t for t in wanted if t not in session.tables()] if wanted else []
    for table in missing:
        columns = dict(catalogue.empty[table])
        session.stage_rows("no_rows", pl.DataFrame(schema=columns))
        nothing = Equal(((next(iter(columns)), []),))  # a run that made and filled it meanwhile loses no row
        session.commit([Replace(table, "no_rows", nothing)])


def _day_counts(session: Session, model: SqlModel, days: Sequence[date]) -> dict[date, int]:
    if not model.partition_column:
        return {}
    counted = session.connection.execute(
        f"select cast({model.partition_column} as date), count(*) from {STAGED} group by 1"
    ).fetchall()
    return {**dict.fromkeys(days, 0), **{day: n for day, n in counted if day is not None}}


def _column_metadata(session: Session, model: SqlModel, catalogue: Catalogue) -> dict[str, Any]:
    """Columns with type and meaning, and where each comes from: for the UI's own lineage and as a table to read."""
    types = session.columns(model.table)
    columns = [dg.TableColumn(c.name, types.get(c.name, "?"), c.description) for c in model.columns]
    known = {table: catalogue.columns[table] for table in model.reads if table in catalogue.columns}
    traced = upstream_columns(model, schema=known)
    lineage = {
        name: [dg.TableColumnDep(asset_key=dg.AssetKey(table.split(".")), column_name=col) for table, col in pairs]
        for name, pairs in traced.items()
    }
    lines = [f"| {name} | {', '.join(f'{t}.{c}' for t, c in pairs) or '—'} |" for name, pairs in traced.items()]
    table = "| column | computed from |\n|---|---|\n" + "\n".join(lines)
    return {
        **column_schema(columns),
        "dagster/column_lineage": dg.TableColumnLineage(deps_by_column=lineage),
        "columns_come_from": dg.MetadataValue.md(table),
    }
