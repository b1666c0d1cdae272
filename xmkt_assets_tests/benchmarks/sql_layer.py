"""The SQL layer beside bare sqlglot (reading every model, tracing every column), and what it adds to Dagster's start.

The last is held against a bar of seconds, not of a ratio: what a fresh process needs for the definitions of generated
SQL files, less what one needs that only imports Dagster. On a busy machine read the seconds of CPU.
"""

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import sqlglot
from sqlglot import exp
from sqlglot.lineage import lineage

from xmkt_assets.known_tables import known_tables
from xmkt_assets.sql_models import CHECKS_FOLDER, SqlModel, load_models, upstream_columns
from xmkt_assets_tests.benchmarks.measure import Comparison, seconds_of, take_turns
from xmkt_assets_tests.benchmarks.sql_loading import STEPS, write_files
from xmkt_assets_tests.sql_helper import FOLDER

SIZES: Final[Mapping[str, int]] = {"files": 60}
START_BAR_SECONDS: Final = 1.5
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
        _start(sizes["files"], repeats),
    ]


class _Turn(NamedTuple):
    """Wall and CPU seconds of one child process, and the seconds of the steps it tells of."""

    wall: float
    cpu: float
    steps: list[float]


def _start(files: int, repeats: int) -> Comparison:
    """A fresh process that makes the definitions of `files` generated files, beside one that imports Dagster."""
    ours: list[_Turn] = []
    peer: list[_Turn] = []
    with tempfile.TemporaryDirectory() as home:
        folder = write_files(Path(home), files)
        module = ["-m", "xmkt_assets_tests.benchmarks.sql_loading", str(folder)]
        walls = take_turns(
            lambda: _timed(module, ours).wall, lambda: _timed(["-c", "import dagster"], peer).wall, repeats=repeats
        )
    beyond = [a - b for a, b in zip(*walls, strict=True)]
    cpu = [a.cpu - b.cpu for a, b in zip(ours[1:], peer[1:], strict=True)]  # the first of each is the warm-up
    median = statistics.median(beyond)
    steps = ", ".join(
        f"{name} {statistics.median(turn.steps[i] for turn in ours[1:]):.2f}" for i, name in enumerate(STEPS)
    )
    return Comparison(
        f"definitions of {files} generated SQL files",
        "import dagster alone",
        *walls,
        note=f"{median:.2f} s beyond importing Dagster ({statistics.median(cpu):.2f} s CPU), bar "
        f"{START_BAR_SECONDS} s {'met' if median <= START_BAR_SECONDS else 'MISSED'}; seconds: {steps}",
    )


def _timed(arguments: list[str], turns: list[_Turn]) -> _Turn:
    """Run Python on `arguments`; what it took is put into `turns`, too."""
    used, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    told = subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True).stdout
    wall, now = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    turns.append(_Turn(wall, cpu, [float(seconds) for seconds in told.split()]))
    return turns[-1]


def _parse(files: list[Path]) -> list[list[exp.Expression | None]]:
    return [sqlglot.parse(path.read_text(encoding="utf-8"), read="duckdb") for path in files]


def _columns(models: Mapping[str, SqlModel]) -> Schema:
    """Columns of everything a model may read, SQL models and feeds."""
    known = {table: tuple(columns) for table, columns in known_tables().items()}
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
