"""SQL models as Dagster assets: one asset per file, its promises as asset checks. Thin: what a file says is in
``sql_models``, how its promises are checked in ``promises``, how rows are replaced in ``warehouse``.

Write, audit, publish: rows are computed into a temporary table, the promises are checked there, the warehouse asks the
zero-row checks (``publishing``), and only then does one transaction replace the old rows. What is broken fails the
step, names rows, and leaves the old ones.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg
import duckdb

from xmkt_assets.materialisation import add_day_counts, column_schema, picture, rows_table, sample, written_metadata
from xmkt_assets.partitions import DAYS, HISTORY
from xmkt_assets.promises import FULL_LOOK, STAGED, Audit, audit, repeated_on_any_day
from xmkt_assets.publishing import check_result
from xmkt_assets.resources import REPOSITORY, Warehouse
from xmkt_assets.showing import masked_rows, sample_columns
from xmkt_assets.sql_models import SqlCheck, SqlModel, upstream_columns
from xmkt_assets.warehouse import Days, Equal, Replace, Scope, Session, Whole, Written

if TYPE_CHECKING:
    import polars as pl

PERSON_COLUMNS = {"person_id", "user_id", "customer_id", "subject_id"}
LONG_RANGE_DAYS = 31  # Dagster stores a result once per day of a range: a long one carries figures only
OWNERS = {"staging": "team:data-engineering", "segments": "team:data-science", "recommenders": "team:data-science"}


class Catalogue(NamedTuple):
    """What a model's asset must know of the tables around it."""

    partitions: Mapping[str, dg.PartitionsDefinition[str] | None]
    snapshots: frozenset[str]
    columns: Mapping[str, tuple[str, ...]]
    empty: Mapping[str, Mapping[str, "pl.DataType | type[pl.DataType]"]]


def sql_asset(model: SqlModel, catalogue: Catalogue) -> dg.AssetsDefinition:
    """The asset of one SQL file."""
    partitioned = model.kind == "partition"

    @dg.asset(
        key=[model.schema, model.name],
        group_name=model.schema,
        description=model.description,
        deps=[_dependency(model, table, catalogue) for table in sorted(model.reads | model.refers_to)],
        check_specs=_check_specs(model),
        partitions_def=DAYS if partitioned else None,
        # A snapshot costs the same day by day, and shares its job with Python assets that take one day at a time.
        backfill_policy=dg.BackfillPolicy.single_run() if partitioned and not model.is_snapshot else None,
        code_version=model.code_version,
        kinds={"sql", "ducklake"} | ({"view"} if model.kind == "view" else set()),
        owners=[OWNERS.get(model.schema, "team:marketing-analytics")],
        metadata=_about(model),
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
    def run(context: dg.AssetCheckExecutionContext, warehouse: Warehouse) -> dg.AssetCheckResult:
        with warehouse.session() as session:
            return check_result(context, session, check)

    return run


def full_look(model: SqlModel) -> dg.AssetChecksDefinition | None:
    """The look for repeated ids over the whole history: run on demand, by no job of the day. It blocks nothing."""
    query = repeated_on_any_day(model)
    if query is None:
        return None
    names = ", ".join(model.grain)
    words = (
        f"No ({names}) comes twice on any two days, however far apart. By itself it reads the whole table; in a run "
        f"that writes days, only those around them. Ask the partner which of the two rows holds."
    )
    check = SqlCheck(FULL_LOOK, model.path, query, model.table, "warn", words)

    @dg.asset_check(asset=[model.schema, model.name], name=FULL_LOOK, description=words, blocking=False)
    def run(context: dg.AssetCheckExecutionContext, warehouse: Warehouse) -> dg.AssetCheckResult:
        with warehouse.session() as session:
            return check_result(context, session, check)

    return run


def _about(model: SqlModel) -> dict[str, Any]:
    """What the asset's page says before anything was materialised."""
    window = (model.days_before, model.days_after)
    return {
        "dagster/table_name": model.table,
        **_link(model),
        "file": model.path,
        "grain": ", ".join(model.grain),
        **({"partition_column": model.partition_column} if model.partition_column else {}),
        **({"also_reads": f"{window[0]} days before its day, {window[1]} after"} if any(window) else {}),
        "sql": dg.MetadataValue.md(f"```sql\n{model.sql}\n```"),
        **column_schema([dg.TableColumn(c.name, "", c.description) for c in model.columns]),
    }


def _link(model: SqlModel) -> dict[str, Any]:
    """A link that opens the file in an editor, where the pages are looked at on the machine that holds it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        file = dg.LocalFileCodeReference(file_path=str(REPOSITORY / model.path), line_number=1, label=model.path)
        return {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=[file])}


def _dependency(model: SqlModel, table: str, catalogue: Catalogue) -> dg.AssetDep:
    upstream = catalogue.partitions.get(table)
    mapping = None if model.kind != "partition" or upstream is None else _mapping(model, table, catalogue)
    return dg.AssetDep(dg.AssetKey(table.split(".")), partition_mapping=mapping)


def _mapping(model: SqlModel, table: str, catalogue: Catalogue) -> dg.PartitionMapping:
    """A snapshot reads all days up to its own of an event table, and the same day of another snapshot; an event day
    reads its own day, or the trailing window its SQL names."""
    if catalogue.partitions[table] != DAYS:
        return dg.AllPartitionMapping()
    if model.is_snapshot:
        return dg.IdentityPartitionMapping() if table in catalogue.snapshots else HISTORY
    if not (model.days_before or model.days_after):
        return dg.IdentityPartitionMapping()
    return dg.TimeWindowPartitionMapping(
        start_offset=-model.days_before, end_offset=model.days_after, allow_nonexistent_upstream_partitions=True
    )


def _check_specs(model: SqlModel) -> list[dg.AssetCheckSpec]:
    key = dg.AssetKey([model.schema, model.name])
    return [dg.AssetCheckSpec(c.name, asset=key, description=c.description, blocking=True) for c in model.table_checks]


def _materialise(
    context: dg.AssetExecutionContext, session: Session, model: SqlModel, catalogue: Catalogue
) -> Iterator[Any]:
    _make_declared_tables(session, model, catalogue)
    days = [date.fromisoformat(key) for key in context.partition_keys] if model.kind == "partition" else []
    try:
        with session.at_once():
            read_snapshot = session.snapshot_id()
            stage(session, model, days)
            audits = audit(session, model, days)
    except (duckdb.CatalogException, duckdb.BinderException, duckdb.ParserException) as error:
        raise dg.Failure(_explain(model, error)) from error
    if any(a.broken for a in audits):
        yield from _check_results(model, audits)
        raise dg.Failure(_refusal(model, audits), allow_retries=False)
    try:
        written = _publish(session, model, days)
    except dg.Failure:  # a zero-row check found rows; the promises were kept all the same
        yield from _check_results(model, audits)
        raise
    _say_of_days(context, session, model, days, written)
    yield dg.MaterializeResult(
        metadata={
            **written_metadata(written, read_snapshot_id=read_snapshot, days=len(days)),
            **({} if len(days) > LONG_RANGE_DAYS else _column_metadata(session, model, catalogue)),
            **({} if len(days) > 1 else _sample(session, model, days)),
            **_picture(session, model, days),
        },
        data_version=dg.DataVersion(f"snapshot-{written.snapshot_id}"),
        check_results=list(_check_results(model, audits)),
    )


def _say_of_days(
    context: dg.AssetExecutionContext, session: Session, model: SqlModel, days: Sequence[date], written: Written
) -> None:
    """What is told day by day, as the metadata of the result is copied on every day: counts, a sample of the last."""
    # All rows of a run over one day are of that day: else the promise of the day had been broken.
    counts = {days[0]: written.row_count} if len(days) == 1 else _day_counts(session, model, days)
    add_day_counts(context, counts)
    if len(days) > 1:
        context.add_asset_metadata(_sample(session, model, days), partition_key=days[-1].isoformat())


def stage(session: Session, model: SqlModel, days: Sequence[date]) -> None:
    """Compute the new rows. An event table takes the whole range in one query, a snapshot one query a day."""
    if not days:
        session.stage(STAGED, model.staged_sql)
    elif model.is_snapshot and len(days) > 1:
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
        session.audit([Replace(model.table, STAGED, Whole())])
        rows = int(session.read(f"select count(*) as n from {STAGED}").item())
        return Written(model.table, session.create_view(model.table, model.sql), rows)
    scope: Scope = Whole()
    if model.partition_column:
        scope = Days(model.partition_column, days[0], days[-1] + timedelta(days=1))
    meanings = {c.name: c.description for c in model.columns}
    return session.commit([Replace(model.table, STAGED, scope, model.description, meanings)])[0]


def _check_results(model: SqlModel, audits: Iterable[Audit]) -> Iterator[dg.AssetCheckResult]:
    found = {a.check: a for a in audits}
    for check in model.table_checks:
        of_check = [found[promise] for promise in check.promises]
        broken = [a for a in of_check if a.broken]
        yield dg.AssetCheckResult(
            passed=not broken,
            check_name=check.name,
            asset_key=dg.AssetKey([model.schema, model.name]),
            description=" ".join(f"{a.check.description} Broken by {a.broken} rows." for a in broken) or None,
            metadata=_check_metadata(model, of_check, broken),
        )


def _check_metadata(model: SqlModel, audits: Sequence[Audit], broken: Sequence[Audit]) -> dict[str, Any]:
    """How many rows break each promise of a check, and the first of them. A row counts for each promise it breaks."""
    metadata: dict[str, Any] = {"rows_breaking_it": sum(a.broken for a in audits)}
    if len(audits) > 1:
        lines = [f"| {', '.join(a.check.columns)} | {a.broken} |" for a in audits]
        metadata["by_column"] = dg.MetadataValue.md("\n".join(["| column | rows breaking it |", "|---|---|", *lines]))
    if broken:
        metadata["first_rows"] = _first_rows(model, broken)
    return metadata


def _first_rows(model: SqlModel, broken: Sequence[Audit]) -> dg.MarkdownMetadataValue:
    tables = [rows_table(masked_rows(model.table, a.sample)) for a in broken]
    if len(tables) == 1:
        return tables[0]
    said = [f"{a.check.description}\n\n{table.value}" for a, table in zip(broken, tables, strict=True)]
    return dg.MetadataValue.md("\n\n".join(said))


def _refusal(model: SqlModel, audits: Iterable[Audit]) -> str:
    broken = [a for a in audits if a.broken]
    lines = [
        f"{a.check.description} Broken by {a.broken} rows, first {masked_rows(model.table, a.sample, limit=3)}."
        for a in broken
    ]
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
    import polars as pl

    wanted = [t for t in sorted(model.reads) if t in catalogue.empty]
    missing = [t for t in wanted if not session.columns(t)]
    changes = []
    for i, table in enumerate(missing):
        columns = dict(catalogue.empty[table])
        session.stage_rows(f"no_rows_{i}", pl.DataFrame(schema=columns))
        nothing = Equal(((next(iter(columns)), []),))  # a run that made and filled it meanwhile loses no row
        changes.append(Replace(table, f"no_rows_{i}", nothing))
    if changes:  # together: a check may read several of them
        session.commit(changes)


def _day_counts(session: Session, model: SqlModel, days: Sequence[date]) -> dict[date, int]:
    if not model.partition_column:
        return {}
    counted = session.connection.execute(
        f"select cast({model.partition_column} as date), count(*) from {STAGED} group by 1"
    ).fetchall()
    return {**dict.fromkeys(days, 0), **{day: n for day, n in counted if day is not None}}


@cache
def _traced(model: SqlModel, known: tuple[tuple[str, tuple[str, ...]], ...]) -> dict[str, tuple[tuple[str, str], ...]]:
    """Column lineage, once per file and process: it depends on nothing that changes."""
    return upstream_columns(model, schema=dict(known))


def _sample(session: Session, model: SqlModel, days: Sequence[date]) -> dict[str, Any]:
    """A few of the new rows; of a range of days, those of the last."""
    columns = sample_columns(model.table, (c.name for c in model.columns))
    if not columns:
        return sample(model.table, None)
    where, params = (f" where {model.partition_column} = $day", {"day": days[-1]}) if len(days) > 1 else ("", {})
    return sample(model.table, session.read(f"select {', '.join(columns)} from {STAGED}{where} limit 5", **params))


def _picture(session: Session, model: SqlModel, days: Sequence[date]) -> dict[str, Any]:
    """The picture of the newest day, of tables that have one and hold few rows; none where the day has no rows."""
    from xmkt_assets.table_pictures import picture_of  # with polars and numpy, which definitions do without

    drawn = picture_of(model.table)
    if drawn is None or not days:
        return {}
    rows = session.read(f"select * from {STAGED} where {model.partition_column} = $day", day=days[-1])
    return {} if rows.is_empty() else {"picture": picture(drawn.draw(rows), title=drawn.title)}


def _column_metadata(session: Session, model: SqlModel, catalogue: Catalogue) -> dict[str, Any]:
    """Columns with type and meaning, and where each comes from: for the UI's own lineage and as a table to read."""
    types = session.columns(STAGED)  # those of the table: a commit refuses others
    columns = [dg.TableColumn(c.name, types.get(c.name, "?"), c.description) for c in model.columns]
    known = tuple((table, catalogue.columns[table]) for table in sorted(model.reads) if table in catalogue.columns)
    traced = _traced(model, known)
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
