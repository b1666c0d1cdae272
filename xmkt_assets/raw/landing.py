"""The landing folder: which partner files lie there, for which feed and day, and with what content.

Layout: ``landing/<partner>/<feed>/dt=YYYY-MM-DD/<any name>.{csv,csv.gz,parquet,jsonl}``. Reading the rows is
``load``'s work. Files and folders whose names begin with a dot or an underscore, or end in .tmp or .part, are still
being written and are not looked at.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final, NamedTuple

from xmkt_assets.contracts import PARTNERS, Contract

SUFFIXES: Final = (".csv", ".csv.gz", ".parquet", ".jsonl")
_UNFINISHED: Final = (".tmp", ".part", ".partial", ".crdownload")
_DAY: Final = re.compile(r"^dt=(\d{4}-\d{2}-\d{2})$")


@dataclass(frozen=True, slots=True, order=True)
class DropFile:
    """One file a partner delivered. `name` is its path below the landing folder."""

    feed: str
    dt: date
    partner: str
    name: str
    path: Path
    size_bytes: int
    modified_ns: int


class Stray(NamedTuple):
    """One file that belongs to no feed, with the reason and the remedy in words."""

    name: str
    reason: str


class Inventory(NamedTuple):
    """Everything that lies in the landing folder."""

    files: tuple[DropFile, ...]
    strays: tuple[Stray, ...]

    def of(self, feed: str, days: Iterable[date]) -> tuple[DropFile, ...]:
        wanted = set(days)
        return tuple(f for f in self.files if f.feed == feed and f.dt in wanted)


def take_inventory(landing: Path, feeds: Mapping[str, Contract], *, only_feed: str | None = None) -> Inventory:
    """Look through `landing`, or through the folders of one feed only.

    Linked folders and links that lead out are strays, so a name cannot reach other folders.
    """
    files, strays = [], []
    for path in _finished_files(landing, only_feed):
        found = _place(path, landing, feeds)
        if isinstance(found, Stray):
            strays.append(found)
        elif found is not None:
            files.append(found)
    return Inventory(tuple(sorted(files)), tuple(sorted(strays)))


def content_hash(path: Path) -> str:
    """SHA-256 of the file's bytes; empty where it cannot be read (any more)."""
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError:
        return ""


def _finished_files(landing: Path, only_feed: str | None) -> Iterator[Path]:
    """Files and linked folders below `landing`; linked folders are not entered."""
    for folder, inner, names in os.walk(landing):
        here = Path(folder)
        inner[:] = [name for name in inner if not _is_unfinished(name)]
        if only_feed and here.parent == landing:
            inner[:] = [name for name in inner if name == only_feed]
        yield from (here / name for name in inner if (here / name).is_symlink())
        if not only_feed or len(here.relative_to(landing).parts) > 1:
            yield from (here / name for name in names if not _is_unfinished(name))


def _is_unfinished(name: str) -> bool:
    return name.startswith((".", "_")) or name.endswith(_UNFINISHED)


def _place(path: Path, landing: Path, feeds: Mapping[str, Contract]) -> DropFile | Stray | None:
    """The file as what it is; None for one that has gone since its folder was read."""
    name = path.relative_to(landing).as_posix()
    parts = name.split("/")
    reason = _misplaced(path, parts, landing, feeds)
    if reason:
        return Stray(_printable(name), reason)
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return DropFile(parts[1], date.fromisoformat(parts[2][3:]), parts[0], name, path, stat.st_size, stat.st_mtime_ns)


def _misplaced(path: Path, parts: list[str], landing: Path, feeds: Mapping[str, Contract]) -> str:
    """Why the file belongs to no feed, or an empty string."""
    if path.is_symlink() and path.is_dir():
        return "a linked folder, which is not followed; deliver the folder itself."
    if len(parts) != 4:
        return "lies at the wrong depth; wanted <partner>/<feed>/dt=YYYY-MM-DD/<file>. Move it there."
    partner, feed, day, file = parts
    complaint = _unknown_sender(partner, feed, feeds)
    if not complaint and not _is_day(day):
        complaint = f"folder {day!r} is no day; wanted dt=YYYY-MM-DD, for example dt=2026-07-01. Rename the folder."
    if not complaint and not file.endswith(SUFFIXES):
        complaint = f"unknown kind of file; wanted one of {', '.join(SUFFIXES)}. Deliver it in one of these."
    return complaint or _unusable(path, file, landing)


def _unusable(path: Path, file: str, landing: Path) -> str:
    """Why a well-placed file cannot be read from there, or an empty string."""
    if _printable(file) != file:
        return "a name that is not UTF-8; rename the file."
    if not path.resolve().is_relative_to(landing.resolve()):
        return "a link that leads out of the landing folder; deliver the file itself."
    if path.is_symlink() and not path.exists():
        return "a link to a file that does not exist; deliver the file itself."
    if path.exists() and not path.is_file():
        return "no ordinary file; deliver one."
    return ""


def _printable(name: str) -> str:
    """The name with bytes that are no UTF-8 spelled out: such a name cannot be stored."""
    return name.encode("utf-8", errors="backslashreplace").decode()


def _unknown_sender(partner: str, feed: str, feeds: Mapping[str, Contract]) -> str:
    if partner not in PARTNERS:
        return f"unknown partner {partner!r}; wanted one of {', '.join(PARTNERS)}. Rename the folder."
    if feed not in feeds:
        known = ", ".join(sorted(feeds))
        return f"unknown feed {feed!r}; wanted one of {known}. Rename the folder or add a contract."
    if partner not in feeds[feed].partners:
        return f"{partner} does not deliver {feed}; its contract names {', '.join(feeds[feed].partners)}."
    return ""


def _is_day(folder: str) -> bool:
    match = _DAY.fullmatch(folder)
    if not match:
        return False
    try:
        date.fromisoformat(match[1])
    except ValueError:
        return False
    return True
