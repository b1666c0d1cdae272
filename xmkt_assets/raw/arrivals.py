"""Arrivals: which days' partner files are not in the lake as they lie now. Pure.

The ledger is the truth of what has been loaded: a day is due when the names and contents of the files in one of its
folders (one partner, one feed) differ from the ledger's. So the same file again starts nothing, a corrected one does,
a lost cursor costs only hashing, and a folder that was cleared says nothing: its rows stay as they are.
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import date
from typing import NamedTuple

import polars as pl

from xmkt_assets.raw.landing import DropFile, content_hash


class Arrivals(NamedTuple):
    """`due` days with the signature of their files, and the `seen` marks to hand back at the next look."""

    due: dict[date, str]
    seen: dict[str, str]


def find_arrivals(
    files: Iterable[DropFile], ledger: pl.DataFrame, *, seen: Mapping[str, str], last_day: date, settled_before_ns: int
) -> Arrivals:
    """Days up to `last_day` whose files changed. `ledger` has dt, source_file, sha256 of what was loaded.

    `seen` maps a day to the quick mark (names, sizes, times) at the last look: an unchanged mark spares hashing. A
    day with a file younger than `settled_before_ns` is left for the next look: the file may still be growing.
    """
    by_day: dict[date, list[DropFile]] = {}
    for file in files:
        by_day.setdefault(file.dt, []).append(file)
    loaded = _by_folder(ledger.select("source_file", "sha256").iter_rows())
    due, marks = {}, {}
    for day, of_day in sorted(by_day.items()):
        if day > last_day or any(f.modified_ns > settled_before_ns for f in of_day):
            continue
        mark = _quick_mark(of_day)
        if seen.get(day.isoformat()) != mark:
            contents = [(f.name, content_hash(f.path)) for f in of_day]
            if any(loaded.get(folder) != signature for folder, signature in _by_folder(contents).items()):
                due[day] = _signature(contents)
        marks[day.isoformat()] = mark
    return Arrivals(due, marks)


def _by_folder(contents: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Folder → signature of its files, from (name, hash) pairs."""
    folders: dict[str, list[tuple[str, str]]] = {}
    for name, sha256 in contents:
        folders.setdefault(name.rpartition("/")[0], []).append((name, sha256))
    return {folder: _signature(pairs) for folder, pairs in folders.items()}


def _signature(pairs: Iterable[tuple[str, str]]) -> str:
    return hashlib.sha256("\n".join(f"{name} {sha}" for name, sha in sorted(pairs)).encode()).hexdigest()[:16]


def _quick_mark(files: Iterable[DropFile]) -> str:
    facts = "\n".join(f"{f.name} {f.size_bytes} {f.modified_ns}" for f in sorted(files))
    return hashlib.sha256(facts.encode()).hexdigest()[:16]
