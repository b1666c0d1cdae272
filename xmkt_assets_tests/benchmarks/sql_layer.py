"""The SQL layer beside bare sqlglot: reading every model, and tracing every column of every model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.lineage import lineage

from xmkt_assets.contracts import contracts
from xmkt_assets.sql_models import CHECKS_FOLDER, SqlModel, load_models, upstream_columns
from xmkt_assets_tests.benchmarks.measure import Comparison, seconds_of, take_turns
from xmkt_assets_tests.sql_helper import FOLDER

SIZES: Final[Mapping[str, int]] = {}
Schema = dict[str, tuple[str, ...]]
Traced = dict[str, tuple[tuple[str, str], ...]]


def run(sizes: Mapping[str, int], repeats: int) -> list[Comparison]:
    files = [path for path in sorted(FOLDER.glob("*/*.sql")) if path.parent.name != CHECKS_FOLDER]
    models = load_models(FOLDER)
    schema = _columns(models)
    reading = take_turns(
        seconds_of(lambda: load_models(FOLDER)), seconds_of(lambda: _parse(files)), repeats=3 * repeats
    )
    tracing = take_turns(
        seconds_of(lambda: [upstream_columns(m, schema=_known(m, schema)) for m in models.values()]),
        seconds_of(lambda: [_column_by_column(m, _known(m, schema)) for m in models.values()]),
        repeats=repeats,
    )
    columns = sum(len(m.columns) for m in models.values())
    agreed = sum(_agreeing(m, _known(m, schema)) for m in models.values())
    per_model = f"{sorted(tracing[0])[len(tracing[0]) // 2] / len(models) * 1000:.1f} ms per model"
    return [
        Comparison(f"read {len(files)} models", "sqlglot.parse alone", *reading, note="adds order, checks, columns"),
        Comparison(
            f"lineage of {columns} columns",
            "sqlglot.lineage column by column",
            *tracing,
            note=f"{per_model}; {agreed} columns traced alike",
        ),
    ]


def _parse(files: list[Path]) -> list[list[exp.Expression | None]]:
    return [sqlglot.parse(path.read_text(encoding="utf-8"), read="duckdb") for path in files]


def _columns(models: Mapping[str, SqlModel]) -> Schema:
    """Columns of everything a model may read, SQL models and feeds."""
    known = {f"raw.{c.feed}": ("partner", "dt", *c.column_names) for c in contracts().values()}
    return {**known, **{table: tuple(c.name for c in model.columns) for table, model in models.items()}}


def _known(model: SqlModel, schema: Schema) -> Schema:
    return {table: schema[table] for table in model.reads if table in schema}


def _column_by_column(model: SqlModel, schema: Schema) -> Traced:
    nested: dict[str, dict[str, dict[str, str]]] = {}
    for table, columns in schema.items():
        db, name = table.split(".")
        nested.setdefault(db, {})[name] = dict.fromkeys(columns, "unknown")
    traced = {}
    for column in model.columns:
        try:
            root = lineage(column.name, model.ast, schema=nested, dialect="duckdb")
        except sqlglot.errors.SqlglotError:
            traced[column.name] = ()
            continue
        tables = [n for n in root.walk() if isinstance(n.source, exp.Table) and n.source.db]
        pairs = {(f"{n.source.db}.{n.source.name}", n.name.split(".")[-1].strip('"')) for n in tables}
        traced[column.name] = tuple(sorted(pairs))
    return traced


def _agreeing(model: SqlModel, schema: Schema) -> int:
    ours, peer = upstream_columns(model, schema=schema), _column_by_column(model, schema)
    return sum(ours[name] == peer[name] for name in peer)
