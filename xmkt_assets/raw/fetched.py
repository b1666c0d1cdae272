"""Fetched: what is remembered of remote files by version, in the spool folder: their hashes, the texts of manifests.

It spares work and is no truth of anything: without it, files are fetched and hashed once more. The copies themselves
come and go in ``lending``.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Versioned(Protocol):
    """A remote file in one version."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...


@dataclass(frozen=True)
class Fetched:
    """The spool `folder` with its book. Of every file the newest version is kept."""

    folder: Path

    def hashes(self) -> dict[tuple[str, str], str]:
        """(name, version) → SHA-256 of the content, of every file fetched so far."""
        with self._book() as book:
            return {(name, version): sha for name, version, sha in book.execute("select * from hashes")}

    def keep_hash(self, file: Versioned, sha256: str) -> None:
        with self._book() as book:
            book.execute("insert or replace into hashes values (?, ?, ?)", (file.name, file.version, sha256))

    def texts(self, files: Iterable[Versioned]) -> dict[str, str]:
        """Name → text, of those whose text is known in the version asked for."""
        wanted = {(file.name, file.version) for file in files}
        if not wanted:
            return {}
        with self._book() as book:
            found = book.execute("select * from texts").fetchall()
        return {name: text for name, version, text in found if (name, version) in wanted}

    def keep_text(self, file: Versioned, text: str) -> None:
        with self._book() as book:
            book.execute("insert or replace into texts values (?, ?, ?)", (file.name, file.version, text))

    def place(self, file: Versioned) -> Path:
        """Where the copy of this version lies: a name of our making, which keeps only the kind of file of theirs."""
        mark = hashlib.sha256(f"{file.name}\0{file.version}".encode("utf-8", "surrogatepass")).hexdigest()
        return self.folder / f"{mark}{kind_of(file.name)}"

    @contextmanager
    def _book(self) -> Iterator[sqlite3.Connection]:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        with closing(sqlite3.connect(self.folder / "book.sqlite", timeout=60)) as book, book:
            for table, content in (("hashes", "sha256"), ("texts", "content")):
                book.execute(
                    f"create table if not exists {table} (name text primary key, version text, {content} text)"
                )
            yield book


def kind_of(name: str) -> str:
    """The endings of a well-placed file: ``.csv.gz`` of ``a.b.csv.gz``; only letters and digits."""
    parts = name.rpartition("/")[2].split(".")[1:]
    endings = parts[-2:] if parts and parts[-1] == "gz" else parts[-1:]
    return "".join(f".{part}" for part in endings if part.isascii() and part.isalnum())
