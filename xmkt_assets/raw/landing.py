"""The landing folder: which partner files lie there, for which feed and day, and with what content.

Layout: ``landing/<partner>/<feed>/dt=YYYY-MM-DD/<any name><one of SUFFIXES>``, in a local folder or at an address
(``stores``). Reading the rows is ``load``'s work. Files and folders whose names begin with a dot or an underscore, or
end in .tmp or .part, are still being written and are not looked at; ``completeness`` says when a day's folder with a
``_MANIFEST.json`` or a ``_SUCCESS`` is whole.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final, NamedTuple

from xmkt_assets.contracts import PARTNERS, Contract
from xmkt_assets.raw.completeness import NO_RULES, Promise, Rules, judge_folder
from xmkt_assets.raw.stores import MANIFEST, MARKERS, SUCCESS, Entry, LocalFolder, Store, flaw_of_name, printable

SUFFIXES: Final = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".jsonl", ".jsonl.gz", ".parquet")
_DAY: Final = re.compile(r"^dt=(\d{4}-\d{2}-\d{2})$")


@dataclass(frozen=True, slots=True, order=True)
class DropFile:
    """One file a partner delivered. `name` is its path below the landing folder.

    `path` is where it can be read; a remote file lies there only while it is lent. `version` is its store's mark of
    the content, `sha256` what is known of it without reading, `promise` what its manifest says; so are
    `expected_rows` and `contract_version`. A file with a `problem` is not read: the ledger says why.
    """

    feed: str
    dt: date
    partner: str
    name: str
    path: Path
    size_bytes: int
    modified_ns: int
    version: str = ""
    sha256: str = ""
    promise: Promise | None = None
    expected_rows: int | None = None
    contract_version: str | None = None
    problem: str | None = None

    @property
    def folder(self) -> str:
        return self.name.rpartition("/")[0]


class Stray(NamedTuple):
    """One file that belongs to no feed, with the reason and the remedy in words."""

    name: str
    reason: str


class Waiting(NamedTuple):
    """A folder of a day that is not whole yet: its day waits."""

    dt: date
    folder: str
    lacks: str


class Inventory(NamedTuple):
    """Everything that lies in the landing folder."""

    files: tuple[DropFile, ...] = ()
    strays: tuple[Stray, ...] = ()
    waiting: tuple[Waiting, ...] = ()

    def of(self, feed: str, days: Iterable[date]) -> tuple[DropFile, ...]:
        wanted = set(days)
        return tuple(f for f in self.files if f.feed == feed and f.dt in wanted)


def take_inventory(
    landing: Path | Store,
    feeds: Mapping[str, Contract],
    *,
    only_feed: str | None = None,
    rules: Rules = NO_RULES,
    now_ns: int = 0,
) -> Inventory:
    """Look through `landing`, or through the folders of one feed only.

    Linked folders and links that lead out are strays, so a name cannot reach other folders. `now_ns` ends the grace
    of folders that are not whole; without it they wait.
    """
    store = LocalFolder(landing) if isinstance(landing, Path) else landing
    below = [f"{partner}/{only_feed}" for partner in feeds[only_feed].partners] if only_feed else [""]
    folders: dict[str, _Folder] = {}
    strays = []
    for entry in store.entries(below=below):
        parts = entry.name.split("/")
        if parts[-1] in MARKERS:
            if not entry.is_folder and len(parts) == 4 and not _misplaced(parts[:3], feeds):
                _folder_of(entry, folders).markers[parts[-1]] = entry
        elif reason := _reason_to_stray(entry, parts, feeds):
            strays.append(Stray(printable(entry.name)[:500], reason))
        else:
            _folder_of(entry, folders).entries.append(entry)
    judged = list(_judged(folders, store, rules=rules, now_ns=now_ns))
    return Inventory(
        tuple(sorted(f for inventory in judged for f in inventory.files)),
        tuple(sorted([*strays, *(s for inventory in judged for s in inventory.strays)])),
        tuple(sorted(w for inventory in judged for w in inventory.waiting)),
    )


def content_hash(path: Path) -> str:
    """SHA-256 of the file's bytes; empty where it cannot be read (any more)."""
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError:
        return ""


class _Folder(NamedTuple):
    """What lies in the folder of one partner, feed and day."""

    name: str
    partner: str
    feed: str
    dt: date
    entries: list[Entry]
    markers: dict[str, Entry]

    def files(self, promises: Mapping[str, Promise]) -> tuple[DropFile, ...]:
        whose = (self.feed, self.dt, self.partner)
        files = []
        for name, size, modified, path, version, sha256, *_ in self.entries:
            file = DropFile(*whose, name, path, size, modified, version, sha256)
            if promise := promises.get(_last(name)):
                said = (promise, promise.rows, promise.contract_version)
                file = DropFile(*whose, name, path, size, modified, version, sha256, *said)
            files.append(file)
        return tuple(files)


def _folder_of(entry: Entry, folders: dict[str, _Folder]) -> _Folder:
    name = entry.name.rpartition("/")[0]
    if name not in folders:
        partner, feed, day = name.split("/")
        folders[name] = _Folder(name, partner, feed, date.fromisoformat(day[3:]), [], {})
    return folders[name]


def _judged(folders: Mapping[str, _Folder], store: Store, *, rules: Rules, now_ns: int) -> Iterator[Inventory]:
    """What may be read of each folder: all of it, what its manifest names, or nothing yet."""
    manifests = [folder.markers[MANIFEST] for folder in folders.values() if MANIFEST in folder.markers]
    texts = store.texts(manifests) if manifests else {}
    for folder in folders.values():
        if MANIFEST not in folder.markers and folder.partner not in rules.wait_for_success:
            yield Inventory(folder.files({}))
            continue
        verdict = judge_folder(
            folder.entries, folder.markers, texts.get(f"{folder.name}/{MANIFEST}"), rules=rules, now_ns=now_ns
        )
        if verdict.is_overdue:
            yield Inventory(strays=(_overdue(folder, verdict.lacks, rules),))
        elif verdict.lacks:
            yield Inventory(waiting=(Waiting(folder.dt, folder.name, verdict.lacks),))
        elif verdict.promises is None:
            yield Inventory(folder.files({}))
        else:
            yield _promised(folder, verdict.promises)


def _promised(folder: _Folder, promises: Mapping[str, Promise]) -> Inventory:
    """The files a manifest names; the others are strays."""
    reason = f"not named in the {MANIFEST} of its folder; deliver it with a manifest that names it."
    others = tuple(Stray(entry.name, reason) for entry in folder.entries if _last(entry.name) not in promises)
    return Inventory(tuple(file for file in folder.files(promises) if file.promise), others)


def _overdue(folder: _Folder, lacks: str, rules: Rules) -> Stray:
    name = f"{folder.name}/{MANIFEST if MANIFEST in folder.markers else SUCCESS}"
    waited = f"{rules.grace_seconds / 60:.0f} minutes"
    return Stray(name, f"this folder is not whole after {waited} and is not read: {lacks}. Deliver it whole.")


def _reason_to_stray(entry: Entry, parts: list[str], feeds: Mapping[str, Contract]) -> str:
    """Why the file belongs to no feed or cannot be read from there, or an empty string."""
    if entry.is_folder:
        return entry.flaw
    if len(parts) != 4:
        return "lies at the wrong depth; wanted <partner>/<feed>/dt=YYYY-MM-DD/<file>. Move it there."
    complaint = _misplaced(parts[:3], feeds)
    if not complaint and not parts[3].endswith(SUFFIXES):
        complaint = f"unknown kind of file; wanted one of {', '.join(SUFFIXES)}. Deliver it in one of these."
    return complaint or flaw_of_name(parts[3]) or entry.flaw


def _misplaced(folder: list[str], feeds: Mapping[str, Contract]) -> str:
    """Why a folder is not that of a partner's feed and day, or an empty string."""
    partner, feed, day = folder
    complaint = _unknown_sender(partner, feed, feeds)
    if not complaint and not _is_day(day):
        complaint = f"folder {day!r} is no day; wanted dt=YYYY-MM-DD, for example dt=2026-07-01. Rename the folder."
    return complaint


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


def _last(name: str) -> str:
    return name.rpartition("/")[2]
