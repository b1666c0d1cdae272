"""Arrivals: a day is due exactly when its files are not what the ledger says was loaded."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xmkt_assets.contracts import contracts
from xmkt_assets.raw import arrivals as arrivals_module
from xmkt_assets.raw.arrivals import NOTHING_SEEN, Arrivals, Memory, find_arrivals, remembered
from xmkt_assets.raw.completeness import Promise
from xmkt_assets.raw.landing import DropFile, content_hash, take_inventory

DAY = date(2026, 7, 1)
LAST = date(2026, 7, 10)
VIEWS = "course_platform/course_views"
SECOND = 1_000_000_000
LONG_AGO = 1_700_000_000 * SECOND


class World:
    """A landing folder and the ledger of what was loaded from it."""

    def __init__(self, landing: Path) -> None:
        self.landing = landing
        self.ledger = pl.DataFrame(schema={"dt": pl.Date, "source_file": pl.String, "sha256": pl.String})
        self.memory = NOTHING_SEEN

    def put(self, content: str, name: str = "a.csv", *, day: date = DAY, where: str = VIEWS) -> Path:
        path = self.landing / where / f"dt={day}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        os.utime(path, ns=(LONG_AGO, LONG_AGO))
        return path

    def files(self) -> tuple[DropFile, ...]:
        return take_inventory(self.landing, contracts()).files

    def look(
        self, *, last_day: date = LAST, waiting: Sequence[date] = (), now_ns: int = LONG_AGO + 9 * SECOND
    ) -> Arrivals:
        """One look, handing the memory of the last one back as the sensor does: as text."""
        found = find_arrivals(
            self.files(),
            self.ledger,
            memory=remembered(self.memory.to_text()),
            waiting=waiting,
            last_day=last_day,
            now_ns=now_ns,
            settle_seconds=5.0,
        )
        self.memory = found.memory
        return found

    def load(self, *days: date) -> None:
        """What a load does to the ledger: the lines of each partner, feed and day with files are replaced."""
        of_days = [f for f in self.files() if f.dt in days]
        folders = {f.name.rpartition("/")[0] for f in of_days}
        stays = [n.rpartition("/")[0] not in folders for n in self.ledger["source_file"]]
        rows = [(f.dt, f.name, content_hash(f.path)) for f in of_days]
        loaded = pl.DataFrame(rows, schema=self.ledger.schema, orient="row")
        self.ledger = pl.concat([self.ledger.filter(pl.Series(stays, dtype=pl.Boolean)), loaded])


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "landing")


@pytest.fixture
def loaded(world: World) -> World:
    """Two days of two feeds, seen and loaded."""
    for day in (DAY, DAY + timedelta(days=1)):
        world.put("views", day=day)
        world.put("users", day=day, where="course_platform/users")
    world.look()
    world.load(DAY, DAY + timedelta(days=1))
    return world


def test_new_files_make_their_days_due(world: World) -> None:
    world.put("one")
    world.put("two", day=DAY + timedelta(days=3))
    assert list(world.look().due) == [DAY, DAY + timedelta(days=3)]


def test_a_day_stays_due_at_most_once_per_content(world: World) -> None:
    """The sensor asked for a run at the first look; until the files change it has nothing to add."""
    world.put("one")
    assert (list(world.look().due), list(world.look().due)) == ([DAY], [])


def test_the_same_files_as_loaded_make_nothing_due(loaded: World) -> None:
    assert loaded.look().due == {}


def test_a_corrected_file_makes_its_day_due_with_another_signature(loaded: World) -> None:
    loaded.put("views, corrected")
    first = loaded.look().due
    loaded.put("views, corrected again")
    second = loaded.look().due
    assert list(first) == list(second) == [DAY]
    assert first[DAY] != second[DAY]


def test_a_file_put_back_as_it_was_makes_nothing_due(loaded: World) -> None:
    loaded.put("another text")
    loaded.put("views")
    assert loaded.look().due == {}


def test_a_further_file_makes_its_day_due(loaded: World) -> None:
    loaded.put("late rows", "late.csv")
    assert list(loaded.look().due) == [DAY]


def test_a_file_touched_but_the_same_makes_nothing_due(loaded: World) -> None:
    os.utime(loaded.put("views"), ns=(LONG_AGO + 5, LONG_AGO + 5))
    assert loaded.look().due == {}


def test_a_cleared_folder_makes_nothing_due(loaded: World) -> None:
    """Its rows stand: a load would find no file there and change nothing."""
    next((loaded.landing / VIEWS / f"dt={DAY}").iterdir()).unlink()
    assert loaded.look().due == {}
    loaded.memory = NOTHING_SEEN
    assert loaded.look().due == {}


def test_a_file_taken_from_a_folder_that_keeps_others_makes_the_day_due(loaded: World) -> None:
    late = loaded.put("late rows", "late.csv")
    loaded.look()
    loaded.load(DAY)
    late.unlink()
    assert list(loaded.look().due) == [DAY]


def test_a_renamed_file_makes_its_day_due(loaded: World) -> None:
    path = loaded.put("views")
    path.rename(path.with_name("b.csv"))
    assert list(loaded.look().due) == [DAY]


def test_a_file_that_may_still_be_growing_is_left_for_the_next_look(world: World) -> None:
    written(world.put("half of it"), LONG_AGO + 9 * SECOND)
    assert world.look(now_ns=LONG_AGO + 13 * SECOND) == ({}, NOTHING_SEEN)
    assert list(world.look(now_ns=LONG_AGO + 14 * SECOND).due) == [DAY]


def test_one_growing_file_holds_back_its_day_only(world: World) -> None:
    written(world.put("growing"), LONG_AGO + 9 * SECOND)
    world.put("settled", where="insurer/claims")
    world.put("settled", day=DAY + timedelta(days=1))
    assert list(world.look().due) == [DAY + timedelta(days=1)]


def test_a_file_dated_in_the_future_is_left_until_it_was_seen_unchanged_for_as_long(world: World) -> None:
    """The clock that dated it is wrong, or this one: neither says whether it still grows."""
    written(world.put("by a clock that runs ahead"), LONG_AGO + 1_000 * SECOND)
    now = LONG_AGO + 9 * SECOND
    assert world.look(now_ns=now).due == {}
    assert world.look(now_ns=now + 4 * SECOND).due == {}
    assert list(world.look(now_ns=now + 5 * SECOND).due) == [DAY]
    assert world.look(now_ns=now + 6 * SECOND).due == {}


@pytest.mark.parametrize("seconds", [1_000, 2_000])
def test_a_file_dated_in_the_future_that_grows_is_left_until_it_stands_still(world: World, seconds: int) -> None:
    now = LONG_AGO + 9 * SECOND
    written(world.put("half"), LONG_AGO + 1_000 * SECOND)
    assert world.look(now_ns=now).due == {}
    written(world.put("half and more"), LONG_AGO + seconds * SECOND)
    assert world.look(now_ns=now + 6 * SECOND).due == {}
    assert world.look(now_ns=now + 10 * SECOND).due == {}
    assert list(world.look(now_ns=now + 11 * SECOND).due) == [DAY]


def test_a_day_with_a_folder_that_is_not_whole_waits_and_comes_once_it_is(world: World) -> None:
    world.put("one of two")
    world.put("other", day=DAY + timedelta(days=1))
    assert list(world.look(waiting=[DAY]).due) == [DAY + timedelta(days=1)]
    assert list(world.look().due) == [DAY]


def test_a_day_that_is_not_over_waits_until_it_is(world: World) -> None:
    world.put("morning", day=LAST)
    assert world.look(last_day=LAST - timedelta(days=1)).due == {}
    assert list(world.look(last_day=LAST).due) == [LAST]


def test_a_lost_cursor_starts_nothing_that_was_loaded(loaded: World) -> None:
    loaded.put("new", day=LAST)
    loaded.memory = NOTHING_SEEN
    assert list(loaded.look().due) == [LAST]


def test_an_unchanged_day_is_not_hashed_again(loaded: World, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []
    monkeypatch.setattr(arrivals_module, "content_hash", counting(hashed))
    loaded.look()
    assert hashed == []
    loaded.put("views, longer", day=DAY)
    loaded.look()
    assert {path.parent.name for path in hashed} == {f"dt={DAY}"}


def written(path: Path, at_ns: int) -> None:
    os.utime(path, ns=(at_ns, at_ns))


def counting(hashed: list[Path]) -> Callable[[Path], str]:
    def hash_and_count(path: Path) -> str:
        hashed.append(path)
        return content_hash(path)

    return hash_and_count


def test_a_file_that_goes_while_it_is_looked_at_stops_no_other(world: World) -> None:
    world.put("one")
    files = world.files()
    world.put("two", day=LAST)
    next((world.landing / VIEWS / f"dt={DAY}").iterdir()).unlink()
    found = find_arrivals(
        (*files, *world.files()), world.ledger, last_day=LAST, now_ns=LONG_AGO + SECOND, settle_seconds=0.0
    )
    assert set(found.due) == {DAY, LAST}


def test_the_memory_survives_as_text_and_one_of_another_kind_is_as_good_as_lost(world: World) -> None:
    written(world.put("ahead"), LONG_AGO + 1_000 * SECOND)
    world.put("settled", day=LAST)
    memory = world.look().memory
    assert (list(memory.seen), list(memory.unsettled)) == ([LAST.isoformat()], [DAY.isoformat()])
    assert remembered(memory.to_text()) == memory
    assert remembered(None) == remembered('{"2026-07-01": "0123456789abcdef"}') == Memory({}, {})


# ── files of an address, and files with a manifest ───────────────────────────────────────────────────────────────────


def test_a_remote_file_is_judged_by_what_is_known_of_its_version_and_never_read(loaded: World) -> None:
    """Its path holds nothing: it was not fetched."""
    (local,) = [f for f in loaded.files() if f.dt == DAY and f.feed == "users"]
    away = {"path": Path("nowhere"), "version": "etag-1"}
    same = replace(local, **away, sha256=content_hash(local.path))
    assert due(loaded, same) == []
    assert due(loaded, replace(local, **away)) == [DAY]
    assert due(loaded, replace(same, sha256="0" * 64)) == [DAY]


def test_a_remote_file_of_another_version_is_looked_at_again_and_the_same_one_is_not(loaded: World) -> None:
    (local,) = [f for f in loaded.files() if f.dt == DAY and f.feed == "users"]
    first = replace(local, path=Path("nowhere"), version="etag-1")
    memory = look_at(loaded, first).memory
    assert due(loaded, first, memory=memory) == []
    assert due(loaded, replace(first, sha256=content_hash(local.path)), memory=memory) == []
    assert due(loaded, replace(first, version="etag-2"), memory=memory) == [DAY]


def test_a_file_refused_for_its_manifest_is_due_once_and_again_when_a_manifest_promises_it(world: World) -> None:
    world.put("content")
    (file,) = world.files()
    sha256 = content_hash(file.path)
    refused = replace(file, promise=Promise(7, "0" * 64))
    first = look_at(world, refused)
    assert list(first.due) == [DAY]
    world.ledger = pl.DataFrame([(DAY, file.name, "")], schema=world.ledger.schema, orient="row")
    assert due(world, refused) == []
    assert due(world, replace(file, promise=Promise(7, sha256)), memory=first.memory) == [DAY]


def look_at(world: World, file: DropFile, *, memory: Memory = NOTHING_SEEN) -> Arrivals:
    now = LONG_AGO + SECOND
    return find_arrivals([file], world.ledger, memory=memory, last_day=LAST, now_ns=now, settle_seconds=0.0)


def due(world: World, file: DropFile, *, memory: Memory = NOTHING_SEEN) -> list[date]:
    return list(look_at(world, file, memory=memory).due)


# ── any history ──────────────────────────────────────────────────────────────────────────────────────────────────────


STEPS = st.lists(st.tuples(st.sampled_from(["put", "drop", "load"]), st.integers(0, 1), st.integers(0, 2)), max_size=12)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_after_any_history_a_look_without_a_cursor_finds_exactly_the_days_that_differ(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]]
) -> None:
    """Oracle: what lies there and what was loaded, kept as plain dictionaries beside it."""
    world = World(tmp_path_factory.mktemp("landing"))
    there: dict[tuple[int, str], str] = {}
    in_lake: dict[tuple[int, str], str] = {}
    for kind, day, number in steps:
        name = f"{'ab'[number % 2]}.csv"
        if kind == "put":
            world.put(str(number), name, day=DAY + timedelta(days=day))
            there[day, name] = str(number)
        elif kind == "drop" and (day, name) in there:
            (world.landing / VIEWS / f"dt={DAY + timedelta(days=day)}" / name).unlink()
            del there[day, name]
        elif kind == "load" and any(d == day for d, _ in there):
            world.load(DAY + timedelta(days=day))
            in_lake = {k: v for k, v in in_lake.items() if k[0] != day} | {
                k: v for k, v in there.items() if k[0] == day
            }
    differ = [
        DAY + timedelta(days=day)
        for day in (0, 1)
        if (now := {k: v for k, v in there.items() if k[0] == day})
        and now != {k: v for k, v in in_lake.items() if k[0] == day}
    ]
    world.memory = NOTHING_SEEN
    assert list(world.look().due) == differ
