"""``make sql``: a read-only SQL shell on the lake, and ``make sql-check``: what the SQL files say of themselves.

The shell attaches read-only: it cannot change anything and never makes a run wait. Results are printed by DuckDB.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb

from xmkt_assets.resources import SQL_FOLDER, settings
from xmkt_assets.sql_models import SqlModelError, load_checks, load_models, refuse_unknown_reads
from xmkt_assets.warehouse import attach_sql

HELP = """Statements end with ; — also:
  .tables         tables and views      .columns schema.table   columns with their meaning
  .snapshots      the newest snapshots  .quit                   leave (or Ctrl-D)
Time travel:      select … from staging.courses at (version => 12);
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one statement, a script from a pipe, or the shell."""
    options = _options(arguments)
    if options.check:
        return check(SQL_FOLDER)
    root = settings().home / "lake"
    if options.attach:
        print(*(f"{statement};" for statement in attach_sql(root, read_only=True)), sep="\n")
        return 0
    if not (root / "catalog.sqlite").exists():
        sys.stderr.write(f"There is no lake in {root.parent} yet. Run `make demo`, or set XMKT_HOME to a home.\n")
        return 1
    connection = open_lake(root)
    if options.statement:
        return 0 if _run(connection, options.statement) else 1
    if not sys.stdin.isatty():
        return 0 if _run_all(connection, _statements(sys.stdin)) else 1
    _shell(connection)
    return 0


def open_lake(root: Path) -> duckdb.DuckDBPyConnection:
    """A read-only connection to the lake."""
    connection = duckdb.connect()
    for statement in attach_sql(root, read_only=True):
        connection.execute(statement)
    return connection


def check(folder: Path) -> int:
    """Print every model in the order it can be built, with kind, grain and reads; complain of the first mistake."""
    from xmkt_assets.contracts import contracts

    try:
        models = load_models(folder)
        python_made = {
            t for m in models.values() for t in m.reads if not (folder / f"{t.replace('.', '/')}.sql").exists()
        }
        feeds = {f"raw.{feed}" for feed in contracts()}
        refuse_unknown_reads(models, known=feeds | {t for t in python_made if not t.startswith("raw.")})
        checks = load_checks(folder, tables=[*models, *feeds, *python_made])
    except SqlModelError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for model in models.values():
        kind = f"{model.kind} by {model.partition_column}" if model.partition_column else model.kind
        print(f"{model.table:<38} {kind:<24} grain {', '.join(model.grain)}")
        print(f"{'':<38} reads {', '.join(sorted(model.reads))}")
    promises = sum(len(m.checks) for m in models.values())
    print(f"{len(models)} models, {promises} promises, {len(checks)} queries: all well.")
    return 0


def _shell(connection: duckdb.DuckDBPyConnection) -> None:
    import readline  # line editing and history come with the import

    readline.parse_and_bind("set editing-mode emacs")
    print(HELP)
    for statement in _statements(_typed()):
        _run(connection, statement)


def _run_all(connection: duckdb.DuckDBPyConnection, statements: Iterator[str]) -> bool:
    """Run every statement, also after one that failed; whether none did."""
    outcomes = [_run(connection, statement) for statement in statements]
    return all(outcomes)


def _typed() -> Iterator[str]:
    while True:
        try:
            yield input("lake> ")
        except EOFError:
            print()
            return


def _statements(lines: Iterator[str]) -> Iterator[str]:
    """Statements end with a semicolon; a line that begins with a dot is a command by itself."""
    pending = ""
    for line in lines:
        if not pending and line.strip().startswith("."):
            if line.strip() in (".quit", ".exit"):
                return
            yield line.strip()
            continue
        pending += line.rstrip("\n") + "\n"
        if pending.rstrip().endswith(";"):
            yield pending
            pending = ""
    if pending.strip():
        yield pending


def _run(connection: duckdb.DuckDBPyConnection, statement: str) -> bool:
    try:
        result = connection.sql(_expand(statement.strip()))
        if result is not None:
            result.show(max_width=200, max_rows=100)
    except duckdb.Error as error:
        sys.stderr.write(f"{error}\n")
        return False
    return True


def _expand(statement: str) -> str:
    """The dot commands as SQL."""
    word, _, rest = statement.partition(" ")
    if word == ".tables":
        return (
            "select schema_name as schema, table_name as table, comment from duckdb_tables() "
            "where database_name = 'lake' order by 1, 2"
        )
    if word == ".columns":
        schema, _, table = rest.strip().rstrip(";").replace("'", "").partition(".")
        return (
            "select column_name, data_type, comment from duckdb_columns() where database_name = 'lake' "
            f"and schema_name = '{schema}' and table_name = '{table}' order by column_index"
        )
    if word == ".snapshots":
        return "select snapshot_id, snapshot_time, changes from ducklake_snapshots('lake') order by 1 desc limit 20"
    return statement


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m xmkt_assets.sql", description=__doc__.splitlines()[0])
    parser.add_argument("statement", nargs="?", help="run this statement and leave")
    parser.add_argument("--attach", action="store_true", help="print the statements that open the lake elsewhere")
    parser.add_argument("--check", action="store_true", help="read the SQL files and complain of mistakes")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
