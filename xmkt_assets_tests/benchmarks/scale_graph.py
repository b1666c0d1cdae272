"""The whole graph of staging and segments beside one plain DuckDB script that runs the same SQL into native tables.

Raw tables are generated once per size into a folder that is kept (XMKT_BENCH_FOLDER, else the system's temporary one),
so a second run begins with the graph. Each turn is a process of its own, so that peak memory is that side's alone.

Ours: rows are staged, every promise is checked on them, and one transaction publishes them, as the assets do. The peer
checks nothing and nobody can read while it writes. Event tables go a stretch of days at a time on both sides, snapshots
are those of the newest day. Tables of segments that Python makes are stood in for.
The whole size: ``python -m … scale_graph --scale-graph-events 100000000 --repeats 1``.
"""

import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from datetime import time as clock
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import duckdb

from xmkt_assets.known_tables import known_tables
from xmkt_assets_tests.benchmarks.measure import Comparison, take_turns
from xmkt_assets_tests.benchmarks.scale_data import World, chunks, day_on, feeds, write_agreement, write_history

if TYPE_CHECKING:
    from xmkt_assets.warehouse import Session

SIZES: Final = {"events": 3_000_000, "people": 0, "events_per_day": 274_000, "days_at_once": 30, "memory_gib": 6}
BAR: Final = 1.2
MOST_GIB: Final = 8
THREADS: Final = 2
LOADED: Final = "loaded"
SCHEMAS: Final = ("staging", "segments")


class StandIn(NamedTuple):
    """Rows of a table that Python makes: after which model, of whose people, and the columns that are not empty."""

    after: str
    people: str
    columns: Mapping[str, str]


# By rule, the same rows on both sides. Any other table of segments that Python makes is there and has no rows.
STAND_INS: Final[Mapping[str, StandIn]] = {
    "segments.person_clusters": StandIn(
        "segments.person_features",
        "segments.person_features where as_of_on = $day",
        {"value_label": "['high value', 'steady', 'dormant'][cast(1 + hash(person_id) % 3 as bigint)]"},
    ),
    "segments.claim_risk": StandIn(
        "segments.risk_examples",
        "segments.risk_examples where as_of_on = $day and has_claim_60d is null",
        {"claim_risk_share": "0.05", "claim_risk_band": "'medium'"},
    ),
}
FROM_THE_START: Final = ""


def run(sizes: Mapping[str, int], repeats: int) -> list[Comparison]:
    world = World(sizes["events"], sizes["people"] or max(1000, sizes["events"] // 100), sizes["events_per_day"])
    folder = folder_of(world)
    generate(folder, world, memory_gib=sizes["memory_gib"])
    copy_for_peer(folder, memory_gib=sizes["memory_gib"])
    found: dict[str, list[dict[str, Any]]] = {"ours": [], "peer": []}

    def turn(side: str) -> float:
        one = _in_a_process(side, folder, world, sizes)
        found[side].append(one)
        return float(one["seconds"])

    ours, peer = take_turns(lambda: turn("ours"), lambda: turn("peer"), repeats=repeats, warm_up=False)
    _refuse_difference(found["ours"][-1]["facts"], found["peer"][-1]["facts"])
    peaks = {side: max(one["peak_mib"] for one in turns) / 1024 for side, turns in found.items()}
    cpu = found["ours"][-1]["cpu_seconds"] / found["peer"][-1]["cpu_seconds"]
    note = (
        f"{world.days} days, {world.people:,} people; peak {peaks['ours']:.1f} GiB (at most {MOST_GIB}) against "
        f"{peaks['peer']:.1f} GiB; CPU seconds {cpu:.2f} times the peer's; {_parts(found['ours'][-1]['parts'])}"
    )
    return [
        Comparison(
            f"staging + segments, {world.events:,} events",
            "native DuckDB script",
            ours,
            peer,
            bar_of(world.events),
            note,
        )
    ]


def bar_of(events: int) -> float | None:
    """The bar is set for the whole size; with few events a commit's own cost is most of it."""
    return BAR if events >= 100_000_000 else None


def bench_folder() -> Path:
    return Path(os.environ.get("XMKT_BENCH_FOLDER") or Path(tempfile.gettempdir()) / "xmkt_scale")


def folder_of(world: World) -> Path:
    return bench_folder() / f"history_{world.events}_{world.people}_{world.events_per_day}"


def generate(folder: Path, world: World, *, memory_gib: int) -> None:
    """Raw tables of `world` in a lake, unless an earlier run made them."""
    if (folder / "generated").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with lake_connection(folder / "home", memory_gib=memory_gib) as lake:
        write_history(lake, world, days_at_once=30, tell=tell)
    (folder / "generated").touch()


def copy_for_peer(folder: Path, *, memory_gib: int) -> None:
    """The same raw tables in a native file."""
    from xmkt_assets.warehouse import attach_sql

    if (folder / "copied").exists():
        return
    (folder / "raw.duckdb").unlink(missing_ok=True)
    with duckdb.connect(str(folder / "raw.duckdb"), config=_config(folder, memory_gib)) as native:
        for statement in attach_sql(folder / "home" / "lake", read_only=True):
            native.execute(statement)
        for feed in feeds():
            native.execute(f"create table raw.main.{feed} as select * from lake.raw.{feed}")
    tell("copied the raw tables into the peer's file")
    (folder / "copied").touch()


def loaded_home(world: World, *, memory_gib: int) -> Path:
    """A home with raw tables and the whole graph of `world`: what our side of this benchmark leaves behind."""
    folder = folder_of(world)
    generate(folder, world, memory_gib=memory_gib)
    if not (folder / LOADED).exists():
        _in_a_process("ours", folder, world, {**SIZES, "memory_gib": memory_gib})
    return folder / LOADED


@contextlib.contextmanager
def lake_connection(home: Path, *, memory_gib: int) -> Iterator[duckdb.DuckDBPyConnection]:
    from xmkt_assets.warehouse import Lake

    with Lake(home, threads=THREADS, memory_limit=f"{memory_gib}GiB").session() as session:
        yield session.connection


def copy_of(home: Path, work: Path) -> Path:
    """A second home that begins with the same tables: data files are linked, for they are never written again."""
    shutil.copytree(home / "lake" / "data", work / "lake" / "data", copy_function=os.link)
    for path in (home / "lake").glob("catalog.sqlite*"):
        shutil.copy2(path, work / "lake" / path.name)
    return work


def tell(line: str) -> None:
    print(f"  {datetime.now():%H:%M:%S} {line}", file=sys.stderr, flush=True)


def in_order() -> list[Any]:
    """Models of the graph, upstream first, stand-ins left out."""
    from xmkt_assets.sql_models import load_models
    from xmkt_assets_tests.sql_helper import FOLDER

    return [model for model in load_models(FOLDER).values() if model.schema in SCHEMAS]


def stand_ins(after: str, day: date) -> list[tuple[str, str, dict[str, object] | None]]:
    """Table, query and its values of all that Python would have made once the model `after` is there;
    `FROM_THE_START` those that have no rows."""
    found: list[tuple[str, str, dict[str, object] | None]] = []
    for table, types in known_tables().items():
        one = STAND_INS.get(table)
        if one is not None and one.after == after:
            shown = {"as_of_on": "as_of_on", "person_id": "person_id", **one.columns}
            columns = ", ".join(f"cast({shown.get(name, 'null')} as {kind}) as {name}" for name, kind in types.items())
            found.append((table, f"select {columns} from {one.people}", {"day": day}))
        elif one is None and after == FROM_THE_START and table.startswith("segments."):
            columns = ", ".join(f"cast(null as {kind}) as {name}" for name, kind in types.items())
            found.append((table, f"select {columns} where false", None))
    return found


def stand_in(session: "Session", after: str, day: date) -> None:
    """The same into the lake, in one commit."""
    from xmkt_assets.warehouse import Equal, Replace

    changes = []
    for i, (table, query, values) in enumerate(stand_ins(after, day)):
        session.stage(f"stand_in_{i}", query, values)
        changes.append(Replace(table, f"stand_in_{i}", Equal((("as_of_on", day),))))
    if changes:
        session.commit(changes)


def window(model: Any, first: date, last: date) -> dict[str, object]:
    bounds = {"start": datetime.combine(first, clock()), "end": datetime.combine(last + timedelta(days=1), clock())}
    return {name: value for name, value in bounds.items() if name in model.parameters}


def _in_a_process(side: str, folder: Path, world: World, sizes: Mapping[str, int]) -> dict[str, Any]:
    values = json.dumps({"world": list(world), "days_at_once": sizes["days_at_once"], "memory": sizes["memory_gib"]})
    command = [sys.executable, "-m", "xmkt_assets_tests.benchmarks.scale_graph", side, str(folder), values]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, cwd=Path(__file__).parents[2])
    if done.returncode:
        raise RuntimeError(f"The side {side!r} ended with {done.returncode}; its words are above.")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _ours(folder: Path, work: Path, world: World, *, days_at_once: int, memory_gib: int) -> dict[str, Any]:
    from xmkt_assets.promises import STAGED, audit
    from xmkt_assets.sql_assets import _publish as publish
    from xmkt_assets.sql_assets import stage
    from xmkt_assets.warehouse import Lake

    lake = Lake(work, threads=THREADS, memory_limit=f"{memory_gib}GiB")
    parts = dict.fromkeys(("stage", "audit", "publish"), 0.0)
    with lake.session() as session:
        stand_in(session, FROM_THE_START, world.last_on)
        for model in in_order():
            started, used, before = time.perf_counter(), cpu_seconds(), dict(parts)
            for days in days_of(model, world, days_at_once):
                with _timed(parts, "stage"):
                    stage(session, model, days)
                with _timed(parts, "audit"):
                    audits = audit(session, model, days)
                assert not any(a.broken for a in audits), [a for a in audits if a.broken]
                with _timed(parts, "publish"):
                    publish(session, model, days)
                session.connection.execute(f"drop table if exists {STAGED}")
            stand_in(session, model.table, world.last_on)
            spent = ", ".join(f"{part} {parts[part] - before[part]:.1f}" for part in parts)
            tell(f"ours {model.table}: {_since(started, used)}; {spent}")
    return {"parts": parts}


def days_of(model: Any, world: World, days_at_once: int) -> Iterator[list[date]]:
    """The days of each stretch: none for a whole table, the newest for a snapshot, all in turn for events."""
    if model.kind != "partition":
        yield []
    elif model.is_snapshot:
        yield [world.last_on]
    else:
        for first, last in chunks(world.first_day, world.first_day + world.days - 1, days_at_once):
            yield [day_on(number) for number in range(first, last + 1)]


def _peer(folder: Path, work: Path, world: World, *, days_at_once: int, memory_gib: int) -> dict[str, Any]:
    with duckdb.connect(str(work / "graph.duckdb"), config=_config(work, memory_gib)) as native:
        native.execute(f"attach '{folder / 'raw.duckdb'}' as raw (read_only)")
        native.execute("set TimeZone = 'UTC'")
        write_agreement(native)
        native.execute("create schema segments")
        for table, query, _ in stand_ins(FROM_THE_START, world.last_on):
            native.execute(f"create table {table} as {query}")
        for model in in_order():
            started, used = time.perf_counter(), cpu_seconds()
            for i, days in enumerate(days_of(model, world, days_at_once)):
                kind = "view" if model.kind == "view" else "table"
                values = window(model, days[0], days[-1]) if days else {}
                begin = f"insert into {model.table} by name" if i else f"create {kind} {model.table} as"
                native.execute(f"{begin} {model.sql}", values or None)
            for table, query, values_of_day in stand_ins(model.table, world.last_on):
                native.execute(f"create table {table} as {query}", values_of_day)
            tell(f"peer {model.table}: {_since(started, used)}")
    return {}


def _facts(connection: duckdb.DuckDBPyConnection) -> dict[str, list[int]]:
    """Rows and a checksum of the grain of every table: the same on both sides."""
    facts = {}
    for model in in_order():
        if model.kind != "view":
            sums = f"select count(*), bit_xor(hash({', '.join(model.grain)})) from {model.table}"
            facts[model.table] = list(connection.execute(sums).fetchone() or ())
    return facts


def _refuse_difference(ours: Mapping[str, list[int]], peer: Mapping[str, list[int]]) -> None:
    differ = {table: (ours[table], peer[table]) for table in peer if ours[table] != peer[table]}
    assert not differ, f"lake and native file differ: {differ}"


def _config(folder: Path, memory_gib: int) -> dict[str, Any]:
    return {"threads": THREADS, "memory_limit": f"{memory_gib}GiB", "temp_directory": str(folder / "tmp")}


@contextlib.contextmanager
def _timed(parts: dict[str, float], name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    parts[name] += time.perf_counter() - started


def _parts(parts: Mapping[str, float]) -> str:
    return "ours: " + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in parts.items())


def one_side(side: str, folder: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    world = World(*values["world"])
    sizes = {"days_at_once": values["days_at_once"], "memory_gib": values["memory"]}
    with tempfile.TemporaryDirectory(dir=folder) as name:
        work = Path(name)
        if side == "ours":
            copy_of(folder / "home", work)
            import xmkt_assets.sql_assets  # noqa: F401  the import is not part of the work
        started, used = time.perf_counter(), cpu_seconds()
        found = (_ours if side == "ours" else _peer)(folder, work, world, **sizes)
        seconds, cpu = time.perf_counter() - started, cpu_seconds() - used
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        with _opened(side, work, memory_gib=values["memory"]) as connection:
            facts = _facts(connection)
        if side == "ours":
            shutil.rmtree(folder / LOADED, ignore_errors=True)
            (folder / LOADED).mkdir()
            (work / "lake").rename(folder / LOADED / "lake")
    return {"seconds": seconds, "cpu_seconds": cpu, "peak_mib": peak_mib, "facts": facts, **found}


@contextlib.contextmanager
def _opened(side: str, work: Path, *, memory_gib: int) -> Iterator[duckdb.DuckDBPyConnection]:
    if side == "ours":
        with lake_connection(work, memory_gib=memory_gib) as connection:
            yield connection
    else:
        with duckdb.connect(str(work / "graph.duckdb"), config=_config(work, memory_gib)) as connection:
            yield connection


def _since(started: float, used: float) -> str:
    return f"{time.perf_counter() - started:.1f} s, CPU {cpu_seconds() - used:.1f} s"


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    print(json.dumps(one_side(sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3]))))
