"""Stores: where partner files lie, a local folder or any fsspec address, listed and fetched alike.

Here: listing, fetching with retries, small texts, and what makes a name or a link unsafe. What a file is (partner,
feed, day) is ``landing``'s to say; how long a fetched copy is kept is ``lending``'s.
"""

import os
import re
import shutil
import stat
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

from xmkt_assets.raw.fetched import Fetched

UNFINISHED: Final = (".tmp", ".part", ".partial", ".crdownload")
MANIFEST: Final = "_MANIFEST.json"
SUCCESS: Final = "_SUCCESS"
MARKERS: Final = (MANIFEST, SUCCESS)
LONGEST_TEXT_BYTES: Final = 4 << 20
_LONGEST_NAME_BYTES: Final = 255
_LINKED_FOLDER: Final = "a linked folder, which is not followed; deliver the folder itself."
_LARGE_BYTES: Final = 32 << 20
_PIECE_BYTES: Final = 8 << 20
_LISTED: Final = "be listed"
_PAUSES_SECONDS: Final = (0.5, 1.0, 2.0)
# Stores try again by themselves, too: an object store that is away may use this up in two tries.
_LONGEST_TRYING_SECONDS: Final = 15.0
# What stores call the mark that changes with the content of a file.
_VERSION_FIELDS: Final = ("ETag", "etag", "md5Hash", "content_md5", "checksum", "generation", "VersionId", "uid")
_TIME_FIELDS: Final = ("LastModified", "last_modified", "mtime", "updated", "modified", "created")

T = TypeVar("T")


class StoreError(RuntimeError):
    """The landing address cannot be reached or read as a whole."""


# Trying again does not help against these.
_FINAL: Final = (StoreError, FileNotFoundError, PermissionError, ImportError, TypeError, ValueError)


class Entry(NamedTuple):
    """One file a store lists. `name` is its path below the landing folder, as it came.

    `version` is the store's own mark of the content, empty in a local folder; `sha256` is known for a version that was
    fetched before; `flaw` says why nothing may be read from there.
    """

    name: str
    size_bytes: int
    modified_ns: int
    path: Path
    version: str = ""
    sha256: str = ""
    flaw: str = ""
    is_folder: bool = False


@dataclass(frozen=True)
class LocalFolder:
    """A folder of this machine: its files are read where they lie."""

    root: Path

    def entries(self, *, below: Sequence[str] = ("",)) -> Iterator[Entry]:
        """Finished files and marker files below some folders; a linked folder is told and not entered."""
        folders = []
        for start in below:
            outer = [folder for folder in Path(start).parents if folder != Path()]
            if start and (self.root / start).is_symlink():
                yield Entry(start, 0, 0, self.root / start, flaw=_LINKED_FOLDER, is_folder=True)
            elif not any((self.root / folder).is_symlink() for folder in outer):
                folders.append(f"{start}/" if start else "")
        while folders:
            prefix = folders.pop()
            for item in self._items(prefix):
                if isinstance(item, Entry):
                    yield item
                elif item.is_dir(follow_symlinks=False):
                    if not is_unfinished(item.name):
                        folders.append(f"{prefix}{item.name}/")
                elif not is_unfinished(item.name) and (found := self._entry(item, f"{prefix}{item.name}")):
                    yield found

    def texts(self, entries: Sequence[Entry]) -> dict[str, str | None]:
        """Contents of small files; None for one that is gone, too long or no UTF-8."""
        return {entry.name: _small_text(entry) for entry in entries}

    def _items(self, prefix: str) -> "list[os.DirEntry[str] | Entry]":
        folder = self.root / prefix
        try:
            with os.scandir(folder) as found:
                return list(found)
        except FileNotFoundError:
            return []
        except OSError as error:
            flaw = f"a folder that cannot be listed ({error.strerror}); correct its permissions or its name."
            return [Entry(prefix.rstrip("/") or ".", 0, 0, folder, flaw=flaw, is_folder=True)]

    def _entry(self, item: "os.DirEntry[str]", name: str) -> Entry | None:
        """The file with what is wrong with it; None for one that has gone since its folder was listed."""
        path, is_link = Path(item.path), item.is_symlink()
        if is_link and path.is_dir():
            return Entry(name, 0, 0, path, flaw=_LINKED_FOLDER, is_folder=True)
        flaw = self._flaw_of_link(path, name) if is_link else ""
        try:
            found = item.stat()
        except OSError:
            dangling = "a link to a file that does not exist; deliver the file itself."
            return Entry(name, 0, 0, path, flaw=flaw or dangling) if is_link else None
        if not flaw and not stat.S_ISREG(found.st_mode):
            flaw = "no ordinary file but a pipe, socket or device; deliver the file itself."
        return Entry(name, found.st_size, found.st_mtime_ns, path, flaw=flaw)

    def _flaw_of_link(self, path: Path, name: str) -> str:
        """A link may not lead out of the folder of the partner it lies in: one partner reads nothing of another's."""
        own = self.root / name.split("/", maxsplit=1)[0]
        try:
            is_inside = path.resolve().is_relative_to(own.resolve())
        except (OSError, RuntimeError):
            return "a link that leads round in a circle; deliver the file itself."
        return "" if is_inside else "a link that leads out of the landing folder; deliver the file itself."


@dataclass(frozen=True)
class RemoteFolder:
    """A folder of an object store or server that fsspec knows; its files are fetched before they are read.

    `fetched` remembers what fetched versions held, so that an unchanged file is neither fetched nor hashed again.
    """

    address: str
    fetched: Fetched
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    pause: Callable[[float], None] = field(default=time.sleep, repr=False)

    def entries(self, *, below: Sequence[str] = ("",)) -> Iterator[Entry]:
        """Finished files and marker files below some folders, as one listing says."""
        listed = self._patiently(lambda: self._find(below), _LISTED)
        known = self.fetched.hashes()
        for key, info in listed.items():
            name = key.removeprefix(f"{self._root}/")
            if name == key or name.endswith("/") or any(is_unfinished(part) for part in name.split("/")):
                continue
            entry = self._entry(name, info)
            yield entry._replace(sha256=known.get((name, entry.version), ""))

    def texts(self, entries: Sequence[Entry]) -> dict[str, str | None]:
        """Contents of small files, each version fetched once; None for one that is gone, too long or no UTF-8."""
        texts: dict[str, str | None] = dict(self.fetched.texts(entries))
        new = {self._key(e.name): e for e in entries if e.name not in texts and e.size_bytes <= LONGEST_TEXT_BYTES}
        read = self._patiently(lambda: self._fs.cat(list(new), on_error="return"), "be read") if new else {}
        for key, entry in new.items():
            content = read.get(key)
            texts[entry.name] = _decoded(content) if isinstance(content, bytes) else None
            if (text := texts[entry.name]) is not None:
                self.fetched.keep_text(entry, text)
        return {entry.name: texts.get(entry.name) for entry in entries}

    def fetch(self, entry: Entry, into: Path) -> Entry:
        """Copy a file to `into`, piece by piece, and say which version it has afterwards.

        Raises FileNotFoundError for one that is gone. It changed meanwhile where the versions differ.
        """
        key = self._key(entry.name)
        self._patiently(lambda: self._copy(key, entry.size_bytes, into), f"hand out {entry.name}")
        self._fs.invalidate_cache()
        return self._entry(entry.name, self._patiently(lambda: self._fs.info(key), f"describe {entry.name}"))

    def _copy(self, key: str, size_bytes: int, into: Path) -> None:
        """A small file by the store's own quickest way; of a large one, stores would hold many pieces in memory."""
        if size_bytes <= _LARGE_BYTES:
            self._fs.get_file(key, str(into))
            return
        with self._fs.open(key, "rb", block_size=_PIECE_BYTES) as source, into.open("wb") as target:
            shutil.copyfileobj(source, target, _PIECE_BYTES)

    def _find(self, below: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        self._fs.invalidate_cache()
        found: dict[str, Mapping[str, Any]] = {}
        for folder in below:
            found.update(self._fs.find(f"{self._root}/{folder}".rstrip("/"), detail=True))
        if not found:
            with suppress(FileNotFoundError):  # an empty folder; other stores list nothing where they cannot be reached
                self._fs.info(self._root)
        return found

    def _entry(self, name: str, info: Mapping[str, Any]) -> Entry:
        modified_ns = _modified_ns(info)
        mark = next((str(info[f]).strip('"') for f in _VERSION_FIELDS if info.get(f)), str(modified_ns))
        size = int(info.get("size") or 0)
        entry = Entry(name, size, modified_ns, Path(name), version=f"{mark} {size}", flaw=_flaw_of_key(name))
        return entry._replace(path=self.fetched.place(entry))

    def _key(self, name: str) -> str:
        return f"{self._root}/{name}"

    @property
    def _fs(self) -> Any:
        return self._opened[0]

    @property
    def _root(self) -> str:
        return self._opened[1]

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        import fsspec

        try:
            fs, root = fsspec.core.url_to_fs(self.address, **self.options)
        except (ImportError, ValueError, TypeError) as error:
            raise StoreError(self._said("be opened", error, tries=1)) from error
        return fs, root.rstrip("/")

    def _patiently(self, action: Callable[[], T], what: str) -> T:
        """Do it; after an error that may pass, wait and try again, longer each time, then give up."""
        give_up_at = time.monotonic() + _LONGEST_TRYING_SECONDS
        for tries, pause in enumerate((*_PAUSES_SECONDS, 0.0), start=1):
            try:
                return action()
            except Exception as error:
                if isinstance(error, StoreError) or (isinstance(error, FileNotFoundError) and what != _LISTED):
                    raise
                if not pause or isinstance(error, _FINAL) or time.monotonic() > give_up_at:
                    raise StoreError(self._said(what, error, tries=tries)) from error
                self.pause(pause)
        raise AssertionError("the last turn returns or raises")

    def _said(self, what: str, error: Exception, *, tries: int) -> str:
        text = str(error) or type(error).__name__
        for secret in _leaves(self.options):
            text = text.replace(secret, "***")
        tried = "tried once" if tries == 1 else f"tried {tries} times"
        extra = " Install what reads it: pip install 'xmkt_assets[s3]'." if isinstance(error, ImportError) else ""
        return (
            f"The partner files' address {self.address} cannot {what}: {text[:300]} ({tried}).{extra} "
            "Check XMKT_LANDING, the network, and the credentials in XMKT_LANDING_OPTIONS or landing.yaml of the "
            "home; then run it again. Nothing was changed."
        )


Store = LocalFolder | RemoteFolder


def open_store(address: str, *, spool: Path | None = None, options: Mapping[str, Any] | None = None) -> Store:
    """The store at a path or an fsspec address (``scheme://``); a remote one needs a `spool` folder for its copies."""
    scheme, found, rest = address.partition("://")
    if not found:
        return LocalFolder(Path(address))
    if scheme in ("file", "local"):
        return LocalFolder(Path(rest))
    if urlsplit(address).password or "@" in urlsplit(address).netloc:
        raise StoreError(
            f"XMKT_LANDING is an address of {scheme}:// with credentials in it, which would be shown in logs. Put them "
            "into XMKT_LANDING_OPTIONS or landing.yaml of the home, as fsspec storage options."
        )
    if spool is None:
        raise StoreError(f"Files of {address} are fetched before they are read; give PartnerDrops a home to fetch to.")
    return RemoteFolder(address, Fetched(spool), options or {})


def is_unfinished(name: str) -> bool:
    """Whether a file or folder of this name is still being written, or hidden. Marker files are neither."""
    return (name.startswith((".", "_")) or name.endswith(UNFINISHED)) and name not in (*MARKERS, ".", "..")


def printable(name: str) -> str:
    """The name with every character that cannot be stored or shown spelled out: bytes that are no UTF-8, controls."""
    return "".join(c if _is_shown(c) else c.encode("unicode_escape").decode() for c in name)


def flaw_of_name(file: str) -> str:
    """Why a file name cannot be stored, shown or told apart, or an empty string."""
    if any("\ud800" <= c <= "\udfff" for c in file):
        return "a name that is not UTF-8; rename the file."
    if not all(_is_shown(c) for c in file):
        return "a name with control or invisible characters; rename the file."
    if len(file.encode()) > _LONGEST_NAME_BYTES:
        return f"a name of {len(file.encode())} bytes; wanted at most {_LONGEST_NAME_BYTES}. Rename the file."
    return ""


def _flaw_of_key(name: str) -> str:
    """Why an object's key is no path below the landing folder: in an object store ``a/../b`` is a plain name."""
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "a key with an empty part, '.' or '..'; deliver it under a plain path."
    if "?versionid=" in name.lower():
        return "a key that asks for a version (?versionId=); deliver it under a plain name."
    return ""


def _is_shown(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"


def _small_text(entry: Entry) -> str | None:
    if entry.flaw or entry.size_bytes > LONGEST_TEXT_BYTES:
        return None
    try:
        with entry.path.open("rb") as handle:
            return _decoded(handle.read(LONGEST_TEXT_BYTES))
    except OSError:
        return None


def _decoded(content: bytes) -> str | None:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _modified_ns(info: Mapping[str, Any]) -> int:
    """When the file was last changed, as its store says; 0 where it does not say."""
    said = next((info[name] for name in _TIME_FIELDS if info.get(name)), 0)
    if isinstance(said, str):
        said = datetime.fromisoformat(said) if re.match(r"\d{4}-\d\d-\d\d", said) else 0
    if isinstance(said, datetime):
        said = (said if said.tzinfo else said.replace(tzinfo=UTC)).timestamp()
    return int(said * 1_000_000_000) if isinstance(said, int | float) else 0


def _leaves(options: Mapping[str, Any]) -> Iterator[str]:
    """Texts among storage options that no error may repeat: all but addresses and short words."""
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _leaves(value)
        elif isinstance(value, str) and len(value) >= 4 and "url" not in name and "region" not in name:
            yield value
