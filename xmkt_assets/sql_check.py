"""``make sql-check``: the graph of the SQL files, and every mistake in them, in a second and without a lake.

Everything is looked at: each file by itself, names of tables and columns across files, what DuckDB says of the types,
and whether the rest would run on Spark. Nothing here imports Dagster. ``python -m xmkt_assets.sql --check --graph
mermaid`` draws the graph instead of listing it.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from xmkt_assets.known_tables import known_tables
from xmkt_assets.sql_binding import Types, bind
from xmkt_assets.sql_mistakes import in_words
from xmkt_assets.sql_models import SqlFolder, SqlModel, examine
from xmkt_assets.sql_portability import unportable


def check(folder: Path, *, known: Types | None = None, graph: str = "list") -> int:
    """Show the graph of `folder` and everything that is wrong with its files; the exit code."""
    tables = known_tables() if known is None else known
    found = examine(folder, known=tables)
    mistakes = (*found.mistakes, *_mistakes_of_engines(found, tables))
    lines = mermaid(found.models) if graph == "mermaid" else listed(found.models)
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    if mistakes:
        sys.stderr.write(f"{in_words(mistakes)}\n")
        return 1
    if graph == "list":
        promises = sum(len(m.checks) for m in found.models.values())
        counted = f"{len(found.models)} models, {promises} promises, {len(found.checks)} queries"
        sys.stdout.write(f"{counted}: all well.\n")
    return 0


def _mistakes_of_engines(found: SqlFolder, tables: Types) -> Iterator[str]:
    """What DuckDB refuses in the files that are sound so far, and what Spark would."""
    blamed = {model.table for model in found.models.values() for m in found.mistakes if m.startswith(model.path)}
    sound = {table: model for table, model in found.models.items() if table not in blamed}
    checks = [check for check in found.checks if not any(m.startswith(check.path) for m in found.mistakes)]
    yield from bind(sound, checks, known=tables).mistakes
    for model in found.models.values():
        for finding in unportable(model):
            yield f"{model.path}, {finding}"


def listed(models: Mapping[str, SqlModel]) -> Iterator[str]:
    """Two lines a model, upstream first: what it is, and what it reads."""
    for model in models.values():
        grain = ", ".join(c.strip() for c in model.headers.get("grain", "?").split(","))
        yield f"{model.table:<38} {_kind(model):<26} grain {grain}"
        yield f"{'':<38} reads {', '.join(sorted(model.reads)) or 'nothing'}{_window(model)}"


def mermaid(models: Mapping[str, SqlModel]) -> Iterator[str]:
    """The graph as a Mermaid flowchart, a box a schema; round = not made by an SQL file."""
    outside = sorted({table for model in models.values() for table in model.reads} - models.keys())
    by_schema: dict[str, list[str]] = {}
    for table in (*outside, *models):
        by_schema.setdefault(table.split(".", maxsplit=1)[0], []).append(table)
    yield "flowchart LR"
    for schema, tables in by_schema.items():
        yield f"    subgraph {schema}"
        for table in tables:
            name = table.split(".", maxsplit=1)[1]
            yield f"        {table}[{name}]" if table in models else f"        {table}([{name}])"
        yield "    end"
    for table, model in models.items():
        for read in sorted(model.reads):
            yield f"    {read} --> {table}"


def _kind(model: SqlModel) -> str:
    if model.is_snapshot:
        return "snapshot of a day's end"
    return f"partition by {model.partition_column}" if model.partition_column else model.kind


def _window(model: SqlModel) -> str:
    """The days around its own, and whether their change counts."""
    if not model.has_window:
        return ""
    window = model.reads_days[0]
    around = [f"{window.days_before} days before"] * bool(window.days_before)
    around += [f"{window.days_after} days after"] * bool(window.days_after)
    if not around:
        return ""
    return f", {' and '.join(around)}{' (to recognise repeats only)' if model.maps_same_day else ''}"
