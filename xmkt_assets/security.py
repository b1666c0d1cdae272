"""What lies where it must not: a scan of every byte under a home for given values, or for what looks like a contact.

Every file is read as it lies on the disk and, where it is packed, unpacked: gzip, zip (and so npz), Parquet, SQLite,
DuckDB. Values are looked for in the encodings a program may have stored them in; numpy keeps text as UTF-32. What is
found is told by file and place, never by value: a report of leaks must not be one more.

`scan_home` looks from a process of its own. Trap, and the reason: a process that opens and closes a SQLite file beside
the library that has it open drops that library's locks (sqlite.org/howtocorrupt.html, 2.2).

Run it: ``python -m xmkt_assets.security --home data --needles FILE`` (one value a line, - reads the pipe), or
``--patterns`` for phones, e-mail addresses and Chinese ID numbers. Exit code 0 = nothing found, 1 = something.
"""

import argparse
import gzip
import io
import json
import re
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import polars as pl

if TYPE_CHECKING:
    import duckdb

CHUNK: Final = 64 << 20  # to begin a search for thousands of values costs more than to look through 64 MiB
ENCODINGS: Final = ("utf-8", "gb18030", "utf-16-le", "utf-32-le")
KINDS: Final = ("phone", "e-mail", "ID number")
_DEEPEST: Final = 3  # an archive in an archive in an archive; deeper ones are told as unreadable
_OVERLAP: Final = 4096
_BEGINNING: Final = 24
_BETWEEN: Final = b"\n\0\0\0\n"
_NOT_TEXT: Final = ("BOOLEAN", "DATE", "TIME", "FLOAT", "DOUBLE", "DECIMAL", "INTERVAL")
# Eight zeros at the end: the example in the sharing agreement's own words, and nobody's number.
_PHONE: Final = re.compile(rb"(?<![0-9A-Za-z.+_-])(?:\+?86[ -]?)?1[3-9]\d(?!0{8})\d{8}(?![0-9A-Za-z_]|\.\d)")
_EMAIL: Final = re.compile(rb"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{2,64}@[A-Za-z0-9-]{2,63}(?:\.[A-Za-z0-9-]{2,63})+")
_ID_NUMBER: Final = re.compile(rb"(?<![0-9A-Za-z.])[1-9]\d{5}(?:19|20)\d{9}[0-9Xx](?![0-9A-Za-z])")
_ID_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_WORD: Final = re.compile(rb"[0-9A-Za-z_]")


class Hit(NamedTuple):
    """One file in which something was found: where in it, and what (the value looked for, or the kind of contact)."""

    file: str
    place: str
    found: str


class ScanError(RuntimeError):
    """The scan could not be finished; the message says why."""


class Search(NamedTuple):
    """What is looked for in a stretch of bytes: in bytes as a program stored them, and in text out of tables (UTF-8).

    Patterns are not looked for in the raw bytes of databases: their values lie there without anything between them.
    """

    stored: Callable[[bytes], set[str]]
    text: Callable[[bytes], set[str]]
    is_for_databases: bool


class _Piece(NamedTuple):
    """A stretch of one file, as it lies or as text that came out of it."""

    file: str
    place: str
    content: bytes
    is_text: bool = False


def scan_home(home: Path, needles: Iterable[str], *, whole_words: bool = False) -> tuple[Hit, ...]:
    """Where any of `needles` lies under `home`, in names of files or in their content, packed or not.

    `whole_words` leaves out hits within a longer word, for ids such as u12 that begin another one.

    Raises:
        ScanError: a file could not be looked through.
    """
    wanted = list(dict.fromkeys(n for n in needles if n))
    if not wanted:
        return ()
    options = ["--home", str(home), "--needles", "-", "--json", *(["--whole-words"] if whole_words else [])]
    done = subprocess.run(
        [sys.executable, "-m", "xmkt_assets.security", *options],
        input="\n".join(wanted),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode not in (0, 1) or not done.stdout:
        raise ScanError(f"The scan of {home.name} ended with code {done.returncode}: {done.stderr.strip()[-500:]}")
    return tuple(Hit(file, place, wanted[int(number)]) for file, place, number in json.loads(done.stdout))


def scan(home: Path, search: Search) -> Iterator[Hit]:
    """Hits of `search` under `home`. Only for a process that has none of the databases there open."""
    waiting: list[_Piece] = []
    for path in sorted(p for p in home.rglob("*") if p.is_file() and not p.is_symlink()):
        try:
            for piece in _pieces(path, path.relative_to(home).as_posix(), search):
                waiting.append(piece)
                if sum(len(p.content) for p in waiting) >= CHUNK:
                    yield from _hits(waiting, search)
                    waiting = []
        except FileNotFoundError:  # has gone since its folder was read
            continue
        except ScanError as error:
            raise ScanError(f"{path.relative_to(home).as_posix()}: {error}") from error
    yield from _hits(waiting, search)


def _hits(pieces: Sequence[_Piece], search: Search) -> Iterator[Hit]:
    """Hits in pieces, which are looked through together first: a search costs more to begin than to run."""
    for find, of_kind in (
        (search.stored, [p for p in pieces if not p.is_text]),
        (search.text, [p for p in pieces if p.is_text]),
    ):
        if find(_BETWEEN.join(p.content for p in of_kind)):
            yield from (Hit(p.file, p.place, found) for p in of_kind for found in sorted(find(p.content)))


def needle_search(needles: Sequence[str], *, whole_words: bool) -> Search:
    """Looks for fixed values by Aho-Corasick; answers with their place in `needles`, never with the value."""
    plain = {n.encode(errors="surrogateescape"): str(i) for i, n in enumerate(needles)}
    stored = {code: str(i) for i, needle in enumerate(needles) for code in _codes(needle)}
    return Search(_finder(stored, whole_words=whole_words), _finder(plain, whole_words=whole_words), True)


def pattern_search() -> Search:
    """Looks for what has the shape of a phone, an e-mail address or a Chinese ID number with a right check digit."""
    return Search(contact_kinds, contact_kinds, False)


def contact_kinds(text: bytes) -> set[str]:
    """Kinds of contacts in `text`."""
    kinds = {"phone"} if _PHONE.search(text) else set()
    if b"@" in text and _EMAIL.search(text):
        kinds.add("e-mail")
    if any(is_id_number(found[0].decode()) for found in _ID_NUMBER.finditer(text)):
        kinds.add("ID number")
    return kinds


def is_id_number(text: str) -> bool:
    """Whether 18 characters are a Chinese ID number by its date and its check digit (GB 11643-1999)."""
    if not re.fullmatch(r"[1-9]\d{5}(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])\d{3}[\dXx]", text):
        return False
    total = sum(weight * int(digit) for weight, digit in zip(_ID_WEIGHTS, text[:17], strict=True))
    return "10X98765432"[total % 11] == text[17].upper()


def _codes(needle: str) -> Iterator[bytes]:
    """How programs may have stored the text. Without the zeros at its ends, a wide code is the same in both orders."""
    for encoding in ENCODINGS:
        try:
            code = needle.encode(encoding)
        except UnicodeEncodeError:
            continue
        yield code.strip(b"\0") if encoding.startswith(("utf-16", "utf-32")) else code


def _finder(wanted: Mapping[bytes, str], *, whole_words: bool) -> Callable[[bytes], set[str]]:
    """Aho-Corasick over the beginnings of the codes: building it costs far more than reading, and grows with them."""
    from ahocorasick_rs import BytesAhoCorasick, Implementation

    by_beginning: dict[bytes, list[bytes]] = {}
    for code in wanted:
        by_beginning.setdefault(code[:_BEGINNING], []).append(code)
    beginnings = list(by_beginning)
    automaton = BytesAhoCorasick(beginnings, implementation=Implementation.ContiguousNFA)

    def find(content: bytes) -> set[str]:
        found = {
            code
            for number, start, _ in automaton.find_matches_as_indexes(content, overlapping=True)
            for code in by_beginning[beginnings[number]]
            if content.startswith(code, start)
        }
        return {wanted[code] for code in found if not whole_words or _stands_alone(code, content)}

    return find


def _stands_alone(code: bytes, content: bytes) -> bool:
    """Whether `code` occurs somewhere in `content` without a letter or digit on either side."""
    width = 4 if code[1:4] == b"\0\0\0" else 2 if code[1:2] == b"\0" else 1
    at = content.find(code)
    while at >= 0:
        behind = at + len(code) + width - 1  # the zeros that belong to the last character are not part of the code
        before, after = content[max(0, at - width) : at][:1], content[behind : behind + 1]
        if not _WORD.match(before) and not _WORD.match(after):
            return True
        at = content.find(code, at + 1)
    return False


# --- files ---------------------------------------------------------------------------------------------------------


def _pieces(path: Path, name: str, search: Search) -> Iterator[_Piece]:
    """The file's name, its bytes, and what can be unpacked of it."""
    yield _Piece(name, "name", name.encode(errors="replace"), is_text=True)
    with path.open("rb") as handle:
        head = handle.read(16)
        handle.seek(0)
        tables = _tables_of(head)
        if tables is None or search.is_for_databases:
            yield from (_Piece(name, "bytes", part) for part in _parts(handle))
    if tables is not None:
        yield from (_Piece(name, place, text, is_text=True) for place, text in tables(path))
    elif head.startswith((b"\x1f\x8b", b"PK\x03\x04")):
        yield from (_Piece(name, place, part) for place, part in _unpacked(path.read_bytes(), "", depth=1))


def _tables_of(head: bytes) -> "Callable[[Path], Iterator[tuple[str, bytes]]] | None":
    """How to read the tables of a file that begins so; None where it is no database."""
    if head[:4] == b"PAR1":
        return _parquet
    if head == b"SQLite format 3\0":
        return _sqlite
    return _duckdb if head[8:12] == b"DUCK" else None


def _parts(handle: "io.BufferedIOBase | io.BufferedReader") -> Iterator[bytes]:
    """A stream in parts that overlap, so that nothing hides on a seam."""
    tail = b""
    while part := handle.read(CHUNK):
        yield tail + part
        tail = part[-_OVERLAP:]


def _unpacked(content: bytes, place: str, *, depth: int) -> Iterator[tuple[str, bytes]]:
    """What is packed by gzip and zip, also within one another."""
    if depth > _DEEPEST:
        raise ScanError(f"An archive is packed {depth} times over at {place}; unpack it and scan again.")
    members: list[tuple[str, bytes]] = []
    if content.startswith(b"\x1f\x8b"):
        members = [(f"{place}gunzipped", _gunzip(content))]
    elif content.startswith(b"PK\x03\x04"):
        members = _unzipped(content, place)
    for inner, unpacked in members:
        yield inner, inner.encode(errors="replace")
        yield from ((inner, part) for part in _parts(io.BytesIO(unpacked)))
        yield from _unpacked(unpacked, f"{inner}/", depth=depth + 1)


def _unzipped(content: bytes, place: str) -> list[tuple[str, bytes]]:
    """Members of an archive; none of a file that only begins like one, whose bytes have been looked through anyway."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return [(f"{place}{m.filename}", archive.read(m)) for m in archive.infolist()]
    except (zipfile.BadZipFile, zlib.error):
        return []
    except (NotImplementedError, RuntimeError) as error:  # a password, or a packing Python cannot undo
        raise ScanError(
            f"The archive at {place or 'the top of the file'} cannot be looked into: {error}. Unpack it, or remove it."
        ) from error


def _gunzip(content: bytes) -> bytes:
    """As much as can be unpacked: a partner's truncated file is looked through to where it breaks off."""
    parts: list[bytes] = []
    with gzip.open(io.BytesIO(content)) as packed:
        try:
            while part := packed.read(CHUNK):
                parts.append(part)
        except (OSError, EOFError, zlib.error):
            rest = zlib.decompressobj(wbits=31)
            try:
                return rest.decompress(content)
            except zlib.error:
                return b"".join(parts)
    return b"".join(parts)


@cache
def _memory() -> "duckdb.DuckDBPyConnection":
    """One connection for all Parquet files: opening one takes longer than reading most of them."""
    import duckdb

    return duckdb.connect(config={"threads": "1"})


def _parquet(path: Path) -> Iterator[tuple[str, bytes]]:
    import duckdb

    source = f"read_parquet('{str(path).replace(chr(39), chr(39) * 2)}', hive_partitioning = false)"
    try:
        yield from _columns(_memory(), source, "", is_small=path.stat().st_size < CHUNK // 4)
    except duckdb.Error:  # a partner's broken file; its bytes were looked through
        return


def _duckdb(path: Path) -> Iterator[tuple[str, bytes]]:
    import duckdb

    with duckdb.connect(str(path), read_only=True, config={"threads": "1"}) as connection:
        tables = connection.execute("select schema_name, table_name from duckdb_tables() where not internal").fetchall()
        for schema, table in tables:
            yield from _columns(connection, f'"{schema}"."{table}"', f"{schema}.{table}.")


def _columns(
    connection: "duckdb.DuckDBPyConnection", source: str, prefix: str, *, is_small: bool = False
) -> Iterator[tuple[str, bytes]]:
    """Each column that may hold text, as its different values; a small source is read once for all of them."""
    columns = [(row[0], row[1]) for row in connection.execute(f"describe select * from {source}").fetchall()]
    texts = [name for name, kind in columns if not kind.startswith(_NOT_TEXT) or "[" in kind]
    values = {name: 'cast("' + name.replace('"', '""') + '" as varchar)' for name in texts}
    if is_small and texts:
        numbered = ", ".join(f"{value} as c{i}" for i, value in enumerate(values.values()))
        rows = connection.execute(f"select {numbered} from {source}").pl()
        yield from ((f"{prefix}{name}", _joined(rows[f"c{i}"].unique())) for i, name in enumerate(texts))
        return
    for name, value in values.items():
        distinct = connection.execute(f"select distinct {value} as text from {source}").pl()["text"]
        yield f"{prefix}{name}", _joined(distinct)


def _sqlite(path: Path) -> Iterator[tuple[str, bytes]]:
    """A value longer than a page is cut up in the file, so every column is read as well."""
    import sqlite3

    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=30)
    connection.text_factory = bytes
    try:
        for (table,) in connection.execute("select name from sqlite_master where type = 'table'").fetchall():
            quoted = '"' + table.decode().replace('"', '""') + '"'
            for row in connection.execute(f"pragma table_info({quoted})").fetchall():
                column = '"' + row[1].decode().replace('"', '""') + '"'
                values = connection.execute(f"select {column} from {quoted} where typeof({column}) in ('text', 'blob')")
                yield f"{table.decode()}.{row[1].decode()}", b"\n".join(value for (value,) in values)
    finally:
        connection.close()


def _joined(values: pl.Series) -> bytes:
    return (values.drop_nulls().str.join("\n").item() or "").encode(errors="replace")


# --- command -------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 where nothing was found, 1 where something was, 2 where not everything could be looked through."""
    chosen = _options(arguments)
    home: Path = chosen.home.resolve()
    if chosen.patterns:
        search = pattern_search()
    else:
        text = sys.stdin.read() if chosen.needles == "-" else Path(chosen.needles).read_text(encoding="utf-8")
        needles = text.splitlines()
        if not any(needles):
            sys.stderr.write("No value to look for was given. Give one a line.\n")
            return 2
        # An empty line keeps its place, so that hits name the line of the list.
        search = needle_search([n or "\0 nothing \0" for n in needles], whole_words=chosen.whole_words)
    try:
        hits = sorted(scan(home, search))
    except ScanError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if chosen.json:
        sys.stdout.write(json.dumps(hits))
    else:
        _print(hits, home, patterns=chosen.patterns)
    return 1 if hits else 0


def _print(hits: Sequence[Hit], home: Path, *, patterns: bool) -> None:
    files = sum(1 for p in home.rglob("*") if p.is_file())
    for file in sorted({h.file for h in hits}):
        of_file = [h for h in hits if h.file == file]
        places = ", ".join(sorted({h.place for h in of_file})[:8])
        kinds = sorted({h.found for h in of_file})
        what = ", ".join(kinds) if patterns else f"{len(kinds)} of the values"
        sys.stdout.write(f"{file}: {what} in {places}\n")
    sys.stdout.write(f"{files:,} files under {home.name} looked through: {len({h.file for h in hits})} with hits.\n")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m xmkt_assets.security", description="Looks through every byte of a home."
    )
    parser.add_argument("--home", type=Path, required=True, help="folder to look through")
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--needles", help="file with one value a line; - reads them from the pipe")
    wanted.add_argument("--patterns", action="store_true", help="look for phones, e-mail addresses and ID numbers")
    parser.add_argument("--whole-words", action="store_true", help="no hits within a longer word")
    parser.add_argument("--json", action="store_true", help="hits as JSON, values by their line, from 0")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
