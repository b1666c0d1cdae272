"""Our SQL models as a dbt project: the same SELECTs as incremental models, the same promises as dbt tests.

The text of a model stays; only table names become ``ref`` and ``source``, and `$start` and `$end` become vars. A day is
replaced by dbt's own strategy delete+insert. Tests look at the day only, as ours do; an id must be unique in the whole
table, as with us. The promise that rows lie in their own day has no counterpart among dbt's tests and is left out, so
dbt has a little less to do.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from xmkt_assets.sql_models import ColumnCheck, SqlModel

PROFILE: Final = "refresh"
_PROJECT: Final = """\
name: {name}
version: "1.0.0"
profile: {name}
model-paths: [models]
macro-paths: [macros]
flags:
  send_anonymous_usage_stats: false
models:
  {name}:
    +materialized: incremental
    +incremental_strategy: delete+insert
"""
_PROFILES: Final = """\
{name}:
  target: day
  outputs:
    day: {{type: duckdb, path: {database}, threads: {threads}, settings: {{TimeZone: UTC}}}}
"""
_MACROS: Final = """\
{% macro generate_schema_name(custom_schema_name, node) %}{{ custom_schema_name }}{% endmacro %}
{% test unique_rows(model, columns) %}
select {{ columns | join(', ') }}, count(*) as times from {{ model }} group by {{ columns | join(', ') }}
having count(*) > 1
{% endtest %}
"""


def write_dbt_project(models: Iterable[SqlModel], folder: Path) -> None:
    """A dbt project in `folder` that builds `models`."""
    models = list(models)
    for name in ("models", "macros"):
        (folder / name).mkdir(parents=True)
    (folder / "dbt_project.yml").write_text(_PROJECT.format(name=PROFILE), encoding="utf-8")
    (folder / "macros" / "macros.sql").write_text(_MACROS, encoding="utf-8")
    made = {model.table for model in models}
    for model in models:
        (folder / "models" / f"{model.name}.sql").write_text(dbt_sql(model, made=made), encoding="utf-8")
    said = {"version": 2, "sources": _sources(models, made), "models": [_properties(m, made) for m in models]}
    (folder / "models" / "properties.yml").write_text(json.dumps(said, indent=1), encoding="utf-8")  # JSON is YAML


def write_profile(folder: Path, *, database: Path, threads: int) -> None:
    """Where dbt writes: the native file `database`."""
    text = _PROFILES.format(name=PROFILE, database=database, threads=threads)
    (folder / "profiles.yml").write_text(text, encoding="utf-8")


def dbt_sql(model: SqlModel, *, made: Iterable[str]) -> str:
    """The file's own text as a dbt model; tables that are not in `made` are sources."""
    sql = model.sql
    for table in sorted(model.reads):
        sql = re.sub(rf"\b{re.escape(table)}\b", _relation(table, made), sql)
    for name in sorted(model.parameters):
        sql = re.sub(rf"\${name}\b", f"cast('{{{{ var(\"{name}\") }}}}' as timestamp)", sql)
    return f"{{{{ config(schema='{model.schema}', unique_key='{model.partition_column}') }}}}\n{sql}"


def _relation(table: str, made: Iterable[str]) -> str:
    schema, name = table.split(".")
    return f"{{{{ ref('{name}') }}}}" if table in made else f"{{{{ source('{schema}', '{name}') }}}}"


def _sources(models: Iterable[SqlModel], made: Iterable[str]) -> list[dict[str, Any]]:
    tables = sorted({table for model in models for table in model.reads | model.refers_to} - set(made))
    schemas = dict.fromkeys(table.split(".")[0] for table in tables)
    return [
        {"name": s, "schema": s, "tables": [{"name": t.split(".")[1]} for t in tables if t.startswith(f"{s}.")]}
        for s in schemas
    ]


def _properties(model: SqlModel, made: Iterable[str]) -> dict[str, Any]:
    tests: dict[str, list[dict[str, Any]]] = {}
    for check in model.checks:
        if check.rule != "day":
            tests.setdefault("" if check.rule == "grain" else check.columns[0], []).append(_test(model, check, made))
    columns = [
        {"name": c.name, "description": c.description, "data_tests": tests.get(c.name, [])} for c in model.columns
    ]
    return {"name": model.name, "description": model.description, "data_tests": tests.get("", []), "columns": columns}


def _test(model: SqlModel, check: ColumnCheck, made: Iterable[str]) -> dict[str, Any]:
    day = model.partition_column
    start, end = (f"cast('{{{{ var(\"{name}\") }}}}' as date)" for name in ("start", "end"))
    todays = {"config": {"where": f"{day} >= {start} and {day} < {end}"}}
    match check.rule:
        case "not_null":
            return {"not_null": todays}
        case "accepted":
            return {"accepted_values": {"arguments": {"values": list(check.values)}, **todays}}
        case "references":
            table, _, column = check.values[0].rpartition(".")
            to = _relation(table, made).strip("{} ")
            return {"relationships": {"arguments": {"to": to, "field": column}, **todays}}
        case _:
            scope: Mapping[str, Any] = todays if day in check.columns else {}
            return {"unique_rows": {"arguments": {"columns": list(check.columns)}, **scope}}
