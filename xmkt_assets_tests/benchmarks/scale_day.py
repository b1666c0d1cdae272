"""One new day on a long history beside the same day on a short one: cost follows the day, not the history.

The day is what the load does: its raw rows are written, then every model of staging that loading makes, with promises
and checks. Events cost what the day has; tables of accounts cost what accounts there are, the same on both sides. Told
apart from it: the snapshots as of the day (gates, features), which read the whole history by their meaning.

Histories grow tenfold from the shortest to `events`. Each is generated and loaded once (``scale_graph`` leaves the
loaded lake behind), every turn works on a copy of its own. The picture lies in the folder of the data.
The whole size: ``python -m … scale_day --scale-day-events 100000000 --repeats 1``.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from xmkt_assets_tests.benchmarks.measure import Comparison
from xmkt_assets_tests.benchmarks.scale_data import WORLD_DAYS, World, day_on, feeds, rows_of
from xmkt_assets_tests.benchmarks.scale_graph import (
    FROM_THE_START,
    THREADS,
    bench_folder,
    copy_of,
    cpu_seconds,
    in_order,
    loaded_home,
    stand_in,
    tell,
)

if TYPE_CHECKING:
    from xmkt_assets.warehouse import Session

SIZES: Final = {
    "events": 3_000_000,
    "short_events": 1_000_000,
    "people": 0,
    "events_per_day": 274_000,
    "memory_gib": 6,
}
BAR: Final = 2.0
PICTURE: Final = "scale_day"
PARTS: Final = ("raw", "events", "accounts", "checks", "snapshots")


class _Clock(NamedTuple):
    """Wall and CPU seconds by part, wall seconds by model; filled while the day is made."""

    parts: dict[str, float]
    cpu_parts: dict[str, float]
    models: dict[str, float]

    @contextmanager
    def of(self, part: str, model: str | None = None) -> Iterator[None]:
        started, used = time.perf_counter(), cpu_seconds()
        yield
        self.parts[part] += time.perf_counter() - started
        self.cpu_parts[part] += cpu_seconds() - used
        if model is not None:
            self.models[model] = time.perf_counter() - started


class Turn(NamedTuple):
    """Seconds of one day by part and by model, on one history; CPU seconds say more on a busy machine."""

    parts: Mapping[str, float]
    cpu_parts: Mapping[str, float]
    models: Mapping[str, float]
    peak_mib: float

    @property
    def load_seconds(self) -> float:
        return sum(seconds for part, seconds in self.parts.items() if part != "snapshots")

    @property
    def load_cpu_seconds(self) -> float:
        return sum(seconds for part, seconds in self.cpu_parts.items() if part != "snapshots")


def run(sizes: Mapping[str, int], repeats: int) -> list[Comparison]:
    people = sizes["people"] or max(1000, sizes["events"] // 100)
    worlds = [World(events, people, sizes["events_per_day"]) for events in histories(sizes)]
    homes = {world: loaded_home(world, memory_gib=sizes["memory_gib"]) for world in worlds}
    turns: dict[World, list[Turn]] = {world: [] for world in worlds}
    for turn in range(repeats):
        for world in worlds if turn % 2 == 0 else reversed(worlds):
            turns[world].append(_in_a_process(homes[world], world, memory_gib=sizes["memory_gib"]))
            tell(f"one day on {world.events:,} events: {_words(turns[world][-1])}")
    picture = _draw(turns)
    bar = BAR if worlds[-1].events >= 100_000_000 else None
    short, long = turns[worlds[0]], turns[worlds[-1]]
    beside = f"the same day on {worlds[0].events:,}"
    what = f"one new day of {sizes['events_per_day']:,} events on {worlds[-1].events:,}"
    return [
        Comparison(what, beside, _load(long), _load(short), bar, f"{_cpu(long, short)}; picture {picture.name}"),
        Comparison(f"{what}: raw and events alone", beside, _events(long), _events(short), bar),
        Comparison(f"{what}: snapshots", beside, _snapshots(long), _snapshots(short), note="they read all history"),
    ]


def histories(sizes: Mapping[str, int]) -> list[int]:
    """From the shortest, tenfold, to the longest."""
    found, events = [], sizes["short_events"]
    while events < sizes["events"]:
        found.append(events)
        events *= 10
    return [*found, sizes["events"]]


def _load(turns: Sequence[Turn]) -> list[float]:
    return [turn.load_seconds for turn in turns]


def _events(turns: Sequence[Turn]) -> list[float]:
    return [turn.parts["raw"] + turn.parts["events"] for turn in turns]


def _snapshots(turns: Sequence[Turn]) -> list[float]:
    return [turn.parts["snapshots"] for turn in turns]


def _cpu(long: Sequence[Turn], short: Sequence[Turn]) -> str:
    """CPU seconds of the load on the long history in those of the short one, whole and without the accounts."""
    whole = long[-1].load_cpu_seconds / short[-1].load_cpu_seconds
    events = [sum(turn.cpu_parts[part] for part in ("raw", "events")) for turn in (long[-1], short[-1])]
    return f"{_words(long[-1])}; CPU seconds {whole:.2f} times, raw and events {events[0] / events[1]:.2f} times"


def _words(turn: Turn) -> str:
    parts = ", ".join(f"{part} {turn.parts[part]:.1f} s" for part in PARTS)
    used = f"CPU {turn.load_cpu_seconds:.1f} s and {turn.cpu_parts['snapshots']:.1f} s for snapshots"
    return f"load {turn.load_seconds:.1f} s ({parts}), {used}, peak {turn.peak_mib / 1024:.1f} GiB"


def _in_a_process(home: Path, world: World, *, memory_gib: int) -> Turn:
    values = json.dumps({"world": list(world), "memory": memory_gib})
    command = [sys.executable, "-m", "xmkt_assets_tests.benchmarks.scale_day", str(home), values]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, cwd=Path(__file__).parents[2])
    if done.returncode:
        raise RuntimeError(f"The day on {world.events:,} events ended with {done.returncode}; its words are above.")
    return Turn(*json.loads(done.stdout))


def _one_day(work: Path, world: World, *, memory_gib: int) -> Turn:
    from xmkt_assets.audits import run_check
    from xmkt_assets.automation.jobs import of_retraining
    from xmkt_assets.sql_models import load_models
    from xmkt_assets.warehouse import Lake
    from xmkt_assets_tests.sql_helper import FOLDER

    clock = _Clock(dict.fromkeys(PARTS, 0.0), dict.fromkeys(PARTS, 0.0), {})
    day = day_on(WORLD_DAYS - 1)
    later = of_retraining(load_models(FOLDER))
    checks = _checks()
    loaded = [model for model in in_order() if model.table not in later]
    tables = {f"raw.{feed}" for feed in feeds()} | {model.table for model in loaded}
    lake = Lake(work, threads=THREADS, memory_limit=f"{memory_gib}GiB", before_commit=_refuse)
    with lake.session() as session:
        with clock.of("raw"):
            _write_raw(session, world, day)
        for model in loaded:
            with clock.of("events" if model.kind == "partition" else "accounts", model.table):
                _make(session, model, day)
        for check in checks:
            if check.table in tables and check.severity == "warn":
                with clock.of("checks", check.name):
                    run_check(session, check, days=[day])
        stand_in(session, FROM_THE_START, day)
        for model in in_order():
            if model.table in later and model.is_snapshot:
                with clock.of("snapshots", model.table):
                    _make(session, model, day)
            stand_in(session, model.table, day)
    return Turn(*clock, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


@cache
def _checks() -> tuple[Any, ...]:
    from xmkt_assets.sql_models import CHECKS_FOLDER, load_checks
    from xmkt_assets_tests.sql_helper import FOLDER

    texts = [path.read_text(encoding="utf-8") for path in sorted((FOLDER / CHECKS_FOLDER).glob("*.sql"))]
    tables = [text.splitlines()[0].removeprefix("-- check:").strip() for text in texts]
    return tuple(load_checks(FOLDER, tables=tables))


def _refuse(session: "Session", changes: Sequence[object]) -> None:
    """What the platform does before every commit: zero-row checks of severity error on what the tables will be."""
    from xmkt_assets.audits import audit_changes

    known = [check for check in _checks() if check.severity == "error"]
    assert all(found.passed for found in audit_changes(session, changes, known))


def _write_raw(session: "Session", world: World, day: date) -> None:
    from xmkt_assets.warehouse import Equal, Replace

    for feed in feeds():
        rows = rows_of(feed, world, WORLD_DAYS - 1, WORLD_DAYS - 1)
        session.stage("new_rows", rows.sql, rows.values)
        session.commit([Replace(f"raw.{feed}", "new_rows", Equal((("dt", day),)))])


def _make(session: "Session", model: Any, day: date) -> None:
    from xmkt_assets.promises import audit
    from xmkt_assets.sql_assets import _publish as publish
    from xmkt_assets.sql_assets import stage

    days = [day] if model.kind == "partition" else []
    stage(session, model, days)
    broken = [found for found in audit(session, model, days) if found.broken]
    assert not broken, broken
    publish(session, model, days)


def _draw(turns: Mapping[World, Sequence[Turn]]) -> Path:
    """Seconds of the day against the length of the history, by part; as PNG and SVG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5))
    axes = figure.subplots()
    events = [world.events for world in turns]
    for part, words in (
        ("raw", "raw rows of the day"),
        ("events", "staging of events"),
        ("accounts", "staging of accounts"),
        ("snapshots", "snapshots as of the day (read all history)"),
    ):
        seconds = [statistics.median(turn.parts[part] for turn in found) for found in turns.values()]
        axes.plot(events, seconds, marker="o", linestyle="--" if part == "snapshots" else "-", label=words)
    load = [statistics.median(turn.load_seconds for turn in found) for found in turns.values()]
    axes.plot(events, load, marker="o", linewidth=3, color="black", label="the whole load")
    axes.set(xscale="log", xlabel="events in the history", ylabel="seconds", title="One new day (generated data)")
    axes.set_ylim(bottom=0)
    axes.legend()
    axes.grid(visible=True, alpha=0.3)
    path = bench_folder() / f"{PICTURE}.png"
    figure.savefig(path, dpi=120, bbox_inches="tight")
    figure.savefig(path.with_suffix(".svg"), bbox_inches="tight")
    return path


if __name__ == "__main__":
    given = json.loads(sys.argv[2])
    with tempfile.TemporaryDirectory(dir=Path(sys.argv[1]).parent) as name:
        copy = copy_of(Path(sys.argv[1]), Path(name))
        print(json.dumps(_one_day(copy, World(*given["world"]), memory_gib=given["memory"])))
