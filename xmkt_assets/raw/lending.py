"""Lending: partner files as local files, for as long as a load needs them.

Files of a local folder are read where they lie. Remote files are copied to the spool folder of the home once, and
removed when the load has been committed; after a failure the copies stay a day, so that the next try need not fetch
them again. A file that breaks its manifest's promise, has gone or will not stand still is lent with a `problem`.
"""

import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from xmkt_assets.processes import is_running
from xmkt_assets.raw.landing import DropFile, content_hash
from xmkt_assets.raw.stores import Entry, LocalFolder, RemoteFolder, Store

LOG: Final = logging.getLogger(__name__)
KEPT_SECONDS: Final = 86_400.0
_FETCHED_AT_ONCE: Final = 8
_ROUNDS: Final = 3


@contextmanager
def lent(store: Store, files: Sequence[DropFile]) -> Iterator[tuple[DropFile, ...]]:
    """`files` with a `path` to read each from, checked against its manifest."""
    if isinstance(store, LocalFolder):
        yield tuple(_checked(file) for file in files)
        return
    with _desk(store.fetched.folder) as desk:
        here = _all_copied(store, files, desk)
        yield here
        for file in here:
            store.fetched.place(file).unlink(missing_ok=True)


def _all_copied(store: RemoteFolder, files: Sequence[DropFile], desk: Path) -> tuple[DropFile, ...]:
    started = time.monotonic()
    with ThreadPoolExecutor(_FETCHED_AT_ONCE) as pool:
        here = tuple(pool.map(lambda file: _checked(_copied(store, file, desk)), files))
    if here:
        size_mib, took = sum(file.size_bytes for file in here) / (1 << 20), time.monotonic() - started
        LOG.info("%d files, %.1f MiB, at hand from %s after %.1f s", len(here), size_mib, store.address, took)
    return here


def _checked(file: DropFile) -> DropFile:
    """The file, refused where its content is not what its manifest promises."""
    if file.promise is None or file.problem:
        return file
    found = file.sha256 or content_hash(file.path)
    if found == file.promise.sha256:
        return replace(file, sha256=found)
    said = f"sha256 {found}" if found else "nothing to read any more"
    wanted = f"is not what its manifest promises: found {said}, wanted sha256 {file.promise.sha256}."
    return replace(file, problem=f"{wanted} Deliver the file again, then its manifest.")


def _copied(store: RemoteFolder, file: DropFile, desk: Path) -> DropFile:
    """The file with a copy of its own on the `desk`, from the spool folder or fetched."""
    copy = desk / store.fetched.place(file).name
    if file.sha256 and _linked(store.fetched.place(file), copy):
        return replace(file, path=copy)
    entry = Entry(file.name, file.size_bytes, file.modified_ns, copy, file.version)
    for _ in range(_ROUNDS):
        try:
            now = store.fetch(entry, copy)
        except FileNotFoundError:
            gone = "has gone since its folder was listed; nothing of it was read. Deliver it again if it is wanted."
            return replace(file, problem=gone, path=copy)
        if now.version == entry.version and copy.stat().st_size == now.size_bytes:
            return _kept(store, replace(file, size_bytes=now.size_bytes, version=now.version, path=copy))
        entry = now
    copy.unlink(missing_ok=True)
    restless = f"changed {_ROUNDS} times while it was fetched. Deliver it under another name, then rename it."
    return replace(file, problem=restless, path=copy)


def _kept(store: RemoteFolder, file: DropFile) -> DropFile:
    """Remember what the copy holds, and leave it in the spool folder too."""
    file = replace(file, sha256=content_hash(file.path))
    _linked(file.path, store.fetched.place(file))
    store.fetched.keep_hash(file, file.sha256)
    return file


def _linked(there: Path, here: Path) -> bool:
    """A second name for a file: whoever removes one name takes nothing from a reader of the other."""
    try:
        here.hardlink_to(there)
    except FileNotFoundError:
        return False
    except FileExistsError:
        return True
    return True


@contextmanager
def _desk(spool: Path) -> Iterator[Path]:
    """A folder of this process's own in the spool folder, which goes when the block ends however it ends."""
    spool.mkdir(parents=True, exist_ok=True)
    _tidy(spool)
    desk = Path(tempfile.mkdtemp(prefix=f"lent-{os.getpid()}-", dir=spool))
    try:
        yield desk
    finally:
        shutil.rmtree(desk, ignore_errors=True)


def _tidy(spool: Path) -> None:
    """Remove what killed loads left behind: folders of processes that are gone, and copies older than a day."""
    before = time.time() - KEPT_SECONDS
    for left in spool.iterdir():
        with suppress(FileNotFoundError):  # another load tidies, too
            if left.name.startswith("lent-"):
                if not is_running(int(left.name.split("-")[1])):
                    shutil.rmtree(left, ignore_errors=True)
            elif left.is_file() and not left.name.startswith("book.") and left.stat().st_mtime < before:
                left.unlink()
