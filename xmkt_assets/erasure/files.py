"""Files: the person leaves everything under the home that is no table. Found by the byte scan, so that new kinds count.

Tables of rows (landing, exports, sheets, any CSV, JSON lines or Parquet) lose the person's rows, SQLite and text files
(Dagster's and MLflow's books, logs, alerts) get asterisks over the ids. What is neither, is told.
"""

import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from xmkt_assets.contracts import contracts
from xmkt_assets.erasure.compact import masking
from xmkt_assets.erasure.requests import FOLDER as REQUESTS
from xmkt_assets.erasure.requests import Person
from xmkt_assets.erasure.tables import ACCOUNT_COLUMNS, PERSON_COLUMN, SUBJECT_COLUMN
from xmkt_assets.raw.landing import SUFFIXES
from xmkt_assets.raw.rewriting import Forgotten, RewriteError, Rewriting, stage_without

_COMPACT: Final = (sys.executable, "-m", "xmkt_assets.erasure.compact")
_ROWS: Final = (*SUFFIXES, ".txt")
_TEXTS: Final = (".log", ".out", ".err", ".json", ".yaml", ".yml", ".md", ".html", ".complete", "")
# Dealt with elsewhere: the lake by its own means, requests at the very end, the published file is made anew.
NOT_HERE: Final = ("lake/", f"{REQUESTS}/", "published/", "secrets/", "landing/")


class Cleared(NamedTuple):
    """One file that named the person, and what became of it."""

    file: str
    done: str


def forgotten_of(person: Person, partner: str | None) -> Forgotten:
    """Whom to leave out of files of `partner`; None = files of the platform."""
    ids: dict[str, frozenset[str]] = {}
    for column, firm in ACCOUNT_COLUMNS.items():
        ids[column] = frozenset(person.of(firm))
    firms = (partner,) if partner else tuple(dict.fromkeys(ACCOUNT_COLUMNS.values()))
    ids[SUBJECT_COLUMN] = frozenset(i for firm in firms for i in person.of(firm))
    if person.is_whole:
        ids[PERSON_COLUMN] = frozenset(person.person_ids)
    for contract in contracts().values():
        if contract.subject_column and partner in contract.partners:
            ids.setdefault(contract.subject_column, ids[SUBJECT_COLUMN])
    return Forgotten(ids, frozenset(person.words))


def stage_landing(landing: Path, person: Person) -> tuple[list[Rewriting], list[str]]:
    """Every delivered file without the person's rows, staged, and what could not be written without them."""
    staged, left = [], []
    for path in sorted(p for p in landing.rglob("*") if p.is_file() and not p.is_symlink()):
        if path.name.startswith((".", "_")):
            continue
        partner = path.relative_to(landing).parts[0]
        try:
            done = stage_without(path, forgotten_of(person, partner if partner in ACCOUNT_COLUMNS.values() else None))
        except RewriteError as error:
            left.append(f"{path.relative_to(landing).parent.as_posix()}: {error}")
            continue
        if done:
            staged.append(done)
    return staged, left


def clear(home: Path, files: Iterable[str], person: Person) -> list[Cleared]:
    """Take the person out of `files`, which the scan has found to name them."""
    return [
        Cleared(file, _clear(home / file, person))
        for file in sorted(set(files))
        if not file.startswith(NOT_HERE) and (home / file).exists()
    ]


def _clear(path: Path, person: Person) -> str:
    with path.open("rb") as handle:
        head = handle.read(16)
    if path.name.endswith(("-wal", "-shm", "-journal")):
        return "went with its database"
    if head == b"SQLite format 3\0":
        return _overwrite_database(path, person.words)
    if path.name.endswith(_ROWS) and (path.suffix != ".jsonl" or "alerts" not in path.name):
        try:
            done = stage_without(path, forgotten_of(person, None))
        except RewriteError:
            done = None
        if done:
            done.put()
            return f"{done.rows_removed} rows removed, {done.rows_masked} overwritten"
    if path.suffix in (*_TEXTS, ".jsonl", ".txt", ".csv", ".tsv"):
        return _overwrite_text(path, person.words)
    return "left: nothing is known of its kind"


def _overwrite_text(path: Path, words: Sequence[str]) -> str:
    """In place and of the same length, because a process may be writing on to the file."""
    with path.open("r+b") as handle:
        content = handle.read()
        clear_content = masking(words)(content)
        handle.seek(0)
        handle.write(clear_content)
    return "ids overwritten" if clear_content != content else "left: it names the person in a way that is not known"


def _overwrite_database(path: Path, words: Sequence[str]) -> str:
    done = subprocess.run(
        [*_COMPACT, str(path)], input="\n".join(words), capture_output=True, encoding="utf-8", check=False
    )
    return "ids overwritten" if done.returncode == 0 else "left: the database is in use"
