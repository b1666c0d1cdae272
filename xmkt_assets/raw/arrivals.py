"""Arrivals: which days' partner files are not in the lake as they lie now. Pure.

The ledger is the truth of what has been loaded: a day is due when the names and contents of the files in one of its
folders (one partner, one feed) differ from the ledger's. So the same file again starts nothing, a corrected one does,
a lost memory costs only hashing, and a folder that was cleared says nothing: its rows stay as they are.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Final, NamedTuple

import polars as pl

from xmkt_assets.raw.landing import DropFile, content_hash


class Unsettled(NamedTuple):
    """The mark of a day with a file dated in the future, and since when it has been seen unchanged."""

    mark: str
    since_ns: int


class Memory(NamedTuple):
    """What one look hands to the next. `seen`: day → quick mark (names, sizes, times, versions) of what was judged."""

    seen: Mapping[str, str] = {}
    unsettled: Mapping[str, Unsettled] = {}

    def to_text(self) -> str:
        return json.dumps({"seen": self.seen, "unsettled": self.unsettled})


NOTHING_SEEN: Final = Memory()


class Arrivals(NamedTuple):
    """`due` days with the signature of their files, and the `memory` to hand back at the next look."""

    due: dict[date, str]
    memory: Memory


def remembered(text: str | None) -> Memory:
    """The memory of a text; an empty one for no text or a text of another kind."""
    found = json.loads(text or "{}")
    unsettled = {day: Unsettled(*state) for day, state in found.get("unsettled", {}).items()}
    return Memory(found.get("seen", {}), unsettled)


def find_arrivals(
    files: Iterable[DropFile],
    ledger: pl.DataFrame,
    *,
    memory: Memory = NOTHING_SEEN,
    waiting: Iterable[date] = (),
    last_day: date,
    now_ns: int,
    settle_seconds: float,
) -> Arrivals:
    """Days up to `last_day` whose files changed. `ledger` has dt, source_file, sha256 of what was loaded.

    A day is left for the next look where it is among the `waiting`, or has a file younger than `settle_seconds`,
    which may still be growing. Where a file is dated in the future, by a clock that is wrong, the day must have been
    seen unchanged for that long.
    """
    loaded = _by_folder(ledger.select("source_file", "sha256").iter_rows())
    due: dict[date, str] = {}
    seen: dict[str, str] = {}
    unsettled: dict[str, Unsettled] = {}
    settle_ns = int(settle_seconds * 1e9)
    for day, of_day in _by_day(files, until=last_day, without=set(waiting)):
        key, mark, newest_ns = day.isoformat(), _quick_mark(of_day), max(file.modified_ns for file in of_day)
        if newest_ns > now_ns:
            before = memory.unsettled.get(key)
            unsettled[key] = before if before and before.mark == mark else Unsettled(mark, now_ns)
            is_settled = before is not None and now_ns - unsettled[key].since_ns >= max(settle_ns, 1)
        else:
            is_settled = newest_ns <= now_ns - settle_ns
        if not is_settled:
            continue
        if memory.seen.get(key) != mark:
            contents = [(file.name, _fingerprint(file)) for file in of_day]
            if any(loaded.get(folder) != signature for folder, signature in _by_folder(contents).items()):
                due[day] = _signature(contents)
        seen[key] = mark
    return Arrivals(due, Memory(seen, unsettled))


def _by_day(files: Iterable[DropFile], *, until: date, without: set[date]) -> list[tuple[date, list[DropFile]]]:
    by_day: dict[date, list[DropFile]] = {}
    for file in files:
        if file.dt <= until and file.dt not in without:
            by_day.setdefault(file.dt, []).append(file)
    return sorted(by_day.items())


def _fingerprint(file: DropFile) -> str:
    """The hash the ledger has if this content was loaded; empty for one that was refused unread.

    A remote file that was never fetched is told by its version: it cannot have been loaded.
    """
    if not file.sha256 and file.version:
        return f"never fetched: {file.version}"
    sha256 = file.sha256 or content_hash(file.path)
    return "" if file.promise and file.promise.sha256 != sha256 else sha256


def _by_folder(contents: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Folder → signature of its files, from (name, hash) pairs."""
    folders: dict[str, list[tuple[str, str]]] = {}
    for name, sha256 in contents:
        folders.setdefault(name.rpartition("/")[0], []).append((name, sha256))
    return {folder: _signature(pairs) for folder, pairs in folders.items()}


def _signature(pairs: Iterable[tuple[str, str]]) -> str:
    return hashlib.sha256("\n".join(f"{name} {sha}" for name, sha in sorted(pairs)).encode()).hexdigest()[:16]


def _quick_mark(files: Iterable[DropFile]) -> str:
    facts = "\n".join(f"{f.name} {f.size_bytes} {f.modified_ns} {f.version} {f.promise}" for f in files)
    return hashlib.sha256(facts.encode()).hexdigest()[:16]
