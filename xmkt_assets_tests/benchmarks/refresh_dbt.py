"""One day of ten chained SQL models: through Dagster on the lake, beside dbt-duckdb on a native file. The same SQL.

Both sides have the same raw rows, the same history before the day, and check the same promises. dbt has an environment
of its own (made once, with pip, in the user's cache folder; without a package index the comparison is not applicable)
and is called as a person calls it: ``dbt build``, a process, its partial parse warm. Its best case: the same vars every
time, for changed ones make it parse everything anew. Shown beside it: without tests, from the start of our interpreter
on, and dbt inside a process that stays. A small run: ``--refresh-dbt-days 2 --refresh-dbt-rows-per-day 1000``.
"""

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import duckdb

from xmkt_assets.warehouse import Days, Lake, Replace, Whole
from xmkt_assets_tests.benchmarks.measure import Comparison
from xmkt_assets_tests.benchmarks.refresh_ours import RAW_COLUMNS, models
from xmkt_assets_tests.benchmarks.refresh_project import write_dbt_project, write_profile

SIZES: Final = {"days": 28, "rows_per_day": 50_000}
BAR: Final = 0.2
FIRST: Final = date(2026, 7, 1)
PINS: Final = ("dbt-core==1.11.16", "dbt-duckdb==1.11.1", f"duckdb=={duckdb.__version__}")
_REPOSITORY: Final = Path(__file__).parents[2]
# Of 50 rows of a day 30 are views of courses, 12 views of products, 8 order lines.
_RAW: Final[Mapping[str, str]] = {
    "raw.courses": "select 'c' || i as course_id, 't' || (i % 12) as topic from range(500) as r(i)",
    "raw.course_views": """
        select
            'cv' || $day_number || '_' || i as view_id, 'p' || hash(i, $day_number) % 20000 as person_id,
            'c' || hash(i, 1, $day_number) % 500 as course_id,
            cast($day as timestamp) + to_seconds(cast(hash(i, 2, $day_number) % 86400 as bigint)) as viewed_at,
            hash(i, 3, $day_number) % 1800 as dwell_seconds,
            ['organic', 'search', 'campaign', null][cast(1 + hash(i, 4) % 4 as bigint)] as source,
            cast($day as date) as dt
        from range($rows * 30 // 50) as r(i)
    """,
    "raw.course_orders": """
        select
            'o' || $day_number || '_' || i as order_line_id, 'p' || hash(i, 5, $day_number) % 20000 as person_id,
            'c' || hash(i, 6, $day_number) % 500 as course_id,
            cast($day as timestamp) + to_seconds(cast(hash(i, 7, $day_number) % 86400 as bigint)) as ordered_at,
            100 + hash(i, 8) % 90000 as paid_fen, if(hash(i, 9) % 20 = 0, 'refunded', 'paid') as status,
            cast($day as date) as dt
        from range($rows * 8 // 50) as r(i)
    """,
    "raw.product_views": """
        select
            'pv' || $day_number || '_' || i as view_id, 'p' || hash(i, 10, $day_number) % 20000 as person_id,
            'pr' || hash(i, 11, $day_number) % 60 as product_id,
            cast($day as timestamp) + to_seconds(cast(hash(i, 12, $day_number) % 86400 as bigint)) as viewed_at,
            hash(i, 13, $day_number) % 900 as dwell_seconds, cast($day as date) as dt
        from range($rows * 12 // 50) as r(i)
    """,
}


class UnavailableError(RuntimeError):
    """dbt cannot be had on this machine; the message says why."""


def run(sizes: Mapping[str, int], repeats: int) -> list[Comparison]:
    last = FIRST + timedelta(days=sizes["days"])
    with tempfile.TemporaryDirectory() as name, ExitStack() as open_processes:
        folder = Path(name)
        raw = _write_raw(folder / "raw", last, sizes["rows_per_day"])
        ours = open_processes.enter_context(_ours(folder / "home", raw, last))
        try:
            peer = open_processes.enter_context(_dbt(folder / "dbt", raw, last))
        except UnavailableError as error:
            return [_without_dbt(ours, error, repeats)]
        for side in (*ours, *peer):
            side.turn()  # warms what stays warm: files, the partial parse, connections; not counted
        _refuse_other_rows(folder)
        seconds = _rotate([*ours, *peer], repeats)
        _refuse_other_rows(folder)
    return _compare(seconds)


class Took(NamedTuple):
    """Seconds of one turn, by the wall clock and of a processor: on a busy machine the second says more."""

    wall: float
    cpu: float


class Side(NamedTuple):
    """One way to refresh the day."""

    name: str
    turn: Callable[[], Took]


def _rotate(sides: list[Side], repeats: int) -> dict[str, list[Took]]:
    """What each turn of each side took; another one goes first every time."""
    seconds: dict[str, list[Took]] = {side.name: [] for side in sides}
    for turn in range(repeats):
        for i in range(len(sides)):
            side = sides[(turn + i) % len(sides)]
            seconds[side.name].append(side.turn())
    return seconds


def _compare(took: Mapping[str, list[Took]]) -> list[Comparison]:
    promises = sum(check.rule != "day" for model in models().values() for check in model.checks)
    said = f"{promises} promises as dbt tests; {', '.join(PINS)}"
    whole = f"{_what()}, from interpreter start"
    return [
        _pair(_what(), "dbt build", took["in process"], took["dbt build"], said, bar=BAR),
        _pair(_what(), "dbt run (no tests)", took["in process"], took["dbt run"], "we check our promises all the same"),
        _pair(whole, "dbt build", took["whole process"], took["dbt build"]),
        _pair(_what(), "dbt build in a process that stays", took["in process"], took["dbtRunner"]),
    ]


def _pair(
    what: str, peer: str, ours: list[Took], theirs: list[Took], note: str = "", *, bar: float | None = None
) -> Comparison:
    cpu = statistics.median(t.cpu for t in ours) / statistics.median(t.cpu for t in theirs)
    said = "; ".join(filter(None, [f"CPU seconds {cpu:.2f} times the peer's", note]))
    return Comparison(what, peer, [t.wall for t in ours], [t.wall for t in theirs], bar, said)


def _what() -> str:
    return f"1 day of {len(models())} models, a run in Dagster"


def _without_dbt(ours: tuple[Side, ...], error: UnavailableError, repeats: int) -> Comparison:
    found = [took.wall for took in _rotate(list(ours), repeats)["in process"]]
    return Comparison(_what(), "dbt build", found, [float("nan")] * len(found), note=f"not applicable: {error}")


# ── our side ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _ours(home: Path, raw: Path, last: date) -> Iterator[tuple[Side, ...]]:
    _fill_lake(home, raw, last)
    command = [sys.executable, "-m", "xmkt_assets_tests.benchmarks.refresh_ours", str(home)]
    environment = {**os.environ, "XMKT_START_ON": FIRST.isoformat()}
    with _staying(command, environment) as ask:
        ask(f"{FIRST} {last - timedelta(days=1)}")
        yield (
            Side("in process", lambda: ask(last.isoformat())),
            Side("whole process", _timed(lambda: _finish(command, environment, said=last.isoformat()))),
        )


def _fill_lake(home: Path, raw: Path, last: date) -> None:
    with Lake(home).session() as session:
        changes = []
        for table, columns in RAW_COLUMNS.items():
            staged = table.replace(".", "_")
            session.stage(staged, f"select * from read_parquet('{raw}/{table}/*.parquet')")
            scope = Days("dt", FIRST, last + timedelta(days=1)) if "dt" in columns else Whole()
            changes.append(Replace(table, staged, scope))
        session.commit(changes)


# ── dbt ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _dbt(folder: Path, raw: Path, last: date) -> Iterator[tuple[Side, ...]]:
    binaries = _environment_of_dbt()
    environment = {**os.environ, "DO_NOT_TRACK": "1", "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
    environment.pop("PYTHONPATH", None)  # dbt imports every module it finds that is called dbt_…
    project = _dbt_project(folder / "called", raw)

    def call(command: str, *options: str, until: date | None = None) -> None:
        asked = _asked(command, FIRST if until else last, until)
        _finish([str(binaries / "dbt"), "--quiet", *asked, *options, *_where(project)], environment)

    events = [model.name for model in models().values() if not model.is_snapshot]
    call("run", "--select", *events, until=last)
    # A process that stays holds the database open, so it has a project of its own.
    staying = Path(shutil.copytree(folder / "called", folder / "staying"))
    _write_profile(staying)
    command = [str(binaries / "python"), str(Path(__file__).with_name("refresh_peer.py")), *_where(staying)]
    with _staying(command, environment) as ask:
        yield (
            Side("dbt build", _timed(lambda: call("build"))),
            Side("dbt run", _timed(lambda: call("run"))),
            Side("dbtRunner", lambda: ask(json.dumps(_asked("build", last)))),
        )


def _dbt_project(folder: Path, raw: Path) -> Path:
    """A project beside its database, which holds the raw rows."""
    folder.mkdir(parents=True)
    with duckdb.connect(str(folder / "native.duckdb")) as connection:
        connection.execute("create schema raw")
        for table in RAW_COLUMNS:
            connection.execute(f"create table {table} as select * from read_parquet('{raw}/{table}/*.parquet')")
    write_dbt_project(models().values(), folder)
    _write_profile(folder)
    return folder


def _write_profile(folder: Path) -> None:
    write_profile(folder, database=folder / "native.duckdb", threads=os.cpu_count() or 1)


def _where(project: Path) -> list[str]:
    return ["--project-dir", str(project), "--profiles-dir", str(project)]


def _asked(command: str, first: date, until: date | None = None) -> list[str]:
    window = {"start": first.isoformat(), "end": (until or first + timedelta(days=1)).isoformat()}
    return [command, "--vars", json.dumps(window)]


def _environment_of_dbt() -> Path:
    """Folder of the programs of dbt's own environment, made on first use; its name says what is in it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xmkt_assets"
    folder = cache / "-".join(pin.replace("==", "-") for pin in PINS)
    done = folder / "installed"
    if not done.exists():
        print(f"  refresh_dbt: installing {', '.join(PINS)} into {folder}", file=sys.stderr, flush=True)
        venv.create(folder, with_pip=True, clear=True)
        command = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *PINS]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        if found.returncode:
            reason = (found.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise UnavailableError(f"{', '.join(PINS)} cannot be installed ({reason[:200]})")
        done.touch()
    return folder / "bin"


# ── both ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _write_raw(folder: Path, last: date, rows_per_day: int) -> Path:
    """Parquet files of every raw table, one per day."""
    for table, query in _RAW.items():
        (folder / table).mkdir(parents=True)
        for number in range((last - FIRST).days + 1 if "$day" in query else 1):
            day = datetime.combine(FIRST + timedelta(days=number), datetime.min.time())
            given = {"day": day, "day_number": number, "rows": rows_per_day} if "$day" in query else None
            duckdb.sql(query, params=given).write_parquet(str(folder / table / f"{number}.parquet"))
    return folder


def _refuse_other_rows(folder: Path) -> None:
    """Both sides must hold the same rows in every table: else they did not do the same."""
    with duckdb.connect(str(folder / "dbt" / "called" / "native.duckdb"), read_only=True) as native:
        for table in models():
            query = f"select count(*), cast(sum(cast(hash({_columns(table)}) as hugeint)) as varchar) from {table}"
            theirs, ours = native.execute(query).fetchall(), Lake(folder / "home").read(query).rows()
            assert ours == theirs, f"{table}: ours {ours}, dbt's {theirs}"
            assert ours[0][0] > 0, f"{table} is empty"


def _columns(table: str) -> str:
    return ", ".join(column.name for column in models()[table].columns)


def _timed(call: Callable[[], None]) -> Callable[[], Took]:
    """A call that waits for processes, as a turn."""

    def timed() -> Took:
        started, used = time.perf_counter(), _cpu_of_children()
        call()
        return Took(time.perf_counter() - started, _cpu_of_children() - used)

    return timed


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _finish(command: list[str], environment: Mapping[str, str], *, said: str = "") -> None:
    done = subprocess.run(
        command, input=said, env=environment, cwd=_REPOSITORY, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command!r} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")


@contextmanager
def _staying(command: list[str], environment: Mapping[str, str]) -> Iterator[Callable[[str], Took]]:
    """A process that stays; what is yielded sends it a line and returns what it answers that took."""
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=_REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        given, told = process.stdin, process.stdout

        def answer() -> str:
            line = told.readline().strip()
            if not line:
                process.wait()
                errors.seek(0)
                raise RuntimeError(f"{command!r} ended with {process.returncode}:\n{errors.read()[-3000:]}")
            return line

        def ask(line: str) -> Took:
            given.write(f"{line}\n")
            given.flush()
            wall, cpu = answer().split()
            return Took(float(wall), float(cpu))

        try:
            assert answer() == "ready"
            yield ask
        finally:
            given.close()
            told.close()
            process.wait()
