"""``make sql``: a read-only SQL shell on the lake, and ``make sql-check``: what the SQL files say of themselves.

The shell attaches read-only: it cannot change anything and never makes a run wait. Results are printed by DuckDB.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    from xmkt_assets.lake_address import LakeAddress

HELP = """Statements end with ; — also:
  .tables         tables and views      .columns schema.table   columns with their meaning
  .snapshots      the newest snapshots  .quit                   leave (or Ctrl-D)
  .at 42          everything as of a snapshot, a time (2026-07-03T12:00, UTC) or a day (its end); .at now goes back
  .diff schema.table 12 40              rows added, removed, changed; .diff schema.table 12 = from 12 to now
Time travel of one table:  select … from staging.courses at (version => 12);
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one statement, a script from a pipe, or the shell."""
    options = _options(arguments)
    if options.check:  # knows no Dagster, so that it answers at once
        from xmkt_assets.sql_check import check
        from xmkt_assets.sql_models import SQL_FOLDER

        return check(SQL_FOLDER, graph=options.graph)
    from xmkt_assets.resources import settings
    from xmkt_assets.warehouse import attach_sql

    if options.attach:
        print(*(f"{statement};" for statement in attach_sql(settings().lake, read_only=True)), sep="\n")
        return 0
    connection = _open()
    if connection is None:
        return 1
    return 0 if _serve(Shell(connection, settings().lake), options) else 1


def _serve(shell: "Shell", options: argparse.Namespace) -> bool:
    """Whether everything that was asked could be done."""
    if options.at and not shell.run(f".at {options.at}"):
        return False
    if options.statement:
        return shell.run(options.statement)
    if not sys.stdin.isatty():
        return shell.run_all(_statements(sys.stdin))
    shell.converse()
    return True


def _open() -> duckdb.DuckDBPyConnection | None:
    """A read-only connection to the lake; None, with a word why, where there is no way in."""
    from xmkt_assets.resources import settings
    from xmkt_assets.warehouse import WarehouseError, connect

    found = settings()
    lake = found.lake
    if not lake.exists():
        sys.stderr.write(f"There is no lake in {lake.home} yet. Run `make demo`, or set XMKT_HOME to a home.\n")
        return None
    try:
        return connect(lake, read_only=True, config=found.duckdb)
    except WarehouseError as error:
        sys.stderr.write(f"{error}\n")
        return None


class Shell:
    """Statements and dot commands on one connection, which may look at the lake as it was."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, where: "LakeAddress") -> None:
        self._connection = connection
        self._where = where
        self._prompt = "lake> "

    def converse(self) -> None:
        import readline  # line editing and history come with the import

        readline.parse_and_bind("set editing-mode emacs")
        print(HELP)
        share = "select current_setting('threads'), current_setting('memory_limit')"
        threads, memory = self._connection.execute(share).fetchall()[0]
        print(f"The lake: {self._where}. This shell: {threads} threads, {memory} (XMKT_THREADS, XMKT_MEMORY_LIMIT).")
        for statement in _statements(self._typed()):
            self.run(statement)

    def run_all(self, statements: Iterator[str]) -> bool:
        """Run every statement, also after one that failed; whether none did."""
        outcomes = [self.run(statement) for statement in statements]
        return all(outcomes)

    def run(self, statement: str) -> bool:
        from xmkt_assets.snapshots import SnapshotError

        try:
            word, *rest = statement.strip().rstrip(";").split() or [""]
            if word == ".at":
                self._at(" ".join(rest))
            elif word == ".diff":
                self._diff(rest)
            else:
                self._show(_expand(statement.strip()))
        except (duckdb.Error, SnapshotError) as error:
            sys.stderr.write(f"{error}\n")
            return False
        return True

    def _show(self, query: str) -> None:
        result = self._connection.sql(query)
        if result is not None:
            result.show(max_width=200, max_rows=100)

    def _at(self, asked: str) -> None:
        """Attach the lake again, as of a snapshot, in place of what is attached."""
        from xmkt_assets.snapshots import NEWEST, attach_at_sql, resolve

        asked = asked.strip() or NEWEST[0]
        is_newest = asked.lower() in NEWEST
        snapshot_id = None if is_newest else resolve(self._connection, asked)
        for statement in ("use memory", "detach lake", attach_at_sql(self._where, snapshot_id), "use lake"):
            self._connection.execute(statement)
        self._prompt = "lake> " if is_newest else f"lake at {snapshot_id}> "

    def _diff(self, words: Sequence[str]) -> None:
        from xmkt_assets.snapshots import SnapshotError, grain_of
        from xmkt_assets.table_diff import diff, rows_of

        if len(words) not in (2, 3):
            raise SnapshotError(
                f".diff takes a table and one or two snapshots or times; found {len(words)} words. Write for example "
                ".diff staging.courses 12 40"
            )
        table, start, end = (*words, "now")[:3]
        found = diff(self._connection, table, start, end, key=grain_of(table))
        print(found.in_words())
        for rows in (rows_of(found), found.partitions):
            if rows.height:
                self._connection.from_arrow(rows.to_arrow()).show(max_width=200, max_rows=100)

    def _typed(self) -> Iterator[str]:
        while True:
            try:
                yield input(self._prompt)
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
        return (
            "select snapshot_id, snapshot_time, changes, author, commit_message from ducklake_snapshots('lake') "
            "order by 1 desc limit 20"
        )
    return statement


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m xmkt_assets.sql", description=__doc__.splitlines()[0])
    parser.add_argument("statement", nargs="?", help="run this statement and leave")
    parser.add_argument("--at", help="as of a snapshot (42), a time (2026-07-03T12:00, UTC) or a day (its end)")
    parser.add_argument("--attach", action="store_true", help="print the statements that open the lake elsewhere")
    parser.add_argument("--check", action="store_true", help="read the SQL files and complain of mistakes")
    parser.add_argument("--graph", choices=("list", "mermaid"), default="list", help="how --check shows the graph")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
