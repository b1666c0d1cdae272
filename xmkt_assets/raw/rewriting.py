"""Rewriting: a partner's file without the rows of some people, every other row as it was. Pure.

CSV of any delimiter (UTF-8 or GB18030) and JSON lines, both also gzipped, keep their other lines byte for byte; Parquet
keeps its other rows, schema and row groups. An id that another person's row merely mentions is overwritten by asterisks
of its length. Files are staged beside their place under a name that begins with a dot (the loader does not look at it)
and put there by one rename. Who is to be left out, and why, is not said here: ``erasure`` makes the `Forgotten`.
"""

import csv
import gzip
import hashlib
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple, cast

from xmkt_assets.raw.stores import MANIFEST

if TYPE_CHECKING:
    import pyarrow as pa

TEXT_SUFFIXES: Final = (".csv", ".tsv", ".txt", ".jsonl")
STAGED_SUFFIX: Final = ".rewriting"
_DELIMITERS: Final = (",", "\t", ";", "|")
_LONGEST_RECORD_LINES: Final = 10_000
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")


class RewriteError(RuntimeError):
    """A file that holds rows to leave out and cannot be written without them; the message names it and the remedy."""


@dataclass(frozen=True)
class Forgotten:
    """Whom to leave out: ids by the column that holds them, and words that may stand anywhere in a text.

    A row whose column of `ids` holds one of its ids is left out. Where no such column is there, any cell will do.
    """

    ids: Mapping[str, frozenset[str]]
    words: frozenset[str]

    @cached_property
    def everything(self) -> frozenset[str]:
        return frozenset().union(*self.ids.values()) | self.words

    @cached_property
    def quick(self) -> re.Pattern[bytes]:
        """Finds bytes that may be one of the ids, whatever the encoding of the text around it."""
        codes = {w.encode(e) for w in self.everything for e in ("utf-8", "gb18030")}
        codes |= {json.dumps(w)[1:-1].encode() for w in self.everything}  # as JSON escapes it
        return re.compile(b"|".join(re.escape(c) for c in sorted(codes, key=len, reverse=True)))

    @cached_property
    def mentions(self) -> re.Pattern[str]:
        """One of the words, standing alone."""
        words = "|".join(re.escape(w) for w in sorted(self.words, key=len, reverse=True))
        return re.compile(rf"(?<![0-9A-Za-z_])(?:{words})(?![0-9A-Za-z_])" if words else r"(?!)")

    def columns(self, names: Iterable[str]) -> list[tuple[int, frozenset[str]]]:
        """Places of the columns that say whom a row is about, with the ids to leave out there."""
        return [(i, self.ids[n.strip()]) for i, n in enumerate(names) if n.strip() in self.ids]

    def masked(self, text: str) -> str:
        return self.mentions.sub(lambda found: "*" * len(found[0]), text)


class Rewriting(NamedTuple):
    """A file staged without some rows; `put` puts it in its place."""

    path: Path
    staged: Path
    rows_removed: int
    rows_masked: int
    size_bytes: int
    sha256: str

    def put(self) -> None:
        """Replace the file, and its line in the manifest of its folder, where there is one."""
        os.replace(self.staged, self.path)
        _amend_manifest(self)


def stage_without(path: Path, forgotten: Forgotten) -> Rewriting | None:
    """Stage `path` without the rows of `forgotten`; None where it holds none of them.

    Raises:
        RewriteError: it holds some and is no file that can be written without them.
    """
    staged = path.with_name(f".{path.name}{STAGED_SUFFIX}")
    plain = path.name.removesuffix(".gz")
    try:
        if plain.endswith(".parquet"):
            counts = _parquet(path, staged, forgotten)
        elif plain.endswith(TEXT_SUFFIXES):
            counts = _text(path, staged, forgotten, is_json=plain.endswith(".jsonl"))
        else:
            counts = _unknown(path, forgotten)
    except (OSError, EOFError, ValueError) as error:
        staged.unlink(missing_ok=True)
        raise RewriteError(f"{path.name} cannot be rewritten ({type(error).__name__}). Delete it by hand.") from error
    if counts == (0, 0):
        staged.unlink(missing_ok=True)
        return None
    with staged.open("rb") as handle:
        sha256 = hashlib.file_digest(handle, "sha256").hexdigest()
    return Rewriting(path, staged, *counts, staged.stat().st_size, sha256)


def _unknown(path: Path, forgotten: Forgotten) -> tuple[int, int]:
    if forgotten.quick.search(path.read_bytes()):
        raise ValueError("unknown kind of file")
    return 0, 0


def _amend_manifest(done: Rewriting) -> None:
    manifest = done.path.with_name(MANIFEST)
    try:
        content: Any = json.loads(manifest.read_text(encoding="utf-8"))
        line = next(f for f in content["files"] if f["name"] == done.path.name)
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return  # no manifest, or one that the loader refuses as it is
    line |= {"bytes": done.size_bytes, "sha256": done.sha256}
    if isinstance(line.get("rows"), int):
        line["rows"] -= done.rows_removed
    staged = manifest.with_name(f".{manifest.name}{STAGED_SUFFIX}")
    staged.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    os.replace(staged, manifest)


# --- lines ---------------------------------------------------------------------------------------------------------


def _text(path: Path, staged: Path, forgotten: Forgotten, *, is_json: bool) -> tuple[int, int]:
    removed = masked = 0
    with _open(path) as source:
        if source.read(2) in _UTF16:
            raise ValueError("UTF-16")
    with _open(path) as source, _target(path, staged) as target:
        for record, judged in _judged_json(source, forgotten) if is_json else _judged_csv(source, forgotten):
            removed += judged is None
            masked += judged is not None and judged is not record
            if judged is not None:
                target.write(judged)
    return removed, masked


def _judged_json(source: BinaryIO, forgotten: Forgotten) -> Iterator[tuple[bytes, bytes | None]]:
    for line in source:
        yield line, line if not forgotten.quick.search(line) else _judge_json(line, forgotten)


def _judge_json(line: bytes, forgotten: Forgotten) -> bytes | None:
    try:
        text = line.decode("utf-8-sig")
        row = json.loads(text)
    except (ValueError, RecursionError):
        return None  # nobody can tell whose it is
    if not isinstance(row, dict) or _is_about(list(row), [_cell(v) for v in row.values()], forgotten):
        return None
    clear = forgotten.masked(text)
    return line if clear == text else line[: len(line) - len(line.lstrip(b"\xef\xbb\xbf"))] + clear.encode()


def _judged_csv(source: BinaryIO, forgotten: Forgotten) -> Iterator[tuple[bytes, bytes | None]]:
    """Records with what is to become of them; the header comes first and stays."""
    records = _records(source)
    head = next(records, b"")
    encoding = "utf-8-sig" if _decodes(head, "utf-8") else "gb18030"
    delimiter, names = _header(head.decode(encoding, errors="replace"), forgotten)
    yield head, head
    for record in records:
        if not forgotten.quick.search(record):
            yield record, record
        else:
            yield from _judge_csv(record, names, delimiter, forgotten)


def _judge_csv(
    record: bytes, names: list[str], delimiter: str, forgotten: Forgotten
) -> Iterator[tuple[bytes, bytes | None]]:
    encoding = "utf-8" if _decodes(record, "utf-8") else "gb18030"
    text = record.decode(encoding, errors="surrogateescape")
    cells = _cells(text, delimiter)
    lines = record.splitlines(keepends=True)
    is_open = record.count(b'"') % 2 == 1
    if (is_open or len(cells) != len(names)) and len(lines) > 1:
        # An open quote swallowed these lines; each is judged for itself, or one stray sign would remove them all.
        for line in lines:
            yield from [(line, line)] if not forgotten.quick.search(line) else [(line, None)]
    elif len(cells) != len(names) or _is_about(names, cells, forgotten):
        yield record, None
    else:
        clear = forgotten.masked(text)
        yield record, record if clear == text else clear.encode(encoding, errors="surrogateescape")


def _is_about(names: Sequence[str], cells: Sequence[str], forgotten: Forgotten) -> bool:
    """Whether the row is about one of those to leave out: by the columns for that, else by any cell."""
    if places := forgotten.columns(names):
        return any(cells[place].strip() in ids for place, ids in places)
    return any(cell.strip() in forgotten.everything or forgotten.mentions.search(cell) for cell in cells)


def _records(source: BinaryIO) -> Iterator[bytes]:
    """Records with their line ends. Neither UTF-8 nor GB18030 has a quote or line end within another character."""
    held: list[bytes] = []
    quotes = 0
    for line in source:
        held.append(line)
        quotes += line.count(b'"')
        if quotes % 2 == 0 or len(held) > _LONGEST_RECORD_LINES:
            yield b"".join(held)
            held, quotes = [], 0
    if held:
        yield b"".join(held)


def _header(line: str, forgotten: Forgotten) -> tuple[str, list[str]]:
    """The delimiter under which the header names a column to look at, else the one that splits it most."""
    split = {d: [name.strip() for name in _cells(line, d)] for d in _DELIMITERS}
    best = max(_DELIMITERS, key=lambda d: (bool(forgotten.columns(split[d])), len(split[d])))
    return best, split[best]


def _cells(text: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
    except csv.Error:
        return []


def _cell(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _decodes(text: bytes, encoding: str) -> bool:
    try:
        text.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if path.name.endswith(".gz") else path.open("rb")


@contextmanager
def _target(path: Path, staged: Path) -> Iterator[BinaryIO]:
    """Where to write what takes the place of `path`; gzip without a name or time in it."""
    with staged.open("wb") as raw:
        if path.name.endswith(".gz"):
            with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:
                yield cast(BinaryIO, packed)
        else:
            yield raw


# --- Parquet -------------------------------------------------------------------------------------------------------


def _parquet(path: Path, staged: Path, forgotten: Forgotten) -> tuple[int, int]:
    import pyarrow.parquet as pq

    removed = masked = 0
    with pq.ParquetFile(path) as source:
        groups = range(source.metadata.num_row_groups)
        if not any(_may_hold(source.read_row_group(group), forgotten) for group in groups):
            return 0, 0
        packing = source.metadata.row_group(0).column(0).compression.lower()
        with pq.ParquetWriter(staged, source.schema_arrow, compression=packing) as target:
            for group in groups:
                table = source.read_row_group(group)
                kept, hidden = _without(table, forgotten) if _may_hold(table, forgotten) else (table, 0)
                removed, masked = removed + table.num_rows - kept.num_rows, masked + hidden
                target.write_table(kept)
    return removed, masked


def _may_hold(table: "pa.Table", forgotten: Forgotten) -> bool:
    """Quick look, column by column, without making Python values where that can be avoided."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = "|".join(re.escape(w) for w in forgotten.everything)
    for i in range(table.num_columns):
        if not _may_name(table, i):
            continue
        try:
            texts = pc.cast(pc.unique(table.column(i)), pa.large_string())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            texts = pa.array([_text_of(v) for v in table.column(i).to_pylist()], pa.large_string())
        if pc.any(pc.match_substring_regex(texts, wanted)).as_py():
            return True
    return False


def _without(table: "pa.Table", forgotten: Forgotten) -> tuple["pa.Table", int]:
    """The table without some people's rows, and in how many other rows an id was overwritten."""
    import pyarrow as pa

    names = table.column_names
    texts = {i: [_text_of(v) for v in table.column(i).to_pylist()] for i in range(len(names)) if _may_name(table, i)}
    shown = [names[i] for i in texts]
    keep = [not _is_about(shown, cells, forgotten) for cells in zip(*texts.values(), strict=True)]
    kept = table.filter(pa.array(keep, pa.bool_()))
    masked: set[int] = set()
    for i in texts:
        values = kept.column(i).to_pylist()
        if rows := [row for row, value in enumerate(values) if forgotten.mentions.search(_text_of(value))]:
            masked |= set(rows)
            field = table.schema.field(i)
            kept = kept.set_column(i, field, pa.array([_cleared(v, forgotten) for v in values], field.type))
    return kept, len(masked)


def _may_name(table: "pa.Table", column: int) -> bool:
    import pyarrow.types as kinds

    kind = table.schema.field(column).type
    return not (kinds.is_temporal(kind) or kinds.is_floating(kind) or kinds.is_boolean(kind))


def _text_of(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return "" if value is None else value if isinstance(value, str) else str(value)


def _cleared(value: Any, forgotten: Forgotten) -> Any:
    """The value, however nested, with ids overwritten."""
    if isinstance(value, str):
        return forgotten.masked(value)
    if isinstance(value, bytes):
        return forgotten.masked(value.decode("utf-8", errors="surrogateescape")).encode("utf-8", "surrogateescape")
    if isinstance(value, list):
        return [_cleared(v, forgotten) for v in value]
    if isinstance(value, tuple):
        return tuple(_cleared(v, forgotten) for v in value)
    if isinstance(value, dict):
        return {k: _cleared(v, forgotten) for k, v in value.items()}
    return value
