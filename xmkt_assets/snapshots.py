"""Older states of the lake: which there are, and reading as of one. Pure: no Dagster.

Here: listing snapshots, finding one by number or time, a query as of it. Not here: the difference of two
(``table_diff``), which are kept and for whom (``maintenance``), making a past campaign list again (``reproduction``).

A query as of a snapshot runs on the lake attached once more, at that snapshot, under a name of its own (4 ms). So every
table is of that snapshot, the ones behind views too, and a view is what it was then. In SQL the same is said table by
table: ``from staging.courses at (version => 42)`` or ``at (timestamp => timestamp '2026-07-03 12:00')``; DuckDB takes
the tables behind a view as of that snapshot as well.

Trap: by time, DuckDB answers from the newest snapshot that is *kept* at or before it, even where expired ones lay in
between. `resolve` refuses such a time.
"""

import argparse
import csv
import itertools
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, NamedTuple

import duckdb
import polars as pl

from xmkt_assets.lake_address import LakeAddress, attach_sql, connect
from xmkt_assets.warehouse import Lake

METADATA: Final = "__ducklake_metadata_lake"
NEWEST: Final = ("now", "newest")
LIMIT: Final = 20
_NUMBER: Final = re.compile(r"(?:snapshot\s*)?#?(\d+)", re.IGNORECASE)
_NAMES_LAKE: Final = re.compile(r"(?<![\w.])\"?lake\"?\s*\.", re.IGNORECASE)
_attached: Final = itertools.count()

Asked = int | str | date | datetime


class SnapshotError(ValueError):
    """A snapshot that cannot be read, or tables that cannot be compared; the message says what can."""


class Snapshot(NamedTuple):
    """One committed state of the lake. `changes` are words such as ``staging.orders: rows``; `at` is UTC."""

    snapshot_id: int
    at: datetime
    changes: tuple[str, ...]
    author: str | None
    message: str | None


# ── which there are ──────────────────────────────────────────────────────────────────────────────────────────────────


def list_snapshots(connection: duckdb.DuckDBPyConnection, *, limit: int | None = None) -> list[Snapshot]:
    """Every snapshot that is kept, newest first, and the tables it changed."""
    rows = connection.execute(
        "select snapshot_id, snapshot_time at time zone 'UTC', changes, author, commit_message "
        f"from ducklake_snapshots('lake') order by 1 desc {'' if limit is None else f'limit {int(limit)}'}"
    ).fetchall()
    names = _table_names(connection)
    return [Snapshot(i, at, _changes(made, names), author, message) for i, at, made, author, message in rows]


def resolve(connection: duckdb.DuckDBPyConnection, asked: Asked, *, now: datetime | None = None) -> int:
    """Id of the snapshot that `asked` means: a number, a time (ISO, UTC unless it says otherwise), or ``now``.

    A day means its end, as everywhere in the platform. `now` (naive UTC) is the clock where none is given.

    Raises:
        SnapshotError: it is expired, in the future, before the first one, or neither a number nor a time.
    """
    kept = _kept(connection)
    if isinstance(asked, str) and asked.strip().lower() in NEWEST:
        return max(kept)
    number = asked if isinstance(asked, int) else _number(asked)
    if number is not None:
        return _by_number(connection, kept, number)
    return _by_time(connection, kept, _moment(asked), now or datetime.now(UTC).replace(tzinfo=None))


def _by_number(connection: duckdb.DuckDBPyConnection, kept: Mapping[int, datetime], number: int) -> int:
    if number in kept:
        return number
    newest = max(kept)
    if number > newest or number < 0:
        raise SnapshotError(
            f"There is no snapshot {number}: the newest is {newest} ({_shown(kept[newest])}). Name that or an "
            "older one."
        )
    raise SnapshotError(f"Snapshot {number} is no longer kept: {_why_gone(connection, kept, number)}")


def _by_time(connection: duckdb.DuckDBPyConnection, kept: Mapping[int, datetime], at: datetime, now: datetime) -> int:
    if at > now:
        raise SnapshotError(
            f"{_shown(at)} is in the future; it is {_shown(now)}. Name an earlier time, or 'now' for the newest state."
        )
    before = [i for i, made in kept.items() if made <= at]
    first = min(kept)
    if not before and first == 0:
        raise SnapshotError(f"{_shown(at)} is before the first snapshot, made at {_shown(kept[0])}. Name a later time.")
    if not before:
        raise SnapshotError(f"The state at {_shown(at)} is no longer kept: {_why_gone(connection, kept, first - 1)}")
    found = max(before)
    if found + 1 not in kept and found != max(kept):  # ids have no gaps but those of expired snapshots
        raise SnapshotError(
            f"The state at {_shown(at)} may no longer be kept: {_why_gone(connection, kept, found + 1)}"
        )
    return found


def _why_gone(connection: duckdb.DuckDBPyConnection, kept: Mapping[int, datetime], number: int) -> str:
    """Why a snapshot expired, and the ones around it that are kept."""
    erasure = _erasure_after(connection, number)
    why = (
        f"an erasure at {_shown(erasure)} removed every older state for good"
        if erasure
        else "maintenance has expired it, because it was older than the retention and nothing refers to it"
    )
    around = [f(i for i in kept if (i < number) is below) for f, below in ((_last, True), (_first, False))]
    said = " and ".join(f"{i} ({_shown(kept[i])})" for i in around if i is not None)
    oldest = min(kept)
    return f"{why}. The oldest kept is {oldest} ({_shown(kept[oldest])}). Nearest to it: {said}; name one of these."


def _erasure_after(connection: duckdb.DuckDBPyConnection, number: int) -> datetime | None:
    query = "select min(erased_at) from staging.erasures where first_readable_snapshot > $number"
    try:
        row = connection.execute(query, {"number": number}).fetchone()
    except duckdb.CatalogException:  # nobody was ever erased
        return None
    return row[0] if row else None


def _kept(connection: duckdb.DuckDBPyConnection) -> dict[int, datetime]:
    """Id → time (naive UTC) of every kept snapshot, oldest first."""
    rows = connection.execute(
        "select snapshot_id, snapshot_time at time zone 'UTC' from ducklake_snapshots('lake') order by 1"
    ).fetchall()
    return dict(rows)


def _number(asked: object) -> int | None:
    found = _NUMBER.fullmatch(asked.strip()) if isinstance(asked, str) else None
    return int(found[1]) if found else None


def _moment(asked: Asked) -> datetime:
    """A time as naive UTC; the end of a day where only the day is said."""
    if isinstance(asked, str):
        try:
            asked = date.fromisoformat(asked.strip()) if len(asked.strip()) == 10 else datetime.fromisoformat(asked)
        except ValueError:
            raise SnapshotError(
                f"{asked!r} is neither a snapshot nor a time. Write a number (42), a day (2026-07-03, its end), a time "
                "(2026-07-03T12:00, UTC) or 'now'."
            ) from None
    if isinstance(asked, datetime):
        return asked.astimezone(UTC).replace(tzinfo=None) if asked.tzinfo else asked
    assert isinstance(asked, date)
    return datetime.combine(asked, time()) + timedelta(days=1) - timedelta(microseconds=1)


def _changes(made: Mapping[str, Sequence[str]], names: Mapping[str, str]) -> tuple[str, ...]:
    """The catalogue's notes in words: ``{tables_inserted_into: [4]}`` → ``staging.orders: rows``."""
    found: dict[str, list[str]] = {}
    for note, tables in (made or {}).items():
        for table in tables:
            word = _WORDS.get(note, note.replace("_", " "))
            known = found.setdefault(names.get(table, table if "." in table or not table.isdigit() else "?"), [])
            if word not in known:
                known.append(word)
    # A table that is replaced as a whole is dropped and created; its old self has no name any more.
    found.pop("?", None)
    return tuple(f"{table}: {', '.join(words)}" for table, words in sorted(found.items()))


_WORDS: Final = {
    "schemas_created": "schema created",
    "tables_created": "created",
    "tables_dropped": "dropped",
    "tables_altered": "columns or comments",
    "tables_inserted_into": "rows",
    "tables_deleted_from": "rows",
    "inlined_insert": "rows",
    "inlined_delete": "rows",
    "views_created": "view created",
    "merge_adjacent": "files merged",
    "rewrite_delete": "files rewritten",
}


def _table_names(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    rows = connection.execute(
        f"select t.table_id, s.schema_name || '.' || t.table_name from {METADATA}.ducklake_table as t "
        f"inner join {METADATA}.ducklake_schema as s using (schema_id)"
    ).fetchall()
    return {str(i): name for i, name in rows}


def _first(ids: Iterator[int]) -> int | None:
    return min(ids, default=None)


def _last(ids: Iterator[int]) -> int | None:
    return max(ids, default=None)


def _shown(at: datetime) -> str:
    return f"{at.isoformat(sep=' ', timespec='seconds')} UTC"


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_as_of(lake: Lake, query: str, as_of: Asked, **params: object) -> pl.DataFrame:
    """Rows of `query` with every table and view as it was at a snapshot or time; ``$name`` is bound as in `Lake.read`.

    Raises:
        SnapshotError: see `resolve`.
    """
    with as_of_session(lake, as_of) as found:
        return found.read(query, **params)


@contextmanager
def as_of_session(lake: Lake, as_of: Asked) -> Iterator["Past"]:
    """The lake as it was, on a connection of its own."""
    with lake.session() as session, past(session.connection, lake.address, as_of) as found:
        yield found


@contextmanager
def past(connection: duckdb.DuckDBPyConnection, where: LakeAddress, as_of: Asked) -> Iterator["Past"]:
    """Make `connection`, which has the lake open, read it as it was while the block runs."""
    snapshot_id = resolve(connection, as_of)
    name = f"lake_at_{snapshot_id}_{next(_attached)}"
    connection.execute(attach_at_sql(where, snapshot_id, name=name))
    try:
        connection.execute(f"use {name}")
        yield Past(connection, snapshot_id, name)
    finally:
        connection.execute("use lake")
        connection.execute(f"detach {name}")


class Past(NamedTuple):
    """A connection on which the lake is as it was at a snapshot. It can only read."""

    connection: duckdb.DuckDBPyConnection
    snapshot_id: int
    name: str

    def read(self, query: str, **params: object) -> pl.DataFrame:
        return self.connection.sql(self.here(query), params=params or None).pl()

    def here(self, query: str) -> str:
        """``lake.schema.table`` in `query` would be the newest state: it is made to name this one."""
        if not _NAMES_LAKE.search(query):
            return query
        import sqlglot
        from sqlglot import exp

        tree = sqlglot.parse_one(query, dialect="duckdb")
        for table in tree.find_all(exp.Table):
            if table.catalog.lower() == "lake":
                table.set("catalog", exp.to_identifier(self.name))
        return tree.sql(dialect="duckdb")


def attach_at_sql(where: LakeAddress, snapshot_id: int | None, *, name: str = "lake") -> str:
    """The statement that attaches the lake as `name`, read-only, as of a snapshot (None = the newest).

    The extensions and secrets it needs are there where the lake has been opened before.
    """
    (attach,) = (s for s in attach_sql(where, read_only=True) if s.startswith("ATTACH"))
    head, _, clauses = attach.rpartition(" AS lake (")
    version = "" if snapshot_id is None else f", SNAPSHOT_VERSION {int(snapshot_id)}"
    return f"{head} AS {name} ({clauses.removesuffix(')')}{version})"


# ── the command ──────────────────────────────────────────────────────────────────────────────────────────────────────


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m xmkt_assets.snapshots list | read | diff | pins``; exit code 1 where something cannot be read."""
    from xmkt_assets.resources import settings

    options = _options(arguments)
    where = settings().lake
    if not where.exists():
        sys.stderr.write(f"There is no lake in {where.home} yet. Run `make demo`, or set XMKT_HOME to a home.\n")
        return 1
    connection = connect(where, read_only=True)
    try:
        _print(_COMMANDS[options.command](connection, where, options), options.format)
    except (SnapshotError, duckdb.Error) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        connection.close()
    return 0


def _list(connection: duckdb.DuckDBPyConnection, _: LakeAddress, options: argparse.Namespace) -> pl.DataFrame:
    found = list_snapshots(connection, limit=options.limit)
    return pl.DataFrame(
        {
            "snapshot_id": [one.snapshot_id for one in found],
            "at": [one.at for one in found],
            "changes": ["; ".join(one.changes) for one in found],
            "author": pl.Series([one.author for one in found], dtype=pl.String),
            "message": pl.Series([one.message for one in found], dtype=pl.String),
        }
    )


def _read(connection: duckdb.DuckDBPyConnection, where: LakeAddress, options: argparse.Namespace) -> pl.DataFrame:
    with past(connection, where, options.at) as found:
        return found.read(options.statement)


def _diff(connection: duckdb.DuckDBPyConnection, _: LakeAddress, options: argparse.Namespace) -> pl.DataFrame:
    from xmkt_assets.table_diff import diff, rows_of

    key = options.key.split(",") if options.key else grain_of(options.table)
    found = diff(connection, options.table, options.start, options.end, key=key, by=options.by, limit=options.limit)
    sys.stderr.write(f"{found.in_words()}\n")
    return found.partitions if options.summary else rows_of(found)


def _pins(connection: duckdb.DuckDBPyConnection, where: LakeAddress, _: argparse.Namespace) -> pl.DataFrame:
    from xmkt_assets.maintenance import find_pins, pins_frame

    now = datetime.now(UTC).replace(tzinfo=None)
    return pins_frame(find_pins(connection, where.home, now=now), kept=set(_kept(connection)))


_COMMANDS: Final = {"list": _list, "read": _read, "diff": _diff, "pins": _pins}


def grain_of(table: str) -> tuple[str, ...]:
    """Columns that tell the rows of a table apart: from its SQL file, or as its Python asset writes it."""
    from xmkt_assets.resources import SQL_FOLDER
    from xmkt_assets.sql_models import load_models

    if model := load_models(SQL_FOLDER).get(table):
        return tuple(model.grain)
    if table in _GRAINS:
        return _GRAINS[table]
    raise SnapshotError(f"The grain of {table} is not known here. Name its columns: --key column,column.")


_SCORED: Final = ("claim_risk", "lapse_risk", "course_purchase", "product_purchase")
_GRAINS: Final = {
    "campaigns.campaign_list": ("campaign_id", "person_id"),
    "campaigns.exclusions": ("campaign_id", "person_id"),
    "recommenders.course_recommendations": ("as_of_on", "person_id", "rank"),
    "recommenders.product_recommendations": ("as_of_on", "person_id", "rank"),
    "segments.cluster_choice": ("as_of_on", "method", "k"),
    "segments.person_clusters": ("as_of_on", "person_id"),
    **{f"segments.{target}": ("as_of_on", "person_id") for target in _SCORED},
    **{f"segments.{target}_validation": ("as_of_on", "person_id") for target in _SCORED},
    **{f"segments.{target}_comparison": ("as_of_on", "candidate", "metric") for target in _SCORED},
}


def _print(rows: pl.DataFrame, form: str) -> None:
    if form == "json":
        sys.stdout.write(json.dumps(rows.to_dicts(), ensure_ascii=False, default=str, indent=1) + "\n")
    elif form == "csv":
        csv.writer(sys.stdout).writerows([rows.columns, *rows.iter_rows()])
    else:
        with pl.Config(
            tbl_rows=-1, tbl_cols=-1, fmt_str_lengths=100, tbl_width_chars=200, tbl_hide_dataframe_shape=True
        ):
            sys.stdout.write(f"{rows}\n")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m xmkt_assets.snapshots", description=(__doc__ or "").splitlines()[0]
    )
    shared = argparse.ArgumentParser(add_help=False)
    form = shared.add_mutually_exclusive_group()
    for name in ("json", "csv"):
        form.add_argument(f"--{name}", dest="format", action="store_const", const=name, help=f"print {name}")
    shared.set_defaults(format="text")
    shared.add_argument("--limit", type=int, default=LIMIT, help="rows of each kind at most")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", parents=[shared], help="the newest snapshots and what they changed")
    commands.add_parser("pins", parents=[shared], help="snapshots that maintenance keeps, and for whom")
    read = commands.add_parser("read", parents=[shared], help="a query on the lake as it was")
    read.add_argument("at", help="snapshot (42), time (2026-07-03T12:00, UTC) or day (its end)")
    read.add_argument("statement")
    compared = commands.add_parser("diff", parents=[shared], help="what changed in a table between two snapshots")
    compared.add_argument("table", help="schema.table")
    compared.add_argument("start", help="snapshot or time")
    compared.add_argument("end", nargs="?", default="now", help="snapshot or time; the newest if left out")
    compared.add_argument("--key", help="columns that tell rows apart, separated by commas; else the table's grain")
    compared.add_argument("--by", help="column to summarise by; else the table's partition column")
    compared.add_argument("--summary", action="store_true", help="counts per partition instead of rows")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
