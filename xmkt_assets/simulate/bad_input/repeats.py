"""Kinds of bad input: the same row, key or file more than once, in one delivery or after the first load."""

from datetime import timedelta
from typing import Final

from xmkt_assets.simulate.bad_input.kinds import (
    BadInput,
    Content,
    Expected,
    Files,
    Slot,
    as_csv,
    as_parquet,
    good,
    loaded,
    several,
)

_VIEWS: Final = "course_views"
_OPTOUTS: Final = "contact_optouts"


def _views(slot: Slot, prefix: str, count: int, **changed: str) -> list[dict[str, str]]:
    return [{**row, **changed} for row in several(_VIEWS, slot, prefix, count)]


def _file(slot: Slot, name: str, count: int, **changed: str) -> dict[str, Content]:
    return {f"{name}.csv": as_csv(_views(slot, name, count, **changed)).encode()}


def _repeated(slot: Slot) -> Files:
    rows = _views(slot, "repeated", 2)
    return {"repeated.csv": as_csv([*rows, rows[0]]).encode()}


def _disputed(slot: Slot) -> Files:
    rows = _views(slot, "disputed", 2)
    return {"disputed.csv": as_csv([*rows, {**rows[0], "dwell_seconds": "31"}]).encode()}


def _two_versions(slot: Slot) -> Files:
    new, old = (f"{slot.day}T{hour}:00:00Z" for hour in ("09", "08"))
    rows = [good("users", slot, "versions", updated_at=new), good("users", slot, "versions", updated_at=old)]
    return {"versions.csv": as_csv(rows).encode()}


def _overlapping(slot: Slot) -> Files:
    rows = _views(slot, "overlap", 6)
    return {"overlap-a.csv": as_csv(rows[:4]).encode(), "overlap-b.parquet": as_parquet(rows[2:])}


def _on_two_days(slot: Slot) -> Files:
    """One decision in the folders of two days, its time differing: nobody can tell which is right."""
    days = (slot.day, slot.day + timedelta(days=1))
    rows = {day: as_csv([good(_OPTOUTS, Slot(day, slot.seed), "two-days")]).encode() for day in days}
    return {f"course_platform/{_OPTOUTS}/dt={day}/two-days.csv": content for day, content in rows.items()}


IN_ONE_DELIVERY: Final = (
    BadInput(
        "a row twice",
        "The export was retried from the middle.",
        _repeated,
        loaded(2, duplicate=1),
    ),
    BadInput(
        "a key with two contents",
        "A row was corrected and both versions were sent.",
        _disputed,
        loaded(2, duplicate=1),
        ("different contents: 1",),
    ),
    BadInput(
        "two versions of a row",
        "Every change of the day is sent; the newest counts, wherever it stands. No fault.",
        _two_versions,
        loaded(1, duplicate=1),
        feed="users",
    ),
    BadInput(
        "the same file under two names",
        "A retry gave the file a new name.",
        lambda slot: {f"copy-{i}.csv": as_csv(_views(slot, "copy", 3)).encode() for i in (1, 2)},
        loaded(3, duplicate=3),
    ),
    BadInput(
        "files that overlap",
        "The export runs every hour over the last two; and in two formats.",
        _overlapping,
        loaded(6, duplicate=2),
    ),
    BadInput(
        "one event in the folders of two days",
        "The event was sent again the next day with another time.",
        _on_two_days,
        Expected("stops", loaded=2),
        ("two-days", "optout_id"),
        feed=_OPTOUTS,
        alone=True,
        days=2,
    ),
)

AFTER_THE_FIRST_LOAD: Final = (
    BadInput(
        "the same file again",
        "The partner's job sends the last week every night; no fault, nothing changes.",
        lambda slot: _file(slot, "again", 3),
        loaded(3),
        again=lambda slot: _file(slot, "again", 3),
    ),
    BadInput(
        "a corrected file",
        "The partner found its mistake; the new rows take the place of the old ones.",
        lambda slot: _file(slot, "corrected", 5),
        loaded(2),
        again=lambda slot: _file(slot, "corrected", 2, dwell_seconds="99"),
    ),
    BadInput(
        "a file that grew",
        "The partner appends to the day's file; no fault.",
        lambda slot: _file(slot, "grown", 2),
        loaded(4),
        again=lambda slot: _file(slot, "grown", 4),
    ),
    BadInput(
        "a late file",
        "One of the partner's servers was down; its rows come later, to the day they belong to.",
        lambda slot: _file(slot, "late-1", 2),
        loaded(5),
        again=lambda slot: _file(slot, "late-2", 3),
    ),
    BadInput(
        "a file withdrawn",
        "It was sent to the wrong day; its rows go with it, the day's other files stay.",
        lambda slot: _file(slot, "withdrawn", 3),
        Expected("waits"),
        again=lambda slot: {"withdrawn.csv": None},
    ),
    BadInput(
        "a sound file replaced by a broken one",
        "The repeated upload broke off: the rows of the first stay until it comes whole.",
        lambda slot: {"worse.parquet": as_parquet(_views(slot, "worse", 3))},
        Expected("unreadable", kept=3),
        ("deliver it again",),
        again=lambda slot: {"worse.parquet": as_parquet(_views(slot, "worse", 3))[:-9]},
    ),
)

REPEATS: Final = (*IN_ONE_DELIVERY, *AFTER_THE_FIRST_LOAD)
