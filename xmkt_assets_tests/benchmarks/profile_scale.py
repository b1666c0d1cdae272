"""Profiles of many people as of one day: gates, features, value groups, profile; wall time and memory as people grow.

Generated data: a year of 100 events a person (``scale_data``), so 1,000,000 people have 100 million events in the lake.
Each size is a process of its own on a home of its own, so that peak memory is that size's alone. Staging is made first
and timed apart: it is made day by day, not with each profile. The gates and features are the SQL of the platform with
every promise checked; value groups are chosen and made by the platform's own code; other tables that Python makes have
no rows (their models are other benchmarks' matter).

There is no peer: each size is compared with the one a tenth of it, so a ratio of 10 is growth in proportion.
The whole size: ``python -m … profile_scale --profile-scale-people 1000000 --repeats 1``.
"""

import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from xmkt_assets_tests.benchmarks.measure import Comparison
from xmkt_assets_tests.benchmarks.scale_data import World
from xmkt_assets_tests.benchmarks.scale_graph import (
    FROM_THE_START,
    THREADS,
    copy_of,
    days_of,
    folder_of,
    generate,
    in_order,
    stand_in,
    tell,
)

if TYPE_CHECKING:
    from xmkt_assets.warehouse import Session

SIZES: Final = {"people": 100_000, "events_per_person": 100, "days_at_once": 30, "memory_gib": 6}
MOST_GIB: Final = 8
DAY_SHARE: Final = 0.00274  # of a year's events: the lakes of scale_graph and scale_day serve here too
CLUSTERS: Final = "segments.person_clusters"
PARTS: Final = ("staging", "gates", "features", "clusters", "profile")
PROFILE: Final = ("gates", "features", "clusters", "profile")


class Turn(NamedTuple):
    """Seconds by part, seconds of the slowest models, people with a profile, and peak memory of the process."""

    parts: Mapping[str, float]
    slowest: Sequence[tuple[str, float]]
    people: int
    peak_mib: float

    @property
    def seconds(self) -> float:
        return sum(self.parts[part] for part in PROFILE)


def run(sizes: Mapping[str, int], repeats: int) -> list[Comparison]:
    worlds = worlds_of(sizes)
    turns: dict[World, list[Turn]] = {world: [] for world in worlds}
    for world in worlds:
        generate(folder_of(world), world, memory_gib=sizes["memory_gib"])
    for turn in range(repeats):
        for world in worlds if turn % 2 == 0 else reversed(worlds):
            turns[world].append(_in_a_process(world, sizes))
            tell(f"profile of {world.people:,} people: {_words(turns[world][-1])}")
    return [
        Comparison(
            f"profile of {more.people:,} people, {more.events:,} events",
            f"{fewer.people:,} people",
            [turn.seconds for turn in turns[more]],
            [turn.seconds for turn in turns[fewer]],
            note=f"{_words(turns[more][-1])} (at most {MOST_GIB})",
        )
        for fewer, more in itertools.pairwise(worlds)
    ]


def worlds_of(sizes: Mapping[str, int]) -> list[World]:
    """From a tenth of a tenth to the whole, ten thousand people at least; every one over the same days."""
    people = [sizes["people"]]
    while people[0] >= 100_000:
        people.insert(0, people[0] // 10)
    each = sizes["events_per_person"]
    return [World(n * each, n, round(n * each * DAY_SHARE)) for n in people]


def _in_a_process(world: World, sizes: Mapping[str, int]) -> Turn:
    values = json.dumps({"world": list(world), "days_at_once": sizes["days_at_once"], "memory": sizes["memory_gib"]})
    command = [sys.executable, "-m", "xmkt_assets_tests.benchmarks.profile_scale", values]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, cwd=Path(__file__).parents[2])
    if done.returncode:
        raise RuntimeError(f"{world.people:,} people ended with {done.returncode}; the process's words are above.")
    return Turn(*json.loads(done.stdout))


def profile(work: Path, world: World, *, days_at_once: int, memory_gib: int) -> Turn:
    """Make every part on the home `work`, which has the raw tables of `world`."""
    from xmkt_assets.warehouse import Lake

    parts, models = dict.fromkeys(PARTS, 0.0), dict[str, float]()
    with Lake(work, threads=THREADS, memory_limit=f"{memory_gib}GiB").session() as session:
        stand_in(session, FROM_THE_START, world.last_on)
        for model in in_order():
            with _timed(parts, part_of(model)) as spent:
                for days in days_of(model, world, days_at_once):
                    _make(session, model, days)
            models[model.table] = spent[0]
            stand_in(session, model.table, world.last_on)
            if model.table == "segments.person_features":
                with _timed(parts, "clusters"):
                    _make_clusters(session, world)
        people = int(session.read("select count(*) from segments.person_profile").item())
    slowest = sorted(models.items(), key=lambda one: -one[1])
    from_gates = [(table, seconds) for table, seconds in slowest if not table.startswith("staging.")][:3]
    return Turn(parts, from_gates, people, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def part_of(model: Any) -> str:
    """Events and accounts of staging come with every load; all that is as of a day is part of a profile."""
    if model.schema == "staging":
        return "gates" if model.is_snapshot else "staging"
    return "profile" if {t for t in model.reads if t.startswith("segments.")} else "features"


def _make(session: "Session", model: Any, days: Sequence[Any]) -> None:
    from xmkt_assets.promises import STAGED, audit
    from xmkt_assets.sql_assets import _publish as publish
    from xmkt_assets.sql_assets import stage

    stage(session, model, days)
    audits = audit(session, model, days)
    assert not any(a.broken for a in audits), [a for a in audits if a.broken]
    publish(session, model, days)
    session.connection.execute(f"drop table if exists {STAGED}")


def _make_clusters(session: "Session", world: World) -> None:
    """What the assets of value groups do, without MLflow and pictures."""
    import polars as pl

    from xmkt_assets.segments import cluster_choice, clusters
    from xmkt_assets.warehouse import Equal, Replace

    day = world.last_on
    columns = ", ".join(("person_id", *clusters.FEATURES))
    features = session.read(f"select {columns} from segments.person_features where as_of_on = $day", day=day)
    points, _, _ = clusters.standardised(features.sort("person_id"))
    rows = cluster_choice.choose(points, seed=7).rows.filter("is_chosen")
    chosen = rows.row(0, named=True)
    found = clusters.cluster_people(features, k=chosen["k"], method=chosen["method"], seed=7)
    dated = found.people.select(pl.lit(day).alias("as_of_on"), pl.all(), pl.lit(1, pl.Int64).alias("model_version"))
    session.stage_rows("people_grouped", dated)
    session.commit([Replace(CLUSTERS, "people_grouped", Equal((("as_of_on", day),)))])


@contextmanager
def _timed(parts: dict[str, float], name: str) -> Iterator[list[float]]:
    started, spent = time.perf_counter(), [0.0]
    yield spent
    spent[0] = time.perf_counter() - started
    parts[name] += spent[0]


def _words(turn: Turn) -> str:
    parts = ", ".join(f"{part} {turn.parts[part]:.1f} s" for part in PROFILE)
    slowest = ", ".join(f"{table} {seconds:.1f} s" for table, seconds in turn.slowest)
    return (
        f"{turn.seconds:.1f} s ({parts}; after {turn.parts['staging']:.0f} s of staging), {turn.people:,} profiles, "
        f"slowest {slowest}, peak {turn.peak_mib / 1024:.1f} GiB"
    )


def one_size(values: Mapping[str, Any]) -> Turn:
    world = World(*values["world"])
    with tempfile.TemporaryDirectory(dir=folder_of(world).parent) as name:
        work = copy_of(folder_of(world) / "home", Path(name))
        import xmkt_assets.sql_assets  # noqa: F401  the import is not part of the work

        return profile(work, world, days_at_once=values["days_at_once"], memory_gib=values["memory"])


if __name__ == "__main__":
    print(json.dumps(one_size(json.loads(sys.argv[1]))))
